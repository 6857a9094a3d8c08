//! Beginning in the middle of a GOP whose frames do not name their keyframe.

use super::*;

/// A record of somebody else in the same partition.
fn fill(log: &mut Log, records: usize) {
    for seq in 0..records {
        log.frame("filler", header(1, seq as u64));
    }
}

/// What is told of this camera.
fn of(camera: &str, events: &[Event]) -> Vec<String> {
    words(events).into_iter().filter(|word| word.starts_with(&format!("{camera}:"))).collect()
}

fn resumed(start: usize) -> PartitionReader {
    reader(Beginning::Resumed(Marks::default()), i64::try_from(start).unwrap())
}

fn live(start: usize) -> PartitionReader {
    reader(Beginning::Live, i64::try_from(start).unwrap())
}

/// Two GOPs of three frames; none names its keyframe.
fn burst() -> Log {
    let mut log = Log::default();
    for gop in [0, 3] {
        log.frame("a", key(1, gop));
        log.frame("a", header(1, gop + 1));
        log.frame("a", header(1, gop + 2));
    }
    log
}

#[test]
fn a_viewer_begins_at_the_newest_keyframe_that_nothing_names() {
    let mut reader = live(5);
    let events = read(&mut reader, &burst(), 5);
    assert_eq!(words(&events), ["a:1.3 catch-up", "a:1.4 catch-up", "a:1.5"]);
    assert_eq!((reader.stats.rewinds, reader.stats.repeats, reader.stats.fenced), (1, 0, 0));
}

#[test]
fn a_group_of_decoders_gets_the_gop_before_it_once_more() {
    let events = read(&mut resumed(2), &burst(), 2);
    assert_eq!(words(&events), ["a:1.0 preroll", "a:1.1 preroll", "a:1.2", "a:1.3", "a:1.4", "a:1.5"]);
    let mut storing = PartitionReader::new(PartitionConfig {
        preroll: Preroll::Skip,
        ..config(Beginning::Resumed(Marks::default()), 2)
    });
    assert_eq!(words(&read(&mut storing, &burst(), 2)), ["a:1.2", "a:1.3", "a:1.4", "a:1.5"]);
}

#[test]
fn a_keyframe_in_chunks_is_found_at_its_first() {
    let mut log = Log::default();
    log.frame("b", key(1, 0));
    log.chunks("a", &key(1, 0), 3);
    log.frame("a", header(1, 1));
    let events = read(&mut live(4), &log, 4);
    assert_eq!(words(&events), ["a:1.0 catch-up", "a:1.1"]);
}

/// One search serves all; nothing comes twice, and each stream begins at its own newest keyframe.
#[test]
fn streams_that_share_a_partition_share_the_search() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    for gop in [0, 2, 4] {
        log.frame("b", key(1, gop));
        log.frame("b", header(1, gop + 1));
    }
    log.frame("c", key(1, 0));
    let start = log.0.len();
    log.frame("c", key(1, 1));
    log.frame("a", header(1, 1));
    log.frame("b", header(1, 6));
    log.frame("c", header(1, 2));
    log.frame("a", header(1, 2));
    let mut reader = live(start);
    let events = read(&mut reader, &log, start);
    assert_eq!(of("a", &events), ["a:1.0 catch-up", "a:1.1", "a:1.2"]);
    assert_eq!(of("b", &events), ["b:1.4 catch-up", "b:1.5 catch-up", "b:1.6"], "not from an older keyframe");
    assert_eq!(of("c", &events), ["c:1.1", "c:1.2"], "known before the search");
    assert_eq!(events.len(), 8, "{:?}", words(&events));
    assert_eq!(reader.stats.rewinds, 1);
    // Two records, the search, the record after it, the one that asked, and everything from the keyframe on.
    assert_eq!(reader.stats.records, 2 + 8 + 1 + 1 + 13);
}

#[test]
fn only_a_keyframe_of_the_same_epoch_counts_and_older_ones_fence_nothing() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.frame("a", key(2, 0));
    log.frame("a", header(1, 1));
    log.frame("a", header(2, 1));
    log.frame("a", header(2, 2));
    let mut reader = live(4);
    assert_eq!(words(&read(&mut reader, &log, 4)), ["a:2.0 catch-up", "a:2.1 catch-up", "a:2.2"]);
    assert_eq!(reader.stats.fenced, 0, "before this reader's time");

    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.frame("a", header(2, 1));
    log.frame("a", key(2, 2));
    let events = read(&mut live(1), &log, 1);
    assert_eq!(words(&events), ["a:2 gap 1..=1 joining", "a:2.2"]);
}

/// Without a keyframe within reach, or with none at all, the next one is waited for, quietly and at a bounded price.
#[test]
fn the_search_has_an_end() {
    for (distance, is_found) in [(60, true), (200, true), (1_000, true), (1_100, false)] {
        let mut log = Log::default();
        log.frame("a", key(1, 0));
        fill(&mut log, distance);
        let start = log.0.len();
        log.frame("a", header(1, 1));
        log.frame("b", header(1, 1));
        log.frame("a", key(1, 2));
        let mut reader = live(start);
        let events = read(&mut reader, &log, start);
        let expected: &[&str] =
            if is_found { &["a:1.0 catch-up", "a:1.1", "a:1.2"] } else { &["a:1 gap 1..=1 joining", "a:1.2"] };
        assert_eq!(of("a", &events), expected, "{distance}");
        assert_eq!(of("b", &events), ["b:1 gap 1..=1 joining"]);
        assert!(!events.iter().any(|event| matches!(event, Event::Notice(_))), "{:?}", words(&events));
        let catch_up = if is_found { distance as u64 + 2 } else { 0 };
        assert!(reader.stats.records <= 1_024 + catch_up + 10, "{distance}: {} records", reader.stats.records);
    }
}

#[test]
fn the_search_has_an_end_in_bytes() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    let large = Bytes::from(vec![0; 1024 * 1024]);
    for _ in 0..60 {
        log.0.push(Stored::foreign("a", large.clone()));
    }
    let start = log.0.len();
    log.frame("a", header(1, 1));
    log.frame("a", key(1, 2));
    let mut reader = live(start);
    let events = read(&mut reader, &log, start);
    assert_eq!(of("a", &events), ["a:1.0 catch-up", "a:1.1", "a:1.2"], "it came before the bytes were spent");
    let searched = reader.stats.records - 61 - 3;
    assert!(searched < 40, "{searched} records of a megabyte");
}

/// Retention may have taken what the search asks for: that is no loss to a reader that begins behind it.
#[test]
fn what_retention_took_before_the_beginning_is_not_told() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    fill(&mut log, 100);
    log.frame("a", key(1, 1));
    let start = log.0.len();
    log.frame("a", header(1, 2));
    let kept_from = start - 30;
    log.frame("a", header(1, 3));
    let mut reader = live(start);
    let events = read_kept(&mut reader, &log, start, kept_from);
    assert_eq!(words(&events), ["a:1.1 catch-up", "a:1.2", "a:1.3"]);
}

/// Only what lies beyond everything read is lost to the reader, wherever it has gone back to.
#[test]
fn retention_that_passes_a_reader_on_its_way_back_is_told_from_where_it_was() {
    let mut log = burst();
    fill(&mut log, 4);
    log.frame("a", key(1, 6));
    let mut reader = live(5);
    let mut events = Vec::new();
    let step = reader.record(&log.0[5].at(5), &Anywhere, &mut events);
    assert_eq!(step, Step::Rewind { offset: 0 });
    reader.rewound(0);
    events.extend(read_kept(&mut reader, &log, 8, 8));
    assert_eq!(words(&events), ["retention 2", "filler:1 gap 2..=3 joining", "a:1.6"]);
}

#[test]
fn a_keyframe_that_was_found_and_is_gone_again_is_told() {
    let log = burst();
    let (mut reader, mut events, mut at) = (live(5), Vec::new(), 5);
    while at != 3 || reader.stats.rewinds == 0 {
        match reader.record(&log.0[at].at(at), &Anywhere, &mut events) {
            Step::Rewind { offset } => {
                reader.rewound(offset);
                at = usize::try_from(offset).unwrap();
            }
            _ => at += 1,
        }
    }
    events.extend(read(&mut reader, &log, 5));
    assert_eq!(words(&events), ["no keyframe at 3", "a:1 gap 5..=5 joining"]);
}

#[test]
fn a_skip_into_a_new_epoch_goes_back_to_its_keyframe() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.frame("a", header(1, 1));
    log.control("a", header(1, 2), Control::End { last_seq: Some(Seq(1)) });
    log.frame("a", key(2, 0));
    log.frame("a", header(2, 1));
    log.frame("a", header(2, 2));
    let mut reader = reader(Beginning::OfTheLog, 0);
    let mut events = read(&mut reader, &Log(log.0[..3].to_vec()), 0);
    reader.skipped(5, 0);
    events.extend(read(&mut reader, &log, 5));
    assert_eq!(words(&events), ["a:1.0", "a:1.1", "end Some(1)", "a:2.0 catch-up", "a:2.1 catch-up", "a:2.2"]);
}
