//! Where a camera is, and who asks it.

use crate::{SourceError, redact};
use percent_encoding::percent_decode_str;
use std::fmt;
use std::sync::Arc;
use url::Url;

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

/// The address of a camera: `rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH[#transport=udp]`.
///
/// What stands behind `#` is for us, and never sent. Shown without user, password and parameters that look like secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct CameraAddress {
    /// Without user, password and fragment.
    pub(super) url: Url,
    pub(super) credentials: Option<Credentials>,
    pub(super) transport: RtspTransport,
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
        if url.scheme() != "rtsp" {
            return Err(refuse("of network streams this build reads rtsp:// only"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refuse("it names no host"));
        }
        let transport = match url.fragment() {
            None | Some("transport=tcp") => RtspTransport::Tcp,
            Some("transport=udp") => RtspTransport::Udp,
            Some(_) => return Err(refuse("behind # only transport=tcp or transport=udp may stand")),
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
        Ok(Self { name: Arc::from(redact(url.as_str())), url, credentials, transport })
    }

    /// Who is named in the address.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
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
            (address.url.as_str(), address.transport),
            ("rtsp://cam:8554/live?token=abc&ch=1", RtspTransport::Udp)
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
        ] {
            let error = CameraAddress::parse(bad).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
