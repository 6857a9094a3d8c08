//! One stream as the viewer knows it: newest frames, counters, figures, state.

use super::ring::{HubFrame, Ring};
use super::state::{Observed, Phase};
use super::window::{Durations, Rate};
use lumenbus_bus::subscriber::{DeliveredFrame, FrameRole};
use lumenbus_frame::{
    CameraId, Codec, Dimensions, Epoch, FrameRate, Gap, GapReason, SeqRange, StreamId, StreamParameters,
};
use lumenbus_wire::{CameraEntry, StreamEntry, StreamState};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio::sync::Notify;

/// Points between which time is measured, with their names in messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Capture → submission.
    Encode,
    /// Submission → Kafka client.
    Queue,
    /// Kafka client → appended at the broker.
    Append,
    /// Appended → here.
    Receive,
    /// Here → on its way to a page.
    Send,
    /// Had by a page → decoded.
    Decode,
    /// Decoded → on the screen.
    Shown,
    /// Capture → on the screen.
    Total,
}

impl Stage {
    pub(crate) const ALL: [(Self, &'static str); 8] = [
        (Self::Encode, "encode"),
        (Self::Queue, "queue"),
        (Self::Append, "append"),
        (Self::Receive, "receive"),
        (Self::Send, "send"),
        (Self::Decode, "decode"),
        (Self::Shown, "shown"),
        (Self::Total, "total"),
    ];
}

/// Sums since the viewer was started.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub(crate) frames: u64,
    pub(crate) bytes: u64,
    pub(crate) gaps: BTreeMap<GapReason, u64>,
    pub(crate) open_gaps: u64,
    pub(crate) repeated: u64,
    /// Frames that slow viewers did not get.
    pub(crate) skipped: u64,
}

/// Frames whose absence is no loss: the viewer came later, or nothing had changed.
pub(crate) fn is_loss(reason: GapReason) -> bool {
    !matches!(reason, GapReason::Joining | GapReason::Repeated)
}

impl Counters {
    fn gap(&mut self, gap: &Gap) {
        match gap.count() {
            Some(frames) if gap.reason == GapReason::Repeated => self.repeated += frames,
            Some(frames) => *self.gaps.entry(gap.reason).or_default() += frames,
            None => self.open_gaps += 1,
        }
    }

    pub(crate) fn unexplained(&self) -> u64 {
        self.gaps.get(&GapReason::Unexplained).copied().unwrap_or(0)
    }
}

/// What a tile says beside the pictures; a change is told to every client.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Info {
    pub(crate) name: String,
    pub(crate) group: String,
    pub(crate) labels: BTreeMap<String, String>,
    /// Where its records are now; `None` until the directory says so.
    pub(crate) partition: Option<u32>,
    pub(crate) codec: Option<Codec>,
    pub(crate) parameters: Option<Arc<StreamParameters>>,
    pub(crate) is_sealed: bool,
}

impl Info {
    pub(crate) fn dimensions(&self) -> Option<Dimensions> {
        self.parameters.as_ref().map(|parameters| parameters.dimensions)
    }

    pub(crate) fn frame_rate(&self) -> Option<FrameRate> {
        self.parameters.as_ref().and_then(|parameters| parameters.frame_rate)
    }
}

/// Figures over the last seconds.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) rate: Rate,
    /// Capture → here.
    pub(crate) age: Durations,
    stages: [Durations; Stage::ALL.len()],
}

impl Figures {
    pub(crate) fn stage(&mut self, stage: Stage) -> &mut Durations {
        &mut self.stages[stage as usize]
    }
}

/// Everything about one stream; behind one lock.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) camera: CameraId,
    /// `None`: configured, but nothing has been published yet.
    pub(crate) id: Option<Arc<StreamId>>,
    pub(crate) info: Info,
    pub(crate) ring: Ring,
    pub(crate) counters: Counters,
    pub(crate) figures: Figures,
    pub(crate) phase: Phase,
    pub(crate) observed: Observed,
    /// Clients were told that it is away, and not yet that it is back.
    is_told_away: bool,
    epoch: Option<Epoch>,
    watchers: Vec<(u64, Arc<Notify>)>,
}

impl Stream {
    pub(crate) fn new(camera: CameraId, id: Option<Arc<StreamId>>, now_millis: i64) -> Self {
        Self {
            camera,
            id,
            info: Info::default(),
            ring: Ring::default(),
            counters: Counters::default(),
            figures: Figures::default(),
            phase: Phase::new(now_millis),
            observed: Observed::default(),
            is_told_away: false,
            epoch: None,
            watchers: Vec::new(),
        }
    }

    /// A client wants to be woken by this stream's frames.
    pub(crate) fn watch(&mut self, session: u64, wake: &Arc<Notify>) {
        self.unwatch(session);
        self.watchers.push((session, Arc::clone(wake)));
    }

    pub(crate) fn unwatch(&mut self, session: u64) {
        self.watchers.retain(|(watcher, _)| *watcher != session);
    }

    /// Takes a frame; says whether what a tile shows has changed.
    pub(crate) fn frame(&mut self, frame: &DeliveredFrame, order: u64, limit_bytes: usize) -> bool {
        let is_sealed = frame.header.seal.is_some();
        let has_changed = self.describe_frame(frame, is_sealed);
        let is_new_epoch = self.epoch.replace(frame.header.id.epoch) != Some(frame.header.id.epoch);
        let received_micros = frame.received_unix_nanos / 1_000;
        let capture_micros = frame.header.capture.unix_nanos / 1_000;
        let is_jump = frame.header.is_discontinuity || is_new_epoch;
        let is_new_coding = frame.header.is_keyframe && has_changed;
        let hub_frame = HubFrame {
            order,
            id: frame.header.id,
            codec: frame.codec,
            is_keyframe: frame.header.is_keyframe || frame.codec.is_intra_only(),
            is_discontinuity: is_jump || is_new_coding,
            is_discardable: frame.header.is_discardable,
            is_sealed,
            is_catch_up: frame.role == FrameRole::CatchUp,
            capture_micros,
            pts_micros: self.pts_micros(frame).unwrap_or(capture_micros),
            received_micros,
            payload: frame.payload.clone(),
            parameters: self.info.parameters.clone(),
        };
        self.ring.push(Arc::new(hub_frame), limit_bytes);
        self.count(frame);
        self.watchers.iter().for_each(|(_, wake)| wake.notify_one());
        has_changed
    }

    /// Takes over what a frame says of its stream; says whether that is new.
    fn describe_frame(&mut self, frame: &DeliveredFrame, is_sealed: bool) -> bool {
        let info = &mut self.info;
        let is_other = frame.parameters.is_some() && frame.parameters != info.parameters;
        let has_changed = is_other || info.codec != Some(frame.codec) || info.is_sealed != is_sealed;
        info.codec = Some(frame.codec);
        info.is_sealed = is_sealed;
        if is_other {
            info.parameters.clone_from(&frame.parameters);
        }
        has_changed
    }

    fn pts_micros(&self, frame: &DeliveredFrame) -> Option<i64> {
        let timebase = self.info.parameters.as_ref()?.timebase;
        Some(timebase.nanos(frame.header.pts?) / 1_000)
    }

    fn count(&mut self, frame: &DeliveredFrame) {
        self.counters.frames += 1;
        self.counters.bytes += frame.payload.len() as u64;
        if frame.role != FrameRole::Current {
            return;
        }
        let now_millis = frame.received_unix_nanos / 1_000_000;
        self.observed.is_ended = false;
        self.observed.offline = None;
        self.observe_interval(now_millis);
        self.figures.rate.add(now_millis, frame.payload.len());
        let capture = frame.header.capture.unix_nanos;
        self.figures.age.add(now_millis, frame.received_unix_nanos.saturating_sub(capture) / 1_000);
        let (submit, queue) = (frame.header.submit_micros, frame.header.queue_micros);
        let mut stage = |stage, micros| self.figures.stage(stage).add(now_millis, micros);
        submit.iter().for_each(|micros| stage(Stage::Encode, i64::from(*micros)));
        queue.iter().for_each(|micros| stage(Stage::Queue, i64::from(*micros)));
        let Some(append) = frame.append_unix_millis.map(|millis| millis.saturating_mul(1_000)) else { return };
        let receive = (frame.received_unix_nanos / 1_000).saturating_sub(append);
        stage(Stage::Receive, receive);
        let (Some(submit), Some(queue)) = (submit, queue) else { return };
        let handed_over = (capture / 1_000).saturating_add(i64::from(submit)).saturating_add(i64::from(queue));
        stage(Stage::Append, append.saturating_sub(handed_over));
        #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
        let delay = (i64::from(queue) + receive.max(0)) as f64 / 1_000.0;
        self.observed.delay_millis = Some(delay);
    }

    fn observe_interval(&mut self, now_millis: i64) {
        if let Some(last) = self.observed.last_sign_millis.replace(now_millis) {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds")]
            let interval = now_millis.saturating_sub(last).clamp(0, 3_600_000) as f64;
            let usual = self.observed.interval_millis.unwrap_or(interval);
            self.observed.interval_millis = Some(usual + (interval - usual) / 16.0);
        }
    }

    pub(crate) fn gap(&mut self, gap: &Gap) {
        self.counters.gap(gap);
    }

    pub(crate) fn repeat(&mut self, range: SeqRange, now_millis: i64) {
        self.counters.repeated += range.count();
        self.observed.last_sign_millis = Some(now_millis);
        self.observed.offline = None;
    }

    /// The end of an epoch; of an older one it says nothing.
    pub(crate) fn end(&mut self, epoch: Epoch) {
        self.observed.is_ended = self.epoch.is_none_or(|newest| newest <= epoch);
    }

    /// The publisher says so in the log; whoever calls this tells the clients.
    pub(crate) fn goes_away(&mut self, reason: &str) {
        self.offline(reason);
        self.is_told_away = true;
    }

    /// Whether a frame brings back what was told to be away. The directory may have said before that it is live again.
    pub(crate) fn is_back(&mut self, role: FrameRole) -> bool {
        role == FrameRole::Current && std::mem::take(&mut self.is_told_away)
    }

    fn offline(&mut self, reason: &str) {
        let reason = if reason.is_empty() { "the camera is away" } else { reason };
        self.observed.offline = Some(reason.chars().take(200).collect());
    }

    /// What the directory says; answers whether what a tile shows has changed.
    pub(crate) fn directory(&mut self, entry: &CameraEntry, stream: &StreamEntry) -> bool {
        let before = self.info.clone();
        self.describe(entry);
        if self.epoch.is_none_or(|epoch| epoch <= stream.epoch) {
            self.info.codec = Some(stream.codec);
            self.info.partition = Some(stream.partition);
            if stream.parameters.is_some() {
                self.info.parameters.clone_from(&stream.parameters);
            }
            self.follow(stream);
        }
        self.info != before
    }

    /// Name, group and labels, which all streams of a camera share.
    fn describe(&mut self, entry: &CameraEntry) {
        self.info.name.clone_from(&entry.name);
        self.info.group.clone_from(&entry.group);
        self.info.labels = entry.labels.iter().cloned().collect();
    }

    /// A frame that came after the entry was written says more than the entry.
    fn follow(&mut self, stream: &StreamEntry) {
        let updated_millis = stream.updated_unix_nanos / 1_000_000;
        if self.observed.last_sign_millis.is_some_and(|last| last > updated_millis) {
            return;
        }
        self.observed.is_ended = stream.state == StreamState::Ended;
        match stream.state {
            StreamState::Offline if self.observed.offline.is_none() => self.offline(""),
            StreamState::Offline => {}
            StreamState::Live | StreamState::Ended => self.observed.offline = None,
        }
    }
}
