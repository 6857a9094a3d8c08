//! Beginning at a moment: each stream from the keyframe before it.

use super::*;

const MILLI: i64 = 1_000_000;
/// Within the second GOP of both streams.
const MOMENT: i64 = 1_000 * MILLI;

fn at(header: Header, millis: i64) -> Header {
    Header { capture: CaptureTime::sensor(millis * MILLI), ..header }
}

fn moment(start: usize) -> PartitionReader {
    reader(Beginning::Moment { unix_nanos: MOMENT }, i64::try_from(start).unwrap())
}

#[test]
fn a_stream_begins_with_the_keyframe_before_the_moment() {
    for names_keyframe in [true, false] {
        let mut log = Log::default();
        log.frame("a", at(key(1, 0), 700));
        log.frame("a", at(header(1, 1), 800));
        let keyframe = log.frame("a", at(key(1, 2), 900));
        let hint = names_keyframe.then_some(KeyframeHint { seq: Seq(2), offset: keyframe });
        for (seq, millis) in [(3, 980), (4, 995), (5, 1_010)] {
            log.frame("a", Header { keyframe: hint, ..at(header(1, seq), millis) });
        }
        // Appended after the moment: what was taken 5 ms before it was on its way.
        let events = read(&mut moment(4), &log, 4);
        assert_eq!(words(&events), ["a:1.2 preroll", "a:1.3 preroll", "a:1.4 preroll", "a:1.5"], "{names_keyframe}");
    }
}

#[test]
fn between_a_frame_and_the_next_keyframe_the_gop_before_is_still_shown() {
    let mut log = Log::default();
    log.frame("a", at(key(1, 0), 900));
    log.frame("a", at(header(1, 1), 950));
    log.frame("a", at(key(1, 2), 1_050));
    let events = read(&mut moment(2), &log, 2);
    assert_eq!(words(&events), ["a:1.0 preroll", "a:1.1 preroll", "a:1.2"]);
    // A still a second is on the screen until the next one comes.
    let mut log = Log::default();
    log.frame("a", at(key(1, 7), 100));
    log.frame("b", at(key(1, 0), 1_005));
    log.frame("a", at(key(1, 8), 1_100));
    assert_eq!(words(&read(&mut moment(1), &log, 1)), ["b:1.0", "a:1.7 preroll", "a:1.8"]);
}

#[test]
fn a_stream_that_was_silent_for_long_has_nothing_read_again() {
    for is_keyframe in [true, false] {
        let mut log = Log::default();
        let keyframe = log.frame("a", at(key(1, 0), 900));
        log.frame("x", at(key(1, 0), 990));
        for seq in 1..=65_600 {
            log.frame("x", at(header(1, seq), 1_000));
        }
        let hint = Some(KeyframeHint { seq: Seq(0), offset: keyframe });
        let back = at(if is_keyframe { key(1, 9) } else { header(1, 9) }, 9_000_000);
        log.frame("a", Header { keyframe: hint.filter(|_| !is_keyframe), ..back });
        log.frame("a", at(key(1, 10), 9_000_040));
        let mut reader = moment(1);
        let events = read(&mut reader, &log, 1);
        assert_eq!(reader.stats.rewinds, 0);
        let of_a: Vec<_> = words(&events).into_iter().filter(|word| word.starts_with("a:")).collect();
        assert_eq!(of_a, if is_keyframe { vec!["a:1.9", "a:1.10"] } else { vec!["a:1 gap 9..=9 joining", "a:1.10"] });
    }
}

#[test]
fn what_a_publisher_wrote_that_was_away_at_the_moment_is_not_missing() {
    let mut log = Log::default();
    let keyframe = log.frame("a", at(key(1, 0), 900));
    // Twenty seconds of twenty cameras.
    for seq in 0..12_000 {
        log.frame("x", at(Header { is_keyframe: seq == 0, ..header(1, seq) }, 1_000));
    }
    for (seq, millis) in [(1, 1_040), (2, 1_080)] {
        let hint = Some(KeyframeHint { seq: Seq(0), offset: keyframe });
        log.frame("a", Header { keyframe: hint, ..at(header(1, seq), millis) });
    }
    let mut reader = moment(1);
    let events = read(&mut reader, &log, 1);
    let of_a: Vec<_> = words(&events).into_iter().filter(|word| word.starts_with("a:")).collect();
    assert_eq!(of_a, ["a:1.0 preroll", "a:1.1", "a:1.2"]);
    let of_x = events.len() - of_a.len();
    assert_eq!((of_x, reader.stats.rewinds), (12_000, 1), "nothing twice");
}

#[test]
fn the_first_frame_of_an_epoch_and_a_camera_an_hour_behind_have_no_preroll() {
    let mut log = Log::default();
    log.frame("x", header(1, 0));
    log.frame("a", at(key(1, 0), 1_000));
    log.frame("late", at(key(1, 0), -3_600_000));
    log.frame("late", at(header(1, 1), -3_599_960));
    assert_eq!(words(&read(&mut moment(1), &log, 1)), ["a:1.0", "late:1.0", "late:1.1"]);
}
