//! `/metrics`, `/healthz` and `/readyz`.

use crate::health::{State as Condition, are_ready};
use crate::{Health, Metrics};
use axum::Router;
use axum::extract::State;
use axum::http::{Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tower::ServiceExt as _;

/// What Prometheus's text format is called.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Scrapers and probes at the same time; further ones are closed at once.
const MAX_CONNECTIONS: usize = 64;
/// Longest wait for the header of a request, also of the next one on a connection.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection ends after this long whatever it does: one that takes no answer would keep its place for ever.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// After a connection could not be accepted: no event tells when a file descriptor becomes free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why the endpoint cannot be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HttpError {
    /// The address is taken or not ours.
    #[error("cannot listen on {address} for metrics: {source}; choose another --metrics address")]
    Listen {
        /// As asked for.
        address: SocketAddr,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// No thread or no event loop.
    #[error("cannot start the metrics server; check the limits of processes and open files")]
    Start(#[source] io::Error),
}

/// The routes, for a server that somebody else runs.
///
/// `/healthz` answers 200 while the process can answer at all; `/readyz` answers 200 when every component works, else
/// 503; both say in JSON how each component is.
pub fn routes(metrics: Metrics, health: Health) -> Router {
    Router::new()
        .route("/metrics", get(scrape).with_state(metrics))
        .route("/healthz", get(alive).with_state(health.clone()))
        .route("/readyz", get(ready).with_state(health))
}

async fn scrape(State(metrics): State<Metrics>) -> Response {
    // Collectors take locks of the threads that carry frames.
    let text = tokio::task::spawn_blocking(move || metrics.encode()).await;
    match text {
        Ok(text) => ([(header::CONTENT_TYPE, TEXT_FORMAT)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "a collector of metrics failed\n").into_response(),
    }
}

async fn alive(State(health): State<Health>) -> Response {
    report(StatusCode::OK, "alive", &components(health).await)
}

async fn ready(State(health): State<Health>) -> Response {
    let components = components(health).await;
    match are_ready(&components) {
        true => report(StatusCode::OK, "ready", &components),
        false => report(StatusCode::SERVICE_UNAVAILABLE, "not ready", &components),
    }
}

/// Some are asked, which may take as long as a disk does.
async fn components(health: Health) -> BTreeMap<String, Condition> {
    let asked = tokio::task::spawn_blocking(move || health.components()).await;
    asked.unwrap_or_else(|_| BTreeMap::from([("health".to_owned(), Condition::Failed("a probe failed".to_owned()))]))
}

fn report(code: StatusCode, status: &str, components: &BTreeMap<String, Condition>) -> Response {
    let body = json!({ "status": status, "components": components });
    (code, [(header::CACHE_CONTROL, "no-store")], axum::Json(body)).into_response()
}

/// A server of a few routes on a thread of its own; it ends when this is dropped.
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails when the server has ended, which is as well.
        if let Some(stop) = self.stop.take() {
            stop.send(()).ok();
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the metrics server panicked");
        }
    }
}

/// Serves the routes on this address, for commands without a viewer.
///
/// # Errors
/// An address that cannot be listened on; no thread.
pub fn serve(listen: SocketAddr, routes: Router) -> Result<Server, HttpError> {
    let refused = |source| HttpError::Listen { address: listen, source };
    let listener = std::net::TcpListener::bind(listen).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(HttpError::Start)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let run = move || {
        runtime.block_on(async {
            let listener = match TcpListener::from_std(listener) {
                Ok(listener) => listener,
                Err(error) => return tracing::error!(%error, "the metrics server cannot use its socket"),
            };
            // Connections that are open when it ends are cut: a scraper asks again.
            tokio::select! {
                () = accept(listener, routes) => {}
                _ = stopped => {}
            }
        });
        runtime.shutdown_background();
    };
    let thread =
        std::thread::Builder::new().name("lumenbus-metrics".to_owned()).spawn(run).map_err(HttpError::Start)?;
    Ok(Server { address, stop: Some(stop), thread: Some(thread) })
}

async fn accept(listener: TcpListener, routes: Router) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "the metrics server cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
        let routes = routes.clone();
        tokio::spawn(async move {
            tokio::time::timeout(CONNECTION_TIMEOUT, answer(stream, routes)).await.ok();
            drop(place);
        });
    }
}

async fn answer(stream: TcpStream, routes: Router) {
    let service = service_fn(|request: Request<hyper::body::Incoming>| routes.clone().oneshot(request));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_header_size(MAX_HEADER_BYTES);
    if let Err(error) = http.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection to the metrics server ended");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::State as Component;
    use std::io::{Read as _, Write as _};
    use std::net::TcpStream;

    fn ask(address: SocketAddr, path: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn alive_is_not_ready() {
        let health = Health::new();
        let server = serve("127.0.0.1:0".parse().unwrap(), routes(Metrics::new(), health.clone())).unwrap();
        let address = server.addr();
        assert!(ask(address, "/healthz").starts_with("HTTP/1.1 200"));
        assert!(ask(address, "/readyz").starts_with("HTTP/1.1 503"));
        health.set("broker", Component::Ok);
        assert!(ask(address, "/readyz").starts_with("HTTP/1.1 200"));
        health.set("broker", Component::Failed("no broker".to_owned()));
        let answer = ask(address, "/readyz");
        assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("\"reason\":\"no broker\""), "{answer}");
        let answer = ask(address, "/metrics");
        assert!(answer.contains("text/plain; version=0.0.4") && answer.contains("process_open_fds"), "{answer}");
        assert!(ask(address, "/other").starts_with("HTTP/1.1 404"));
        drop(server);
        assert!(TcpStream::connect(address).is_err(), "it has ended");
    }

    #[test]
    fn answered_connections_give_their_places_back() {
        let server = serve("127.0.0.1:0".parse().unwrap(), routes(Metrics::new(), Health::new())).unwrap();
        for round in 0..5 * MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(server.addr()).unwrap();
            write!(stream, "GET /healthz HTTP/1.0\r\nHost: {}\r\nContent-Length: 0\r\n\r\n", server.addr()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.0 200"), "{round}: {answer}");
        }
    }

    #[test]
    fn connections_that_say_nothing_take_their_places_only() {
        let server = serve("127.0.0.1:0".parse().unwrap(), routes(Metrics::new(), Health::new())).unwrap();
        let silent: Vec<_> = (0..MAX_CONNECTIONS).map(|_| TcpStream::connect(server.addr()).unwrap()).collect();
        let mut refused = TcpStream::connect(server.addr()).unwrap();
        // An error is a closed connection as well.
        assert_eq!(refused.read(&mut [0]).unwrap_or(0), 0, "one too many is closed");
        drop(silent);
        // Places become free as the server sees the others go.
        let (mut answer, request) = (String::new(), "GET /healthz HTTP/1.0\r\n\r\n");
        while !answer.starts_with("HTTP/1.0 200") {
            answer.clear();
            let mut stream = TcpStream::connect(server.addr()).unwrap();
            let asked = stream.write_all(request.as_bytes()).and_then(|()| stream.read_to_string(&mut answer));
            assert!(asked.is_err() || answer.is_empty() || answer.starts_with("HTTP/1.0 200"), "{answer}");
        }
    }

    #[test]
    fn a_port_in_use_is_named() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let error = serve(taken.local_addr().unwrap(), Router::new()).unwrap_err().to_string();
        assert!(error.contains(&taken.local_addr().unwrap().to_string()) && error.contains("--metrics"), "{error}");
    }
}
