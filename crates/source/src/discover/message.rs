//! Messages of WS-Discovery: what is asked, and what cameras answer.

use super::xml::{Element, MessageError, walk};
use percent_encoding::percent_decode_str;

/// Largest datagram.
pub(super) const MAX_DATAGRAM_BYTES: usize = 64 * 1024;
/// Most addresses, types or scopes of one device that are kept.
const MAX_WORDS: usize = 32;
/// Longest of these.
const MAX_WORD_BYTES: usize = 512;
/// Most devices in one message.
const MAX_MATCHES: usize = 64;
/// Longest name or place that is shown.
const MAX_SHOWN_CHARS: usize = 128;

/// Scopes that say something about the device begin so.
const SCOPE: &str = "onvif://www.onvif.org/";

/// What is looked for; some cameras answer to only one of them.
pub(super) const KINDS: [&str; 2] = ["dn:NetworkVideoTransmitter", "tds:Device"];

/// A question to all devices of a kind.
pub(super) fn probe(message_id: &str, kind: &str) -> String {
    format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
         <e:Envelope xmlns:e=\"http://www.w3.org/2003/05/soap-envelope\" \
         xmlns:w=\"http://schemas.xmlsoap.org/ws/2004/08/addressing\" \
         xmlns:d=\"http://schemas.xmlsoap.org/ws/2005/04/discovery\" \
         xmlns:dn=\"http://www.onvif.org/ver10/network/wsdl\" \
         xmlns:tds=\"http://www.onvif.org/ver10/device/wsdl\"><e:Header>\
         <w:MessageID>{message_id}</w:MessageID>\
         <w:To e:mustUnderstand=\"true\">urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>\
         <w:Action e:mustUnderstand=\"true\">http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action>\
         </e:Header><e:Body><d:Probe><d:Types>{kind}</d:Types></d:Probe></e:Body></e:Envelope>"
    )
}

/// A device as it announces itself, in an answer to a question or unasked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Announcement {
    /// What names the device for ever, such as `urn:uuid:…`.
    pub endpoint: String,
    /// Without prefixes: `NetworkVideoTransmitter`.
    pub types: Vec<String>,
    /// As they came, still percent-encoded.
    pub scopes: Vec<String>,
    /// Addresses of its service, as they came.
    pub addresses: Vec<String>,
}

impl Announcement {
    /// Whether it speaks ONVIF: printers and computers announce themselves in the same way.
    #[must_use]
    pub fn is_camera(&self) -> bool {
        self.types.iter().any(|name| name == "NetworkVideoTransmitter")
            || self.scopes.iter().any(|scope| scope.starts_with(SCOPE))
    }

    /// What the scopes say of a thing (`name`, `hardware`, `location`), decoded; several joined by a comma.
    #[must_use]
    pub fn scope(&self, thing: &str) -> Option<String> {
        let values = self.scopes.iter().filter_map(|scope| {
            let value = scope.strip_prefix(SCOPE)?.strip_prefix(thing)?.strip_prefix('/')?;
            Some(shown(&percent_decode_str(value).decode_utf8_lossy())).filter(|value| !value.is_empty())
        });
        let mut all = Vec::<String>::new();
        values.for_each(|value| {
            if !all.contains(&value) {
                all.push(value);
            }
        });
        (!all.is_empty()).then(|| cut(all.join(", ")))
    }

    /// Adds what another message of the same device says.
    pub(super) fn merge(&mut self, other: &Self) {
        for (own, more) in [
            (&mut self.types, &other.types),
            (&mut self.scopes, &other.scopes),
            (&mut self.addresses, &other.addresses),
        ] {
            for word in more {
                if own.len() < MAX_WORDS && !own.contains(word) {
                    own.push(word.clone());
                }
            }
        }
    }
}

/// Text from outside as it may be shown: one line, nothing that moves a terminal's cursor or turns text around.
pub(super) fn shown(text: &str) -> String {
    let is_hidden = |c: char| {
        c.is_control() || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let replaced: String = text.chars().map(|c| if is_hidden(c) { ' ' } else { c }).collect();
    cut(replaced.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn cut(text: String) -> String {
    if text.chars().count() > MAX_SHOWN_CHARS { text.chars().take(MAX_SHOWN_CHARS).collect() } else { text }
}

/// Reads what a device sent: an answer to a question (`ProbeMatches`) or a greeting (`Hello`).
///
/// Other messages, such as the questions of others, give nothing.
///
/// # Errors
/// [`MessageError`] where it is no message at all.
pub fn read_announcements(datagram: &[u8]) -> Result<Vec<Announcement>, MessageError> {
    if datagram.len() > MAX_DATAGRAM_BYTES {
        return Err(MessageError::TooLong { bytes: datagram.len(), limit: MAX_DATAGRAM_BYTES });
    }
    let (mut found, mut current) = (Vec::new(), Announcement::default());
    walk(datagram, |path, element| {
        let text = element.text.trim();
        match element.name.as_str() {
            "ProbeMatch" | "Hello" => {
                let announcement = std::mem::take(&mut current);
                if found.len() < MAX_MATCHES {
                    found.push(announcement);
                }
            }
            "Address" if is_in(path, "EndpointReference") && is_announced(path) => current.endpoint = endpoint(text),
            "Types" if is_announced(path) => {
                current.types = words(text, |word| word.rsplit(':').next().unwrap_or(word));
            }
            "Scopes" if is_announced(path) => current.scopes = words(text, |word| word),
            "XAddrs" if is_announced(path) => current.addresses = words(text, |word| word),
            _ => {}
        }
    })?;
    Ok(found)
}

fn is_in(path: &[Element], name: &str) -> bool {
    path.last().is_some_and(|element| element.name == name)
}

fn is_announced(path: &[Element]) -> bool {
    path.iter().any(|element| matches!(element.name.as_str(), "ProbeMatch" | "Hello"))
}

/// The same device is `urn:uuid:AB` in one message and `uuid:ab` in another.
fn endpoint(text: &str) -> String {
    let name = text.to_ascii_lowercase();
    let name = name.strip_prefix("urn:").unwrap_or(&name);
    let name = name.strip_prefix("uuid:").map_or_else(|| name.to_owned(), |uuid| format!("urn:uuid:{uuid}"));
    shown(&name)
}

fn words(text: &str, form: impl Fn(&str) -> &str) -> Vec<String> {
    let words = text.split_whitespace().filter(|word| word.len() <= MAX_WORD_BYTES);
    words.take(MAX_WORDS).map(|word| form(word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(file: &str) -> Vec<Announcement> {
        let path = format!("{}/tests/data/onvif/{file}", env!("CARGO_MANIFEST_DIR"));
        read_announcements(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn answers_of_several_makes_are_read() {
        let all = answer("probe_match_gsoap.xml");
        let camera = &all[0];
        assert_eq!((all.len(), camera.is_camera()), (1, true));
        assert_eq!(camera.endpoint, "urn:uuid:4c1f0a52-9d3e-11b2-8d17-2857be0f61aa");
        assert_eq!(camera.types, ["NetworkVideoTransmitter", "Device"]);
        assert_eq!(camera.scope("name").unwrap(), "HIKVISION DS-2CD2143G0-I");
        assert_eq!(camera.scope("hardware").unwrap(), "DS-2CD2143G0-I");
        assert_eq!(camera.scope("location").unwrap(), "city/hangzhou, Tor Süd");
        assert_eq!(camera.addresses[0], "http://192.168.1.64/onvif/device_service");
        assert_eq!(camera.addresses.len(), 2);

        let all = answer("probe_match_default_namespace.xml");
        assert_eq!(all[0].endpoint, "urn:uuid:9a3b6f10-0d5c-4c7d-9a6e-accc8e112233");
        assert_eq!(all[0].scope("name").unwrap(), "AXIS M3045-V");
        assert_eq!(all[0].scope("location"), None, "it is empty");

        let all = answer("hello.xml");
        assert_eq!((all.len(), all[0].scope("name").unwrap().as_str()), (1, "IPC-BO"));
    }

    #[test]
    fn two_devices_may_answer_at_once_and_others_are_no_cameras() {
        let all = answer("probe_matches_two.xml");
        assert_eq!(all.iter().map(Announcement::is_camera).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn questions_of_others_are_no_answers() {
        assert_eq!(read_announcements(probe("urn:uuid:1", KINDS[0]).as_bytes()), Ok(Vec::new()));
        assert!(read_announcements(&vec![b' '; MAX_DATAGRAM_BYTES + 1]).is_err());
    }

    #[test]
    fn names_cannot_write_on_the_terminal() {
        let scopes = vec!["onvif://www.onvif.org/name/a%1B%5B2J%0d%0Ab%E2%80%AEc".to_owned()];
        let camera = Announcement { scopes, ..Announcement::default() };
        assert_eq!(camera.scope("name").unwrap(), "a [2J b c");
    }

    #[test]
    fn what_one_message_says_too_much_is_left_out() {
        let many = "x:y ".repeat(1_000);
        let text = format!("<e><Hello><Types>{many}</Types><Scopes>{}</Scopes></Hello></e>", "z".repeat(4_000));
        let all = read_announcements(text.as_bytes()).unwrap();
        assert_eq!((all[0].types.len(), all[0].scopes.len()), (MAX_WORDS, 0));
        let matches = format!("<e>{}</e>", "<ProbeMatch/>".repeat(100));
        assert_eq!(read_announcements(matches.as_bytes()).unwrap().len(), MAX_MATCHES);
    }
}
