//! One camera's thread: opens, feeds, and tries again.

use crate::Shutdown;
use crate::fleet::backoff::Backoff;
use crate::fleet::camera::{CameraConfig, default_topic};
use crate::fleet::shared::{Shared, Wanted, lock};
use crate::fleet::status::{CameraState, Totals};
use crate::fleet::{FleetConfig, FleetError};
use crate::publish::{Feed, FeedConfig, FeedEnding, FeedError, Pace, SnapshotBudget, Snapshots};
use lumenbus_bus::publisher::{Publisher, StreamHandle, StreamOptions};
use lumenbus_bus::{BusError, SystemClock};
use lumenbus_frame::{Codec, FrameRate, GapReason, StreamId, StreamParameters};
use lumenbus_source::{DEFAULT_RATE, Interrupt, Looped, Source as _};
use std::any::Any;
use std::hash::{BuildHasher as _, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// So many damaged places of one attempt are logged one by one.
const MAX_TOLD_DAMAGES: u64 = 3;
/// How often readers are told what an unplugged camera has lost meanwhile.
const AWAY_REPORT: Duration = Duration::from_secs(1);

/// Why an attempt ended badly.
enum Trouble {
    Feed(FeedError),
    Panicked(String),
}

impl Trouble {
    /// Trying again would be wrong: somebody else has the stream, or the publisher is closed.
    fn is_final(&self) -> bool {
        matches!(self, Self::Feed(FeedError::Bus(BusError::Superseded { .. } | BusError::Closed { .. })))
    }

    fn is_superseded(&self) -> bool {
        matches!(self, Self::Feed(FeedError::Bus(BusError::Superseded { .. })))
    }

    fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Feed(FeedError::Source(error)) if error.is_unauthorized())
    }

    /// How long to wait after an attempt that lasted `ran`.
    fn wait(&self, backoff: &mut Backoff, ran: Duration, random: u64) -> Duration {
        // Cameras lock the account of who tries a wrong password too often.
        if self.is_unauthorized() { backoff.longest(random) } else { backoff.wait(ran, random) }
    }

    fn text(&self) -> Arc<str> {
        match self {
            // Viewers tell a refused password from other troubles by this word.
            Self::Feed(error) if self.is_unauthorized() => Arc::from(format!("unauthorized: {error}")),
            Self::Feed(error) => Arc::from(error.to_string()),
            Self::Panicked(what) => Arc::from(format!("a defect in this program: {what}")),
        }
    }
}

/// What a camera's thread owns.
pub(super) struct Worker {
    pub(super) config: CameraConfig,
    pub(super) fleet: FleetConfig,
    pub(super) publisher: Arc<Publisher>,
    pub(super) shared: Arc<Shared>,
    pub(super) closed: Arc<Mutex<Totals>>,
    /// The thread that had this camera before; its stream must have ended first.
    pub(super) predecessor: Option<JoinHandle<()>>,
    pub(super) source: Option<Looped>,
    pub(super) stream: Option<StreamHandle>,
    pub(super) snapshots: Option<Snapshots>,
    pub(super) budget: Arc<SnapshotBudget>,
    /// Since when it gives nothing, though it has given something before.
    pub(super) away_since: Option<SystemTime>,
    /// The failure that the log has already.
    pub(super) told: Option<Arc<str>>,
}

impl Worker {
    pub(super) fn run(mut self) {
        if let Some(before) = self.predecessor.take()
            && before.join().is_err()
        {
            tracing::error!(camera = %self.config.id, "the camera's thread before this one panicked");
        }
        let mut backoff = Backoff::new(self.fleet.retry);
        let reason = loop {
            match self.shared.wanted() {
                Wanted::Stop(_) => break "stopped",
                Wanted::Unplugged => self.stay_away(),
                Wanted::Run => match self.attempt(&mut backoff) {
                    Some(FeedEnding::SourceEnded) => break "its source has ended",
                    Some(FeedEnding::Limit | FeedEnding::Interrupted) | None => {}
                },
            }
        };
        let deadline = match self.shared.wanted() {
            Wanted::Stop(deadline) => deadline,
            Wanted::Run | Wanted::Unplugged => self.fleet.finish,
        };
        self.end_stream(deadline);
        self.source = None;
        self.tell_stopped(reason);
        // Whoever waits for the end may want to close the publisher then.
        let shared = Arc::clone(&self.shared);
        drop(self);
        shared.set_over();
    }

    fn tell_stopped(&self, reason: &str) {
        let mut progress = self.shared.progress();
        // Why it failed says more than that it was stopped then.
        if !matches!(progress.state, CameraState::Failed { .. }) {
            progress.state = CameraState::Stopped { reason: Arc::from(reason) };
        }
        progress.retry_at = None;
    }

    /// Feeds until the source ends, fails or something else is wanted; waits after a failure.
    fn attempt(&mut self, backoff: &mut Backoff) -> Option<FeedEnding> {
        let shutdown = self.shared.begin_attempt()?;
        self.shared.progress().retry_at = None;
        let began = Instant::now();
        // A defect in one camera's codec or source is that camera's failure.
        let fed = catch_unwind(AssertUnwindSafe(|| self.feed(&shutdown)));
        if self.shared.end_attempt() > 0 {
            (self.away_since, self.told) = (None, None);
        }
        let trouble = match fed {
            Ok(Ok(ending)) => return Some(ending),
            Ok(Err(error)) => Trouble::Feed(error),
            Err(panic) => Trouble::Panicked(panic_text(panic.as_ref())),
        };
        let wait = trouble.wait(backoff, began.elapsed(), RandomState::new().hash_one(began));
        self.failed(&trouble, wait);
        None
    }

    fn feed(&mut self, shutdown: &Shutdown) -> Result<FeedEnding, FeedError> {
        self.open_source()?;
        self.open_stream()?;
        let (Some(source), Some(stream)) = (&mut self.source, &self.stream) else {
            return Ok(FeedEnding::Interrupted);
        };
        let config = FeedConfig {
            encoder: self.config.encoder(source.parameters()),
            video: self.config.video,
            pace: Pace::RealTime,
            deadline: self.config.deadline(),
            ..FeedConfig::default()
        };
        let feed = Feed::new(stream, source.codec(), config, Arc::new(SystemClock))?;
        let feed = feed.with_snapshots(self.snapshots.as_mut());
        let (camera, shared, mut damages) = (&self.config.id, &self.shared, 0);
        let report = feed.run(
            source,
            shutdown,
            |damage| {
                damages += 1;
                if damages <= MAX_TOLD_DAMAGES {
                    tracing::warn!(%camera, "damaged, left out: {damage}");
                }
            },
            |report| shared.progressed(report),
        )?;
        shared.progressed(&report);
        Ok(report.ending)
    }

    /// Opens the source, or begins it again with pts that go on.
    fn open_source(&mut self) -> Result<(), FeedError> {
        match &mut self.source {
            Some(source) => source.restart()?,
            None => {
                let shared = Arc::clone(&self.shared);
                let interrupt = Interrupt::new(move || shared.wanted() != Wanted::Run);
                self.source = Some(self.config.open(interrupt)?);
            }
        }
        Ok(())
    }

    /// The stream stays the same as long as its codec does.
    fn open_stream(&mut self) -> Result<(), FeedError> {
        let Some(source) = &self.source else { return Ok(()) };
        let parameters = Arc::clone(source.parameters());
        let encoder = self.config.encoder(&parameters);
        if encoder.is_none() && parameters.codec == Codec::Raw {
            return Err(FeedError::NeedsEncoder { source_name: self.config.source.to_string() });
        }
        let is_passed = encoder.is_none();
        let codec = encoder.map_or(parameters.codec, |encoder| encoder.codec);
        let stream = self.stream_id(codec);
        if self.shared.progress().codec == Some(codec) && self.stream.as_ref().is_some_and(|open| *open.id() == stream)
        {
            return Ok(());
        }
        self.end_stream(self.fleet.finish);
        self.tell_futile(codec, is_passed);
        let mut options = stream_options(&parameters, codec);
        options.camera = self.shared.description();
        let before = options.camera.clone();
        self.stream = Some(self.publisher.stream(stream.clone(), options)?);
        self.open_snapshots(&stream, &parameters);
        let after = self.shared.description();
        if after != before {
            // Who described it meanwhile did not find the stream yet.
            self.publisher.describe(&self.config.id, after);
        }
        let mut progress = self.shared.progress();
        (progress.codec, progress.stream) = (Some(codec), Some(stream));
        Ok(())
    }

    /// Video goes on without stills where there can be none.
    fn open_snapshots(&mut self, video: &StreamId, parameters: &StreamParameters) {
        let Some(interval) = self.config.snapshots else { return };
        let mut options = stream_options(parameters, Codec::Jpeg);
        options.camera = self.shared.description();
        let budget = Arc::clone(&self.budget);
        let opened = Snapshots::open(&self.publisher, video, &self.fleet.topic_prefix, options, interval, budget);
        match opened {
            Ok(snapshots) => self.snapshots = Some(snapshots),
            Err(error) => tracing::warn!(camera = %self.config.id, "it has no stills: {error}"),
        }
    }

    /// What is configured and does nothing with what the source turned out to be.
    fn tell_futile(&self, codec: Codec, is_passed: bool) {
        let (camera, chosen) = (&self.config.id, self.config.chosen_for_encoding());
        if is_passed && !chosen.is_empty() {
            let chosen = chosen.join(", ");
            tracing::warn!(
                %camera,
                "its {codec} passes through as it is: {chosen} would count with codec = \"h264\", which transcodes it"
            );
        }
    }

    fn stream_id(&self, codec: Codec) -> StreamId {
        let base = self.config.topic.as_ref().map_or_else(|| default_topic(codec), |topic| topic.as_str());
        let topic = self.fleet.topic_prefix.topic(base);
        StreamId { camera: self.config.id.clone(), topic, name: self.config.stream.clone() }
    }

    /// Says what is wrong and waits until it is worth another try.
    fn failed(&mut self, trouble: &Trouble, wait: Duration) {
        let reason = trouble.text();
        let camera = &self.config.id;
        if trouble.is_final() {
            tracing::error!(%camera, "the camera is given up: {reason}");
            let mut progress = self.shared.progress();
            progress.is_superseded = trouble.is_superseded();
            progress.state = CameraState::Failed { reason };
            drop(progress);
            self.wait_for_stop();
            return;
        }
        // Giving up to open it is what was asked for; why it failed before says more.
        if self.shared.wanted() != Wanted::Run {
            return;
        }
        // Once, not at each attempt.
        if self.told.as_ref() != Some(&reason) {
            tracing::warn!(%camera, "the camera fails and is tried again: {reason}");
            self.told = Some(Arc::clone(&reason));
        }
        let state = if self.stream.is_some() {
            let since = self.go_away(&reason);
            CameraState::Offline { since, reason }
        } else {
            CameraState::Failed { reason }
        };
        let mut progress = self.shared.progress();
        progress.state = state;
        progress.retry_at = Some(Instant::now() + wait);
        progress.restarts += 1;
        drop(progress);
        self.shared.wait_for_change(Wanted::Run, wait);
    }

    fn wait_for_stop(&self) {
        loop {
            match self.shared.wanted() {
                Wanted::Stop(_) => return,
                other => self.shared.wait_for_change(other, Duration::from_secs(3_600)),
            };
        }
    }

    /// Tells readers, once, that the camera is away. The frame under way is lost, so that what follows is only taken
    /// from a keyframe on.
    fn go_away(&mut self, reason: &str) -> SystemTime {
        if let Some(since) = self.away_since {
            return since;
        }
        let since = *self.away_since.insert(SystemTime::now());
        if let Some(stream) = &self.stream {
            // In this order, so that one record tells both.
            let told = stream.lose(1, GapReason::SourceLost).and_then(|()| stream.offline(reason));
            if let Err(error) = told {
                tracing::debug!(camera = %self.config.id, %error, "readers could not be told that it is away");
            }
        }
        since
    }

    /// Unplugged: the frames that would have come meanwhile are numbered and told as lost.
    fn stay_away(&mut self) {
        let reason = "unplugged";
        let was_live = self.away_since.is_none() && self.stream.is_some();
        let since = self.go_away(reason);
        self.shared.set_state(CameraState::Offline { since, reason: Arc::from(reason) });
        let rate = self.source.as_ref().and_then(|source| self.config.fps.or(source.nominal_rate()));
        if let Some(source) = &mut self.source {
            source.leave();
        }
        let began = Instant::now();
        // One was told on going away.
        let mut told = u64::from(was_live);
        let mut wanted = Wanted::Unplugged;
        while wanted == Wanted::Unplugged {
            wanted = self.shared.wait_for_change(Wanted::Unplugged, AWAY_REPORT);
            let Some(stream) = &self.stream else { continue };
            let due = frames_due(began.elapsed(), rate.unwrap_or(DEFAULT_RATE));
            let lost = due.saturating_sub(told);
            told += lost;
            if let Err(error) = stream.lose(lost, GapReason::SourceLost) {
                tracing::debug!(camera = %self.config.id, %error, "the gap could not be told");
            }
        }
        let mut progress = self.shared.progress();
        progress.restarts += 1;
        progress.earlier.lost += told;
    }

    /// The video first; its stills have what it leaves of the time.
    pub(super) fn end_stream(&mut self, deadline: Duration) {
        let began = Instant::now();
        if let Some(snapshots) = &self.snapshots {
            snapshots.stop();
        }
        self.end_video(deadline);
        let Some(snapshots) = self.snapshots.take() else { return };
        match snapshots.finish(deadline.saturating_sub(began.elapsed())) {
            Ok(summary) => lock(&self.closed).add_stills(&summary),
            Err(error) => tracing::warn!(camera = %self.config.id, "its stills have no end: {error}"),
        }
    }

    fn end_video(&mut self, deadline: Duration) {
        let Some(stream) = self.stream.take() else { return };
        let stats = stream.stats();
        let outcome = stream.finish(deadline);
        let mut closed = lock(&self.closed);
        match &outcome {
            Ok(summary) => closed.add_summary(summary),
            Err(_) => {
                closed.add_stats(&stats);
                closed.ended_streams += 1;
                closed.unfinished_streams += 1;
            }
        }
        drop(closed);
        let camera = self.config.id.clone();
        let outcome = outcome.map_err(|source| FleetError::Bus { camera, source: Arc::new(source) });
        self.shared.progress().outcome = Some(outcome);
    }
}

fn stream_options(source: &StreamParameters, codec: Codec) -> StreamOptions {
    let mut parameters = source.clone();
    if codec != source.codec {
        parameters = StreamParameters { codec, codec_string: None, ..parameters };
    }
    StreamOptions { parameters: Some(Arc::new(parameters)), ..StreamOptions::new(codec) }
}

/// Frames that a camera gives in this time.
fn frames_due(time: Duration, rate: FrameRate) -> u64 {
    let frames = time.as_nanos() * u128::from(rate.frames) / (u128::from(rate.seconds.max(1)) * 1_000_000_000);
    u64::try_from(frames).unwrap_or(u64::MAX)
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic without words".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Retry;
    use lumenbus_source::{CameraFault, SourceError};

    #[test]
    fn a_refused_password_is_tried_again_slowly() {
        let trouble = |fault| {
            let error = SourceError::Camera { name: Arc::from("rtsp://cam/1"), fault };
            Trouble::Feed(FeedError::Source(error))
        };
        let wait = |trouble: &Trouble| trouble.wait(&mut Backoff::new(Retry::default()), Duration::ZERO, 250);
        for fault in [CameraFault::WrongPassword, CameraFault::NeedsPassword] {
            let trouble = trouble(fault);
            assert!(trouble.text().starts_with("unauthorized: rtsp://cam/1: "));
            assert_eq!(wait(&trouble), Retry::default().longest);
        }
        assert_eq!(wait(&trouble(CameraFault::Ended)), Retry::default().first);
    }

    #[test]
    fn frames_that_were_due() {
        assert_eq!(frames_due(Duration::from_millis(990), FrameRate::per_second(30)), 29);
        assert_eq!(frames_due(Duration::from_secs(1_001), FrameRate { frames: 30_000, seconds: 1_001 }), 30_000);
        assert_eq!(frames_due(Duration::ZERO, FrameRate::per_second(30)), 0);
    }
}
