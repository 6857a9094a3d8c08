//! Who joins: opens a subscription, decodes what comes, and looks at the clock.

use super::camera::Kind;
use anyhow::Context as _;
use lumenbus_bus::control::{ControlSender, JoinAid};
use lumenbus_bus::subscriber::{Event, Policy, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::{BusConfig, SystemClock};
use lumenbus_codec::DecoderConfig;
use lumenbus_frame::{Clock as _, FrameRate, PixelFormat, TopicName};
use lumenbus_pipeline::decode::Decoding;
use lumenbus_pipeline::subscribe::encoded;
use std::sync::Arc;
use std::time::{Duration, Instant};

const WAIT: Duration = Duration::from_millis(50);
/// A stream that is not there by then never comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// A picture so many frame intervals old is the newest: one on its way, one in the decoder, one that is due.
const CURRENT_INTERVALS: u32 = 3;

/// One join.
#[derive(Debug, Clone, Copy)]
pub(super) struct Joined {
    /// Until the subscription was open: connections, directory, offsets.
    pub(super) opened_millis: f64,
    /// Until the first picture.
    pub(super) keyframe_millis: f64,
    pub(super) keyframe_age_millis: f64,
    /// Frames decoded behind the first, until a picture was current.
    pub(super) frames_behind: u64,
    /// Mean of those.
    pub(super) decode_millis: f64,
    /// Until a picture was current.
    pub(super) current_millis: f64,
    pub(super) has_asked: bool,
    /// Between two frames.
    pub(super) interval_millis: f64,
}

impl Joined {
    /// How long catching up took over what decoding the frames takes that were there when the first picture was; 1
    /// where nothing was to catch up. Those that arrive meanwhile are part of the time, and not of what it is compared with.
    pub(super) fn ratio(&self) -> f64 {
        let least = self.keyframe_age_millis / self.interval_millis * self.decode_millis;
        if least > 0.0 { (self.current_millis - self.keyframe_millis) / least } else { 1.0 }
    }
}

pub(super) struct Joiner {
    config: SubscriberConfig,
    rate: FrameRate,
    sender: Option<Arc<ControlSender>>,
}

impl Joiner {
    pub(super) fn new(bus: &BusConfig, topic: &str, kind: Kind, rate: FrameRate) -> anyhow::Result<Self> {
        let mut config = SubscriberConfig::new(bus.clone(), vec![TopicName::new(topic)?]);
        let sender = match kind {
            Kind::PassedThrough => None,
            Kind::Encoded => {
                // A new keyframe takes the place of what would have to be caught up with.
                config.policy = Policy::Newest;
                Some(Arc::new(ControlSender::open(bus, "bench")?))
            }
        };
        Ok(Self { config, rate, sender })
    }

    pub(super) fn fps(&self) -> u32 {
        self.rate.frames
    }

    pub(super) fn wait_for_frames(&self, frames: u64) -> anyhow::Result<()> {
        let mut config = self.config.clone();
        (config.start, config.policy) = (Start::Earliest, Policy::Lossless);
        let (mut subscriber, since, mut seen) = (Subscriber::open(config)?, Instant::now(), 0);
        while seen < frames {
            anyhow::ensure!(since.elapsed() < PATIENCE, "the publisher sent {seen} frames in {PATIENCE:?}");
            seen += u64::from(matches!(subscriber.recv(WAIT)?, Some(Event::Frame(_))));
        }
        subscriber.close();
        Ok(())
    }

    pub(super) fn join(&self) -> anyhow::Result<Joined> {
        let began = Instant::now();
        let clock: Arc<SystemClock> = Arc::new(SystemClock);
        let mut aid = self.sender.as_ref().map(|sender| JoinAid::new(Arc::clone(sender), clock));
        let mut subscriber = Subscriber::open(self.config.clone())?;
        let mut watch = Watch::begin(began, self.rate);
        watch.has_asked = aid.as_mut().is_some_and(|aid| aid.begin(&subscriber) > 0);
        let mut decoding = Decoding::new(DecoderConfig { pixel_format: Some(PixelFormat::I420) });
        let mut pictures = Vec::new();
        while began.elapsed() < PATIENCE {
            let Some(event) = subscriber.recv(WAIT)? else { continue };
            watch.has_asked |= aid.as_mut().is_some_and(|aid| aid.see(&event));
            match &event {
                Event::Frame(frame) => {
                    let since = Instant::now();
                    decoding.push(frame.id(), &encoded(frame), &mut pictures)?;
                    watch.decoded(since.elapsed());
                }
                Event::Gap { gap, .. } => decoding.gap(gap, &mut pictures),
                _ => {}
            }
            let captured: Vec<i64> = pictures.drain(..).map(|decoded| decoded.picture.capture.unix_nanos).collect();
            if let Some(joined) = captured.into_iter().find_map(|captured| watch.shown(captured)) {
                subscriber.close();
                return Ok(joined);
            }
        }
        Err(anyhow::anyhow!("no current picture in {PATIENCE:?}")).context("joining a live stream")
    }
}

/// Looks at the clock while one joins.
struct Watch {
    began: Instant,
    opened: Duration,
    interval: Duration,
    first: Option<(Duration, f64)>,
    decoding: Duration,
    frames: u64,
    has_asked: bool,
}

impl Watch {
    fn begin(began: Instant, rate: FrameRate) -> Self {
        let (opened, interval) = (began.elapsed(), rate.interval());
        Self { began, opened, interval, first: None, decoding: Duration::ZERO, frames: 0, has_asked: false }
    }

    fn decoded(&mut self, took: Duration) {
        // The first picture's own decoding is in its time.
        if self.first.is_some() {
            self.decoding += took;
            self.frames += 1;
        }
    }

    /// A picture is there; the figures, where it is current.
    fn shown(&mut self, capture_unix_nanos: i64) -> Option<Joined> {
        let now = self.began.elapsed();
        let age_nanos = SystemClock.unix_nanos().saturating_sub(capture_unix_nanos).max(0);
        let age = Duration::from_nanos(age_nanos.unsigned_abs());
        let (first, first_age) = *self.first.get_or_insert((now, millis(age)));
        if age > self.interval * CURRENT_INTERVALS {
            return None;
        }
        #[expect(clippy::cast_precision_loss, reason = "frames of a GOP")]
        let frames = self.frames.max(1) as f64;
        Some(Joined {
            opened_millis: millis(self.opened),
            keyframe_millis: millis(first),
            keyframe_age_millis: first_age,
            frames_behind: self.frames,
            decode_millis: millis(self.decoding) / frames,
            current_millis: millis(now),
            has_asked: self.has_asked,
            interval_millis: millis(self.interval),
        })
    }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
