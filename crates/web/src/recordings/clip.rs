//! A stretch of a stream as a file, sent while it is read.

use super::coverage::Stretch;
use super::ending::{Ending, Place};
use super::pace::{LEAST_BYTES_PER_SECOND, Pace};
use super::passage::Passage;
use super::{Cancel, Recordings, Refused, whole_micro};
use axum::body::Body;
use axum::http::{HeaderValue, Response, header};
use bytes::{Bytes, BytesMut};
use hyper::body::Frame as BodyFrame;
use lumenbus_bus::playback::Player;
use lumenbus_bus::subscriber::{DeliveredFrame, Event};
use lumenbus_frame::{Codec, FrameId, GapReason, StreamId};
use lumenbus_pipeline::mux::recording::{Recording, RecordingError, RecordingOptions, Taken};
use lumenbus_pipeline::subscribe::encoded;
use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

/// Longest clip: an hour.
pub(super) const MAX_MILLIS: f64 = 3_600_000.0;
/// Largest file.
const MAX_BYTES: u64 = 4 << 30;
/// One piece of the file; this many wait for a client that reads slowly.
const PIECE_BYTES: usize = 256 << 10;
const MAX_PIECES: usize = 8;
const WAIT: Duration = Duration::from_millis(200);
/// A log that says nothing for so long while it is read has nothing more, or its broker is away.
const MAX_SILENCE: Duration = Duration::from_secs(20);

/// Which kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Mp4,
    /// JPEG files one after another.
    Mjpeg,
}

impl Form {
    /// The form that frames of this codec are put into.
    pub(super) fn of(codec: Codec) -> Option<Self> {
        match codec {
            Codec::H264 | Codec::H265 | Codec::Av1 => Some(Self::Mp4),
            Codec::Jpeg => Some(Self::Mjpeg),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "clip.mp4",
            Self::Mjpeg => "clip.mjpeg",
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Mjpeg => "video/x-motion-jpeg",
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mjpeg => "mjpeg",
        }
    }
}

/// What was asked for.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) stream: StreamId,
    pub(super) stretch: Stretch,
    pub(super) form: Form,
    /// Only whether it can be had.
    pub(super) is_check: bool,
}

/// Finds the beginning and answers; the rest of the file follows while it is read.
pub(super) async fn begin(recordings: &Arc<Recordings>, order: Order) -> Result<Response<Body>, Refused> {
    let place = Arc::clone(&recordings.clips).try_acquire_owned().map_err(|_| Refused::Busy)?;
    let (pieces, body) = channel(Handle::current(), Pace::default());
    let (tell, told) = oneshot::channel();
    let response = answer(&order, body);
    let reading = Arc::clone(recordings);
    let work = move || run(&reading, &order, pieces, tell, place);
    let thread = std::thread::Builder::new().name("viewer-clip".to_owned()).spawn(work);
    thread.map_err(|_| Refused::Busy)?;
    told.await.unwrap_or(Err(Refused::NoFootage))?;
    Ok(response)
}

fn answer(order: &Order, body: ClipBody) -> Response<Body> {
    if order.is_check {
        return Response::new(Body::from("{}"));
    }
    // Camera ids are made of characters that a header and a file name can hold.
    let begin = crate::http::file_time(order.stretch.from / 1_000_000_000);
    let name = format!("{}-{begin}.{}", order.stream.camera.as_str(), order.form.ending());
    let mut response = Response::new(Body::new(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(order.form.media_type()));
    if let Ok(disposition) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, disposition);
    }
    response
}

type Begun = oneshot::Sender<Result<(), Refused>>;

fn run(recordings: &Arc<Recordings>, order: &Order, pieces: Pieces, tell: Begun, place: OwnedSemaphorePermit) {
    let mut player = match recordings.player() {
        Ok(player) => player,
        Err(error) => return drop(tell.send(Err(error.into()))),
    };
    match player.seek(&order.stream, whole_micro(order.stretch.from)).and_then(|found| match found {
        Some(found) => Ok(Some(found)),
        // A clip that begins before the oldest footage begins with that.
        None => first_within(&mut player, order),
    }) {
        Ok(Some(_)) => {}
        Ok(None) => return drop(tell.send(Err(Refused::NoFootage))),
        Err(error) => return drop(tell.send(Err(error.into()))),
    }
    if order.is_check {
        // Free before it is told: who asked comes again for the file at once.
        drop(place);
        recordings.give_back(player);
        return drop(tell.send(Ok(())));
    }
    if tell.send(Ok(())).is_err() {
        return recordings.give_back(player);
    }
    let (client, whole) = (pieces.sender.clone(), Arc::clone(&pieces.whole));
    let closing = recordings.closing.clone();
    let mut clip = Clip::new(player, order, closing, client);
    let done = match order.form {
        Form::Mp4 => clip.mp4(pieces),
        Form::Mjpeg => clip.mjpeg(pieces),
    };
    match done {
        Ok(()) => {
            whole.store(true, Ordering::Release);
            recordings.give_back(clip.player);
        }
        // The connection breaks, so that half a file is not taken for the whole.
        Err(error) => tracing::info!(stream = %order.stream, "a clip ends too early: {error}"),
    }
    drop(place);
}

/// The first keyframe of the stretch, gone to.
fn first_within(
    player: &mut Player,
    order: &Order,
) -> Result<Option<lumenbus_bus::index::KeyframeAt>, lumenbus_bus::BusError> {
    let Stretch { from, to } = order.stretch;
    let coverage = player.index().coverage(&order.stream, from, to, 2)?;
    match coverage.spans.first() {
        Some(first) => player.seek(&order.stream, first.from_unix_nanos),
        None => Ok(None),
    }
}

struct Clip<'a> {
    player: Player,
    order: &'a Order,
    closing: Cancel,
    passage: Passage,
    ending: Ending<DeliveredFrame>,
    /// Frames of the stretch that are next.
    ready: VecDeque<DeliveredFrame>,
    last: Option<FrameId>,
    /// The log has more of the stretch, further on than where it would be by its time.
    has_more: bool,
    /// Who may be gone.
    client: mpsc::Sender<Bytes>,
}

impl<'a> Clip<'a> {
    fn new(player: Player, order: &'a Order, closing: Cancel, client: mpsc::Sender<Bytes>) -> Self {
        let (passage, ending) = (Passage::default(), Ending::new(whole_micro(order.stretch.to)));
        let ready = VecDeque::new();
        Self { player, order, closing, passage, ending, ready, last: None, has_more: false, client }
    }

    /// The next frame or loss of the stretch; `None` at its end.
    fn next(&mut self) -> io::Result<Option<Event>> {
        let mut silent_since = Instant::now();
        let mut append = None;
        loop {
            if let Some(frame) = self.ready.pop_front() {
                return Ok(Some(Event::Frame(frame)));
            }
            if self.closing.is_set() {
                return Err(ErrorKind::Interrupted.into());
            }
            if self.client.is_closed() {
                return Err(ErrorKind::BrokenPipe.into());
            }
            match self.player.recv(WAIT).map_err(io::Error::other)? {
                Some(Event::Frame(frame)) => {
                    if !self.frame(frame) {
                        return Ok(None);
                    }
                }
                Some(event @ Event::Gap { .. }) => return Ok(Some(event)),
                None if self.player.is_at_end() || self.is_past()? => return Ok(None),
                Some(_) | None => {}
            }
            // Records of other cameras are no silence of the log.
            let read = self.player.last_append_unix_millis();
            if std::mem::replace(&mut append, read) != read {
                silent_since = Instant::now();
            } else if silent_since.elapsed() > MAX_SILENCE {
                return Err(ErrorKind::TimedOut.into());
            }
        }
    }

    /// Takes a frame; false when it is behind the stretch.
    fn frame(&mut self, frame: DeliveredFrame) -> bool {
        self.passage.frame(&frame);
        (self.last, self.has_more) = (Some(frame.id()), false);
        let (capture, is_reordered) = (frame.header.capture.unix_nanos, !frame.codec.is_intra_only());
        match self.ending.take(frame, capture, is_reordered) {
            Place::Within(frames) => self.ready.extend(frames),
            Place::Held => {}
            Place::Past => return false,
        }
        true
    }

    /// Whether the camera was silent at the end of the stretch: what is read is of the others. What a publisher kept
    /// while it had no connection comes later, and the index knows of it.
    fn is_past(&mut self) -> io::Result<bool> {
        let to = whole_micro(self.order.stretch.to);
        if self.has_more || !self.passage.is_past(to, self.player.last_append_unix_millis()) {
            return Ok(false);
        }
        let found = self.player.index().find(&self.order.stream, to).map_err(io::Error::other)?;
        self.has_more = found.iter().any(|keyframe| self.last.is_none_or(|last| keyframe.id > last));
        Ok(!self.has_more)
    }

    fn mp4(&mut self, writer: Pieces) -> io::Result<()> {
        let mut recording =
            Recording::new(writer, RecordingOptions { begin_unix_nanos: Some(self.order.stretch.from) });
        while let Some(event) = self.next()? {
            match event {
                Event::Frame(frame) if frame.header.seal.is_some() => break,
                Event::Frame(frame) => match recording.push(frame.id(), &encoded(&frame)) {
                    Ok(Taken::Written | Taken::AwaitingKeyframe) => {}
                    // What follows would be a file of its own.
                    Ok(Taken::OtherParameters) => break,
                    Err(RecordingError::Frame(error)) => {
                        tracing::debug!(id = ?frame.id(), "left out of a clip: {error}");
                    }
                    Err(error) => return Err(io::Error::other(error)),
                },
                Event::Gap { gap, .. } if gap.reason != GapReason::Repeated && !gap.is_discardable => recording.gap(),
                _ => {}
            }
        }
        let (mut writer, _) = recording.finish().map_err(io::Error::other)?;
        writer.flush()
    }

    fn mjpeg(&mut self, mut writer: Pieces) -> io::Result<()> {
        while let Some(event) = self.next()? {
            let Event::Frame(frame) = event else { continue };
            if is_picture(&frame) && frame.header.capture.unix_nanos >= self.order.stretch.from {
                writer.write_all(&frame.payload)?;
            }
        }
        writer.flush()
    }
}

fn is_picture(frame: &DeliveredFrame) -> bool {
    frame.codec == Codec::Jpeg && frame.header.seal.is_none()
}

/// Pieces of a file, and the body that they become.
fn channel(runtime: Handle, pace: Pace) -> (Pieces, ClipBody) {
    let (sender, receiver) = mpsc::channel(MAX_PIECES);
    let whole = Arc::new(AtomicBool::new(false));
    let body = ClipBody { receiver, whole: Arc::clone(&whole) };
    (Pieces { sender, whole, runtime, pace, buffer: BytesMut::new(), sent: 0 }, body)
}

/// Cuts what is written into pieces for the connection, and waits when the client reads slowly, up to a point.
struct Pieces {
    sender: mpsc::Sender<Bytes>,
    /// Set once everything was written.
    whole: Arc<AtomicBool>,
    runtime: Handle,
    pace: Pace,
    buffer: BytesMut,
    sent: u64,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let length = self.buffer.len() as u64;
        self.sent += length;
        if self.sent > MAX_BYTES {
            return Err(io::Error::other("the clip is larger than 4 GiB; export less at a time"));
        }
        let (begin, left) = (Instant::now(), self.pace.left());
        let piece = self.buffer.split().freeze();
        match self.runtime.block_on(self.sender.send_timeout(piece, left)) {
            Ok(()) => self.pace.took(length, begin.elapsed()),
            Err(SendTimeoutError::Closed(_)) => return Err(ErrorKind::BrokenPipe.into()),
            Err(SendTimeoutError::Timeout(_)) => {
                let least = LEAST_BYTES_PER_SECOND >> 10;
                let text = format!("the client takes less than {least} KiB/s; others wait for its place");
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
        }
        Ok(())
    }
}

/// The file as it comes.
struct ClipBody {
    receiver: mpsc::Receiver<Bytes>,
    whole: Arc<AtomicBool>,
}

impl hyper::body::Body for ClipBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<BodyFrame<Bytes>, io::Error>>> {
        let Poll::Ready(piece) = self.receiver.poll_recv(context) else { return Poll::Pending };
        Poll::Ready(match piece {
            Some(piece) => Some(Ok(BodyFrame::data(piece))),
            None if self.whole.load(Ordering::Acquire) => None,
            // An error breaks the connection; nobody takes what came for the whole file.
            None => Some(Err(ErrorKind::UnexpectedEof.into())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of a body: whether it is that of a whole file.
    fn is_whole(runtime: &Handle, body: ClipBody) -> bool {
        runtime.block_on(axum::body::to_bytes(Body::new(body), usize::MAX)).is_ok()
    }

    #[test]
    fn who_takes_nothing_is_given_up_and_does_not_get_half_a_file_for_a_whole_one() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (mut pieces, body) = channel(runtime.handle().clone(), Pace::with(Duration::from_millis(20)));
        let written = (0..=MAX_PIECES).find_map(|_| pieces.write_all(&[7; PIECE_BYTES]).err());
        assert_eq!(written.map(|error| error.kind()), Some(ErrorKind::TimedOut));
        drop(pieces);
        assert!(!is_whole(runtime.handle(), body));
    }

    #[test]
    fn a_file_ends_when_everything_was_written() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (mut pieces, body) = channel(runtime.handle().clone(), Pace::default());
        pieces.write_all(b"whole").unwrap();
        pieces.flush().unwrap();
        pieces.whole.store(true, Ordering::Release);
        drop(pieces);
        assert!(is_whole(runtime.handle(), body));
    }
}
