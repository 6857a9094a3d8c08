//! The cameras of a fleet as rows of the live table, and what changed since the last look.

use crate::terminal::{Mood, Row, Table};
use lumenbus_frame::{CameraId, StreamName};
use lumenbus_pipeline::fleet::{CameraState, CameraStatus};
use lumenbus_web::{Percentiles, StreamSnapshot};
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Rates are taken over at least this time.
const RATE_WINDOW: Duration = Duration::from_secs(1);
/// Most cameras drawn; those in trouble first.
const MAX_ROWS: usize = 40;
/// The stage from capture to the screen, as the viewer calls it.
const SHOWN: &str = "total";
/// Most troubles told in words.
const MAX_REASONS: usize = 5;

/// A camera's stream.
type Key = (CameraId, StreamName);

#[derive(Debug, Clone)]
struct Pace {
    since: Instant,
    frames: u64,
    bytes: u64,
    fps: f64,
    mbit: f64,
}

/// Remembers what is needed to tell rates and changes.
#[derive(Debug, Default)]
pub(crate) struct Board {
    paces: HashMap<Key, Pace>,
    states: HashMap<Key, CameraState>,
}

impl Board {
    /// Takes in what is now; the cameras whose state is another than the last time.
    pub(crate) fn update<'a>(&mut self, cameras: &'a [CameraStatus]) -> Vec<&'a CameraStatus> {
        let now = Instant::now();
        self.paces.retain(|known, _| cameras.iter().any(|camera| key(camera) == *known));
        self.states.retain(|known, _| cameras.iter().any(|camera| key(camera) == *known));
        let mut changed = Vec::new();
        for camera in cameras {
            let frames = camera.stats.as_ref().map_or(0, |stats| stats.acknowledged_frames);
            let bytes = camera.stats.as_ref().map_or(0, |stats| stats.acknowledged_bytes);
            let new = || Pace { since: now, frames, bytes, fps: 0.0, mbit: 0.0 };
            self.paces.entry(key(camera)).or_insert_with(new).advance(now, frames, bytes);
            let before = self.states.insert(key(camera), camera.state.clone());
            if before.as_ref() != Some(&camera.state) {
                changed.push(camera);
            }
        }
        changed
    }

    /// Frames and Mbit per second of a camera.
    pub(crate) fn rates(&self, camera: &CameraStatus) -> (f64, f64) {
        self.paces.get(&key(camera)).map_or((0.0, 0.0), |pace| (pace.fps, pace.mbit))
    }

    /// The table of this moment; `seen` is what the viewer knows of the streams, where there is one.
    pub(crate) fn table(&self, head: Vec<String>, cameras: &[CameraStatus], seen: &[StreamSnapshot]) -> Table {
        let mut sorted: Vec<_> = cameras.iter().collect();
        sorted.sort_by_key(|camera| mood(&camera.state) != Mood::Bad);
        let rows = sorted.iter().take(MAX_ROWS).map(|camera| self.row(camera, seen)).collect();
        let live = cameras.iter().filter(|camera| camera.state == CameraState::Live).count();
        let mut foot = vec![format!("{live} of {} cameras live; Ctrl-C stops", cameras.len())];
        if cameras.len() > MAX_ROWS {
            foot.push(format!("{} more cameras are not shown", cameras.len() - MAX_ROWS));
        }
        let bad = sorted.iter().filter(|camera| mood(&camera.state) == Mood::Bad);
        let reasons = bad.filter_map(|camera| Some(format!("{}: {}", shown_name(camera), camera.state.reason()?)));
        foot.extend(reasons.take(MAX_REASONS));
        Table { head, rows, foot }
    }

    fn row(&self, camera: &CameraStatus, seen: &[StreamSnapshot]) -> Row {
        let seen = seen.iter().find(|seen| seen.stream.is_some() && seen.stream == camera.stream);
        let pair = |percentiles: &Percentiles| (percentiles.p50_ms, percentiles.p99_ms);
        let (fps, mbit) = self.rates(camera);
        let stats = camera.stats.as_ref();
        Row {
            camera: shown_name(camera),
            codec: camera.codec.map_or_else(String::new, |codec| codec.to_string()),
            size: seen.and_then(|seen| seen.size).map_or_else(String::new, |size| size.to_string()),
            fps,
            mbit,
            age_ms: seen.and_then(|seen| seen.age.as_ref()).map(pair),
            shown_ms: seen.and_then(|seen| seen.stages.get(SHOWN)).map(pair),
            frames: stats.map_or(0, |stats| stats.acknowledged_frames),
            missing: stats.map_or_else(Vec::new, |stats| {
                stats.drops.iter().map(|(reason, frames)| (reason.as_str(), *frames)).collect()
            }),
            state: state_text(&camera.state),
            mood: mood(&camera.state),
            ..Row::default()
        }
    }
}

impl Pace {
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    fn advance(&mut self, now: Instant, frames: u64, bytes: u64) {
        let elapsed = now.duration_since(self.since);
        if elapsed < RATE_WINDOW {
            return;
        }
        let per_second = |from: u64, to: u64| to.saturating_sub(from) as f64 / elapsed.as_secs_f64();
        let (fps, mbit) = (per_second(self.frames, frames), per_second(self.bytes, bytes) * 8e-6);
        *self = Self { since: now, frames, bytes, fps, mbit };
    }
}

fn key(camera: &CameraStatus) -> Key {
    (camera.id.clone(), camera.stream_name.clone())
}

/// `gate`, `gate/sub`
fn shown_name(camera: &CameraStatus) -> String {
    match &camera.stream_name {
        main if main.is_main() => camera.id.to_string(),
        other => format!("{}/{other}", camera.id),
    }
}

/// A camera of another node says whose it is.
fn state_text(state: &CameraState) -> String {
    match state {
        CameraState::Elsewhere { reason } => reason.to_string(),
        other => other.as_str().to_owned(),
    }
}

fn mood(state: &CameraState) -> Mood {
    match state {
        CameraState::Live => Mood::Good,
        CameraState::Starting | CameraState::Stopped { .. } | CameraState::Elsewhere { .. } => Mood::Pending,
        CameraState::Offline { .. } | CameraState::Failed { .. } => Mood::Bad,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_pipeline::publish::FeedReport;
    use std::sync::Arc;

    fn camera(id: &str, state: CameraState) -> CameraStatus {
        CameraStatus {
            id: id.parse().unwrap(),
            stream_name: StreamName::main(),
            name: None,
            group: None,
            source: "x".to_owned(),
            codec: None,
            stream: None,
            state,
            restarts: 0,
            retry_in: None,
            report: FeedReport::default(),
            stats: None,
        }
    }

    #[test]
    fn changes_are_told_once_and_trouble_comes_first() {
        let mut board = Board::default();
        let failed = CameraState::Failed { reason: Arc::from("no such file") };
        let cameras = [camera("a", CameraState::Starting), camera("b", failed)];
        assert_eq!(board.update(&cameras).len(), 2);
        assert!(board.update(&cameras).is_empty());
        let table = board.table(Vec::new(), &cameras, &[]);
        assert_eq!(table.rows[0].camera, "b");
        assert!(table.foot.iter().any(|line| line == "b: no such file"), "{:?}", table.foot);
        let cameras = [camera("a", CameraState::Live)];
        assert_eq!(board.update(&cameras)[0].id.as_str(), "a");
        assert!(board.update(&[]).is_empty() && board.states.is_empty());
    }
}
