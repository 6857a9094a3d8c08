use super::*;
use crate::features::{Change, GRID, HISTOGRAM_SUM};
use lumenbus_frame::{Epoch, Seq};
use lumenbus_wire::{HISTOGRAM_BINS, HealthState, PresencePhase};

const MILLI: i64 = 1_000_000;

fn stream() -> StreamId {
    StreamId::main("gate-7".parse().unwrap(), "raw_video".parse().unwrap())
}

fn id(seq: u64) -> FrameId {
    FrameId { epoch: Epoch(7), seq: Seq(seq) }
}

fn seen(people: usize, brightness: f32) -> Seen {
    let look = Look {
        change: Some(Change { moved: 0.25, levels: 0.5 }),
        brightness,
        contrast: if brightness < 0.05 { 0.01 } else { 0.25 },
        sharpness: 0.3,
        histogram: [HISTOGRAM_SUM / 16; 3 * HISTOGRAM_BINS],
        phash: 0xf0,
        grid: vec![7; GRID.0 * GRID.1],
    };
    Seen {
        look: Some(look),
        objects: (0..people).map(|number| ("person".into(), 0.5 + number as f32 / 10.0)).collect(),
    }
}

/// Takes frames; after each one another worker goes on with what was carried.
struct Passed {
    window: Window,
    written: Written,
    /// Of the last result.
    header: Option<Vec<u8>>,
}

impl Passed {
    fn new() -> Self {
        Self { window: Window::new(0), written: Written::default(), header: None }
    }

    /// With a result.
    fn frame(&mut self, frame: FrameId, unix_millis: i64, seen: Option<&Seen>) {
        let written = self.window.frame(&stream(), frame, unix_millis * MILLI, seen);
        self.header = carried::to_header(&self.window, &stream(), "guards");
        self.pass(written);
    }

    /// That was passed over: it has no result.
    fn frame_passed_over(&mut self, frame: FrameId, unix_millis: i64) {
        let written = self.window.frame(&stream(), frame, unix_millis * MILLI, None);
        self.pass(written);
    }

    fn end(&mut self, epoch: Epoch) {
        let written = self.window.end(&stream(), epoch);
        self.pass(written);
    }

    fn pass(&mut self, written: Written) {
        self.written.features.extend(written.features);
        self.written.events.extend(written.events);
        let header = self.header.as_ref().unwrap();
        assert!(carried::from_header(header, "others").is_none());
        let features = self.written.features.last();
        let left = features.map(|features| carried::from_window(&features.window).unwrap());
        let health = left.map_or(self.window.health.clone(), |left| left.health.into_owned());
        let found = carried::from_header(header, "guards").unwrap().go_on(features);
        let (second, presence) = found.map(|found| (found.second, found.presence)).unzip();
        self.window = Window { second, presence: presence.unwrap_or_default(), health };
    }
}

#[test]
fn a_second_that_is_closed_by_a_frame_without_a_result_leaves_in_view_who_is() {
    let mut passed = Passed::new();
    for seq in 0..10 {
        passed.frame(id(seq), i64::try_from(seq).unwrap() * 100, Some(&seen(1, 0.5)));
    }
    // Two seconds go by without a result, then somebody looks again.
    passed.frame_passed_over(id(10), 1_000);
    passed.frame_passed_over(id(20), 2_000);
    passed.frame(id(21), 2_100, Some(&seen(1, 0.5)));
    passed.frame_passed_over(id(30), 3_000);
    // Nothing but the end comes after a takeover.
    passed.end(Epoch(7));
    passed.end(Epoch(7));
    let features =
        passed.written.features.iter().map(|features| (features.first_seq.0, features.last_seq.0, features.frames));
    assert_eq!(features.collect::<Vec<_>>(), [(0, 9, 10), (10, 10, 1), (20, 21, 2), (30, 30, 1)]);
    let events: Vec<_> = passed.written.events.iter().map(|event| (event.kind.state(), event.frame)).collect();
    assert_eq!(events, [("begin", id(0)), ("end", id(30))]);
    assert_eq!((&passed.window.second, &passed.window.presence), (&None, &Presence::default()));
    // What comes later begins anew.
    passed.frame(FrameId { epoch: Epoch(8), seq: Seq(0) }, 9_000, Some(&seen(1, 0.5)));
    assert_eq!((passed.written.features.len(), passed.written.events.len()), (4, 3));
}

#[test]
fn each_second_has_one_record_whoever_saw_its_frames() {
    let mut passed = Passed::new();
    for seq in 0..100 {
        let seen = (seq % 10 != 9).then(|| seen(usize::from(seq == 5), 0.5));
        passed.frame(id(seq), 1_000 + i64::try_from(seq).unwrap() * 100, seen.as_ref());
    }
    let features = &passed.written.features;
    assert_eq!(features.len(), 9);
    for (second, features) in (1..).zip(features) {
        assert_eq!((features.second_unix, features.frames, features.looked_at), (second, 10, 9));
        assert_eq!(features.last_seq.0, features.first_seq.0 + 9);
        assert_eq!(features.capture_unix_nanos, second * 1_000 * MILLI);
        let picture = features.picture.as_ref().unwrap();
        assert!((picture.brightness - 0.5).abs() < 1e-6 && (picture.motion.unwrap() - 0.25).abs() < 1e-6);
        assert!((picture.histogram.iter().sum::<f32>() - 3.0).abs() < 1e-3 && picture.phash == 0xf0);
        features.encode_json().unwrap();
    }
    assert_eq!(features[0].counts, [("person".into(), 1)]);
    assert!(features[1].counts.is_empty());
}

#[test]
fn frames_out_of_order_stay_in_their_second_and_epochs_and_steps_of_the_clock_begin_another() {
    let mut passed = Passed::new();
    // As with pictures that are coded in another order, a second is not begun twice.
    for (seq, millis) in [(0, 1_000), (1, 2_010), (2, 1_990), (3, 2_100), (4, 3_000)] {
        passed.frame(id(seq), millis, None);
    }
    let frames: Vec<_> =
        passed.written.features.iter().map(|features| (features.second_unix, features.frames)).collect();
    assert_eq!(frames, [(1, 1), (2, 3)]);
    assert!(passed.written.features.iter().all(|features| features.picture.is_none()));
    passed.frame(FrameId { epoch: Epoch(8), seq: Seq(0) }, 3_100, None);
    assert_eq!(passed.written.features[2].epoch, Epoch(7));
    // An hour back.
    passed.frame(FrameId { epoch: Epoch(8), seq: Seq(1) }, 3_100 - 3_600_000, None);
    assert_eq!(passed.written.features.len(), 4);
    passed.frame(FrameId { epoch: Epoch(8), seq: Seq(2) }, i64::MAX / MILLI, None);
    assert_eq!(passed.written.features.len(), 5);
}

#[test]
fn a_presence_begins_once_and_ends_five_seconds_after_the_last_one_was_seen() {
    let mut passed = Passed::new();
    for seq in 0..200_u64 {
        // Two people from 2 s to 6 s, with a gap of 3 s in between, and nobody after that.
        let people = if (20..25).contains(&seq) || (55..60).contains(&seq) { 2 } else { 0 };
        passed.frame(id(seq), i64::try_from(seq).unwrap() * 100, Some(&seen(people, 0.5)));
    }
    let events = &passed.written.events;
    assert_eq!(events.len(), 2, "{events:?}");
    let kind = |phase, lasted_millis| EventKind::Presence {
        class: "person".into(),
        phase,
        count: 2,
        score: 0.6,
        lasted_millis,
    };
    assert_eq!((&events[0].kind, events[0].frame), (&kind(PresencePhase::Begin, None), id(20)));
    assert_eq!((&events[1].kind, events[1].frame), (&kind(PresencePhase::End, Some(3_900)), id(109)));
}

#[test]
fn health_changes_are_events_of_their_second_and_the_end_of_a_stream_ends_what_is_open() {
    let mut passed = Passed::new();
    for seq in 0..100 {
        let (people, brightness) = (usize::from(seq > 95), if seq < 50 { 0.5 } else { 0.01 });
        passed.frame(id(seq), i64::try_from(seq).unwrap() * 100, Some(&seen(people, brightness)));
    }
    let health: Vec<_> = passed.written.events.iter().filter(|event| event.kind.as_str() == "health").collect();
    let dark = EventKind::Health { state: HealthState::Dark, previous: HealthState::Ok, lasted_millis: None };
    assert_eq!((health.len(), &health[0].kind, health[0].frame), (1, &dark, id(79)));
    assert_eq!(passed.written.features[7].health.state, HealthState::Dark);
    assert_eq!(passed.window.end(&stream(), Epoch(6)), Written::default(), "an end that is read once more");
    let ended = passed.window.end(&stream(), Epoch(7));
    assert_eq!((ended.features.len(), ended.events.len()), (1, 1), "{ended:?}");
    assert_eq!((ended.features[0].last_seq, ended.events[0].kind.state()), (Seq(99), "end"));
    assert_eq!(passed.window.end(&stream(), Epoch(7)), Written::default());
}
