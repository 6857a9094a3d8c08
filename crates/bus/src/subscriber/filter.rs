//! Which cameras a subscription is for.

use lumenbus_frame::{IdError, UnknownName};

/// Longest pattern accepted: a camera id has 64 characters.
const MAX_PATTERN_BYTES: usize = 256;

/// Camera ids by pattern: `*` is any run of characters, `?` any one. No pattern: every camera.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CameraFilter {
    patterns: Vec<String>,
}

impl CameraFilter {
    /// A filter that accepts what any of the patterns accepts.
    pub fn new<S: AsRef<str>>(patterns: impl IntoIterator<Item = S>) -> Result<Self, UnknownName> {
        let check = |pattern: S| {
            let pattern = pattern.as_ref();
            let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '*' | '?');
            if pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES || !pattern.chars().all(legal) {
                return Err(UnknownName {
                    what: "camera pattern",
                    name: pattern.chars().take(64).collect(),
                    known: "A-Z a-z 0-9 . _ - and the wildcards * and ?".to_owned(),
                });
            }
            Ok(pattern.to_owned())
        };
        Ok(Self { patterns: patterns.into_iter().map(check).collect::<Result<_, _>>()? })
    }

    /// Whether a camera is wanted.
    #[must_use]
    pub fn matches(&self, camera: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| matches(pattern.as_bytes(), camera.as_bytes()))
    }

    /// The one camera this is for, when the filter is a plain id.
    pub fn single(&self) -> Option<Result<lumenbus_frame::CameraId, IdError>> {
        let [pattern] = self.patterns.as_slice() else { return None };
        (!pattern.contains(['*', '?'])).then(|| pattern.parse())
    }
}

/// Iterative, so that no pattern costs more than pattern × name.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p, n));
                p += 1;
            }
            Some(&c) if c == b'?' || c == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((star, at)) = retry else { return false };
                retry = Some((star, at + 1));
                p = star + 1;
                n = at + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let filter = |pattern: &str| CameraFilter::new([pattern]).unwrap();
        assert!(CameraFilter::default().matches("anything"));
        for (pattern, yes, no) in [
            ("gate-*", "gate-7", "dock-7"),
            ("*", "x", ""),
            ("cam-?", "cam-1", "cam-12"),
            ("*a*b", "xxaxxb", "xxaxxbc"),
            ("gate", "gate", "gate7"),
        ] {
            assert!(filter(pattern).matches(yes), "{pattern} {yes}");
            assert!(!filter(pattern).matches(no) || no.is_empty(), "{pattern} {no}");
        }
        assert!(CameraFilter::new(["a b"]).is_err());
        assert!(CameraFilter::new([""]).is_err());
    }

    #[test]
    fn a_plain_id_is_recognised() {
        assert!(CameraFilter::new(["gate-7"]).unwrap().single().is_some());
        assert!(CameraFilter::new(["gate-*"]).unwrap().single().is_none());
    }
}
