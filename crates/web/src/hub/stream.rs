//! One stream as the viewer knows it: newest frames, counters, figures, state.

use super::finds::{Finds, Found};
use super::ring::{HubFrame, Ring};
use super::state::{Observed, Phase, StreamPhase};
use super::window::{Durations, Rate};
use bytes::Bytes;
use lumenbus_bus::subscriber::{DeliveredFrame, FrameRole};
use lumenbus_frame::bitstream::LowDelay;
use lumenbus_frame::{
    CameraId, Codec, Dimensions, Epoch, FrameRate, Gap, GapReason, SeqRange, StreamId, StreamParameters,
};
use lumenbus_wire::{CameraEntry, StreamEntry, StreamState};
use std::collections::{BTreeMap, VecDeque};
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

/// A loss that the viewer was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownGap {
    /// Where it ends, in the camera's clock: capture of the frame after it; Unix nanoseconds.
    pub(crate) at_nanos: i64,
    /// How long the frames would have lasted.
    pub(crate) length_nanos: i64,
    pub(crate) reason: &'static str,
    pub(crate) frames: Option<u64>,
}

/// Losses remembered of a stream.
const MAX_KNOWN_GAPS: usize = 256;

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

impl HubFrame {
    /// A frame out of a recording, as clients get it.
    pub(crate) fn recorded(frame: &DeliveredFrame, payload: Bytes, begins_anew: bool) -> Self {
        let capture_micros = frame.header.capture.unix_nanos / 1_000;
        let timebase = frame.parameters.as_ref().map(|parameters| parameters.timebase);
        let pts_micros = timebase.zip(frame.header.pts).map(|(timebase, pts)| timebase.nanos(pts) / 1_000);
        Self {
            order: 0,
            id: frame.id(),
            codec: frame.codec,
            is_keyframe: frame.header.is_keyframe || frame.codec.is_intra_only(),
            is_discontinuity: begins_anew || frame.header.is_discontinuity,
            is_discardable: frame.header.is_discardable,
            is_sealed: frame.header.seal.is_some(),
            is_catch_up: false,
            capture_micros,
            pts_micros: pts_micros.unwrap_or(capture_micros),
            received_micros: frame.received_unix_nanos / 1_000,
            payload,
            parameters: frame.parameters.clone(),
        }
    }
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
    gaps: VecDeque<KnownGap>,
    /// How many of the newest gaps have no frame after them yet.
    open_ended: usize,
    low_delay: LowDelay,
    /// What analysis has found in its newest frames.
    pub(crate) finds: Finds,
    watchers: Vec<Watcher>,
}

/// A client that watches a stream.
#[derive(Debug)]
struct Watcher {
    session: u64,
    wake: Arc<Notify>,
    /// Its frames wait so long.
    wait_micros: i64,
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
            gaps: VecDeque::new(),
            open_ended: 0,
            low_delay: LowDelay::default(),
            finds: Finds::default(),
            watchers: Vec::new(),
        }
    }

    /// A client wants to be woken by this stream's frames, and to have them so much later.
    pub(crate) fn watch(&mut self, session: u64, wake: &Arc<Notify>, wait_micros: i64) {
        self.unwatch(session);
        self.watchers.push(Watcher { session, wake: Arc::clone(wake), wait_micros });
        self.keep_for_watchers();
    }

    pub(crate) fn unwatch(&mut self, session: u64) {
        self.watchers.retain(|watcher| watcher.session != session);
        self.keep_for_watchers();
    }

    fn keep_for_watchers(&mut self) {
        self.ring.behind_micros = self.watchers.iter().map(|watcher| watcher.wait_micros).max().unwrap_or(0);
    }

    fn wake_watchers(&self) {
        self.watchers.iter().for_each(|watcher| watcher.wake.notify_one());
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
        if is_new_epoch {
            self.low_delay = LowDelay::default();
        }
        self.end_gaps(frame.header.capture.unix_nanos);
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
            payload: self.shown_payload(frame, is_sealed),
            parameters: self.info.parameters.clone(),
        };
        self.ring.push(Arc::new(hub_frame), limit_bytes);
        self.count(frame);
        self.wake_watchers();
        has_changed
    }

    /// The payload as published, but for parameter sets that would make decoders hold pictures back in vain.
    fn shown_payload(&mut self, frame: &DeliveredFrame, is_sealed: bool) -> Bytes {
        let copy = if frame.codec == Codec::H264 && !is_sealed { self.low_delay.take(&frame.payload) } else { None };
        copy.map_or_else(|| frame.payload.clone(), Bytes::from)
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

    /// Takes what analysis found in a frame.
    pub(crate) fn found(&mut self, found: Found, now_micros: i64) {
        self.finds.push(found, &self.ring, now_micros);
        self.wake_watchers();
    }

    pub(crate) fn gap(&mut self, gap: &Gap, now_micros: i64) {
        self.counters.gap(gap);
        if !is_loss(gap.reason) {
            return;
        }
        if self.gaps.len() == MAX_KNOWN_GAPS {
            self.gaps.pop_front();
        }
        let interval = self
            .info
            .frame_rate()
            .map_or(40_000_000, |rate| 1_000_000_000 * i64::from(rate.seconds) / i64::from(rate.frames.max(1)));
        let frames = gap.count();
        let length = i64::try_from(frames.unwrap_or(1)).unwrap_or(i64::MAX).saturating_mul(interval);
        // Until the frame after it comes: behind the last one, and what was lost since.
        let last = self.ring.newest().map(|frame| frame.capture_micros.saturating_mul(1_000));
        let open = self.gaps.back().filter(|_| self.open_ended > 0).map(|gap| gap.at_nanos);
        let end = last.map(|last| open.unwrap_or(last).saturating_add(length));
        let at_nanos = end.unwrap_or_else(|| now_micros.saturating_mul(1_000));
        self.open_ended += 1;
        self.gaps.push_back(KnownGap { at_nanos, length_nanos: length, reason: gap.reason.as_str(), frames });
    }

    /// A gap is told before the frame after it; of a loss that is told in pieces, each ends where the next one begins.
    fn end_gaps(&mut self, capture_nanos: i64) {
        let open_ended = std::mem::take(&mut self.open_ended);
        let mut end = capture_nanos;
        for gap in self.gaps.iter_mut().rev().take(open_ended) {
            gap.at_nanos = end;
            end = end.saturating_sub(gap.length_nanos);
        }
    }

    /// Losses seen lately, oldest first.
    pub(crate) fn gaps(&self) -> impl Iterator<Item = KnownGap> {
        self.gaps.iter().copied()
    }

    pub(crate) fn repeat(&mut self, range: SeqRange, now_millis: i64) {
        self.counters.repeated += range.count();
        self.observed.last_sign_millis = Some(now_millis);
        self.observed.offline = None;
    }

    /// Whether frames come, or may come: whoever has seen all that was recorded can go on with them.
    pub(crate) fn is_coming(&self) -> bool {
        matches!(self.phase.phase, StreamPhase::Live | StreamPhase::Late) && self.ring.newest().is_some()
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
