//! Cameras that give JPEG pictures over HTTP: one after the other in one answer, or one for each request.

use crate::SourceError;
use crate::error::CameraFault;
use crate::jpeg::{self, Picture};
use crate::live::address::CameraAddress;
use crate::live::capture::CaptureClock;
use crate::live::http_client::{HttpClient, broken};
use crate::live::multipart::{MAX_PICTURE_BYTES, MultipartOutput, MultipartReader, is_jpeg, seconds};
use crate::live::queue::Queue;
use crate::live::task::{MAX_BAD_IN_A_ROW, SILENCE, shorten, until, within};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use lumenbus_frame::{Clock, Codec, Dimensions, EncodedFrame, FrameRate, StreamParameters, Timebase};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};

/// Single pictures are asked for so often, unless another rate is wanted.
const SNAPSHOT_RATE: FrameRate = FrameRate { frames: 1, seconds: 1 };
/// So many answers in a row without a picture are no camera.
const MAX_BAD_SNAPSHOTS: u64 = 10;

/// The network's side of a camera that speaks HTTP. What it answers says which kind it is: `multipart/x-mixed-replace`,
/// or a single JPEG, which is then asked for at the wanted rate.
///
/// Capture times are those of `X-Timestamp`, which some cameras add to each picture, where it is plausible (at most 10 s
/// behind and 1 s ahead of arrival), else of arrival. `Date` and `Last-Modified` have whole seconds and are not used.
pub(super) struct HttpReceiver {
    pub(super) address: CameraAddress,
    pub(super) queue: Arc<Queue>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) rate: Option<FrameRate>,
}

/// What an answer holds.
enum Content {
    Parts { boundary: Option<String> },
    Picture,
}

impl HttpReceiver {
    /// Gives frames to the queue until the camera is gone.
    pub(super) async fn receive(&self) -> Result<Infallible, CameraFault> {
        let mut client = HttpClient::new(self.address.clone());
        let response = client.get().await?;
        match content(&response)? {
            // The client holds the connection.
            Content::Parts { boundary } => self.parts(response.into_body(), boundary.as_deref()).await,
            Content::Picture => self.snapshots(&mut client, response).await,
        }
    }

    async fn parts(&self, mut body: Incoming, boundary: Option<&str>) -> Result<Infallible, CameraFault> {
        let mut reader = MultipartReader::new(boundary);
        let mut pictures = Pictures::new(self, self.rate, MAX_BAD_IN_A_ROW);
        loop {
            // Damage alone is silence.
            let end = pictures.last + SILENCE;
            let frame = until(end, "waiting for its next frame", body.frame()).await?;
            let frame = frame.ok_or(CameraFault::Ended)?.map_err(|error| broken(&error))?;
            let Ok(bytes) = frame.into_data() else { continue };
            reader.push(&bytes);
            while let Some(output) = reader.next_output() {
                match output {
                    MultipartOutput::Picture { bytes, dimensions, stated_nanos } => {
                        pictures.give(bytes, dimensions, stated_nanos);
                    }
                    MultipartOutput::Damage { what } => pictures.lose(what)?,
                }
            }
        }
    }

    async fn snapshots(
        &self,
        client: &mut HttpClient,
        mut response: Response<Incoming>,
    ) -> Result<Infallible, CameraFault> {
        let rate = self.rate.unwrap_or(SNAPSHOT_RATE);
        let period = Duration::from_secs(rate.seconds.max(1).into()) / rate.frames.max(1);
        let mut turns = tokio::time::interval(period.max(Duration::from_millis(1)));
        // A camera that is slow is asked less often, and not several times at once.
        turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
        turns.tick().await;
        let mut pictures = Pictures::new(self, Some(rate), MAX_BAD_SNAPSHOTS);
        loop {
            let stated = response.headers().get("x-timestamp").and_then(|value| seconds(value.to_str().ok()?));
            let body = Limited::new(response.into_body(), MAX_PICTURE_BYTES).collect();
            match within("waiting for its next frame", body).await? {
                // Without what follows the picture, which would stay alive with it.
                Ok(body) => match jpeg::complete(&body.to_bytes()).map(|picture| compact(&picture)) {
                    Ok(picture) => pictures.give(picture.bytes, picture.dimensions, stated),
                    Err(defect) => pictures.lose(defect.what)?,
                },
                Err(_) => pictures.lose("an answer that broke off, or of more than 32 MiB")?,
            }
            turns.tick().await;
            response = client.get().await?;
        }
    }
}

fn compact(picture: &Picture) -> Picture {
    Picture { bytes: Bytes::copy_from_slice(&picture.bytes), dimensions: picture.dimensions }
}

fn content(response: &Response<Incoming>) -> Result<Content, CameraFault> {
    let value = response.headers().get(CONTENT_TYPE).map_or(b"".as_slice(), |value| value.as_bytes());
    let value = String::from_utf8_lossy(value);
    let essence = value.split(';').next().unwrap_or_default().trim();
    if essence.get(..10).is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/")) {
        return Ok(Content::Parts { boundary: boundary(&value) });
    }
    if is_jpeg(&value) {
        return Ok(Content::Picture);
    }
    Err(CameraFault::NoVideo { offered: shorten(essence) })
}

/// The parameter `boundary`, with or without quotes.
fn boundary(media_type: &str) -> Option<String> {
    let mut parameters = media_type.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let (_, value) = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// From pictures to frames in the queue.
struct Pictures<'a> {
    receiver: &'a HttpReceiver,
    parameters: Arc<StreamParameters>,
    capture: CaptureClock,
    began_nanos: u64,
    ticks: i64,
    /// When the newest picture was whole; at first, when waiting for it began.
    last: Instant,
    bad_in_a_row: u64,
    max_bad: u64,
}

impl<'a> Pictures<'a> {
    fn new(receiver: &'a HttpReceiver, rate: Option<FrameRate>, max_bad: u64) -> Self {
        let mut parameters = StreamParameters::new(Codec::Jpeg, Dimensions::new(0, 0));
        (parameters.timebase, parameters.frame_rate) = (Timebase::MPEG, rate);
        Self {
            receiver,
            parameters: Arc::new(parameters),
            capture: CaptureClock::default(),
            began_nanos: receiver.clock.monotonic_nanos(),
            ticks: -1,
            last: Instant::now(),
            bad_in_a_row: 0,
            max_bad,
        }
    }

    /// Its pts is when it came, on the 90 kHz clock.
    fn give(&mut self, bytes: Bytes, dimensions: Dimensions, stated_nanos: Option<i64>) {
        let clock = &self.receiver.clock;
        let passed = clock.monotonic_nanos().saturating_sub(self.began_nanos);
        let ticks = i64::try_from(u128::from(passed) * 90_000 / 1_000_000_000).unwrap_or(i64::MAX);
        self.ticks = ticks.max(self.ticks.saturating_add(1));
        self.capture.state(self.ticks, stated_nanos);
        let stamp = self.capture.stamp(self.ticks, Timebase::MPEG.denominator, clock.unix_nanos());
        if self.parameters.dimensions != dimensions {
            Arc::make_mut(&mut self.parameters).dimensions = dimensions;
        }
        let mut frame =
            EncodedFrame::new(Codec::Jpeg, stamp.capture, bytes).with_parameters(Arc::clone(&self.parameters));
        (frame.pts, frame.is_discontinuity) = (Some(self.ticks), stamp.is_step);
        (self.last, self.bad_in_a_row) = (Instant::now(), 0);
        self.receiver.queue.push(frame);
    }

    fn lose(&mut self, what: &'static str) -> Result<(), CameraFault> {
        self.bad_in_a_row += 1;
        self.receiver.queue.damage(SourceError::Lost { name: Arc::clone(&self.receiver.address.name), what }, 1);
        if self.bad_in_a_row < self.max_bad {
            return Ok(());
        }
        Err(CameraFault::Garbage { frames: self.bad_in_a_row, what })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_are_read_with_and_without_quotes() {
        for (media_type, expected) in [
            ("multipart/x-mixed-replace; boundary=frame", Some("frame")),
            ("multipart/x-mixed-replace;Boundary=\"--my boundary\"", Some("--my boundary")),
            ("multipart/x-mixed-replace; charset=x; boundary= --b ", Some("--b")),
            ("multipart/x-mixed-replace", None),
        ] {
            assert_eq!(boundary(media_type).as_deref(), expected);
        }
    }
}
