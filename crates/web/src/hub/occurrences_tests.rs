use super::*;
use lumenbus_frame::{Epoch, Seq};
use serde_json::json;

const SECOND: i64 = 1_000_000_000;

fn event(camera: &str, at_seconds: i64, kind: EventKind) -> CameraEvent {
    let stream = StreamId::main(camera.parse().unwrap(), "raw_video".parse().unwrap());
    let frame = FrameId { epoch: Epoch(1), seq: Seq(at_seconds.unsigned_abs()) };
    CameraEvent::new(stream, frame, at_seconds * SECOND, kind)
}

fn presence(camera: &str, at: i64, class: &str, lasted: Option<u64>) -> CameraEvent {
    let phase = if lasted.is_some() { PresencePhase::End } else { PresencePhase::Begin };
    let kind = EventKind::Presence { class: class.into(), phase, count: 1, score: 0.5, lasted_millis: lasted };
    event(camera, at, kind)
}

fn health(camera: &str, at: i64, state: HealthState, previous: HealthState) -> CameraEvent {
    event(camera, at, EventKind::Health { state, previous, lasted_millis: None })
}

fn wish(text: &str) -> EventsWish {
    let mut wish = json!({ "id": 1, "limit": 50 });
    wish.as_object_mut().unwrap().extend(serde_json::from_str::<serde_json::Map<_, _>>(text).unwrap());
    serde_json::from_value(wish).unwrap()
}

/// Seconds of the lines that are wanted, in the order of the list.
fn listed(occurrences: &Occurrences, text: &str) -> Vec<i64> {
    let page = occurrences.page(&wish(text));
    page.events.iter().map(|event| event.place.at_nanos / SECOND).collect()
}

#[test]
fn what_comes_and_goes_is_one_line() {
    let mut occurrences = Occurrences::default();
    let came = occurrences.take(&presence("gate", 10, "person", None)).new.unwrap();
    assert!(came.is_open && came.lasted_millis.is_none());
    let gone = occurrences.take(&presence("gate", 22, "person", Some(12_000)));
    assert_eq!((gone.new, gone.changed.len()), (None, 1));
    let line = &gone.changed[0];
    assert_eq!((line.id, line.is_open, line.lasted_millis), (came.id, false, Some(12_000)));
    assert_eq!(listed(&occurrences, "{}"), [10]);
    // The end alone tells when it began.
    let alone = occurrences.take(&presence("yard", 30, "car", Some(5_000))).new.unwrap();
    assert_eq!((alone.place.at_nanos, alone.is_open), (25 * SECOND, false));
    assert_eq!(listed(&occurrences, "{}"), [25, 10]);
}

#[test]
fn a_class_of_another_stream_or_group_ends_nothing_here() {
    let mut occurrences = Occurrences::default();
    occurrences.take(&presence("gate", 10, "person", None));
    let mut others = presence("gate", 20, "person", Some(1_000));
    others.group = "others".to_owned();
    for event in [presence("yard", 20, "person", Some(1_000)), presence("gate", 20, "car", Some(1_000))] {
        assert!(occurrences.take(&event).changed.is_empty());
    }
    assert!(occurrences.take(&others).changed.is_empty());
    // Who began and was gone without an end: nobody knows how long it lasted.
    let again = occurrences.take(&presence("gate", 40, "person", None));
    assert_eq!((again.changed[0].is_open, again.changed[0].lasted_millis), (false, None));
}

#[test]
fn what_is_written_again_is_shown_once() {
    let mut occurrences = Occurrences::default();
    let events = [presence("gate", 10, "person", None), presence("gate", 22, "person", Some(12_000))];
    events.iter().for_each(|event| drop(occurrences.take(event)));
    for event in &events {
        assert_eq!(occurrences.take(event), Change::default());
    }
    assert_eq!(listed(&occurrences, "{}"), [10]);
}

#[test]
fn health_is_that_of_the_newest_moment() {
    use HealthState::{Covered, Dark, Ok};
    let mut occurrences = Occurrences::default();
    let stream = health("gate", 0, Ok, Ok).stream;
    assert_eq!(occurrences.health_of(&stream), None);
    assert!(occurrences.take(&health("gate", 10, Dark, Ok)).is_health);
    assert_eq!(occurrences.health_of(&stream), Some((Dark, 10 * SECOND)));
    // What another worker tells of before changes nothing now.
    let late = occurrences.take(&health("gate", 5, Covered, Ok));
    assert_eq!((late.is_health, late.changed.len(), late.new.unwrap().is_open), (false, 0, false));
    assert_eq!(occurrences.health_of(&stream), Some((Dark, 10 * SECOND)));
    let well = occurrences.take(&health("gate", 70, Ok, Dark));
    assert!(well.is_health && !well.new.unwrap().is_open);
    assert_eq!((well.changed[0].is_open, well.changed[0].lasted_millis), (false, Some(60_000)));
    assert_eq!(occurrences.health_of(&stream), Some((Ok, 70 * SECOND)));
}

#[test]
fn health_does_not_stick_after_a_clock_that_was_ahead() {
    use HealthState::{Dark, Ok};
    let stream = health("gate", 0, Ok, Ok).stream;
    let state = |occurrences: &Occurrences| occurrences.health_of(&stream).unwrap().0;
    // Later in the log, and much older.
    let mut occurrences = Occurrences::default();
    occurrences.take(&health("gate", 5_000, Dark, Ok));
    assert!(occurrences.take(&health("gate", 1_000, Ok, Dark)).is_health);
    assert_eq!(state(&occurrences), Ok);
    // A little older, of a later epoch.
    let mut occurrences = Occurrences::default();
    occurrences.take(&health("gate", 20, Dark, Ok));
    let mut begun = health("gate", 15, Ok, Dark);
    begun.frame.epoch = Epoch(2);
    assert!(occurrences.take(&begun).is_health);
    // A little older than a time that has not come yet.
    let mut occurrences = Occurrences::default();
    let ahead = now_nanos() / SECOND + 3_600;
    occurrences.take(&health("gate", ahead, Dark, Ok));
    assert!(occurrences.take(&health("gate", ahead - 10, Ok, Dark)).is_health);
    assert_eq!(state(&occurrences), Ok);
}

#[test]
fn pages_follow_each_other_without_gap_or_repetition() {
    let mut occurrences = Occurrences::default();
    // Three at each time, and the times not in order.
    for at in [5, 1, 3, 2, 4] {
        ["a", "b", "c"].iter().for_each(|camera| drop(occurrences.take(&presence(camera, at, "person", None))));
    }
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let mut wanted = wish(r#"{"limit":4}"#);
        wanted.before = before;
        let page = occurrences.page(&wanted);
        seen.extend(page.events.iter().map(|event| (event.place.at_nanos / SECOND, event.id)));
        before = page.events.last().map(|event| event.place.to_string().parse().unwrap());
        if !page.has_more {
            break;
        }
    }
    assert_eq!(seen.len(), 15);
    assert!(seen.is_sorted_by(|a, b| a.0 >= b.0));
    assert_eq!(seen.iter().map(|(_, id)| id).collect::<HashSet<_>>().len(), 15);
}

#[test]
fn filters_leave_out_the_rest() {
    use HealthState::{Dark, Ok};
    let mut occurrences = Occurrences::default();
    occurrences.take(&presence("gate", 1, "person", None));
    occurrences.take(&presence("gate", 2, "car", None));
    occurrences.take(&presence("yard", 3, "person", None));
    occurrences.take(&health("yard", 4, Dark, Ok));
    occurrences.take(&health("yard", 5, Ok, Dark));
    for (filter, expected) in [
        ("{}", &[5, 4, 3, 2, 1][..]),
        (r#"{"camera":"gate"}"#, &[2, 1]),
        (r#"{"camera":"nobody"}"#, &[]),
        (r#"{"kind":"health"}"#, &[5, 4]),
        (r#"{"kind":"presence"}"#, &[3, 2, 1]),
        (r#"{"class":"person"}"#, &[3, 1]),
        (r#"{"state":"dark"}"#, &[4]),
        (r#"{"kind":"presence","state":"dark"}"#, &[]),
        (r#"{"from_ms":2000,"to_ms":4000}"#, &[4, 3, 2]),
        (r#"{"from_ms":4000,"to_ms":2000}"#, &[]),
        (r#"{"from_ms":3000,"before":"2000000000:0"}"#, &[]),
        (r#"{"limit":0}"#, &[]),
    ] {
        assert_eq!(listed(&occurrences, filter), expected, "{filter}");
    }
    let told = occurrences.message(7, &[], false);
    assert_eq!(told["classes"], json!(["car", "person"]));
}

#[test]
fn only_so_many_are_held_and_the_first_that_came_go_first() {
    let mut occurrences = Occurrences::default();
    // One that claims to be of a far future does not stay for ever.
    occurrences.take(&presence("liar", i64::MAX / SECOND, "person", None));
    for at in 0..i64::try_from(MAX_HELD).unwrap() {
        occurrences.take(&presence("gate", at, "car", Some(0)));
    }
    assert_eq!((occurrences.held.len(), occurrences.arrived.len()), (MAX_HELD, MAX_HELD));
    assert!(occurrences.page(&wish(r#"{"class":"person"}"#)).events.is_empty());
    let told = occurrences.message(7, &[], false);
    assert_eq!((&told["is_cut"], &told["classes"]), (&json!(true), &json!(["car"])));
    assert!(occurrences.open.is_empty() && occurrences.keys.is_empty());
    // Ids are forgotten, too, later than their events.
    for at in 0..i64::try_from(MAX_SEEN).unwrap() {
        occurrences.take(&presence("yard", at, "car", Some(0)));
    }
    assert_eq!((occurrences.seen.len(), occurrences.seen_order.len()), (MAX_SEEN, MAX_SEEN));
}

#[test]
fn times_at_the_ends_of_their_range_overflow_nothing() {
    let mut occurrences = Occurrences::default();
    for at in [i64::MIN, i64::MAX] {
        let end = CameraEvent { capture_unix_nanos: at, ..presence("gate", 1, "person", Some(u64::MAX)) };
        occurrences.take(&CameraEvent { id: EventId(at.cast_unsigned()), ..end });
        let ill = CameraEvent { capture_unix_nanos: at, ..health("gate", 1, HealthState::Dark, HealthState::Ok) };
        occurrences.take(&CameraEvent { id: EventId(at.cast_unsigned() ^ 5), ..ill });
    }
    assert!(occurrences.page(&wish("{}")).events.iter().all(|event| event.to_json(None).is_object()));
}
