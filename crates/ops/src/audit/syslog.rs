//! Records as syslog messages (RFC 5424) over TLS with octet counting (RFC 5425).
//!
//! A record with a DICOM message travels as that message (MSGID `DICOM+RFC3881`, PS3.15 A.6), any other as JSON.

use super::key::hex;
use super::{AuditBody, Outcome, to_json};
use openssl::ssl::{HandshakeError, ShutdownResult, SslConnector, SslFiletype, SslMethod, SslStream, SslVersion};
use openssl::x509::X509VerifyResult;
use std::fmt;
use std::io::{self, Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

/// Facility 10: security and authorisation (RFC 5424, table 1).
const FACILITY: u8 = 10;
/// Port of syslog over TLS (RFC 5425, section 4.1).
const PORT: u16 = 6514;
/// Enterprise number of the structured data: the one for documentation (RFC 5612), as the project has none of its own.
const STRUCTURED_DATA_ID: &str = "lumenbus@32473";
/// Longest connection attempt, and longest wait for the other side to take or say something.
const CONNECT: Duration = Duration::from_secs(10);
const STALL: Duration = Duration::from_secs(30);

/// The message of a record, without its length.
#[must_use]
pub fn message(body: &AuditBody, hash: &[u8], offset: u64) -> Vec<u8> {
    // Warning, error, critical; notice for what went well (PS3.15 A.6).
    let severity = match body.outcome {
        Outcome::MinorFailure => 4,
        Outcome::SeriousFailure => 3,
        Outcome::MajorFailure => 2,
        _ => 5,
    };
    let time = jiff::Timestamp::from_nanosecond(i128::from(body.unix_nanos)).unwrap_or_default();
    let (id, text) = if body.dicom_message.is_empty() {
        ("lumenbus-audit", to_json(body, hash, offset).to_string())
    } else {
        ("DICOM+RFC3881", body.dicom_message.clone())
    };
    let header = format!(
        "<{}>1 {time:.6} {} {} - {id} [{STRUCTURED_DATA_ID} instance=\"{}\" sequence=\"{}\" hash=\"{}\" what=\"{}\" outcome=\"{}\"] ",
        FACILITY * 8 + severity,
        name(&body.host, 255),
        name(body.program.split_whitespace().next().unwrap_or(""), 48),
        body.instance,
        body.sequence,
        hex(hash),
        body.action,
        body.outcome,
    );
    // The mark says that what follows is UTF-8 (RFC 5424, section 6.4).
    [header.as_bytes(), b"\xef\xbb\xbf", text.as_bytes()].concat()
}

/// With its length before it (RFC 5425, section 4.3).
#[must_use]
pub fn frame(message: &[u8]) -> Vec<u8> {
    [format!("{} ", message.len()).as_bytes(), message].concat()
}

/// A field of the header: printable ASCII without blanks; `-` where there is none.
fn name(text: &str, limit: usize) -> String {
    let clean: String = text.chars().filter(char::is_ascii_graphic).take(limit).collect();
    if clean.is_empty() { "-".to_owned() } else { clean }
}

/// Where messages go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyslogTarget {
    /// Name or address; the certificate has to be for it.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Certificates to trust instead of the system's, PEM.
    pub ca: Option<PathBuf>,
    /// Own certificate with its chain, and its key, PEM.
    pub client: Option<(PathBuf, PathBuf)>,
}

impl FromStr for SyslogTarget {
    type Err = String;

    /// `syslog+tls://HOST[:PORT]`
    fn from_str(text: &str) -> Result<Self, String> {
        // The text may hold a password, so it is not shown.
        let wrong =
            || format!("this is no place for messages; write syslog+tls://HOST:PORT (the usual port is {PORT})");
        let url = url::Url::parse(text).map_err(|_| wrong())?;
        let is_plain = url.username().is_empty() && url.password().is_none() && matches!(url.path(), "" | "/");
        if url.scheme() != "syslog+tls" || !is_plain || url.query().is_some() {
            return Err(wrong());
        }
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: url.port().unwrap_or(PORT), ca: None, client: None })
    }
}

impl fmt::Display for SyslogTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "syslog+tls://{}:{}", self.host, self.port)
    }
}

/// A connection to a receiver.
#[derive(Debug)]
pub struct SyslogConnection {
    stream: SslStream<TcpStream>,
}

impl SyslogConnection {
    /// Connects and checks the receiver's certificate.
    ///
    /// # Errors
    /// What the network or TLS says; [`io::ErrorKind::InvalidInput`] for files that cannot be used.
    pub fn open(target: &SyslogTarget) -> io::Result<Self> {
        let connector = connector(target)?;
        let tcp = connect(target)?;
        let stream = connector.connect(&target.host, tcp).map_err(|error| match error {
            HandshakeError::Failure(stream) => {
                let verified = stream.ssl().verify_result();
                let why = if verified == X509VerifyResult::OK {
                    stream.error().to_string()
                } else {
                    format!("its certificate is refused: {}", verified.error_string())
                };
                io::Error::new(io::ErrorKind::ConnectionRefused, why)
            }
            other => io::Error::new(io::ErrorKind::ConnectionRefused, other.to_string()),
        })?;
        Ok(Self { stream })
    }

    /// Sends a message. That it was sent says nothing of whether it was taken: the protocol has no answers.
    ///
    /// # Errors
    /// A connection that is gone.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(&frame(message))
    }

    /// Ends the connection as TLS has it, and waits until the receiver has closed its side: then it has read everything.
    ///
    /// # Errors
    /// A receiver that does not close, or a connection that broke.
    pub fn finish(mut self) -> io::Result<()> {
        self.stream.flush()?;
        let into_io = |error: openssl::ssl::Error| error.into_io_error().unwrap_or_else(io::Error::other);
        // The first call sends our end.
        if self.stream.shutdown().map_err(into_io)? == ShutdownResult::Received {
            return Ok(());
        }
        self.stream.get_ref().shutdown(std::net::Shutdown::Write)?;
        let mut rest = [0; 1024];
        loop {
            match self.stream.get_mut().read(&mut rest) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

fn connector(target: &SyslogTarget) -> io::Result<SslConnector> {
    let unusable = |path: &Path, error: openssl::error::ErrorStack| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("{}: {error}", path.display()))
    };
    let mut builder = SslConnector::builder(SslMethod::tls_client())?;
    builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
    if let Some(ca) = &target.ca {
        builder.set_ca_file(ca).map_err(|error| unusable(ca, error))?;
    }
    if let Some((certificate, key)) = &target.client {
        builder.set_certificate_chain_file(certificate).map_err(|error| unusable(certificate, error))?;
        builder.set_private_key_file(key, SslFiletype::PEM).map_err(|error| unusable(key, error))?;
        builder.check_private_key().map_err(|error| unusable(key, error))?;
    }
    Ok(builder.build())
}

fn connect(target: &SyslogTarget) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (target.host.as_str(), target.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(tcp) => {
                tcp.set_nodelay(true)?;
                tcp.set_read_timeout(Some(STALL))?;
                tcp.set_write_timeout(Some(STALL))?;
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Action, ActorKind};

    fn body() -> AuditBody {
        AuditBody {
            instance: "gateway-1".to_owned(),
            sequence: 3,
            previous: Some([1; 32]),
            public_key: None,
            unix_nanos: 1_750_000_012_345_678_901,
            actor_kind: ActorKind::AeTitle,
            actor: "CT 1".to_owned(),
            program: "lumenbus 0.1.0".to_owned(),
            host: "ward 3".to_owned(),
            peer: String::new(),
            action: Action::Receive,
            object_kind: None,
            object: String::new(),
            outcome: Outcome::SeriousFailure,
            reason: String::new(),
            details: Vec::new(),
            lost_before: 0,
            dicom_message: "<AuditMessage/>".to_owned(),
        }
    }

    #[test]
    fn a_message_is_as_the_standards_say() {
        let text = String::from_utf8(message(&body(), &[0xab; 32], 9)).unwrap();
        let hash = "ab".repeat(32);
        let expected = format!(
            "<83>1 2025-06-15T15:06:52.345678Z ward3 lumenbus - DICOM+RFC3881 [lumenbus@32473 instance=\"gateway-1\" sequence=\"3\" hash=\"{hash}\" what=\"receive\" outcome=\"serious-failure\"] \u{feff}<AuditMessage/>"
        );
        assert_eq!(text, expected);
        let plain = message(&AuditBody { dicom_message: String::new(), ..body() }, &[0; 32], 9);
        let plain = String::from_utf8(plain).unwrap();
        let (_, json) = plain.split_once('\u{feff}').unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(json).unwrap()["who"], "CT 1");
        assert_eq!(frame(b"abc"), b"3 abc");
    }

    #[test]
    fn a_target_is_named_by_a_url() {
        let target: SyslogTarget = "syslog+tls://logs.example".parse().unwrap();
        assert_eq!((target.host.as_str(), target.port), ("logs.example", 6514));
        let target: SyslogTarget = "syslog+tls://[::1]:1514".parse().unwrap();
        assert_eq!((target.host.as_str(), target.port), ("::1", 1514));
        for wrong in ["logs:6514", "syslog://a:1", "syslog+tls://u:p@a:1", "syslog+tls://", "syslog+tls://a/b"] {
            let error = wrong.parse::<SyslogTarget>().unwrap_err();
            assert!(!error.contains("u:p"), "{error}");
        }
    }
}
