//! `gst:PIPELINE`, and what of it nobody may see.

use crate::{SourceError, redact};
#[cfg(feature = "gstreamer")]
use percent_encoding::percent_decode_str;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

/// Longest pipeline.
const MAX_BYTES: usize = 16 * 1024;
/// What of it stands in messages.
const SHOWN_CHARS: usize = 160;
/// Stands for what is not shown.
const HIDDEN: &str = "***";
/// In the name of a property whose value is nobody's business.
const SECRET_WORDS: [&str; 8] = ["pass", "pwd", "secret", "token", "auth", "credential", "header", "cookie"];
/// At the end of such a name; `key-int-max` is no key.
const SECRET_ENDINGS: [&str; 2] = ["pw", "key"];
/// Shorter ones would be found in any text.
#[cfg(feature = "gstreamer")]
const MIN_SECRET_BYTES: usize = 3;

/// A pipeline in the words of `gst-launch-1.0`, such as `v4l2src ! image/jpeg ! appsink`.
///
/// Shown without passwords: values of properties that look like secrets, user and password of addresses.
#[derive(Clone, PartialEq, Eq)]
pub struct GstPipeline {
    text: String,
}

impl GstPipeline {
    /// What stands behind `gst:`.
    ///
    /// # Errors
    /// [`SourceError::Specification`] when it cannot be one to read from; a password in it is not repeated there.
    pub fn parse(text: &str) -> Result<Self, SourceError> {
        let refuse = |why| SourceError::Specification { spec: format!("gst:{}", shorten(&shown(text))), why };
        if text.len() > MAX_BYTES {
            return Err(refuse("a pipeline has at most 16384 bytes"));
        }
        if text.contains('\0') {
            return Err(refuse("a pipeline holds no NUL"));
        }
        if !text.contains("appsink") {
            return Err(refuse("a pipeline must end in ! appsink, such as gst:videotestsrc is-live=true ! appsink"));
        }
        Ok(Self { text: text.trim().to_owned() })
    }

    /// For messages: with the prefix, without secrets, shortened.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        Arc::from(format!("gst:{}", shorten(&shown(&self.text))))
    }

    #[cfg(feature = "gstreamer")]
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What must not be in any message.
    #[cfg(feature = "gstreamer")]
    pub(super) fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        for property in properties(&self.text) {
            let value = unquoted(&self.text[property.value]);
            if property.is_secret {
                secrets.add(value);
            } else if let Some((_, rest)) = value.split_once("://") {
                secrets.add_address(rest);
            }
        }
        secrets
    }
}

impl fmt::Debug for GstPipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GstPipeline({})", self.name())
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A pipeline without its secrets.
pub(crate) fn shown(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for property in properties(text) {
        out.push_str(&text[done..property.value.start]);
        done = property.value.end;
        if property.is_secret {
            out.push_str(HIDDEN);
        } else {
            out.push_str(&redact(&text[property.value]));
        }
    }
    out.push_str(&text[done..]);
    out
}

/// A `name=value` of a pipeline.
struct Property {
    is_secret: bool,
    /// Where the value stands, with its quotes.
    value: Range<usize>,
}

/// All of them in order, by the rules of `gst-launch-1.0`: values in quotes or up to white space, `\` before any
/// character, spaces around `=`.
fn properties(text: &str) -> Vec<Property> {
    let bytes = text.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(equals) = text[at..].find('=').map(|offset| at + offset) {
        let start = equals + 1 + bytes[equals + 1..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let end = value_end(bytes, start);
        found.push(Property { is_secret: is_secret(name_before(&text[at..equals])), value: start..end });
        at = end;
    }
    found
}

/// Where a value ends that begins at `start`.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let quote = bytes.get(start).copied().filter(|byte| matches!(byte, b'"' | b'\''));
    let mut at = start + usize::from(quote.is_some());
    while let Some(&byte) = bytes.get(at) {
        match (quote, byte) {
            (_, b'\\') => at += 1,
            (Some(quote), byte) if byte == quote => return at + 1,
            (None, byte) if byte.is_ascii_whitespace() => return at,
            _ => {}
        }
        at += 1;
    }
    bytes.len()
}

fn name_before(text: &str) -> &str {
    let text = text.trim_end();
    let is_name = |char: char| char.is_ascii_alphanumeric() || matches!(char, '-' | '_' | ':' | '.');
    text.rfind(|char| !is_name(char)).map_or(text, |end| &text[end..])
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    SECRET_WORDS.iter().any(|word| name.contains(word)) || SECRET_ENDINGS.iter().any(|word| name.ends_with(word))
}

/// Texts that are taken out of what elements say.
#[cfg(feature = "gstreamer")]
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<String>);

#[cfg(feature = "gstreamer")]
impl Secrets {
    /// Also as it is without percent signs, since elements decode addresses.
    pub(super) fn add(&mut self, secret: &str) {
        let decoded = percent_decode_str(secret).decode_utf8_lossy();
        for text in [secret, &decoded] {
            if text.len() >= MIN_SECRET_BYTES && !self.0.iter().any(|known| known == text) {
                self.0.push(text.to_owned());
            }
        }
        // One may be part of another.
        self.0.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    }

    /// Of an address without its scheme: password, or user where there is none, and values of secret parameters.
    fn add_address(&mut self, rest: &str) {
        if let Some((user, _)) = rest.rsplit_once('@') {
            self.add(user.split_once(':').map_or(user, |(_, password)| password));
        }
        let parameters = rest.split(['?', '&']).filter_map(|parameter| parameter.split_once('='));
        parameters.filter(|(name, _)| is_secret(name)).for_each(|(_, value)| self.add(value));
    }

    /// What an element said, as it may be shown: one line of at most 300 characters.
    pub(super) fn hide(&self, said: &str) -> String {
        let said = self.0.iter().fold(said.to_owned(), |said, secret| said.replace(secret.as_str(), HIDDEN));
        redact(&said).chars().map(|char| if char.is_control() { ' ' } else { char }).take(300).collect()
    }
}

#[cfg(feature = "gstreamer")]
fn unquoted(value: &str) -> &str {
    let inner = |quote| value.strip_prefix(quote).map(|rest| rest.strip_suffix(quote).unwrap_or(rest));
    inner('"').or_else(|| inner('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_pipeline_are_not_shown() {
        for (text, expected) in [
            ("rtspsrc location=rtsp://me:pw@cam/1 ! appsink", "rtspsrc location=rtsp://***@cam/1 ! appsink"),
            ("rtspsrc location=\"rtsp://me:p w@cam/1\" ! a", "rtspsrc location=\"rtsp://***@cam/1\" ! a"),
            ("s user-id=me user-pw=hunter2 ! appsink", "s user-id=me user-pw=*** ! appsink"),
            ("s user-pw = 'hunter 2' ! appsink", "s user-pw = *** ! appsink"),
            ("s user-pw=\"hunter\\\" 2\" name=x", "s user-pw=*** name=x"),
            ("s user-pw=hunter\\ 2 name=x", "s user-pw=*** name=x"),
            ("s user-pw=\"never ended ! appsink", "s user-pw=***"),
            ("s passphrase=hunter2 srtp-key=abc ! x", "s passphrase=*** srtp-key=*** ! x"),
            ("x264enc key-int-max=30 ! appsink", "x264enc key-int-max=30 ! appsink"),
            ("a extra-headers=\"h, Authorization=abc\" ! x", "a extra-headers=*** ! x"),
            ("souphttpsrc location=http://c/v?token=abc&n=1 ! x", "souphttpsrc location=http://c/v?token=***&n=1 ! x"),
            (
                "v ! video/x-raw,format=I420,width=(int)64 ! appsink",
                "v ! video/x-raw,format=I420,width=(int)64 ! appsink",
            ),
            ("ü=ü password=ü", "ü=ü password=***"),
            ("password=", "password=***"),
        ] {
            assert_eq!(shown(text), expected);
        }
        let error = GstPipeline::parse("s user-pw=hunter2").unwrap_err().to_string();
        assert!(error.contains("! appsink") && !error.contains("hunter2"), "{error}");
        let long = GstPipeline::parse(&format!("s user-pw=hunter2 ! {} appsink", "é ! ".repeat(200))).unwrap();
        assert!(long.name().chars().count() < 200 && !format!("{long:?}").contains("hunter2"));
    }

    #[cfg(feature = "gstreamer")]
    #[test]
    fn nor_are_they_in_what_elements_say() {
        let text = "rtspsrc location=rtsp://me:p%40ss@cam/1?token=t0ken user-pw='hunter 2' ! appsink";
        let secrets = GstPipeline::parse(text).unwrap().secrets();
        let said = "could not set \"hunter 2\" of rtspsrc0: p@ss, p%40ss, t0ken\nat rtsp://me:p%40ss@cam/1";
        assert_eq!(secrets.hide(said), "could not set \"***\" of rtspsrc0: ***, ***, *** at rtsp://***@cam/1");
    }
}
