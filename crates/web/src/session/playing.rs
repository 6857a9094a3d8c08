//! A recording as one client plays it: which frame is due when.

use crate::hub::{Cursor, HubFrame, Ring};
use crate::recordings::{Outcome, Tape, TapeFrame, is_by_keyframes};
use axum::extract::ws::Utf8Bytes;
use lumenbus_frame::FrameId;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A longer way from one frame to the next is a hole, or a clock that was set: nobody wants to wait for it.
const MAX_STEP_MICROS: i64 = 2_000_000;
/// How long the last picture before a hole stands, at speed 1.
const HOLE: Duration = Duration::from_millis(500);
/// Nothing is left out. Who is late is hurried, but for more than this he plays on from where he is.
const MAX_LATE: Duration = Duration::from_secs(2);

/// Longest way from the anchor: no moment is further than a clock can tell.
const FAR: Duration = Duration::from_secs(365 * 86_400);

/// Where the frames come from. The tape of a thread, or a test's.
pub(super) trait Frames: Send {
    fn peek(&self) -> Option<(i64, bool)>;
    fn take(&self) -> Option<TapeFrame>;
    fn is_at_end(&self) -> bool;
    fn outcome(&self) -> Option<Outcome>;
}

impl Frames for Tape {
    fn peek(&self) -> Option<(i64, bool)> {
        Self::peek(self, |next| (next.frame.capture_micros, next.is_preroll))
    }

    fn take(&self) -> Option<TapeFrame> {
        Self::take(self)
    }

    fn is_at_end(&self) -> bool {
        Self::is_at_end(self)
    }

    fn outcome(&self) -> Option<Outcome> {
        Self::outcome(self)
    }
}

/// Who plays fast is live this near to the newest frame: reading alone may be as late as that.
const NEAR_MICROS: i64 = 3_000_000;

/// What there is to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Turn {
    /// A frame is due.
    Now,
    /// The next one is due then.
    At(Instant),
    /// The next one has not been read yet; the session will be woken.
    Wait,
    /// Everything that was recorded has been played.
    AtEnd,
    /// Nothing more comes.
    Over(Outcome),
}

/// A frame for the client.
pub(super) struct Taken {
    pub(super) frame: Arc<HubFrame>,
    pub(super) is_preroll: bool,
    pub(super) is_first: bool,
    /// On the time line of what is played: at the speed of playing, always forwards.
    pub(super) pts_micros: i64,
    /// Messages about what was found in it.
    pub(super) found: Vec<Utf8Bytes>,
}

/// Where playing was anchored: this capture time was due at that moment.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    at: Instant,
    capture_micros: i64,
}

pub(super) struct Playing {
    id: u32,
    tape: Box<dyn Frames>,
    speed: f64,
    begin_micros: i64,
    anchor: Option<Anchor>,
    last: Option<(FrameId, i64)>,
    /// Time line: the pts that it was begun with, and the place of that.
    origin: Option<(i64, i64)>,
}

impl Playing {
    pub(super) fn new(id: u32, tape: Box<dyn Frames>, begin_micros: i64, speed: f64) -> Self {
        Self { id, tape, speed, begin_micros, anchor: None, last: None, origin: None }
    }

    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Whether what was played has come close to the newest frame of all. Who plays slowly stays behind on purpose, and
    /// goes on there until that is the newest frame; who plays backwards goes away from it.
    pub(super) fn has_reached(&self, newest: FrameId, newest_capture_micros: i64) -> bool {
        let Some((last, capture)) = self.last else { return false };
        let is_near = newest_capture_micros.saturating_sub(capture).abs() < NEAR_MICROS;
        self.speed > 0.0 && (last == newest || (self.speed > 1.0 && is_near))
    }

    /// Where the client goes on in what comes: behind its last frame. Who got keyframes alone begins anew: what these
    /// promised a decoder holds for them, and the frames between may come in another order.
    pub(super) fn goes_on(&self, ring: &Ring) -> Cursor {
        match self.last.filter(|_| !is_by_keyframes(self.speed)) {
            Some((last, _)) => Cursor::resume(ring, last),
            None => Cursor::join(ring),
        }
    }

    /// What to ask for to begin again from here.
    pub(super) fn again(&self) -> (u32, i64, f64) {
        (self.id, self.last.map_or(self.begin_micros, |(_, capture)| capture), self.speed)
    }

    pub(super) fn turn(&mut self, now: Instant) -> Turn {
        let Some((capture, is_preroll)) = self.tape.peek() else {
            return match self.tape.outcome() {
                Some(outcome) => Turn::Over(outcome),
                None if self.tape.is_at_end() => Turn::AtEnd,
                None => Turn::Wait,
            };
        };
        if is_preroll {
            return Turn::Now;
        }
        let due = self.due(capture, now);
        if due > now { Turn::At(due) } else { Turn::Now }
    }

    /// When a frame with this capture time is due.
    fn due(&mut self, capture: i64, now: Instant) -> Instant {
        let Some(anchor) = self.anchor else {
            self.anchor = Some(Anchor { at: now, capture_micros: capture });
            return now;
        };
        let step = self.last.map_or(0, |(_, last)| capture.saturating_sub(last));
        let forwards = if self.speed < 0.0 { step.saturating_neg() } else { step };
        let due = anchor.at + self.scaled(capture.saturating_sub(anchor.capture_micros));
        let is_hole = !(-MAX_STEP_MICROS..=self.longest_step()).contains(&forwards);
        // After a hole, and for who cannot keep up, playing is anchored here anew.
        let anew = if is_hole && due > now + HOLE {
            now + HOLE
        } else if due + MAX_LATE < now {
            now.checked_sub(MAX_LATE).unwrap_or(now)
        } else if is_hole && forwards < 0 {
            now
        } else {
            return due;
        };
        self.anchor = Some(Anchor { at: anew, capture_micros: capture });
        // Told once: the next look at the same frame must not put it off again.
        self.last = self.last.map(|(id, _)| (id, capture));
        anew
    }

    /// Keyframes alone are seconds apart.
    fn longest_step(&self) -> i64 {
        if is_by_keyframes(self.speed) { 15 * MAX_STEP_MICROS } else { MAX_STEP_MICROS }
    }

    /// Capture time as time that passes while it is played.
    fn scaled(&self, micros: i64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "a distance between frames")]
        let seconds = micros as f64 / 1e6 / self.speed;
        Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::ZERO).min(FAR)
    }

    pub(super) fn take(&mut self) -> Option<Taken> {
        let is_first = self.last.is_none();
        let TapeFrame { frame, is_preroll, found } = self.tape.take()?;
        self.last = Some((frame.id, frame.capture_micros));
        let pts_micros = self.place(&frame);
        Some(Taken { is_preroll, is_first, pts_micros, frame, found })
    }

    /// Decoders put pictures into the order of their times, and backwards nothing would come out.
    fn place(&mut self, frame: &HubFrame) -> i64 {
        let time = if is_by_keyframes(self.speed) { frame.capture_micros } else { frame.pts_micros };
        let (origin, place) = *self.origin.get_or_insert((time, time));
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "microseconds of a recording")]
        let passed = (time.saturating_sub(origin) as f64 / self.speed) as i64;
        place.saturating_add(passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_frame::{Codec, Epoch, Seq};
    use std::collections::VecDeque;
    use std::sync::Mutex;

    struct Ready(Mutex<VecDeque<TapeFrame>>);

    impl Frames for Ready {
        fn peek(&self) -> Option<(i64, bool)> {
            self.0.lock().unwrap().front().map(|next| (next.frame.capture_micros, next.is_preroll))
        }

        fn take(&self) -> Option<TapeFrame> {
            self.0.lock().unwrap().pop_front()
        }

        fn is_at_end(&self) -> bool {
            true
        }

        fn outcome(&self) -> Option<Outcome> {
            None
        }
    }

    /// Frames taken at these capture times, milliseconds; those before `moment` are for the decoder only.
    fn playing(speed: f64, moment: i64, captures: &[i64]) -> Playing {
        let frame = |(seq, capture): (usize, &i64)| {
            let frame = HubFrame {
                order: 0,
                id: FrameId { epoch: Epoch(1), seq: Seq(seq as u64) },
                codec: Codec::H264,
                is_keyframe: seq == 0,
                is_discontinuity: false,
                is_discardable: false,
                is_sealed: false,
                is_catch_up: false,
                capture_micros: capture * 1_000,
                pts_micros: capture * 1_000,
                received_micros: 0,
                payload: bytes::Bytes::new(),
                parameters: None,
            };
            TapeFrame { frame: Arc::new(frame), is_preroll: *capture < moment, found: Vec::new() }
        };
        let frames = captures.iter().enumerate().map(frame).collect();
        Playing::new(7, Box::new(Ready(Mutex::new(frames))), moment * 1_000, speed)
    }

    /// After how many milliseconds each frame is sent, by a client that keeps up.
    fn sent(playing: &mut Playing) -> Vec<u128> {
        let begin = Instant::now();
        let (mut now, mut sent) = (begin, Vec::new());
        loop {
            match playing.turn(now) {
                Turn::Now => {
                    playing.take().unwrap();
                    sent.push((now - begin).as_millis());
                }
                Turn::At(next) => now = next,
                _ => return sent,
            }
        }
    }

    #[test]
    fn frames_are_due_at_their_distance_over_the_speed() {
        assert_eq!(sent(&mut playing(1.0, 0, &[0, 40, 80, 120])), [0, 40, 80, 120]);
        assert_eq!(sent(&mut playing(4.0, 0, &[0, 40, 80, 120])), [0, 10, 20, 30]);
        assert_eq!(sent(&mut playing(0.25, 0, &[0, 40])), [0, 160]);
        assert_eq!(sent(&mut playing(-2.0, 0, &[6_000, 4_000, 2_000])), [0, 1_000, 2_000]);
    }

    #[test]
    fn hours_are_played_as_they_passed() {
        let seconds: Vec<i64> = (0..2 * 3_600).map(|second| second * 1_000).collect();
        let sent = sent(&mut playing(1.0, 0, &seconds));
        assert!(
            sent.iter().zip(&seconds).all(|(sent, second)| sent == &second.cast_unsigned().into()),
            "{:?}",
            sent.last()
        );
    }

    #[test]
    fn what_is_before_the_moment_is_sent_at_once() {
        assert_eq!(sent(&mut playing(1.0, 80, &[0, 40, 80, 120])), [0, 0, 0, 40]);
    }

    #[test]
    fn nobody_waits_for_a_hole_nor_for_a_clock_that_was_set() {
        assert_eq!(sent(&mut playing(1.0, 0, &[0, 40, 900_000, 900_040])), [0, 40, 540, 580]);
        assert_eq!(sent(&mut playing(1.0, 0, &[100_000, 100_040, 140_000, 40_000, 40_040]))[3..], [540, 580]);
    }

    #[test]
    fn who_is_late_is_hurried_a_little_and_not_for_ever() {
        let mut playing = playing(1.0, 0, &[0, 40, 80, 1_000, 2_080]);
        let begin = Instant::now();
        assert_eq!(playing.turn(begin), Turn::Now);
        playing.take().unwrap();
        let late = begin + Duration::from_secs(60);
        for _ in 0..3 {
            assert_eq!(playing.turn(late), Turn::Now);
            playing.take().unwrap();
        }
        // The second frame was due two seconds ago by now, and the last one 2.04 s after it.
        assert_eq!(playing.turn(late), Turn::At(late + Duration::from_millis(40)));
    }

    #[test]
    fn only_who_plays_forwards_reaches_the_newest_frame() {
        let frame = |seq| FrameId { epoch: Epoch(1), seq: Seq(seq) };
        for (speed, has_reached, is_near) in
            [(1.0, true, false), (4.0, true, true), (0.5, true, false), (-4.0, false, false)]
        {
            let mut playing = playing(speed, 0, &[6_000]);
            assert!(!playing.has_reached(frame(0), 6_000_000), "nothing was played yet");
            playing.take().unwrap();
            assert_eq!(playing.has_reached(frame(0), 6_000_000), has_reached, "{speed}");
            assert_eq!(playing.has_reached(frame(9), 8_000_000), is_near, "{speed}");
            assert!(!playing.has_reached(frame(99), 60_000_000), "{speed}");
        }
    }

    #[test]
    fn who_got_keyframes_alone_begins_anew_with_what_comes() {
        for (speed, is_anew) in [(1.0, false), (4.0, false), (8.0, true)] {
            let mut playing = playing(speed, 0, &[0, 40]);
            let mut ring = Ring::default();
            while let Some(taken) = playing.take() {
                ring.push(taken.frame, usize::MAX);
            }
            let next = playing.goes_on(&ring).take(&ring, 0, i64::MAX).map(|due| due.is_first && due.frame.is_keyframe);
            assert_eq!(next, is_anew.then_some(true), "{speed}");
        }
    }

    #[test]
    fn times_rise_backwards_too() {
        let mut playing = playing(-4.0, 0, &[6_000, 4_000, 2_000]);
        let places: Vec<_> = std::iter::from_fn(|| playing.take()).map(|taken| taken.pts_micros).collect();
        assert_eq!(places, [6_000_000, 6_500_000, 7_000_000]);
        assert_eq!(playing.turn(Instant::now()), Turn::AtEnd);
        assert_eq!(playing.again(), (7, 2_000_000, -4.0));
    }
}
