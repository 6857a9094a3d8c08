//! Connections: how many, how long, plain or encrypted.

use super::timed::TimedWrites;
use crate::config::Limits;
use axum::Router;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use openssl::ssl::{Ssl, SslAcceptor};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_openssl::SslStream;
use tower::ServiceExt as _;

/// Longest header of a request, with its first line.
const MAX_HEADER_BYTES: usize = 16 * 1024;
const MAX_HEADERS: usize = 64;
/// Refused connections that are told so at the same time; further ones are just closed.
const MAX_REFUSALS: usize = 64;
const REFUSAL_TIME: Duration = Duration::from_secs(2);
/// After a connection could not be accepted: out of file descriptors, most likely. The system has no event for one that
/// becomes free, in this process or another, and a listener with a waiting connection stays ready: without a pause the
/// loop would only spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const TLS_HANDSHAKE: u8 = 0x16;

const FULL: Fixed = Fixed {
    status: "503 Service Unavailable",
    kind: "application/json",
    body: r#"{"error":{"code":"too-many-connections","message":"the viewer serves no more of them; try again later"}}"#,
};
const NOT_TLS: Fixed = Fixed {
    status: "400 Bad Request",
    kind: "text/plain",
    body: "This port speaks HTTPS: open it with https:// in front.\n",
};

/// An answer given before anything was understood.
#[derive(Clone, Copy)]
struct Fixed {
    status: &'static str,
    kind: &'static str,
    body: &'static str,
}

impl Fixed {
    fn bytes(self) -> Vec<u8> {
        let Self { status, kind, body } = self;
        let length = body.len();
        format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// The other side of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

/// A connection's place; a WebSocket takes it along.
pub(crate) type Permit = Arc<OwnedSemaphorePermit>;

/// Accepts connections until told to stop.
pub(crate) struct Server {
    router: Router,
    tls: Option<SslAcceptor>,
    limits: Limits,
    closing: watch::Receiver<bool>,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

impl Server {
    pub(crate) fn new(
        router: Router,
        tls: Option<SslAcceptor>,
        limits: Limits,
        closing: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let places = Arc::new(Semaphore::new(limits.connections));
        let refusals = Arc::new(Semaphore::new(MAX_REFUSALS));
        Arc::new(Self { router, tls, limits, closing, places, refusals })
    }

    pub(crate) async fn run(self: Arc<Self>, listener: TcpListener) {
        let mut closing = self.closing.clone();
        let mut is_told = false;
        loop {
            let accepted = tokio::select! {
                _ = closing.wait_for(|is_closing| *is_closing) => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    is_told = false;
                    self.admit(stream, Peer(peer));
                }
                Err(error) => {
                    if !std::mem::replace(&mut is_told, true) {
                        tracing::warn!("the viewer cannot accept connections: {error}");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn admit(self: &Arc<Self>, stream: TcpStream, peer: Peer) {
        // Frames are written whole; waiting for more would only delay them.
        stream.set_nodelay(true).ok();
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            let server = Arc::clone(self);
            tokio::spawn(async move {
                if let Err(error) = server.serve(stream, Arc::new(place), peer).await {
                    tracing::debug!("a viewer's connection ended: {error}");
                }
            });
        } else if let Ok(turn) = Arc::clone(&self.refusals).try_acquire_owned() {
            tokio::spawn(async move {
                tokio::time::timeout(REFUSAL_TIME, refuse(stream, FULL)).await.ok();
                drop(turn);
            });
        }
    }

    async fn serve(&self, stream: TcpStream, place: Permit, peer: Peer) -> io::Result<()> {
        let Some(acceptor) = &self.tls else {
            return self.speak(stream, place, peer).await;
        };
        let handshake = async {
            let mut first = [0];
            if stream.peek(&mut first).await? == 0 {
                return Ok(None);
            }
            if first[0] != TLS_HANDSHAKE {
                refuse(stream, NOT_TLS).await?;
                return Ok(None);
            }
            let mut stream = SslStream::new(Ssl::new(acceptor.context())?, stream)?;
            Pin::new(&mut stream).accept().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>(Some(stream))
        };
        match tokio::time::timeout(self.limits.header_timeout, handshake).await?? {
            Some(stream) => self.speak(stream, place, peer).await,
            None => Ok(()),
        }
    }

    async fn speak<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        io: T,
        place: Permit,
        peer: Peer,
    ) -> io::Result<()> {
        let io = TokioIo::new(TimedWrites::new(io, self.limits.send_timeout));
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(Arc::clone(&place));
            request.extensions_mut().insert(peer);
            self.router.clone().oneshot(request)
        });
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_headers(MAX_HEADERS)
            .max_header_size(MAX_HEADER_BYTES);
        let connection = http.serve_connection(io, service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let mut closing = self.closing.clone();
        tokio::select! {
            done = connection.as_mut() => return done.map_err(io::Error::other),
            _ = closing.wait_for(|is_closing| *is_closing) => connection.as_mut().graceful_shutdown(),
        }
        connection.await.map_err(io::Error::other)
    }
}

/// Reads what the client has to say first: closing over unread bytes would take the answer away again.
async fn refuse(mut stream: TcpStream, answer: Fixed) -> io::Result<()> {
    let mut request = [0; 4_096];
    let _ = stream.read(&mut request).await?;
    stream.write_all(&answer.bytes()).await?;
    stream.shutdown().await
}
