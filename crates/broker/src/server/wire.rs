//! Requests in, responses out: length-prefixed frames over any byte stream.
//!
//! A request's buffer, and its share of the broker-wide budget, grow with the bytes that arrive, never
//! with the length that was announced.
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
use tokio::time::{Instant, timeout};

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
/// Requests above this size, and answers from this size on, share the broker-wide budgets; a request
/// takes its share in steps of this size.
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
    #[error("a request or a response of which {bytes} bytes passed in {waited:?} is slower than {rate} bytes a second")]
    TooSlow { bytes: usize, waited: Duration, rate: u64 },
    #[error("for {0:?} there was no room for a large request beside those that are under way; it may be sent again")]
    Crowded(Duration),
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

/// What requests above [`LARGE_BYTES`] may hold together.
///
/// Each takes its share as its bytes arrive, so that announcing costs the others nothing. Requests that
/// together have taken everything would wait for each other: one Produce at a time may therefore go
/// on to its end on room of its own, which is kept free for it.
#[derive(Debug)]
pub(crate) struct RequestBudget {
    shared: Arc<Semaphore>,
    shared_units: usize,
    own_room: Arc<Semaphore>,
}

impl RequestBudget {
    pub(crate) fn new(limits: &Limits) -> Self {
        let bytes = limits.large_request_budget_bytes.saturating_sub(limits.max_request_bytes);
        let shared_units = budget_units(bytes.max(MAX_CONTROL_REQUEST_BYTES));
        Self { shared: Arc::new(Semaphore::new(shared_units)), shared_units, own_room: Arc::new(Semaphore::new(1)) }
    }

    /// Bytes of the shared part that requests hold.
    pub(crate) fn held_bytes(&self) -> usize {
        self.shared_units.saturating_sub(self.shared.available_permits()) * BUDGET_UNIT_BYTES
    }

    /// Waits for `bytes` more. A request that may wait for others while it is answered (a fetch, a
    /// group's member) never gets the room that lets the others go on.
    async fn take(&self, bytes: usize, is_produce: bool) -> Result<Share, WireError> {
        let units = u32::try_from(budget_units(bytes)).unwrap_or(u32::MAX);
        let share = tokio::select! {
            biased;
            share = Arc::clone(&self.shared).acquire_many_owned(units) => share.map(Share::Step),
            room = Arc::clone(&self.own_room).acquire_owned(), if is_produce => room.map(Share::Whole),
        };
        share.map_err(|_| WireError::Closed)
    }
}

/// What a large request got.
enum Share {
    /// The next part of it.
    Step(OwnedSemaphorePermit),
    /// Room for all of it.
    Whole(OwnedSemaphorePermit),
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

/// Bytes that answers hold until they are written.
pub(crate) fn held_by_answers(budget: &Semaphore, limits: &Limits) -> usize {
    budget_units(limits.answer_budget_bytes).saturating_sub(budget.available_permits()) * BUDGET_UNIT_BYTES
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
    budget: Arc<RequestBudget>,
    /// The share of the request that is arriving, and up to which length it may arrive on it.
    held: Option<OwnedSemaphorePermit>,
    covered: usize,
    /// How long the peer let us wait for the rest of it.
    waited: Duration,
}

/// A request whose beginning has arrived.
#[derive(Debug, Clone, Copy)]
struct Announced {
    /// Including its prefix.
    length: usize,
    is_produce: bool,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    pub(crate) fn new(stream: R, limits: Arc<Limits>, budget: Arc<RequestBudget>) -> Self {
        let (buffer, waited) = (BytesMut::new(), Duration::ZERO);
        Self { stream, buffer, limits, budget, held: None, covered: LARGE_BYTES, waited }
    }

    /// The next request, in the order they were sent.
    pub(crate) async fn next(&mut self) -> Result<Frame, WireError> {
        loop {
            let announced = self.announced()?;
            let mut wanted = usize::MAX;
            if let Some(request) = announced {
                if self.buffer.len() >= request.length {
                    return Ok(self.cut(request.length));
                }
                self.cover(request).await?;
                if request.length > LARGE_BYTES {
                    wanted = request.length.min(self.covered) - self.buffer.len();
                }
            }
            self.make_room(announced);
            self.read_some(wanted).await?;
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

    /// The request at the front of the buffer, once its length is known and was found acceptable.
    fn announced(&self) -> Result<Option<Announced>, WireError> {
        let mut front = &self.buffer[..];
        let (Ok(length), Ok(key)) = (front.try_get_i32(), front.try_get_i16()) else {
            return Ok(None);
        };
        let is_produce = key == ApiKey::Produce as i16;
        let limit = if is_produce {
            self.limits.max_request_bytes
        } else {
            MAX_CONTROL_REQUEST_BYTES.min(self.limits.max_request_bytes)
        };
        let bytes = i64::from(length);
        match usize::try_from(length) {
            Ok(length) if length > limit => Err(WireError::TooLarge { bytes, limit }),
            Ok(length) if length >= MIN_FRAME_BYTES => {
                Ok(Some(Announced { length: length + LENGTH_BYTES, is_produce }))
            }
            _ => Err(WireError::TooShort { bytes }),
        }
    }

    fn cut(&mut self, length: usize) -> Frame {
        let mut bytes = self.buffer.split_to(length).freeze();
        bytes.advance(LENGTH_BYTES);
        if self.buffer.is_empty() && length > LARGE_BYTES {
            // What is left of a large buffer would keep all of it.
            self.buffer = BytesMut::new();
        }
        (self.covered, self.waited) = (LARGE_BYTES, Duration::ZERO);
        Frame { bytes, _budget: self.held.take() }
    }

    /// Waits, but not for ever, until the next step of a large request fits into what all large
    /// requests together may hold.
    async fn cover(&mut self, request: Announced) -> Result<(), WireError> {
        let Announced { length, is_produce } = request;
        if length <= LARGE_BYTES || self.buffer.len() < self.covered {
            return Ok(());
        }
        let target = length.min(self.buffer.len() + LARGE_BYTES);
        let missing = if self.held.is_some() { target - self.covered } else { target };
        let stall = self.limits.stall_timeout;
        let share = timeout(stall, self.budget.take(missing, is_produce)).await;
        match share.map_err(|_| WireError::Crowded(stall))?? {
            Share::Step(step) => {
                match &mut self.held {
                    Some(held) => held.merge(step),
                    None => self.held = Some(step),
                }
                self.covered = target;
            }
            Share::Whole(room) => {
                self.held = Some(room);
                self.covered = length;
            }
        }
        Ok(())
    }

    fn make_room(&mut self, announced: Option<Announced>) {
        let room = match announced {
            Some(request) => {
                let missing = request.length - self.buffer.len();
                missing.min(self.buffer.len().max(FIRST_GROWTH_BYTES))
            }
            None => SMALL_READ_BYTES,
        };
        self.buffer.reserve(room);
    }

    /// Reads what is there, at most `wanted` bytes.
    async fn read_some(&mut self, wanted: usize) -> Result<(), WireError> {
        let is_partial = !self.buffer.is_empty();
        let patience = if is_partial { self.patience() } else { self.limits.idle_timeout };
        let kept = patience.min(BUFFER_KEPT);
        let asked = Instant::now();
        let read = match timeout(kept, self.read_at_most(wanted)).await {
            Ok(read) => read?,
            Err(_) => self.read_patiently(patience, patience - kept, wanted).await?,
        };
        if read == 0 {
            return Err(WireError::Closed);
        }
        if is_partial {
            self.waited += asked.elapsed();
        }
        Ok(())
    }

    async fn read_at_most(&mut self, wanted: usize) -> io::Result<usize> {
        (&mut self.stream).take(wanted as u64).read_buf(&mut self.buffer).await
    }

    /// How long to wait for more of a request: bytes that come one by one must not put its end off
    /// for ever.
    fn patience(&self) -> Duration {
        let allowed = self.limits.time_for(self.buffer.len());
        self.limits.stall_timeout.min(allowed.saturating_sub(self.waited))
    }

    async fn read_patiently(
        &mut self,
        patience: Duration,
        remaining: Duration,
        wanted: usize,
    ) -> Result<usize, WireError> {
        if self.buffer.is_empty() {
            self.buffer = BytesMut::with_capacity(SMALL_READ_BYTES);
        }
        let read = timeout(remaining, self.read_at_most(wanted)).await;
        match read {
            Ok(read) => Ok(read?),
            Err(_) if self.buffer.is_empty() => Err(WireError::Idle(patience)),
            Err(_) => Err(out_of_patience(&self.limits, patience, self.waited + patience, self.buffer.len())),
        }
    }
}

/// Whether the peer did nothing at all, or just not enough.
fn out_of_patience(limits: &Limits, patience: Duration, waited: Duration, bytes: usize) -> WireError {
    match patience < limits.stall_timeout {
        true => WireError::TooSlow { bytes, waited, rate: limits.min_bytes_per_second },
        false => WireError::Stalled(patience),
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

/// Writes a response; gives up on a peer that takes nothing of it for long, or too little.
pub(crate) async fn write<W: AsyncWrite + Unpin>(
    stream: &mut W,
    mut reply: Reply,
    limits: &Limits,
) -> Result<(), WireError> {
    let (length, began) = (reply.len(), Instant::now());
    let allowed = limits.time_for(length);
    while !reply.slices.is_empty() {
        let patience = limits.stall_timeout.min(allowed.saturating_sub(began.elapsed()));
        let written = {
            let mut slices = [IoSlice::new(&[]); MAX_SLICES];
            let mut used = 0;
            for (slot, bytes) in slices.iter_mut().zip(&reply.slices) {
                *slot = IoSlice::new(bytes);
                used += 1;
            }
            timeout(patience, stream.write_vectored(&slices[..used])).await
        };
        let written = match written {
            Ok(written) => written?,
            Err(_) => return Err(out_of_patience(limits, patience, began.elapsed(), length - reply.len())),
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
        let budget = Arc::new(RequestBudget::new(&limits));
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
        assert_eq!(reader.budget.held_bytes(), 0);
    }

    fn limits(max_request_bytes: usize) -> Limits {
        Limits { max_request_bytes, large_request_budget_bytes: 0, ..Limits::default() }
    }

    /// Each has taken its part of the budget and waits for more: one after the other comes to its end.
    #[tokio::test]
    async fn partial_shares_of_a_full_budget_end_in_no_deadlock() {
        const LENGTH: usize = 6 << 20;
        let limits = Arc::new(limits(LENGTH));
        let budget = Arc::new(RequestBudget::new(&limits));
        let (mut peers, mut readers) = (Vec::new(), Vec::new());
        for _ in 0..4 {
            let (ours, theirs) = tokio::io::duplex(1 << 20);
            let mut reader = FrameReader::new(theirs, Arc::clone(&limits), Arc::clone(&budget));
            peers.push(ours);
            readers.push(tokio::spawn(async move { reader.next().await.unwrap().bytes.len() }));
        }
        let sent = frame(0, LENGTH);
        // Together they want more than there is: 3 MiB each of 8.
        for peer in &mut peers {
            peer.write_all(&sent[..5 << 19]).await.unwrap();
        }
        assert!(budget.held_bytes() > 0);
        let rest = peers.into_iter().map(|mut peer| {
            let sent = sent.clone();
            tokio::spawn(async move { peer.write_all(&sent[5 << 19..]).await })
        });
        for rest in rest.collect::<Vec<_>>() {
            rest.await.unwrap().unwrap();
        }
        for reader in readers {
            assert_eq!(reader.await.unwrap(), LENGTH);
        }
        assert_eq!(budget.held_bytes(), 0);
        assert_eq!(budget.own_room.available_permits(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_request_waits_for_room_but_not_for_ever() {
        let limits = limits(6 << 20);
        let budget = Arc::new(RequestBudget::new(&limits));
        let all = u32::try_from(budget.shared_units).unwrap();
        let _taken = Arc::clone(&budget.shared).acquire_many_owned(all).await.unwrap();
        let room = Arc::clone(&budget.own_room).acquire_owned().await.unwrap();
        let sent = frame(0, 4 << 20);
        let mut waiting = FrameReader::new(&sent[..], Arc::new(limits), Arc::clone(&budget));
        assert!(matches!(waiting.next().await, Err(WireError::Crowded(_))));
        drop(waiting);
        // Nothing else may take the room that lets others go on.
        drop(room);
        let sent = frame(11, 4 << 20);
        let mut waiting = FrameReader::new(&sent[..], Arc::new(Limits::default()), budget);
        assert!(matches!(waiting.next().await, Err(WireError::Crowded(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_drips_or_sips_is_dropped() {
        // How slowly the peer goes is what is tested; the clock stands still and moves only when all wait for it.
        let limits = Limits::default();
        let (mut ours, theirs) = tokio::io::duplex(64);
        let dripping = tokio::spawn(async move {
            for byte in frame(0, 50 << 20) {
                if ours.write_all(&[byte]).await.is_err() {
                    return;
                }
                tokio::time::sleep(Duration::from_secs(25)).await;
            }
        });
        let mut reader = reader(theirs, limits.clone());
        assert!(matches!(reader.next().await, Err(WireError::TooSlow { bytes: 2.., .. })));
        drop(reader);
        dripping.await.unwrap();
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        let sipping = tokio::spawn(async move {
            while theirs.read_u8().await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        });
        let reply = Reply::framed(BytesMut::from(&[0; 4][..]), [Bytes::from(vec![1; 1 << 20])]);
        let written = write(&mut ours, reply, &limits).await;
        assert!(matches!(written, Err(WireError::TooSlow { bytes: 2.., .. })));
        drop(ours);
        sipping.await.unwrap();
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
        let written = write(&mut ours, reply, &Limits::default()).await;
        assert!(matches!(written, Err(WireError::Stalled(_))));
    }

    #[tokio::test]
    async fn a_reply_of_many_slices_is_written_whole() {
        let (mut ours, mut theirs) = tokio::io::duplex(50);
        let parts: Vec<Bytes> = (0..200_u8).map(|n| Bytes::from(vec![n; 17])).collect();
        let reply = Reply::framed(BytesMut::from(&[0; 4][..]), parts.clone());
        let total = 4 + 200 * 17;
        let writer = tokio::spawn(async move {
            write(&mut ours, reply, &Limits::default()).await.unwrap();
        });
        let mut received = Vec::new();
        theirs.read_to_end(&mut received).await.unwrap();
        writer.await.unwrap();
        assert_eq!(received.len(), total);
        assert_eq!(received[..4], i32::try_from(total - 4).unwrap().to_be_bytes());
        assert_eq!(received[4..], parts.concat());
    }
}
