//! Where a camera is, and who asks it.

use crate::{SourceError, redact};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::sync::Arc;
use url::Url;

/// For cameras TLS is not spoken: nearly all of their certificates are made by themselves, and who would check them?
const NO_TLS: &str = "cameras over https:// are not read; if the camera has http:// too, use that inside a network that \
                      you trust, else put a proxy that ends TLS beside this program, such as stunnel";

/// Who asks a camera. The password is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user.
    pub username: String,
    /// The secret.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(***)")
    }
}

/// How RTP packets come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RtspTransport {
    /// Inside the connection of RTSP.
    #[default]
    Tcp,
    /// By themselves; what is lost or out of order costs the frame.
    Udp,
}

/// What is spoken with a camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Rtsp(RtspTransport),
    Http,
}

/// The address of a camera: `rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH[#transport=udp]`, or
/// `http://[USER:PASSWORD@]HOST[:PORT]/PATH`.
///
/// What stands behind `#` is for us, and never sent. Shown without user, password and parameters that look like secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraAddress {
    /// Without user, password and fragment.
    pub(super) url: Url,
    pub(super) credentials: Option<Credentials>,
    pub(super) protocol: Protocol,
    pub(super) name: Arc<str>,
}

impl CameraAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// [`SourceError::Specification`]; a password in it is not repeated there.
    pub fn parse(spec: &str) -> Result<Self, SourceError> {
        let refuse = |why| SourceError::Specification { spec: redact(spec), why };
        let mut url = Url::parse(spec).map_err(|_| {
            refuse(
                "it is no valid address; in a user or password write %40 for @, %3A for :, %2F for /, %3F for ?, %23 for #",
            )
        })?;
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refuse("it names no host"));
        }
        let protocol = match (url.scheme(), url.fragment()) {
            ("rtsp", None | Some("transport=tcp")) => Protocol::Rtsp(RtspTransport::Tcp),
            ("rtsp", Some("transport=udp")) => Protocol::Rtsp(RtspTransport::Udp),
            ("rtsp", Some(_)) => return Err(refuse("behind # only transport=tcp or transport=udp may stand")),
            ("http", None) => Protocol::Http,
            ("http", Some(_)) => return Err(refuse("in an address with http:// nothing may stand behind #")),
            ("https", _) => return Err(refuse(NO_TLS)),
            _ => return Err(refuse("of network streams this build reads rtsp:// and http:// only")),
        };
        url.set_fragment(None);
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let credentials = (!url.username().is_empty() || url.password().is_some()).then(|| Credentials {
            username: decode(url.username()),
            password: decode(url.password().unwrap_or_default()),
        });
        // Both fail only for addresses without host.
        if url.set_username("").is_err() || url.set_password(None).is_err() {
            return Err(refuse("it names no host"));
        }
        Ok(Self { name: Arc::from(redact(url.as_str())), url, credentials, protocol })
    }

    /// Who is named in the address.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    /// Whether it begins with `rtsp://`.
    pub(crate) fn is_rtsp(&self) -> bool {
        matches!(self.protocol, Protocol::Rtsp(_))
    }

    /// The same address for somebody who was named elsewhere; that goes before what is in the address.
    #[must_use]
    pub(super) fn asked_by(mut self, credentials: Option<Credentials>) -> Self {
        self.credentials = credentials.or(self.credentials);
        self
    }
}

impl fmt::Debug for CameraAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CameraAddress({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_taken_out_and_shown_nowhere() {
        let address =
            CameraAddress::parse("rtsp://ad%40min:hun%2Fter2@cam:8554/live?token=abc&ch=1#transport=udp").unwrap();
        let credentials = Credentials { username: "ad@min".to_owned(), password: "hun/ter2".to_owned() };
        assert_eq!(address.credentials, Some(credentials));
        assert_eq!(
            (address.url.as_str(), address.protocol),
            ("rtsp://cam:8554/live?token=abc&ch=1", Protocol::Rtsp(RtspTransport::Udp))
        );
        assert_eq!(&*address.name, "rtsp://cam:8554/live?token=***&ch=1");
        let shown = format!("{address:?} {:?}", address.credentials);
        assert!(!shown.contains("hun") && !shown.contains("ad@min") && !shown.contains("abc"), "{shown}");
    }

    #[test]
    fn what_is_no_address_is_refused_without_its_password() {
        for bad in [
            "rtsp://me:s3cret@/x",
            "rtsp://me:s3cret@cam/x#fast",
            "rtsps://me:s3cret@cam/x",
            "rtsp://me:s3cret/with/slash@cam/x",
            "rtsp://me:s3cret?with@cam/x",
            "rtsp://me:with?s3cret@cam/x",
            "rtsp://me:s3cret#with@cam/x",
            "rtsp:///x",
            "http://me:s3cret@cam/x#transport=udp",
            "https://me:s3cret@cam/x",
        ] {
            let error = CameraAddress::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
