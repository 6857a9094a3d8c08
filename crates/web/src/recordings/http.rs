//! The requests about recordings.

use super::coverage::{self, Question, Stretch};
use super::picture::{self, Moment, MomentPicture, Precision};
use super::{Refused, clip, whole_micro};
use crate::http::{App, Asked, Named, SnapshotQuery, refusal};
use crate::hub::{HubStream, KnownGap, now_micros};
use crate::protocol::MAX_MILLIS;
use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use axum::response::IntoResponse as _;
use lumenbus_frame::{CameraId, Codec, StreamId};
use serde::Deserialize;
use std::sync::Arc;

/// Where nothing else is asked for: the last hour.
const USUAL_STRETCH_MILLIS: f64 = 3_600_000.0;
/// Longest stretch asked about.
const MAX_STRETCH_MILLIS: f64 = 400.0 * 86_400_000.0;
const USUAL_WIDTH: usize = 1_000;
const MAX_WIDTH: usize = 8_192;

/// A stream of a camera, and what the hub knows of it.
struct Known {
    n: u16,
    id: Arc<StreamId>,
    codec: Option<Codec>,
    is_sealed: bool,
    newest: Option<i64>,
    gaps: Vec<KnownGap>,
}

fn known(stream: &HubStream) -> Option<Known> {
    let locked = stream.lock();
    Some(Known {
        n: stream.n,
        id: locked.id.clone()?,
        codec: locked.info.codec,
        is_sealed: locked.info.is_sealed,
        newest: locked.ring.newest().map(|frame| frame.capture_micros.saturating_mul(1_000)),
        gaps: locked.gaps().collect(),
    })
}

/// The camera's stream that was asked for, or its first one.
fn choose(app: &App, camera: &str, n: Option<u16>) -> Option<Known> {
    let camera: CameraId = camera.parse().ok()?;
    app.hub.of_camera(&camera).iter().filter(|stream| n.is_none_or(|n| n == stream.n)).find_map(|stream| known(stream))
}

fn unknown_camera() -> Response<Body> {
    refusal(StatusCode::NOT_FOUND, "unknown-camera", "no camera of this id has published here")
}

/// Milliseconds as a page sends them; `None` for what is no time.
#[expect(clippy::cast_possible_truncation, reason = "checked to be in range, and rounded to microseconds")]
fn nanos(millis: f64) -> Option<i64> {
    (0.0..=MAX_MILLIS).contains(&millis).then(|| (millis * 1_000.0).round() as i64 * 1_000)
}

fn stretch(from_ms: f64, to_ms: f64, longest_millis: f64) -> Result<Stretch, Refused> {
    let wrong = |what: &str| Refused::TooLong { what: what.to_owned() };
    let (Some(from), Some(to)) = (nanos(from_ms), nanos(to_ms)) else {
        return Err(wrong("from_ms and to_ms are Unix milliseconds between 1970 and 2200"));
    };
    if from >= to {
        return Err(wrong("from_ms must be before to_ms"));
    }
    if to_ms - from_ms > longest_millis {
        let seconds = longest_millis / 1_000.0;
        return Err(wrong(&format!("the stretch is longer than {seconds} s; ask for less")));
    }
    Ok(Stretch { from, to })
}

#[derive(Debug, Deserialize)]
pub(crate) struct TimelineQuery {
    stream: Option<u16>,
    from_ms: Option<f64>,
    to_ms: Option<f64>,
    width: Option<usize>,
}

/// `GET /api/v1/cameras/{id}/timeline`.
pub(crate) async fn timeline(
    State(app): State<Arc<App>>,
    Named(camera): Named,
    Asked(query): Asked<TimelineQuery>,
) -> Response<Body> {
    let Some(known) = choose(&app, &camera, query.stream) else { return unknown_camera() };
    let to = query.to_ms.unwrap_or_else(|| crate::hub::millis(now_micros()));
    let from = query.from_ms.unwrap_or(to - USUAL_STRETCH_MILLIS).max(0.0);
    let stretch = match stretch(from, to, MAX_STRETCH_MILLIS) {
        Ok(stretch) => stretch,
        Err(refused) => return refused.answer(),
    };
    let most_keyframes = query.width.unwrap_or(USUAL_WIDTH).clamp(2, MAX_WIDTH);
    let stream = (*known.id).clone();
    let question = Question { n: known.n, stream, stretch, most_keyframes, gaps: known.gaps, newest: known.newest };
    let recordings = Arc::clone(&app.recordings);
    let ask = app.recordings.ask(move |player, cancel| coverage::of(&recordings, player, &question, cancel));
    match ask.await {
        Ok(told) => Json(told).into_response(),
        Err(refused) => refused.answer(),
    }
}

/// `GET /api/v1/cameras/{id}/snapshot?at_ms=`: called by the newest picture's handler.
pub(crate) async fn moment_picture(app: Arc<App>, camera: String, query: SnapshotQuery, at_ms: f64) -> Response<Body> {
    let Some(known) = choose(&app, &camera, query.stream) else { return unknown_camera() };
    let Some(unix_nanos) = nanos(at_ms) else {
        let what = "at_ms is in Unix milliseconds between 1970 and 2200".to_owned();
        return Refused::TooLong { what }.answer();
    };
    if known.is_sealed {
        return Refused::Sealed.answer();
    }
    let precision = if query.is_exact() { Precision::Frame } else { Precision::Keyframe };
    let moment = Moment { n: known.n, stream: (*known.id).clone(), unix_nanos: whole_micro(unix_nanos), precision };
    let recordings = Arc::clone(&app.recordings);
    let ask = app.recordings.ask(move |player, cancel| picture::of(&recordings, player, &moment, cancel));
    match ask.await {
        Ok(picture) => picture_answer(picture),
        Err(refused) => refused.answer(),
    }
}

fn picture_answer(picture: MomentPicture) -> Response<Body> {
    Response::builder()
        .header(header::CONTENT_TYPE, "image/jpeg")
        .header("X-Lumenbus-Epoch", picture.id.epoch.to_string())
        .header("X-Lumenbus-Seq", picture.id.seq.to_string())
        .header("X-Lumenbus-Capture-Unix-Nanos", picture.capture_unix_nanos.to_string())
        .header("X-Lumenbus-Moments", picture.moments.to_string())
        .body(Body::from(picture.file))
        .unwrap_or_default()
}

#[derive(Debug, Deserialize)]
pub(crate) struct ClipQuery {
    stream: Option<u16>,
    from_ms: f64,
    to_ms: f64,
    check: Option<String>,
}

/// `GET /api/v1/cameras/{id}/clip.mp4`.
pub(crate) async fn clip_mp4(
    State(app): State<Arc<App>>,
    Named(camera): Named,
    Asked(query): Asked<ClipQuery>,
) -> Response<Body> {
    clip_of(&app, &camera, &query, clip::Form::Mp4).await
}

/// `GET /api/v1/cameras/{id}/clip.mjpeg`.
pub(crate) async fn clip_mjpeg(
    State(app): State<Arc<App>>,
    Named(camera): Named,
    Asked(query): Asked<ClipQuery>,
) -> Response<Body> {
    clip_of(&app, &camera, &query, clip::Form::Mjpeg).await
}

async fn clip_of(app: &Arc<App>, camera: &str, query: &ClipQuery, form: clip::Form) -> Response<Body> {
    let Some(known) = choose(app, camera, query.stream) else { return unknown_camera() };
    if known.is_sealed {
        return Refused::Sealed.answer();
    }
    let wanted = known.codec.map_or(Some(form), clip::Form::of);
    match wanted {
        Some(wanted) if wanted == form => {}
        Some(other) => return Refused::OtherForm { name: other.name() }.answer(),
        None => {
            let why = "frames of this codec are put into no file here; use lumenbus subscribe".to_owned();
            return Refused::NoClip(why).answer();
        }
    }
    let stretch = match stretch(query.from_ms, query.to_ms, clip::MAX_MILLIS) {
        Ok(stretch) => stretch,
        Err(refused) => return refused.answer(),
    };
    let order = clip::Order { stream: (*known.id).clone(), stretch, form, is_check: query.check.is_some() };
    match clip::begin(&app.recordings, order).await {
        Ok(response) => response,
        Err(refused) => refused.answer(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_are_none_are_refused() {
        for (from, to) in [(f64::NAN, 1.0), (-1.0, 1.0), (5.0, 5.0), (5.0, 4.0), (0.0, 1e300), (0.0, f64::INFINITY)] {
            let Err(refused) = stretch(from, to, 1e13) else { panic!("{from} {to}") };
            assert_eq!(refused.parts().1, "bad-stretch");
        }
        assert!(stretch(0.0, 2_000.0, 1_000.0).is_err());
        assert_eq!(stretch(1.0, 1_500.25, 10_000.0).unwrap(), Stretch { from: 1_000_000, to: 1_500_250_000 });
    }
}
