//! One request to a device over HTTP, bounded in time and size.

use crate::error::CameraFault;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Largest body of an answer.
pub(super) const MAX_BODY_BYTES: usize = 256 * 1024;
/// Largest head of an answer.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// For a whole request and its answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Sends a message to a service and hands back what it answers.
pub(super) async fn post(
    address: SocketAddr,
    path: &str,
    action: &'static str,
    message: String,
) -> Result<(StatusCode, Bytes), CameraFault> {
    let answer = timeout(PATIENCE, exchange(address, path, action, message)).await;
    answer.unwrap_or(Err(CameraFault::Silent { action, seconds: PATIENCE.as_secs() }))
}

async fn exchange(
    address: SocketAddr,
    path: &str,
    action: &'static str,
    message: String,
) -> Result<(StatusCode, Bytes), CameraFault> {
    let stream = TcpStream::connect(address).await.map_err(|source| CameraFault::Unreachable { source })?;
    let request = Request::builder()
        .method(Method::POST)
        .uri(path)
        .header(HOST, address.to_string())
        .header(CONTENT_TYPE, "application/soap+xml; charset=utf-8")
        .body(Full::new(Bytes::from(message)))
        .map_err(|error| not_understood(action, &error))?;
    let mut connection = hyper::client::conn::http1::Builder::new();
    connection.max_buf_size(MAX_HEAD_BYTES);
    let (mut sender, driver) =
        connection.handshake(TokioIo::new(stream)).await.map_err(|error| not_understood(action, &error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| not_understood(action, &error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_BODY_BYTES).collect().await;
        Ok((status, body.map_err(|error| not_understood(action, &*error))?.to_bytes()))
    };
    tokio::pin!(answer, driver);
    tokio::select! {
        answer = &mut answer => answer,
        // The device closed the connection; what it sent before may be all.
        _ = &mut driver => answer.await,
    }
}

fn not_understood(action: &'static str, error: &(impl fmt::Display + ?Sized)) -> CameraFault {
    CameraFault::Protocol { action, what: error.to_string().chars().take(200).collect() }
}
