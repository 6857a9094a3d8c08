//! The newest frames of one stream, and where a client is in them.

use bytes::Bytes;
use lumenbus_frame::{Codec, FrameId, StreamParameters};
use std::collections::VecDeque;
use std::sync::Arc;

/// Frames before the newest keyframe are kept at least this long, so that nobody is thrown out by a keyframe alone.
const TAIL_MICROS: i64 = 1_000_000;
/// Who wants keyframes only gets one in this time.
const STILL_MICROS: i64 = 1_000_000;

/// A frame as every client gets it.
#[derive(Debug, Clone)]
pub(crate) struct HubFrame {
    /// Place among all frames of all streams.
    pub(crate) order: u64,
    pub(crate) id: FrameId,
    pub(crate) codec: Codec,
    pub(crate) is_keyframe: bool,
    /// The decoder must begin anew: a jump, another epoch, other parameters.
    pub(crate) is_discontinuity: bool,
    pub(crate) is_discardable: bool,
    pub(crate) is_sealed: bool,
    /// The hub itself was still catching up.
    pub(crate) is_catch_up: bool,
    pub(crate) capture_micros: i64,
    pub(crate) pts_micros: i64,
    pub(crate) received_micros: i64,
    pub(crate) payload: Bytes,
    pub(crate) parameters: Option<Arc<StreamParameters>>,
}

/// Bounded in bytes; frames from [`Ring::join`] on can be decoded.
#[derive(Debug, Default)]
pub(crate) struct Ring {
    frames: VecDeque<Arc<HubFrame>>,
    /// Index of the front.
    base: u64,
    /// Index of the newest keyframe, while it is held.
    join: Option<u64>,
    bytes: usize,
    /// How far behind somebody lives on purpose: so much longer are frames kept.
    pub(crate) behind_micros: i64,
}

impl Ring {
    /// Adds the newest frame; at least that one is held, whatever its size.
    pub(crate) fn push(&mut self, frame: Arc<HubFrame>, limit_bytes: usize) {
        let now = frame.received_micros;
        if frame.is_keyframe {
            self.join = Some(self.head());
        }
        self.bytes += frame.payload.len();
        self.frames.push_back(frame);
        while self.frames.len() > 1 && (self.bytes > limit_bytes || self.front_is_old(now)) {
            self.pop_front();
        }
    }

    fn front_is_old(&self, now: i64) -> bool {
        let tail = TAIL_MICROS + self.behind_micros;
        let is_tail = self.join.is_none_or(|join| self.base < join);
        is_tail && self.frames.front().is_some_and(|frame| now.saturating_sub(frame.received_micros) > tail)
    }

    fn pop_front(&mut self) {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.payload.len();
            self.base += 1;
            self.join = self.join.filter(|join| *join >= self.base);
        }
    }

    /// Index that the next frame will have.
    pub(crate) fn head(&self) -> u64 {
        self.base + self.frames.len() as u64
    }

    /// Index of the newest keyframe.
    pub(crate) fn join(&self) -> Option<u64> {
        self.join
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Arc<HubFrame>> {
        let at = index.checked_sub(self.base)?;
        self.frames.get(usize::try_from(at).ok()?)
    }

    /// A frame that is held, by its identity.
    pub(crate) fn find(&self, id: FrameId) -> Option<&Arc<HubFrame>> {
        self.get(self.place(id)?)
    }

    /// The newest frame.
    pub(crate) fn newest(&self) -> Option<&Arc<HubFrame>> {
        self.frames.back()
    }

    fn place(&self, id: FrameId) -> Option<u64> {
        self.frames.iter().rposition(|frame| frame.id == id).map(|at| self.base + at as u64)
    }

    /// The newest keyframe: what a snapshot shows.
    pub(crate) fn keyframe(&self) -> Option<&Arc<HubFrame>> {
        self.get(self.join?)
    }
}

/// A frame that is due for a client.
#[derive(Debug, Clone)]
pub(crate) struct Due {
    pub(crate) frame: Arc<HubFrame>,
    /// Frames left out just before it.
    pub(crate) skipped: u64,
    /// First after a join.
    pub(crate) is_first: bool,
    /// It was there already when the client joined.
    pub(crate) is_catch_up: bool,
}

/// Where one client is in one stream.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    /// Next frame; `None` while waiting for a keyframe.
    next: Option<u64>,
    /// Everything below this was sent or is counted as skipped.
    seen: u64,
    catch_up_until: u64,
    is_first: bool,
    /// Keyframes only: when the last one came.
    stills: Option<i64>,
}

impl Cursor {
    /// Begins at the newest keyframe, or at the next one when none is held.
    pub(crate) fn join(ring: &Ring) -> Self {
        let head = ring.head();
        Self {
            next: ring.join(),
            seen: ring.join().unwrap_or(head),
            catch_up_until: head,
            is_first: true,
            stills: None,
        }
    }

    /// Goes on behind a frame that the client got from elsewhere, while what follows it is held; else joins. What is
    /// held already came before the client asked: it is caught up with, like after a join.
    pub(crate) fn resume(ring: &Ring, after: FrameId) -> Self {
        let Some(next) = ring.place(after).map(|at| at + 1) else { return Self::join(ring) };
        Self { next: Some(next), seen: next, catch_up_until: ring.head(), is_first: false, stills: None }
    }

    /// Begins again; what lies between is not counted as skipped.
    pub(crate) fn rejoin(&mut self, ring: &Ring) {
        *self = Self::join(ring);
    }

    /// Whether only keyframes are given from now on. Going back to all of them begins at the newest keyframe: deltas
    /// without what lies before them cannot be decoded.
    pub(crate) fn set_stills(&mut self, is_still: bool, ring: &Ring) {
        match (is_still, self.stills) {
            (true, None) => self.stills = Some(i64::MIN),
            (false, Some(_)) => self.rejoin(ring),
            _ => {}
        }
    }

    /// Global order of the frame that [`Cursor::take`] would give.
    pub(crate) fn peek(&mut self, ring: &Ring, now_micros: i64, max_lag_micros: i64) -> Option<u64> {
        self.settle(ring, now_micros, max_lag_micros);
        Some(ring.get(self.next?)?.order)
    }

    /// When the frame that [`Cursor::take`] would give came; `None` without one, and for the first after a join, which
    /// waits for nothing.
    pub(crate) fn came_micros(&self, ring: &Ring) -> Option<i64> {
        let next = self.next.filter(|_| !self.is_first)?;
        Some(ring.get(next)?.received_micros)
    }

    /// The next frame for this client. When it is too far behind, the newest keyframe.
    pub(crate) fn take(&mut self, ring: &Ring, now_micros: i64, max_lag_micros: i64) -> Option<Due> {
        self.settle(ring, now_micros, max_lag_micros);
        let next = self.next?;
        let frame = Arc::clone(ring.get(next)?);
        let skipped = next.saturating_sub(self.seen);
        let due = Due { skipped, is_first: self.is_first, is_catch_up: next < self.catch_up_until, frame };
        self.next = Some(next + 1);
        self.seen = next + 1;
        self.is_first = false;
        self.stills = self.stills.map(|_| due.frame.received_micros);
        Some(due)
    }

    fn settle(&mut self, ring: &Ring, now_micros: i64, max_lag_micros: i64) {
        if let Some(last) = self.stills {
            let is_due = |frame: &Arc<HubFrame>| frame.received_micros.saturating_sub(last) >= STILL_MICROS;
            self.next = ring.join().filter(|join| *join >= self.seen && ring.get(*join).is_some_and(is_due));
            // What lies between is not missed.
            self.seen = self.next.unwrap_or(self.seen);
            return;
        }
        let Some(next) = self.next else {
            self.next = ring.join().filter(|join| *join >= self.seen);
            return;
        };
        let is_lost = next < ring.base;
        let lag = ring.get(next).map_or(0, |frame| now_micros.saturating_sub(frame.received_micros));
        let newer = ring.join().filter(|join| *join > next);
        if is_lost {
            self.next = newer;
        } else if lag > max_lag_micros && newer.is_some() {
            // A join at an old keyframe is not lag: nothing newer could have been joined.
            self.next = newer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{Epoch, Seq};

    const LAG: i64 = 400_000;

    fn frame(order: u64, is_keyframe: bool, bytes: usize) -> Arc<HubFrame> {
        let at = i64::try_from(order).unwrap() * 40_000;
        Arc::new(HubFrame {
            order,
            id: FrameId { epoch: Epoch(1), seq: Seq(order) },
            codec: Codec::H264,
            is_keyframe,
            is_discontinuity: false,
            is_discardable: false,
            is_sealed: false,
            is_catch_up: false,
            capture_micros: at,
            pts_micros: at,
            received_micros: at,
            payload: vec![0; bytes].into(),
            parameters: None,
        })
    }

    /// `count` frames from `from` on with a keyframe every `gop`.
    fn fill(ring: &mut Ring, from: u64, count: u64, gop: u64) {
        (from..from + count).for_each(|order| ring.push(frame(order, order % gop == 0, 100), 1_000_000));
    }

    fn drain(cursor: &mut Cursor, ring: &Ring, now: i64) -> Vec<(u64, u64)> {
        std::iter::from_fn(|| cursor.take(ring, now, LAG)).map(|due| (due.frame.order, due.skipped)).collect()
    }

    #[test]
    fn a_client_joins_at_the_newest_keyframe_and_catches_up() {
        let mut ring = Ring::default();
        fill(&mut ring, 0, 14, 10);
        let mut cursor = Cursor::join(&ring);
        let first = cursor.take(&ring, 600_000, LAG).unwrap();
        assert!(first.is_first && first.is_catch_up && first.frame.is_keyframe);
        assert_eq!((first.frame.order, first.skipped), (10, 0));
        assert_eq!(drain(&mut cursor, &ring, 600_000), [(11, 0), (12, 0), (13, 0)]);
        fill(&mut ring, 14, 1, 10);
        let live = cursor.take(&ring, 600_000, LAG).unwrap();
        assert!(!live.is_catch_up && !live.is_first);
    }

    #[test]
    fn a_slow_client_skips_to_the_newest_keyframe_and_it_is_counted() {
        let mut ring = Ring::default();
        fill(&mut ring, 0, 5, 10);
        let mut cursor = Cursor::join(&ring);
        assert_eq!(drain(&mut cursor, &ring, 200_000).len(), 5);
        fill(&mut ring, 5, 10, 10);
        // Frame 5 is from 0.2 s: at 0.55 s that is no lag yet, at 0.7 s it is, and 10 is a keyframe.
        assert_eq!(cursor.clone().take(&ring, 550_000, LAG).unwrap().frame.order, 5);
        assert_eq!(drain(&mut cursor, &ring, 700_000), [(10, 5), (11, 0), (12, 0), (13, 0), (14, 0)]);
    }

    #[test]
    fn lag_inside_the_newest_gop_is_worked_off() {
        let mut ring = Ring::default();
        fill(&mut ring, 0, 50, 100);
        let mut cursor = Cursor::join(&ring);
        assert_eq!(drain(&mut cursor, &ring, 9_000_000).len(), 50);
    }

    #[test]
    fn a_gop_beyond_the_limit_cannot_be_joined_and_costs_its_laggards_the_rest() {
        let mut ring = Ring::default();
        ring.push(frame(0, true, 600), 1_000);
        let mut slow = Cursor::join(&ring);
        (1..8).for_each(|order| ring.push(frame(order, false, 300), 1_000));
        assert!(ring.bytes() <= 1_000);
        assert_eq!(ring.join(), None);
        assert!(Cursor::join(&ring).take(&ring, 0, LAG).is_none());
        assert!(slow.take(&ring, 0, LAG).is_none());
        ring.push(frame(8, true, 300), 1_000);
        assert_eq!(drain(&mut slow, &ring, 320_000), [(8, 8)]);
    }

    #[test]
    fn one_frame_is_held_whatever_its_size_and_old_tails_go() {
        let mut ring = Ring::default();
        ring.push(frame(0, true, 5_000), 1_000);
        assert_eq!(ring.keyframe().unwrap().order, 0);
        let mut ring = Ring::default();
        fill(&mut ring, 0, 100, 1);
        // 25 frames a second: the newest keyframe and a second before it.
        assert_eq!(ring.head() - ring.base, 26);
    }

    #[test]
    fn who_had_a_frame_from_elsewhere_goes_on_behind_it_while_it_is_held() {
        let mut ring = Ring::default();
        fill(&mut ring, 0, 14, 10);
        let id = |seq| FrameId { epoch: Epoch(1), seq: Seq(seq) };
        let mut cursor = Cursor::resume(&ring, id(11));
        let next = cursor.take(&ring, 600_000, LAG).unwrap();
        assert!((next.frame.order, next.is_first, next.is_catch_up, next.skipped) == (12, false, true, 0));
        let mut late = Cursor::resume(&ring, id(99));
        assert!(late.take(&ring, 600_000, LAG).unwrap().is_first);
        let mut newest = Cursor::resume(&ring, id(13));
        assert!(newest.take(&ring, 600_000, LAG).is_none());
    }

    #[test]
    fn what_was_held_before_going_on_is_caught_up_with() {
        let mut ring = Ring::default();
        fill(&mut ring, 0, 4, 10);
        let mut cursor = Cursor::resume(&ring, FrameId { epoch: Epoch(1), seq: Seq(1) });
        fill(&mut ring, 4, 2, 10);
        let all = std::iter::from_fn(|| cursor.take(&ring, 0, LAG));
        let all: Vec<_> = all.map(|due| (due.frame.order, due.is_catch_up, due.is_first)).collect();
        assert_eq!(all, [(2, true, false), (3, true, false), (4, false, false), (5, false, false)]);
    }

    #[test]
    fn a_rejoin_begins_at_the_keyframe_again_without_counting() {
        let mut ring = Ring::default();
        fill(&mut ring, 0, 4, 10);
        let mut cursor = Cursor::join(&ring);
        drain(&mut cursor, &ring, 0);
        cursor.rejoin(&ring);
        assert_eq!(drain(&mut cursor, &ring, 0), [(0, 0), (1, 0), (2, 0), (3, 0)]);
    }

    #[test]
    fn who_wants_keyframes_only_gets_one_a_second_and_goes_on_with_all_from_a_keyframe() {
        let mut ring = Ring::default();
        // 25 frames a second, a keyframe every 0.4 s.
        fill(&mut ring, 0, 15, 10);
        let mut cursor = Cursor::join(&ring);
        cursor.set_stills(true, &ring);
        assert_eq!(drain(&mut cursor, &ring, 560_000), [(10, 0)]);
        let mut given = Vec::new();
        for order in 15..100 {
            fill(&mut ring, order, 1, 10);
            given.extend(drain(&mut cursor, &ring, 4_000_000));
        }
        assert_eq!(given, [(40, 0), (70, 0)]);
        cursor.set_stills(false, &ring);
        let all = drain(&mut cursor, &ring, 4_000_000);
        assert_eq!(all.first(), Some(&(90, 0)));
        assert_eq!(all.len(), 10);
    }
}
