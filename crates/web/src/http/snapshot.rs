//! The newest picture of a stream as a JPEG file.

use super::{App, Asked, Named, refusal};
use crate::hub::{HubFrame, HubStream};
use crate::recordings::moment_picture;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use bytes::Bytes;
use lumenbus_codec::{CodecError, Color, DecoderConfig, EncoderConfig, Ticket, decoder, encoder};
use lumenbus_frame::{CameraId, CaptureTime, Codec, EncodedFrame, FrameId, RawFrame};
use serde::Deserialize;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Pictures decoded at the same time.
const WORKERS: usize = 2;
/// Finished pictures kept: a page asks for the same one again.
const MAX_KEPT: usize = 16;
const MAX_KEPT_BYTES: usize = 16 << 20;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(10);

/// The bounded pool, and what it made last.
#[derive(Debug)]
pub(crate) struct Snapshots {
    turns: Arc<Semaphore>,
    kept: Mutex<VecDeque<(u16, FrameId, Bytes)>>,
}

impl Default for Snapshots {
    fn default() -> Self {
        Self { turns: Arc::new(Semaphore::new(WORKERS)), kept: Mutex::default() }
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct SnapshotQuery {
    pub(crate) stream: Option<u16>,
    /// A recorded moment, Unix milliseconds; without it the newest keyframe.
    at_ms: Option<f64>,
    /// The frame of that moment instead of the keyframe before it.
    exact: Option<String>,
}

impl SnapshotQuery {
    pub(crate) fn is_exact(&self) -> bool {
        self.exact.as_deref().is_some_and(|value| value != "0")
    }
}

impl Snapshots {
    fn kept(&self, n: u16, id: FrameId) -> Option<Bytes> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(of, frame, _)| (*of, *frame) == (n, id)).map(|(.., file)| file.clone())
    }

    fn keep(&self, n: u16, id: FrameId, file: &Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(of, ..)| *of != n);
        kept.push_back((n, id, file.clone()));
        while kept.len() > MAX_KEPT || kept.iter().map(|(.., file)| file.len()).sum::<usize>() > MAX_KEPT_BYTES {
            kept.pop_front();
        }
    }

    async fn make(&self, n: u16, frame: &Arc<HubFrame>) -> Result<Bytes, Refused> {
        if frame.codec == Codec::Jpeg {
            return Ok(frame.payload.clone());
        }
        if let Some(file) = self.kept(n, frame.id) {
            return Ok(file);
        }
        let turn = tokio::time::timeout(PATIENCE, Arc::clone(&self.turns).acquire_owned()).await;
        let turn = turn.map_err(|_| Refused::Busy)?.map_err(|_| Refused::Busy)?;
        let source = Arc::clone(frame);
        let work = move || {
            let file = to_jpeg(&source);
            drop(turn);
            file
        };
        let made = tokio::task::spawn_blocking(work).await.map_err(|_| Refused::NoPicture)?.map_err(Refused::Codec)?;
        let file = made.ok_or(Refused::NoPicture)?;
        self.keep(n, frame.id, &file);
        Ok(file)
    }
}

enum Refused {
    Busy,
    /// The decoder takes the keyframe and makes nothing of it.
    NoPicture,
    Codec(CodecError),
}

fn to_jpeg(frame: &HubFrame) -> Result<Option<Bytes>, CodecError> {
    let capture = CaptureTime::arrival(frame.capture_micros.saturating_mul(1_000));
    let mut coded = EncodedFrame::new(frame.codec, capture, frame.payload.clone()).keyframe();
    coded.parameters.clone_from(&frame.parameters);
    let mut pictures = Vec::new();
    let mut decoder = decoder(frame.codec, &DecoderConfig::default())?;
    decoder.decode(Ticket(0), &coded, &mut pictures)?;
    decoder.flush(&mut pictures)?;
    pictures.first().map_or(Ok(None), |picture| jpeg_of(&picture.frame, picture.color))
}

/// The picture as a JPEG file.
pub(crate) fn jpeg_of(picture: &RawFrame, color: Color) -> Result<Option<Bytes>, CodecError> {
    let mut encoder = encoder(&EncoderConfig::new(Codec::Jpeg))?;
    encoder.set_color(color);
    let mut files = Vec::new();
    encoder.encode(picture, &mut files)?;
    Ok(files.first().map(|file| file.payload.clone()))
}

/// The camera's stream that was asked for, or its first one that has a picture.
fn choose(app: &App, camera: &CameraId, wanted: Option<u16>) -> Option<(Arc<HubStream>, Option<Arc<HubFrame>>)> {
    let streams = app.hub.of_camera(camera);
    let with_picture = streams.into_iter().filter(|stream| wanted.is_none_or(|n| n == stream.n)).map(|stream| {
        let picture = stream.lock().ring.keyframe().cloned();
        (stream, picture)
    });
    let mut all: Vec<_> = with_picture.collect();
    let at = all.iter().position(|(_, picture)| picture.is_some()).unwrap_or(0);
    (at < all.len()).then(|| all.swap_remove(at))
}

pub(crate) async fn snapshot(
    State(app): State<Arc<App>>,
    Named(camera): Named,
    Asked(query): Asked<SnapshotQuery>,
) -> Response<Body> {
    if let Some(at_ms) = query.at_ms {
        return moment_picture(app, camera, query, at_ms).await;
    }
    let known = camera.parse::<CameraId>().ok().and_then(|camera| choose(&app, &camera, query.stream));
    let Some((stream, frame)) = known else {
        return refusal(StatusCode::NOT_FOUND, "unknown-camera", "no camera of this id has published here");
    };
    let Some(frame) = frame else {
        return refusal(StatusCode::NOT_FOUND, "no-picture", "no keyframe of this stream has come yet");
    };
    if frame.is_sealed {
        return refusal(StatusCode::FORBIDDEN, "sealed", "the stream is sealed; this viewer has no key for it");
    }
    match app.snapshots.make(stream.n, &frame).await {
        Ok(file) => picture(&frame, file),
        Err(Refused::Busy) => {
            refusal(StatusCode::SERVICE_UNAVAILABLE, "busy", "too many pictures are being made; ask again")
        }
        Err(Refused::NoPicture) => {
            refusal(StatusCode::UNPROCESSABLE_ENTITY, "undecodable", "there is no picture in the newest keyframe")
        }
        Err(Refused::Codec(error @ CodecError::NotBuilt { .. })) => {
            refusal(StatusCode::NOT_IMPLEMENTED, "codec-not-built", &error.to_string())
        }
        Err(Refused::Codec(error)) => refusal(StatusCode::UNPROCESSABLE_ENTITY, "undecodable", &error.to_string()),
    }
}

fn picture(frame: &HubFrame, file: Bytes) -> Response<Body> {
    let nanos = frame.capture_micros.saturating_mul(1_000);
    Response::builder()
        .header(header::CONTENT_TYPE, "image/jpeg")
        .header("X-Lumenbus-Epoch", frame.id.epoch.to_string())
        .header("X-Lumenbus-Seq", frame.id.seq.to_string())
        .header("X-Lumenbus-Capture-Unix-Nanos", nanos.to_string())
        .body(Body::from(file))
        .unwrap_or_default()
}
