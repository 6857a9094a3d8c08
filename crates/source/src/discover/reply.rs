//! What ONVIF's device and media services answer.

use super::http::MAX_BODY_BYTES;
use super::message::shown;
use super::xml::{Element, MessageError, walk};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Most profiles that are kept.
const MAX_READ_PROFILES: usize = 64;

/// Who made a device.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Information {
    /// As the maker writes itself.
    pub manufacturer: String,
    /// The kind of device.
    pub model: String,
    /// Version of its program.
    pub firmware: String,
    /// Of this very device.
    pub serial: String,
}

/// A stream that a device offers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Profile {
    /// What names it in requests.
    pub token: String,
    /// What people call it.
    pub name: String,
    /// `H264`, `JPEG`, …, as the device says.
    pub encoding: String,
    /// Columns; 0 where nothing is said.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Where it is to be had.
    pub uri: Option<String>,
}

/// That a request was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fault {
    /// Codes without their prefixes, from the general to the special.
    pub codes: Vec<String>,
    /// In words.
    pub reason: String,
}

impl Fault {
    /// Whether it is a matter of user and password.
    #[must_use]
    pub fn is_about_rights(&self) -> bool {
        let is_right = |code: &String| matches!(code.as_str(), "NotAuthorized" | "FailedAuthentication");
        self.codes.iter().any(is_right)
    }
}

/// What an answer holds, of all that is ever asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reply {
    /// `GetDeviceInformationResponse`.
    pub information: Option<Information>,
    /// `GetSystemDateAndTimeResponse`: the device's clock in Unix seconds.
    pub unix_seconds: Option<i64>,
    /// `GetCapabilitiesResponse`: address of the media service.
    pub media_address: Option<String>,
    /// `GetProfilesResponse`.
    pub profiles: Vec<Profile>,
    /// `GetStreamUriResponse`.
    pub uri: Option<String>,
    /// What went wrong.
    pub fault: Option<Fault>,
}

/// Reads an answer of a device.
///
/// # Errors
/// [`MessageError`] where it is no message at all.
pub fn read_reply(body: &[u8]) -> Result<Reply, MessageError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(MessageError::TooLong { bytes: body.len(), limit: MAX_BODY_BYTES });
    }
    let mut reading = Reading::default();
    walk(body, |path, element| reading.take(path, element))?;
    let mut reply = reading.reply;
    reply.unix_seconds = reading.clock.and_then(Clock::unix_seconds);
    Ok(reply)
}

#[derive(Debug, Default)]
struct Reading {
    reply: Reply,
    clock: Option<Clock>,
    profile: Profile,
}

impl Reading {
    fn take(&mut self, path: &[Element], element: &Element) {
        let is_in = |name: &str| path.iter().any(|element| element.name == name);
        let parent = path.last().map_or("", |element| element.name.as_str());
        if is_in("GetDeviceInformationResponse") {
            self.information(element);
        } else if is_in("UTCDateTime") {
            self.clock.get_or_insert_default().take(element);
        } else if is_in("GetProfilesResponse") {
            self.profile(is_in("VideoEncoderConfiguration"), parent, element);
        } else if is_in("Capabilities") && parent == "Media" && element.name == "XAddr" {
            self.reply.media_address = Some(element.text.trim().to_owned());
        } else if is_in("GetStreamUriResponse") && element.name == "Uri" {
            self.reply.uri = Some(element.text.trim().to_owned());
        } else if is_in("Fault") {
            self.fault(element);
        } else if element.name == "Fault" {
            self.reply.fault.get_or_insert_default();
        }
    }

    fn information(&mut self, element: &Element) {
        let information = self.reply.information.get_or_insert_default();
        let place = match element.name.as_str() {
            "Manufacturer" => &mut information.manufacturer,
            "Model" => &mut information.model,
            "FirmwareVersion" => &mut information.firmware,
            "SerialNumber" => &mut information.serial,
            _ => return,
        };
        *place = shown(&element.text);
    }

    fn profile(&mut self, is_encoder: bool, parent: &str, element: &Element) {
        match element.name.as_str() {
            "Profiles" => {
                let mut profile = std::mem::take(&mut self.profile);
                profile.token = element.token.clone().unwrap_or_default();
                if self.reply.profiles.len() < MAX_READ_PROFILES && !profile.token.is_empty() {
                    self.reply.profiles.push(profile);
                }
            }
            "Name" if parent == "Profiles" => self.profile.name = shown(&element.text),
            "Encoding" if parent == "VideoEncoderConfiguration" => self.profile.encoding = shown(&element.text),
            "Width" if is_encoder && parent == "Resolution" => self.profile.width = number(element),
            "Height" if is_encoder && parent == "Resolution" => self.profile.height = number(element),
            _ => {}
        }
    }

    fn fault(&mut self, element: &Element) {
        let fault = self.reply.fault.get_or_insert_default();
        match element.name.as_str() {
            "Value" | "faultcode" if fault.codes.len() < 8 => {
                let code = element.text.trim().rsplit(':').next().unwrap_or_default();
                // The special one is inside the general one and ends first.
                fault.codes.push(shown(code));
            }
            "Text" | "faultstring" => fault.reason = shown(&element.text),
            _ => {}
        }
    }
}

fn number<T: std::str::FromStr + Default>(element: &Element) -> T {
    element.text.trim().parse().unwrap_or_default()
}

#[derive(Debug, Default, Clone, Copy)]
struct Clock {
    date: (i16, i8, i8),
    time: (i8, i8, i8),
}

impl Clock {
    fn take(&mut self, element: &Element) {
        match element.name.as_str() {
            "Year" => self.date.0 = number(element),
            "Month" => self.date.1 = number(element),
            "Day" => self.date.2 = number(element),
            "Hour" => self.time.0 = number(element),
            "Minute" => self.time.1 = number(element),
            "Second" => self.time.2 = number(element),
            _ => {}
        }
    }

    fn unix_seconds(self) -> Option<i64> {
        let ((year, month, day), (hour, minute, second)) = (self.date, self.time);
        let moment = DateTime::new(year, month, day, hour, minute, second.min(59), 0).ok()?;
        Some(TimeZone::UTC.to_timestamp(moment).ok()?.as_second())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(file: &str) -> Reply {
        let path = format!("{}/tests/data/onvif/{file}", env!("CARGO_MANIFEST_DIR"));
        read_reply(&std::fs::read(path).unwrap()).unwrap()
    }

    #[test]
    fn answers_are_read() {
        let information = reply("device_information.xml").information.unwrap();
        assert_eq!((information.manufacturer.as_str(), information.model.as_str()), ("AXIS & friends", "M3045-V"));
        assert_eq!(reply("date_and_time.xml").unix_seconds, Some(1_583_064_009));
        let media = reply("capabilities.xml").media_address.unwrap();
        assert_eq!(media, "http://192.168.1.64/onvif/Media", "not the one of the device or of events");
        assert_eq!(
            reply("stream_uri.xml").uri.unwrap(),
            "rtsp://192.168.1.64:554/Streaming/Channels/101?transportmode=unicast&profile=Profile_1"
        );
    }

    #[test]
    fn profiles_have_the_size_of_their_encoder() {
        let profiles = reply("profiles.xml").profiles;
        let told: Vec<_> = profiles
            .iter()
            .map(|profile| (profile.token.as_str(), profile.name.as_str(), profile.encoding.as_str(), profile.width))
            .collect();
        assert_eq!(
            told,
            [
                ("Profile_1", "mainStream", "H264", 2688),
                ("Profile_2", "subStream", "H264", 640),
                ("Audio", "audio", "", 0)
            ]
        );
        assert_eq!(profiles[0].height, 1520);
    }

    #[test]
    fn what_is_refused_says_why() {
        let fault = reply("fault_not_authorized.xml").fault.unwrap();
        assert!(fault.is_about_rights(), "{fault:?}");
        assert_eq!(fault.reason, "Sender not authorized");
        let other = read_reply(b"<e><Fault><Code><Value>s:Receiver</Value></Code></Fault></e>").unwrap().fault.unwrap();
        assert!(!other.is_about_rights());
        assert!(read_reply(b"<html><Fault/></html>").unwrap().fault.is_some());
    }

    #[test]
    fn a_clock_that_cannot_be_is_none() {
        for (day, hour) in [(31, 4), (29, 25)] {
            let body = format!(
                "<e><UTCDateTime><Time><Hour>{hour}</Hour></Time><Date><Year>2023</Year><Month>2</Month><Day>{day}</Day></Date></UTCDateTime></e>"
            );
            assert_eq!(read_reply(body.as_bytes()).unwrap().unix_seconds, None);
        }
    }
}
