//! One connection: requests are answered one after the other, in the order they came.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use super::Server;
use super::access::Peer;
use super::dispatch::{self, BadRequest};
use super::statistics::add;
use super::wire::{self, FrameReader, WireError};

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    #[error(transparent)]
    Wire(#[from] WireError),
    #[error(transparent)]
    BadRequest(#[from] BadRequest),
    #[error("the broker is stopping")]
    Stopping,
}

impl Ended {
    /// Whether an operator should see it: the peer did what no client should, or
    /// was dropped in the middle.
    pub(crate) fn is_suspicious(&self) -> bool {
        match self {
            Self::Wire(WireError::TooLarge { .. } | WireError::TooShort { .. }) => true,
            Self::Wire(WireError::Stalled(_) | WireError::TooSlow { .. } | WireError::Crowded(_)) => true,
            Self::BadRequest(_) => true,
            Self::Wire(_) | Self::Stopping => false,
        }
    }
}

/// Serves a connection until one side ends it. The streams may be anything that carries bytes, so
/// encryption goes below this.
pub(crate) async fn serve<R, W>(server: Arc<Server>, peer: Peer, reader: R, mut writer: W) -> Ended
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let limits = Arc::clone(&server.limits);
    let mut requests = FrameReader::new(reader, limits, Arc::clone(&server.request_budget));
    loop {
        if let Err(ended) = exchange(&server, &peer, &mut requests, &mut writer).await {
            if matches!(ended, Ended::BadRequest(_)) {
                add(&server.counters.bad_requests, 1);
            }
            return ended;
        }
    }
}

async fn exchange<R, W>(
    server: &Server,
    peer: &Peer,
    requests: &mut FrameReader<R>,
    writer: &mut W,
) -> Result<(), Ended>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let frame = tokio::select! {
        biased;
        frame = requests.next() => frame?,
        () = server.stopping() => return Err(Ended::Stopping),
    };
    add(&server.counters.received_bytes, frame.bytes.len());
    // Only answers that wait for something (a fetch, a group) are still pending when the watch for
    // a closed connection gets its turn; giving those up loses nothing.
    // A fetch answers by itself when the broker stops.
    let reply = tokio::select! {
        biased;
        reply = dispatch::answer(server, peer, frame.bytes.clone()) => reply?,
        closed = requests.watch_for_close() => return Err(closed.into()),
        () = server.stopping() => return Err(Ended::Stopping),
    };
    drop(frame);
    if let Some(reply) = reply {
        add(&server.counters.sent_bytes, reply.len());
        wire::write(writer, reply, &server.limits).await?;
    }
    Ok(())
}
