//! One POST after the other to one receiver, within bounds of time and bytes.

use super::delivery::{Answer, retry_after};
use crate::doctor::SYSTEM_CAS;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::Request;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderMap, HeaderValue, RETRY_AFTER};
use hyper_util::rt::TokioIo;
use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslMethod};
use openssl::x509::X509VerifyResult;
use openssl::x509::store::X509StoreBuilder;
use std::fmt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_openssl::SslStream;
use url::Url;

/// Largest head of an answer.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Of an answer's body, read so that the connection can be used again; nobody looks at it.
const MAX_BODY_BYTES: usize = 64 * 1024;
/// So long the rest of an answer is waited for whose status is known.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest address.
const MAX_URL_BYTES: usize = 2048;

/// Why events cannot be sent there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// Not an address of the kind that is needed.
    #[error("the receiver's address is wrong: {why}; write https://HOST/PATH or http://HOST:PORT/PATH")]
    Address {
        /// What is wrong with it. The address may hold a token and is not repeated.
        why: String,
    },
    /// The file of certificates cannot be used.
    #[error("cannot read certificates from {path}: {source}; name a PEM file with the receiver's CA")]
    Authorities {
        /// The file.
        path: String,
        /// What OpenSSL says.
        #[source]
        source: ErrorStack,
    },
    /// TLS cannot be set up at all.
    #[error("TLS cannot be set up: {0}")]
    Tls(#[source] ErrorStack),
}

/// Where events go. Path and query may hold a token: they are never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Target {
    url: Url,
    /// Certificates to trust instead of the system's.
    ca_file: Option<PathBuf>,
}

impl Target {
    /// An address with `http` or `https`, and a PEM file to trust instead of the system's certificates.
    ///
    /// # Errors
    /// [`TargetError::Address`] for other schemes, no host, user and password in the address.
    pub fn new(address: &str, ca_file: Option<PathBuf>) -> Result<Self, TargetError> {
        let wrong = |why: &str| TargetError::Address { why: why.to_owned() };
        if address.len() > MAX_URL_BYTES {
            return Err(wrong("it is longer than 2048 bytes"));
        }
        let mut url = Url::parse(address).map_err(|error| wrong(&error.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(wrong("its scheme is neither http nor https"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(wrong("it has no host"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(wrong("it holds a user or a password; receivers know us by the signature"));
        }
        url.set_fragment(None);
        Ok(Self { url, ca_file })
    }

    /// Whether its certificates can be read.
    ///
    /// # Errors
    /// [`TargetError::Authorities`] and [`TargetError::Tls`].
    pub fn check(&self) -> Result<(), TargetError> {
        connector(self.ca_file.as_deref()).map(drop)
    }

    fn is_tls(&self) -> bool {
        self.url.scheme() == "https"
    }

    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']')
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.url.origin().ascii_serialization())
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("origin", &self.to_string()).field("ca_file", &self.ca_file).finish()
    }
}

/// Sends to one receiver, on one connection for as long as the receiver keeps it.
pub(super) struct Client {
    target: Target,
    tls: Option<SslConnector>,
    timeout: Duration,
    connection: Option<Connection>,
}

impl Client {
    pub(super) fn new(target: Target, timeout: Duration) -> Result<Self, TargetError> {
        let tls = target.is_tls().then(|| connector(target.ca_file.as_deref())).transpose()?;
        Ok(Self { target, tls, timeout, connection: None })
    }

    /// One attempt; whatever goes wrong is an answer, too.
    pub(super) async fn post(&mut self, headers: &HeaderMap, body: &Bytes) -> Answer {
        let timeout = self.timeout;
        match tokio::time::timeout(timeout, self.attempt(headers, body)).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(reason)) => Answer::Failed(reason),
            Err(_) => Answer::Failed(format!("did not answer within {timeout:?}")),
        }
    }

    async fn attempt(&mut self, headers: &HeaderMap, body: &Bytes) -> Result<Answer, String> {
        // One that is given up halfway is not used again.
        if let Some(mut open) = self.connection.take()
            && open.sender.ready().await.is_ok()
        {
            let sent = open.sender.send_request(self.request(headers, body)?).await;
            // The receiver may close it in just this moment; then nothing says whether it took the event.
            if let Ok(response) = sent {
                return Ok(self.answer(open, response).await);
            }
        }
        let mut open = self.connect().await?;
        let response = open.sender.send_request(self.request(headers, body)?).await;
        let response = response.map_err(|error| format!("did not answer in HTTP: {error}"))?;
        Ok(self.answer(open, response).await)
    }

    async fn answer(&mut self, open: Connection, response: hyper::Response<hyper::body::Incoming>) -> Answer {
        let code = response.status().as_u16();
        let asked = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let retry_after = asked.and_then(|value| retry_after(value, super::unix_seconds()));
        let rest = Limited::new(response.into_body(), MAX_BODY_BYTES).collect();
        if matches!(tokio::time::timeout(BODY_TIMEOUT, rest).await, Ok(Ok(_))) {
            self.connection = Some(open);
        }
        Answer::Status { code, retry_after }
    }

    fn request(&self, headers: &HeaderMap, body: &Bytes) -> Result<Request<Full<Bytes>>, String> {
        let url = &self.target.url;
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let mut request = Request::post(&url[url::Position::BeforePath..url::Position::AfterQuery])
            .body(Full::new(body.clone()))
            .map_err(|error| error.to_string())?;
        *request.headers_mut() = headers.clone();
        request.headers_mut().insert(HOST, HeaderValue::from_str(host).map_err(|error| error.to_string())?);
        Ok(request)
    }

    async fn connect(&self) -> Result<Connection, String> {
        let (host, port) = (self.target.host(), self.target.url.port_or_known_default().unwrap_or(80));
        let stream = TcpStream::connect((host, port)).await.map_err(|error| format!("cannot be reached: {error}"))?;
        let stream: Box<dyn Stream> = match &self.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(handshake(tls, host, stream).await?),
        };
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES);
        let made = builder.handshake(TokioIo::new(stream)).await;
        let (sender, driver) = made.map_err(|error| format!("did not answer in HTTP: {error}"))?;
        // Its error comes out of the request as well.
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Connection { sender, driver })
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A connection, and the task that drives it.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

async fn handshake(tls: &SslConnector, host: &str, stream: TcpStream) -> Result<SslStream<TcpStream>, String> {
    let ssl = tls.configure().and_then(|configured| configured.into_ssl(host)).map_err(|error| error.to_string())?;
    let mut stream = SslStream::new(ssl, stream).map_err(|error| error.to_string())?;
    let connected = Pin::new(&mut stream).connect().await;
    connected.map_err(|error| match stream.ssl().verify_result() {
        X509VerifyResult::OK => format!("the TLS handshake failed: {error}"),
        why => {
            let why = why.error_string();
            format!("its certificate is not trusted: {why}; name its CA by ca_file (--ca-file)")
        }
    })?;
    Ok(stream)
}

/// Certificates and names are checked.
fn connector(ca_file: Option<&Path>) -> Result<SslConnector, TargetError> {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).map_err(TargetError::Tls)?;
    let loaded = match ca_file {
        Some(path) => {
            let none = X509StoreBuilder::new().map_err(TargetError::Tls)?.build();
            builder.set_cert_store(none);
            Some(path)
        }
        None => SYSTEM_CAS.into_iter().map(Path::new).find(|path| path.exists()),
    };
    if let Some(path) = loaded {
        let failed = |source| TargetError::Authorities { path: path.display().to_string(), source };
        builder.set_ca_file(path).map_err(failed)?;
    }
    Ok(builder.build())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_their_tokens_not_shown() {
        let target = |address: &str| Target::new(address, None);
        for (address, shown) in [
            ("https://hooks.example/T0/B0/token?key=secret#x", "https://hooks.example"),
            ("http://127.0.0.1:8080/hook", "http://127.0.0.1:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            let target = target(address).unwrap();
            assert_eq!(target.to_string(), shown);
            assert!(!format!("{target:?}").contains("token"), "{target:?}");
        }
        assert_eq!(target("http://[::1]:8080").unwrap().host(), "::1");
        let long = format!("http://a/{}", "x".repeat(MAX_URL_BYTES));
        for wrong in
            ["", "hook", "ftp://a/b", "http://", "https://token@a/b", "https://me:token@a/b", "file:///token", &long]
        {
            let error = target(wrong).unwrap_err().to_string();
            assert!(error.contains("https://HOST/PATH") && !error.contains("token"), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_file_without_certificates_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "no certificate").unwrap();
        for path in [file, folder.path().join("absent.pem")] {
            let target = Target::new("https://a/b", Some(path.clone())).unwrap();
            let error = Client::new(target, Duration::from_secs(1)).err().unwrap();
            assert!(error.to_string().contains(&path.display().to_string()), "{error}");
        }
    }
}
