//! Requests in, responses out: length-prefixed frames over any byte stream.
//!
//! A request's buffer grows with the bytes that arrive, never with the length that was announced.
//! A response is a list of slices written with vectored writes, so record bytes go from the log's
//! buffer to the socket without being gathered into one growing buffer first.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages::ApiKey;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::config::Limits;

/// Requests other than Produce carry names and numbers; none needs more.
pub(crate) const MAX_CONTROL_REQUEST_BYTES: usize = 8 << 20;
/// API key, version, correlation id and the length of the client id.
const MIN_FRAME_BYTES: usize = 10;
const LENGTH_BYTES: usize = 4;
/// Room for the small requests that make up most of the traffic.
const SMALL_READ_BYTES: usize = 8 << 10;
/// First room for a large request; after that the buffer doubles with what has arrived.
const FIRST_GROWTH_BYTES: usize = 64 << 10;
/// Bytes of the following requests read while one is being answered.
const READ_AHEAD_BYTES: usize = 64 << 10;
/// Requests above this size, and answers from this size on, share the broker-wide budgets.
const LARGE_BYTES: usize = 1 << 20;
/// Unit of the broker-wide budgets, so that they fit the semaphore's 32-bit counts.
const BUDGET_UNIT_BYTES: usize = 1 << 10;
/// A connection that has been quiet this long gives its read buffer back.
const BUFFER_KEPT: Duration = Duration::from_secs(5);
/// Slices handed to one vectored write.
const MAX_SLICES: usize = 64;

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the peer closed the connection")]
    Closed,
    #[error("nothing was heard for {0:?}")]
    Idle(Duration),
    #[error("the peer stopped in the middle of a request or a response for {0:?}")]
    Stalled(Duration),
    #[error("a request of {bytes} bytes is announced; the limit for it is {limit} bytes")]
    TooLarge { bytes: i64, limit: usize },
    #[error("a request of {bytes} bytes is too short to be one")]
    TooShort { bytes: i64 },
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// One request as it came, without its length.
#[derive(Debug)]
pub(crate) struct Frame {
    /// Header and body.
    pub(crate) bytes: Bytes,
    /// A large request's share of the budget, given back when the request has been answered.
    _budget: Option<OwnedSemaphorePermit>,
}

/// The budget that requests above [`LARGE_BYTES`] share.
pub(crate) fn request_budget(limits: &Limits) -> Arc<Semaphore> {
    let bytes = limits.large_request_budget_bytes.max(limits.max_request_bytes);
    Arc::new(Semaphore::new(budget_units(bytes)))
}

/// The budget that the answers to fetches share.
pub(crate) fn answer_budget(limits: &Limits) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(budget_units(limits.answer_budget_bytes)))
}

/// What the next answer may hold: what the others leave, but always enough to go on.
pub(crate) fn room_for_answer(budget: &Semaphore) -> usize {
    budget.available_permits().saturating_mul(BUDGET_UNIT_BYTES).max(LARGE_BYTES)
}

/// Takes an answer's share; small answers need none, and one that finds none left was kept small.
pub(crate) fn hold_for_answer(budget: &Arc<Semaphore>, bytes: usize) -> Option<OwnedSemaphorePermit> {
    let units = u32::try_from(budget_units(bytes)).ok()?;
    let is_large = bytes >= LARGE_BYTES;
    is_large.then(|| Arc::clone(budget).try_acquire_many_owned(units).ok()).flatten()
}

fn budget_units(bytes: usize) -> usize {
    bytes.div_ceil(BUDGET_UNIT_BYTES).min(Semaphore::MAX_PERMITS)
}

/// Cuts requests out of a byte stream. Every method is cancel safe.
#[derive(Debug)]
pub(crate) struct FrameReader<R> {
    stream: R,
    buffer: BytesMut,
    limits: Arc<Limits>,
    budget: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, limits: Arc<Limits>, budget: Arc<Semaphore>) -> Self {
        Self { stream, buffer: BytesMut::new(), limits, budget, held: None }
    }

    /// The next request, in the order they were sent.
    pub(crate) async fn next(&mut self) -> Result<Frame, WireError> {
        loop {
            let announced = self.announced()?;
            if let Some(length) = announced {
                if self.buffer.len() >= length {
                    return Ok(self.cut(length));
                }
                self.reserve_budget(length).await?;
            }
            self.make_room(announced);
            self.read_some().await?;
        }
    }

    /// Reads a little ahead while a request is being answered; ends only when the peer is gone.
    pub(crate) async fn watch_for_close(&mut self) -> WireError {
        while self.buffer.len() < READ_AHEAD_BYTES {
            self.buffer.reserve(SMALL_READ_BYTES);
            match self.stream.read_buf(&mut self.buffer).await {
                Ok(0) => return WireError::Closed,
                Ok(_) => {}
                Err(source) => return source.into(),
            }
        }
        std::future::pending().await
    }

    /// Length of the request at the front of the buffer including its prefix, once it is known
    /// and was found acceptable.
    fn announced(&self) -> Result<Option<usize>, WireError> {
        let mut front = &self.buffer[..];
        let (Ok(length), Ok(key)) = (front.try_get_i32(), front.try_get_i16()) else {
            return Ok(None);
        };
        let limit = if key == ApiKey::Produce as i16 {
            self.limits.max_request_bytes
        } else {
            MAX_CONTROL_REQUEST_BYTES.min(self.limits.max_request_bytes)
        };
        let bytes = i64::from(length);
        match usize::try_from(length) {
            Ok(length) if length > limit => Err(WireError::TooLarge { bytes, limit }),
            Ok(length) if length >= MIN_FRAME_BYTES => Ok(Some(length + LENGTH_BYTES)),
            _ => Err(WireError::TooShort { bytes }),
        }
    }

    fn cut(&mut self, length: usize) -> Frame {
        let mut bytes = self.buffer.split_to(length).freeze();
        bytes.advance(LENGTH_BYTES);
        Frame { bytes, _budget: self.held.take() }
    }

    /// Waits until a large request fits into what all large requests together may hold.
    async fn reserve_budget(&mut self, length: usize) -> Result<(), WireError> {
        if length <= LARGE_BYTES || self.held.is_some() {
            return Ok(());
        }
        let units = u32::try_from(budget_units(length)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.budget).acquire_many_owned(units).await;
        self.held = Some(permit.map_err(|_| WireError::Closed)?);
        Ok(())
    }

    fn make_room(&mut self, announced: Option<usize>) {
        let room = match announced {
            Some(length) => {
                let missing = length - self.buffer.len();
                missing.min(self.buffer.len().max(FIRST_GROWTH_BYTES))
            }
            None => SMALL_READ_BYTES,
        };
        self.buffer.reserve(room);
    }

    async fn read_some(&mut self) -> Result<(), WireError> {
        let patience = if self.buffer.is_empty() { self.limits.idle_timeout } else { self.limits.stall_timeout };
        let kept = patience.min(BUFFER_KEPT);
        let read = match timeout(kept, self.stream.read_buf(&mut self.buffer)).await {
            Ok(read) => read?,
            Err(_) => self.read_patiently(patience, patience - kept).await?,
        };
        if read == 0 {
            return Err(WireError::Closed);
        }
        Ok(())
    }

    async fn read_patiently(&mut self, patience: Duration, remaining: Duration) -> Result<usize, WireError> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::with_capacity(SMALL_READ_BYTES);
        }
        let read = timeout(remaining, self.stream.read_buf(&mut self.buffer)).await;
        match read {
            Ok(read) => Ok(read?),
            Err(_) if self.buffer.is_empty() => Err(WireError::Idle(patience)),
            Err(_) => Err(WireError::Stalled(patience)),
        }
    }
}

/// One response, ready to be written: slices in order, the length prefix included.
#[derive(Debug, Default)]
pub(crate) struct Reply {
    slices: VecDeque<Bytes>,
    /// A large answer's share of the budget, given back when it has been written.
    _budget: Option<OwnedSemaphorePermit>,
    is_failure: bool,
}

impl Reply {
    /// A response of several slices; the first must begin with room for the length prefix, which
    /// is filled in here.
    pub(crate) fn framed(mut head: BytesMut, tail: impl IntoIterator<Item = Bytes>) -> Self {
        let mut slices: VecDeque<Bytes> = tail.into_iter().filter(|s| !s.is_empty()).collect();
        let length = head.len() - LENGTH_BYTES + slices.iter().map(Bytes::len).sum::<usize>();
        let length = i32::try_from(length).expect("responses are bounded far below 2 GiB");
        head[..LENGTH_BYTES].copy_from_slice(&length.to_be_bytes());
        slices.push_front(head.freeze());
        Self { slices, _budget: None, is_failure: false }
    }

    /// The same response with its share of the budget for answers.
    pub(crate) fn holding(self, budget: Option<OwnedSemaphorePermit>) -> Self {
        Self { _budget: budget, ..self }
    }

    /// The same response, with whether it tells of an error.
    pub(crate) fn failing(self, is_failure: bool) -> Self {
        Self { is_failure, ..self }
    }

    pub(crate) fn is_failure(&self) -> bool {
        self.is_failure
    }

    /// Bytes of it that are still to be written.
    pub(crate) fn len(&self) -> usize {
        self.slices.iter().map(Bytes::len).sum()
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(front) = self.slices.front_mut() {
            if written < front.len() {
                front.advance(written);
                return;
            }
            written -= front.len();
            self.slices.pop_front();
        }
    }
}

/// Writes a response; gives up on a peer that takes nothing for `stall`.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    stream: &mut W,
    mut reply: Reply,
    stall: Duration,
) -> Result<(), WireError> {
    while !reply.slices.is_empty() {
        let written = {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut used = 0;
            for (slot, bytes) in slices.iter_mut().zip(&reply.slices) {
                *slot = IoSlice::new(bytes);
                used += 1;
            }
            timeout(stall, stream.write_vectored(&slices[..used])).await.map_err(|_| WireError::Stalled(stall))??
        };
        if written == 0 {
            return Err(WireError::Closed);
        }
        reply.advance(written);
    }
    Ok(stream.flush().await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader<R: AsyncRead + Unpin>(stream: R, limits: Limits) -> FrameReader<R> {
        let budget = request_budget(&limits);
        FrameReader::new(stream, Arc::new(limits), budget)
    }

    fn frame(key: i16, body: usize) -> Vec<u8> {
        let length = i32::try_from(body).unwrap();
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend(key.to_be_bytes());
        bytes.resize(4 + body, 0xab);
        bytes
    }

    #[tokio::test]
    async fn frames_come_out_in_order_however_they_were_cut() {
        let (mut ours, theirs) = tokio::io::duplex(7);
        let mut sent = frame(3, 10);
        sent.extend(frame(0, 200_000));
        sent.extend(frame(18, 33));
        let writer = tokio::spawn(async move { ours.write_all(&sent).await });
        let mut reader = reader(theirs, Limits::default());
        for expected in [10, 200_000, 33] {
            assert_eq!(reader.next().await.unwrap().bytes.len(), expected);
        }
        writer.await.unwrap().unwrap();
        assert!(matches!(reader.next().await, Err(WireError::Closed)));
    }

    #[tokio::test]
    async fn announced_lengths_reserve_nothing() {
        let limits = Limits::default();
        let claimed = i32::try_from(limits.max_request_bytes).unwrap();
        let mut sent = claimed.to_be_bytes().to_vec();
        sent.extend([0, 0, 1, 2, 3]);
        let mut reader = reader(&sent[..], limits);
        assert!(matches!(reader.next().await, Err(WireError::Closed)));
        assert!(reader.buffer.capacity() <= 2 * FIRST_GROWTH_BYTES);
    }

    #[tokio::test]
    async fn hostile_lengths_end_the_connection() {
        for (length, key, large) in [
            (i32::MAX, 0, true),
            (-1, 0, false),
            (9, 0, false),
            (9 << 20, 3, true),
            (i32::from_be_bytes(*b"GET "), 0x2f20, true),
        ] {
            let mut sent = length.to_be_bytes().to_vec();
            sent.extend(i16::to_be_bytes(key));
            let error = reader(&sent[..], Limits::default()).next().await.unwrap_err();
            match error {
                WireError::TooLarge { .. } => assert!(large),
                WireError::TooShort { .. } => assert!(!large),
                other => panic!("{other}"),
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_peer_and_a_stalled_one_are_dropped() {
        let (_ours, theirs) = tokio::io::duplex(64);
        let mut idle = reader(theirs, Limits::default());
        assert!(matches!(idle.next().await, Err(WireError::Idle(_))));
        let (mut ours, theirs) = tokio::io::duplex(64);
        ours.write_all(&[0, 0]).await.unwrap();
        let mut stalled = reader(theirs, Limits::default());
        assert!(matches!(stalled.next().await, Err(WireError::Stalled(_))));
        let reply = Reply::framed(BytesMut::from(&[0; 4][..]), [Bytes::from(vec![1; 1000])]);
        let written = write(&mut ours, reply, Duration::from_secs(1)).await;
        assert!(matches!(written, Err(WireError::Stalled(_))));
    }

    #[tokio::test]
    async fn a_reply_of_many_slices_is_written_whole() {
        let (mut ours, mut theirs) = tokio::io::duplex(50);
        let parts: Vec<Bytes> = (0..200_u8).map(|n| Bytes::from(vec![n; 17])).collect();
        let reply = Reply::framed(BytesMut::from(&[0; 4][..]), parts.clone());
        let total = 4 + 200 * 17;
        let writer = tokio::spawn(async move {
            write(&mut ours, reply, Duration::from_secs(5)).await.unwrap();
        });
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap();
        assert_eq!(received.len(), total);
        assert_eq!(received[..4], i32::try_from(total - 4).unwrap().to_be_bytes());
        assert_eq!(received[4..], parts.concat());
    }
}
