//! Which files a path means.

use super::TransportError;
use super::folder::RECEIVING;
use std::collections::VecDeque;
use std::fs;
use std::path::{Path, PathBuf};

/// A file that is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileToSend {
    /// Where it is.
    pub path: PathBuf,
    /// Bytes, when it was found.
    pub bytes: u64,
}

/// What a walk met and did not take.
#[derive(Debug)]
pub struct PassedOver {
    /// Where it is.
    pub path: PathBuf,
    /// Why.
    pub why: Reason,
}

/// Why something was passed over.
#[derive(Debug)]
pub enum Reason {
    /// A socket, pipe or device.
    NotAFile,
    /// A symbolic link to a folder, which may lead in a circle; name the folder itself.
    LinkedFolder,
    /// Objects that are being received.
    Receiving,
    /// It cannot be looked at.
    Unreadable(std::io::Error),
}

impl Reason {
    /// The stable code.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::NotAFile => "not-a-file",
            Self::LinkedFolder => "linked-folder",
            Self::Receiving => "receiving",
            Self::Unreadable(_) => "unreadable",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NotAFile => f.write_str("it is no regular file"),
            Self::LinkedFolder => f.write_str("it is a symbolic link to a folder; name the folder itself"),
            Self::Receiving => f.write_str("`lumenbus dicom receive` works in it"),
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

/// Walks through files, folders and patterns, in order of names; holds one level of each folder on the way.
#[derive(Debug)]
pub struct Files {
    waiting: VecDeque<PathBuf>,
    /// Named by the user: links are followed.
    named: usize,
}

impl Files {
    /// Files, folders with everything in them, and patterns with `*` and `?` in any component where no such file is.
    ///
    /// # Errors
    /// [`TransportError::Nothing`], and a folder of a pattern that cannot be read.
    pub fn of(paths: &[PathBuf]) -> Result<Self, TransportError> {
        let mut waiting = VecDeque::new();
        for path in paths {
            if path.exists() {
                waiting.push_back(path.clone());
                continue;
            }
            let matching = matching(path)?;
            if matching.is_empty() {
                return Err(TransportError::Nothing { path: path.clone() });
            }
            waiting.extend(matching);
        }
        let named = waiting.len();
        Ok(Self { waiting, named })
    }

    fn enter(&mut self, folder: PathBuf) -> Result<(), PassedOver> {
        match sorted(&folder) {
            Ok(entries) => {
                for entry in entries.into_iter().rev() {
                    self.waiting.push_front(entry);
                }
                Ok(())
            }
            Err(error) => Err(PassedOver { path: folder, why: Reason::Unreadable(error) }),
        }
    }
}

impl Iterator for Files {
    type Item = Result<FileToSend, PassedOver>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let path = self.waiting.pop_front()?;
            let is_named = self.waiting.len() < self.named;
            self.named = self.named.min(self.waiting.len());
            let pass = |path: PathBuf, why| Some(Err(PassedOver { path, why }));
            let metadata = match fs::metadata(&path) {
                Ok(metadata) => metadata,
                Err(error) => return pass(path, Reason::Unreadable(error)),
            };
            if metadata.is_file() {
                return Some(Ok(FileToSend { path, bytes: metadata.len() }));
            }
            if !metadata.is_dir() {
                return pass(path, Reason::NotAFile);
            }
            if path.file_name().is_some_and(|name| name == RECEIVING) {
                return pass(path, Reason::Receiving);
            }
            if !is_named && path.is_symlink() {
                return pass(path, Reason::LinkedFolder);
            }
            if let Err(passed) = self.enter(path) {
                return Some(Err(passed));
            }
        }
    }
}

fn sorted(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    entries.sort();
    Ok(entries)
}

/// What a pattern means, in order of names.
fn matching(pattern: &Path) -> Result<Vec<PathBuf>, TransportError> {
    let mut found = vec![PathBuf::new()];
    for component in pattern.components() {
        let text = component.as_os_str().to_string_lossy();
        if !text.contains(['*', '?']) {
            found.iter_mut().for_each(|path| path.push(component));
            continue;
        }
        let mut next = Vec::new();
        for folder in &found {
            let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            if !here.is_dir() {
                continue;
            }
            let entries = sorted(here).map_err(|source| TransportError::Read { path: here.to_owned(), source })?;
            let names = entries.iter().filter_map(|entry| entry.file_name());
            let meant = names.filter(|name| is_match(text.as_bytes(), name.as_encoded_bytes()));
            next.extend(meant.map(|name| folder.join(name)));
        }
        found = next;
    }
    found.retain(|path| path.exists());
    Ok(found)
}

/// `*` is any run of bytes, `?` one; a leading dot has to be named.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    if name.first() == Some(&b'.') && pattern.first() != Some(&b'.') {
        return false;
    }
    let (mut at, mut in_name, mut back) = (0, 0, None);
    while in_name < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                back = Some((at, in_name));
                at += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == name[in_name] => {
                at += 1;
                in_name += 1;
            }
            _ => match back {
                Some((star, taken)) => {
                    back = Some((star, taken + 1));
                    (at, in_name) = (star + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|&rest| rest == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_as_a_shell_would() {
        let check = |pattern: &str, name: &str, expected| {
            assert_eq!(is_match(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        };
        check("*.dcm", "a.dcm", true);
        check("*.dcm", ".dcm", false);
        check(".*", ".dcm", true);
        check("a*b*c", "aXXbYYbc", true);
        check("a*b*c", "aXXbYYb", false);
        check("?", "", false);
        check("*", "", true);
        check("a?c", "abc", true);
    }

    #[test]
    fn a_walk_takes_files_in_order_and_says_what_it_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        for inner in ["b", "b/c", RECEIVING] {
            fs::create_dir(at(inner)).unwrap();
        }
        for file in ["b/2", "b/c/1", "a", "z"] {
            fs::write(at(file), file).unwrap();
        }
        #[cfg(unix)]
        std::os::unix::fs::symlink(folder.path(), at("round")).unwrap();
        let mut codes = Vec::new();
        let walk = Files::of(&[folder.path().to_owned()]).unwrap();
        let files: Vec<_> =
            walk.filter_map(|found| found.map_err(|passed| codes.push(passed.why.code())).ok()).collect();
        let names: Vec<_> =
            files.iter().map(|file| file.path.strip_prefix(folder.path()).unwrap().to_owned()).collect();
        assert_eq!(names, ["a", "b/2", "b/c/1", "z"].map(PathBuf::from));
        assert_eq!(codes, if cfg!(unix) { vec!["receiving", "linked-folder"] } else { vec!["receiving"] });
        let some = Files::of(&[at("?/*")]).unwrap();
        let paths: Vec<_> = some.filter_map(Result::ok).map(|file| file.path).collect();
        assert_eq!(paths, [at("b/2"), at("b/c/1")]);
        assert!(matches!(Files::of(&[at("no*thing")]), Err(TransportError::Nothing { .. })));
    }
}
