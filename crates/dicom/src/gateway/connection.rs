//! TCP, with TLS or without, and a deadline for everything that is read.

use super::GatewayError;
use openssl::ssl::{
    ErrorCode, HandshakeError, MidHandshakeSslStream, SslAcceptor, SslConnector, SslFiletype, SslMethod, SslStream,
    SslVerifyMode, SslVersion,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// How often a reader looks whether it is to stop.
const SLICE: Duration = Duration::from_millis(250);

/// PEM files of the side that is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Certificate, followed by the chain.
    pub certificate: PathBuf,
    /// Private key.
    pub key: PathBuf,
    /// Callers need a certificate of one of these authorities.
    pub client_authorities: Option<PathBuf>,
}

/// What the calling side trusts and shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Authorities beside those of the system.
    pub authorities: Option<PathBuf>,
    /// Certificate with chain, and key, where the peer asks for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ServerTls {
    pub(super) fn acceptor(&self) -> Result<SslAcceptor, GatewayError> {
        let of = |path: &PathBuf| {
            let path = path.clone();
            move |source| GatewayError::TlsFile { path, source }
        };
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server())?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        builder.set_certificate_chain_file(&self.certificate).map_err(of(&self.certificate))?;
        builder.set_private_key_file(&self.key, SslFiletype::PEM).map_err(of(&self.key))?;
        if let Some(authorities) = &self.client_authorities {
            builder.set_ca_file(authorities).map_err(of(authorities))?;
            builder.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
            builder.set_session_id_context(b"lumenbus-dicom")?;
        }
        Ok(builder.build())
    }
}

impl ClientTls {
    pub(super) fn connector(&self) -> Result<SslConnector, GatewayError> {
        let of = |path: &PathBuf| {
            let path = path.clone();
            move |source| GatewayError::TlsFile { path, source }
        };
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        if let Some(authorities) = &self.authorities {
            builder.set_ca_file(authorities).map_err(of(authorities))?;
        }
        if let Some((certificate, key)) = &self.identity {
            builder.set_certificate_chain_file(certificate).map_err(of(certificate))?;
            builder.set_private_key_file(key, SslFiletype::PEM).map_err(of(key))?;
        }
        Ok(builder.build())
    }
}

enum Socket {
    Plain(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

/// One peer's connection.
pub(super) struct Connection<'a> {
    socket: Socket,
    /// Nothing is read after this.
    end: Option<Instant>,
    is_stopped: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Connection<'a> {
    /// The called side of an accepted connection; a handshake takes at most `idle`.
    pub(super) fn accept(
        socket: TcpStream,
        tls: Option<&SslAcceptor>,
        idle: Duration,
        is_stopped: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Self, GatewayError> {
        prepare(&socket, idle)?;
        let socket = match tls {
            None => Socket::Plain(socket),
            Some(tls) => Socket::Tls(Box::new(handshake(tls.accept(socket), idle, is_stopped)?)),
        };
        Ok(Self { socket, end: None, is_stopped })
    }

    /// The calling side.
    pub(super) fn connect(
        (host, port): (&str, u16),
        tls: Option<&SslConnector>,
        idle: Duration,
        is_stopped: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Self, GatewayError> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        let addresses: Vec<SocketAddr> = (host, port).to_socket_addrs()?.collect();
        for address in addresses {
            let socket = match TcpStream::connect_timeout(&address, idle.min(Duration::from_secs(10))) {
                Ok(socket) => socket,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            prepare(&socket, idle)?;
            let socket = match tls {
                None => Socket::Plain(socket),
                Some(tls) => {
                    let began = tls.configure()?.connect(host, socket);
                    Socket::Tls(Box::new(handshake(began, idle, is_stopped)?))
                }
            };
            return Ok(Self { socket, end: None, is_stopped });
        }
        Err(last.into())
    }

    pub(super) fn end_at(&mut self, end: Instant) {
        self.end = Some(end);
    }

    /// Fills the buffer before the deadline.
    pub(super) fn fill(
        &mut self,
        mut buffer: &mut [u8],
        deadline: Instant,
        waiting_for: &'static str,
    ) -> Result<(), GatewayError> {
        while !buffer.is_empty() {
            let read = match &mut self.socket {
                Socket::Plain(socket) => socket.read(buffer),
                Socket::Tls(socket) => socket.read(buffer),
            };
            match read {
                Ok(0) => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                Ok(length) => buffer = &mut buffer[length..],
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error.into()),
            }
            let now = Instant::now();
            if buffer.is_empty() {
                return Ok(());
            }
            if (self.is_stopped)() {
                return Err(GatewayError::Stopping);
            }
            if self.end.is_some_and(|end| now >= end) {
                return Err(GatewayError::TooLong);
            }
            if now >= deadline {
                return Err(GatewayError::Silent { waiting_for });
            }
        }
        Ok(())
    }

    /// Writes all of it; the socket's own time is the bound.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), GatewayError> {
        match &mut self.socket {
            Socket::Plain(socket) => socket.write_all(bytes)?,
            Socket::Tls(socket) => socket.write_all(bytes)?,
        }
        Ok(())
    }

    /// Says that nothing more comes, and takes what the peer still sends for a moment: a connection closed on unread
    /// bytes is reset, and the peer may lose the last answer.
    pub(super) fn close(&mut self) {
        if let Socket::Tls(socket) = &mut self.socket {
            // The peer may be gone, which is as well.
            socket.shutdown().ok();
        }
        let tcp = match &mut self.socket {
            Socket::Plain(socket) => socket,
            Socket::Tls(socket) => socket.get_mut(),
        };
        tcp.shutdown(std::net::Shutdown::Write).ok();
        let mut rest = [0; 4096];
        let until = Instant::now() + SLICE;
        while Instant::now() < until && tcp.read(&mut rest).is_ok_and(|length| length > 0) {}
    }
}

fn prepare(socket: &TcpStream, idle: Duration) -> io::Result<()> {
    socket.set_nonblocking(false)?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(SLICE))?;
    socket.set_write_timeout(Some(idle))
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

fn handshake(
    mut began: Result<SslStream<TcpStream>, HandshakeError<TcpStream>>,
    idle: Duration,
    is_stopped: &dyn Fn() -> bool,
) -> Result<SslStream<TcpStream>, GatewayError> {
    let deadline = Instant::now() + idle;
    loop {
        let under_way = match began {
            Ok(stream) => return Ok(stream),
            Err(HandshakeError::SetupFailure(error)) => return Err(error.into()),
            Err(HandshakeError::WouldBlock(under_way)) => under_way,
            Err(HandshakeError::Failure(failed)) => return Err(GatewayError::Handshake { what: words(&failed) }),
        };
        if is_stopped() {
            return Err(GatewayError::Stopping);
        }
        if Instant::now() >= deadline {
            return Err(GatewayError::Silent { waiting_for: "a TLS handshake" });
        }
        began = under_way.handshake();
    }
}

fn words(failed: &MidHandshakeSslStream<TcpStream>) -> String {
    let error = failed.error();
    let verified = failed.ssl().verify_result();
    match error.code() {
        ErrorCode::SSL if verified != openssl::x509::X509VerifyResult::OK => verified.error_string().to_owned(),
        ErrorCode::SYSCALL if error.io_error().is_none() => "the peer closed the connection".to_owned(),
        _ => error.to_string(),
    }
}
