//! The reading core against logs made by hand and by a lane with faults; no Kafka.

mod look_back;
mod moment;

use super::event::{Event, FrameRole, Notice};
use super::filter::CameraFilter;
use super::partition::{
    Beginning, LogRecord, PartitionConfig, PartitionReader, Passport, Preroll, SKIPPED_AGAIN_NANOS, Step,
};
use super::progress::{Marks, Progress, stream_hash};
use bytes::Bytes;
use lumenbus_frame::{
    CaptureTime, Codec, EncodedFrame, Epoch, FrameId, Gap, GapReason, Seq, SeqRange, StreamId, TopicName,
};
use lumenbus_lanes::Lane;
use lumenbus_wire::{ChunkPlan, Control, Envelope, Header, KeyframeHint};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// A record in a made-up partition.
#[derive(Clone)]
struct Stored {
    key: &'static str,
    content_type: String,
    header: Bytes,
    value: Bytes,
    traceparent: Option<&'static str>,
}

impl Stored {
    /// Somebody else's.
    fn foreign(key: &'static str, value: Bytes) -> Self {
        Self { key, content_type: "text/plain".into(), header: Bytes::new(), value, traceparent: None }
    }

    fn at(&self, offset: usize) -> LogRecord<'_> {
        LogRecord {
            offset: i64::try_from(offset).unwrap(),
            append_unix_millis: Some(0),
            received_unix_nanos: 0,
            key: Some(self.key.as_bytes()),
            content_type: Some(self.content_type.as_bytes()),
            header: Some(&self.header),
            traceparent: self.traceparent.map(str::as_bytes),
            value: Some(&self.value),
        }
    }
}

#[derive(Default)]
struct Log(Vec<Stored>);

impl Log {
    fn offset(&self) -> u64 {
        self.0.len() as u64
    }

    fn frame(&mut self, key: &'static str, mut header: Header) -> u64 {
        let payload = Bytes::from(format!("{key} {} {}", header.id.epoch, header.id.seq));
        let wrapped = Envelope::Native.wrap(&mut header, Codec::H264, &payload);
        let at = self.offset();
        self.0.push(Stored {
            key,
            content_type: wrapped.content_type.to_owned(),
            header: header.to_bytes(),
            value: wrapped.value,
            traceparent: None,
        });
        at
    }

    fn control(&mut self, key: &'static str, mut header: Header, control: Control) {
        let content_type = control.content_type().to_owned();
        header.control = Some(control);
        self.0.push(Stored { key, content_type, header: header.to_bytes(), value: Bytes::new(), traceparent: None });
    }

    fn chunks(&mut self, key: &'static str, header: &Header, parts: usize) {
        let value = Bytes::from(vec![7; parts * 10]);
        let plan = ChunkPlan::new(value, Codec::H264.content_type(), 10);
        for (chunk, part) in plan {
            let mut header = if chunk.index == 0 { header.clone() } else { Header::new(header.id, header.capture) };
            header.payload_crc32c = Some(crc32c::crc32c(&part));
            header.chunk = Some(chunk);
            let content_type = lumenbus_wire::content_type::CHUNK.to_owned();
            self.0.push(Stored { key, content_type, header: header.to_bytes(), value: part, traceparent: None });
        }
    }
}

struct Anywhere;

impl Passport for Anywhere {
    fn may_enter(&self, _: &StreamId, _: u64, _: u64) -> bool {
        true
    }
    fn moved_away(&self, _: u64, _: u64) {}
}

fn header(epoch: u64, seq: u64) -> Header {
    Header::new(FrameId { epoch: Epoch(epoch), seq: Seq(seq) }, CaptureTime::arrival(0))
}

fn key(epoch: u64, seq: u64) -> Header {
    Header { is_keyframe: true, ..header(epoch, seq) }
}

fn with_gaps(mut header: Header, gaps: &[Gap]) -> Header {
    header.gaps = gaps.to_vec();
    header
}

fn gap(first: u64, last: u64, reason: GapReason) -> Gap {
    Gap::new(Seq(first), Seq(last), reason)
}

fn config(beginning: Beginning, start: i64) -> PartitionConfig {
    PartitionConfig {
        topic: TopicName::new("raw_video").unwrap(),
        partition: 0,
        beginning,
        start,
        filter: Arc::new(CameraFilter::default()),
        preroll: Preroll::Deliver,
        max_frame_bytes: 1 << 20,
    }
}

fn reader(beginning: Beginning, start: i64) -> PartitionReader {
    PartitionReader::new(config(beginning, start))
}

/// Reads the log as a consumer would, following rewinds.
fn read(reader: &mut PartitionReader, log: &Log, from: usize) -> Vec<Event> {
    read_kept(reader, log, from, 0)
}

/// The same after retention has taken everything below `kept_from`.
fn read_kept(reader: &mut PartitionReader, log: &Log, from: usize, kept_from: usize) -> Vec<Event> {
    let (mut out, mut at, mut rewinds) = (Vec::new(), from, 0);
    while let Some(stored) = log.0.get(at) {
        match reader.record(&stored.at(at), &Anywhere, &mut out) {
            Step::Continue => at += 1,
            Step::Rewind { offset } => {
                rewinds += 1;
                assert!(rewinds < 100, "rewinds end");
                reader.rewound(offset);
                at = usize::try_from(offset).unwrap().max(kept_from);
            }
            Step::Blocked { .. } => panic!("nobody blocks here"),
        }
    }
    out
}

/// One word an event, for comparison.
fn words(events: &[Event]) -> Vec<String> {
    let word = |event: &Event| match event {
        Event::Frame(frame) => {
            let role = match frame.role {
                FrameRole::Current => "",
                FrameRole::CatchUp => " catch-up",
                FrameRole::Preroll => " preroll",
            };
            format!("{}:{}.{}{role}", frame.stream.camera, frame.id().epoch, frame.id().seq)
        }
        Event::Gap { stream, gap } => format!("{}:{} gap {gap}", stream.camera, gap.epoch.unwrap()),
        Event::Repeat { range, .. } => format!("repeat {}..={}", range.first, range.last),
        Event::Offline { reason, .. } => format!("offline {reason}"),
        Event::End { last_seq, .. } => format!("end {:?}", last_seq.map(|seq| seq.0)),
        Event::Notice(notice) => match notice {
            Notice::RetentionPassed { lost_records, .. } => format!("retention {lost_records}"),
            Notice::UnreadableRecord { offset, .. } => format!("unreadable {offset}"),
            Notice::KeyframeNotFound { offset, .. } => format!("no keyframe at {offset}"),
            Notice::Disconnected { .. } => "disconnected".to_owned(),
        },
    };
    events.iter().map(word).collect()
}

#[test]
fn frames_come_in_order_once_and_gaps_before_them() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.frame("a", header(1, 1));
    log.frame("a", header(1, 1));
    log.frame("a", with_gaps(key(1, 5), &[gap(2, 4, GapReason::Overflow)]));
    log.frame("a", with_gaps(header(1, 6), &[gap(2, 4, GapReason::Overflow)]));
    log.control("a", header(1, 7), Control::End { last_seq: Some(Seq(6)) });
    let mut reader = reader(Beginning::OfTheLog, 0);
    let events = read(&mut reader, &log, 0);
    assert_eq!(words(&events), ["a:1.0", "a:1.1", "a:1 gap 2..=4 overflow", "a:1.5", "a:1.6", "end Some(6)"]);
    assert_eq!(reader.stats.repeats, 1);
}

#[test]
fn a_hole_closes_the_gate_and_a_late_gap_explains_it() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.frame("a", header(1, 2));
    log.frame("a", with_gaps(key(1, 3), &[gap(1, 1, GapReason::DeliveryFailed)]));
    log.control("a", header(1, 4), Control::End { last_seq: Some(Seq(3)) });
    let events = read(&mut reader(Beginning::OfTheLog, 0), &log, 0);
    assert_eq!(
        words(&events),
        ["a:1.0", "a:1 gap 2..=2 undecodable", "a:1 gap 1..=1 delivery-failed", "a:1.3", "end Some(3)"]
    );
}

#[test]
fn what_nobody_explains_is_called_unexplained() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.frame("a", key(1, 3));
    log.control("a", header(1, 5), Control::End { last_seq: Some(Seq(4)) });
    let events = read(&mut reader(Beginning::OfTheLog, 0), &log, 0);
    assert_eq!(
        words(&events),
        ["a:1.0", "a:1.3", "a:1 gap 1..=2 unexplained", "a:1 gap 4..=4 unexplained", "end Some(4)"]
    );
}

#[test]
fn a_discardable_gap_keeps_the_gate_open() {
    let mut log = Log::default();
    let discardable = Gap { is_discardable: true, ..gap(1, 1, GapReason::Expired) };
    log.frame("a", key(1, 0));
    log.frame("a", with_gaps(header(1, 2), &[discardable]));
    let events = read(&mut reader(Beginning::OfTheLog, 0), &log, 0);
    assert_eq!(words(&events), ["a:1.0", "a:1 gap 1..=1 expired", "a:1.2"]);
}

#[test]
fn a_higher_epoch_aborts_the_old_and_fences_what_comes_late() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.frame("a", key(2, 0));
    log.frame("a", header(1, 1));
    log.frame("a", header(2, 1));
    let mut reader = reader(Beginning::OfTheLog, 0);
    let events = read(&mut reader, &log, 0);
    assert_eq!(words(&events), ["a:1.0", "a:1 gap 1.. aborted", "a:2.0", "a:2.1"]);
    assert_eq!(reader.stats.fenced, 1);
}

#[test]
fn a_new_epoch_may_explain_the_old_one_exactly() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.frame("a", with_gaps(key(2, 0), &[Gap { epoch: Some(Epoch(1)), ..gap(1, 3, GapReason::DeliveryFailed) }]));
    let events = read(&mut reader(Beginning::OfTheLog, 0), &log, 0);
    assert_eq!(words(&events), ["a:1.0", "a:1 gap 1..=3 delivery-failed", "a:2.0"]);
}

#[test]
fn chunks_between_other_streams_come_back_whole_and_incomplete_ones_are_explained() {
    let mut log = Log::default();
    log.chunks("a", &key(1, 0), 3);
    log.frame("b", key(1, 0));
    let incomplete_from = log.0.len();
    log.chunks("a", &key(1, 1), 3);
    log.0.remove(incomplete_from + 2);
    log.frame("a", key(1, 2));
    let mut reader = reader(Beginning::OfTheLog, 0);
    let events = read(&mut reader, &log, 0);
    assert_eq!(words(&events), ["a:1.0", "b:1.0", "a:1 gap 1..=1 record-damaged", "a:1.2"]);
    let Event::Frame(frame) = &events[0] else { panic!() };
    assert_eq!((frame.payload.len(), frame.offset), (30, 0));
}

#[test]
fn joining_live_goes_back_to_the_keyframe() {
    let mut log = Log::default();
    let first = log.frame("a", key(1, 10));
    log.frame("b", key(1, 0));
    let hinted = |seq| Header { keyframe: Some(KeyframeHint { seq: Seq(10), offset: first }), ..header(1, seq) };
    log.frame("a", hinted(11));
    let live = log.0.len();
    log.frame("a", hinted(12));
    log.frame("b", Header { keyframe: Some(KeyframeHint { seq: Seq(0), offset: 1 }), ..header(1, 1) });
    let mut reader = reader(Beginning::Live, i64::try_from(live).unwrap());
    let events = read(&mut reader, &log, live);
    assert_eq!(words(&events), ["a:1.10 catch-up", "b:1.0 catch-up", "a:1.11 catch-up", "a:1.12", "b:1.1"]);
    assert_eq!(reader.stats.rewinds, 1);
}

#[test]
fn a_wrong_hint_is_noticed_and_the_next_keyframe_taken() {
    let mut log = Log::default();
    log.frame("b", key(1, 0));
    let wrong = Header { keyframe: Some(KeyframeHint { seq: Seq(3), offset: 0 }), ..header(1, 4) };
    log.frame("a", wrong);
    log.frame("a", key(1, 5));
    let events = read(&mut reader(Beginning::Live, 1), &log, 1);
    assert_eq!(words(&events), ["b:1.0 catch-up", "no keyframe at 0", "a:1 gap 4..=4 joining", "a:1.5"]);
}

#[test]
fn a_group_goes_on_where_it_was_with_the_gop_before_it_as_preroll() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    let hinted = |seq| Header { keyframe: Some(KeyframeHint { seq: Seq(0), offset: 0 }), ..header(1, seq) };
    for seq in 1..5 {
        log.frame("a", hinted(seq));
    }
    let stream = StreamId::main("a".parse().unwrap(), TopicName::new("raw_video").unwrap());
    let mut progress = Progress::new(0, Marks::default());
    progress.mark(stream_hash(&stream), FrameId { epoch: Epoch(1), seq: Seq(3) });
    progress.read(1);
    let (offset, metadata) = progress.take_commit().unwrap();
    assert_eq!(offset, 2);
    let mut reader = reader(Beginning::Resumed(Marks::decode(&metadata)), offset);
    let events = read(&mut reader, &log, 2);
    assert_eq!(words(&events), ["a:1.0 preroll", "a:1.1 preroll", "a:1.2 preroll", "a:1.3 preroll", "a:1.4"]);
}

/// Frame 3 is done with; `offset` is committed.
fn marked(offset: i64) -> PartitionReader {
    let stream = StreamId::main("a".parse().unwrap(), TopicName::new("raw_video").unwrap());
    let mut progress = Progress::new(0, Marks::default());
    progress.mark(stream_hash(&stream), FrameId { epoch: Epoch(1), seq: Seq(3) });
    progress.read(0);
    let (_, metadata) = progress.take_commit().unwrap();
    reader(Beginning::Resumed(Marks::decode(&metadata)), offset)
}

#[test]
fn who_takes_over_after_the_last_frame_hears_the_end_and_nothing_that_was_told() {
    let mut log = Log::default();
    let offline = || Control::Offline { since_unix_nanos: 5, reason: "unplugged".to_owned() };
    log.frame("a", key(1, 0));
    log.control("a", header(1, 1), offline());
    for seq in 1..4 {
        log.frame("a", header(1, seq));
    }
    log.control("a", header(1, 4), offline());
    log.control("a", header(1, 4), Control::End { last_seq: Some(Seq(3)) });
    log.control("b", header(1, 4), Control::End { last_seq: Some(Seq(3)) });
    assert_eq!(words(&read(&mut marked(5), &log, 5)), ["offline unplugged", "end Some(3)"]);
    assert_eq!(words(&read(&mut marked(6), &log, 6)), ["end Some(3)"]);
    assert!(read(&mut marked(7), &log, 7).is_empty());
    // Another stream held the offset back; what was done of this one beyond it was told.
    assert_eq!(words(&read(&mut marked(1), &log, 1))[..3], ["a:1.0 preroll", "a:1.1 preroll", "a:1.2 preroll"]);
    assert_eq!(words(&read(&mut marked(1), &log, 1))[3..], ["a:1.3 preroll", "offline unplugged", "end Some(3)"]);
    let mut other = reader(Beginning::Live, 6);
    assert!(read(&mut other, &log, 6).is_empty(), "who only joins has nothing to begin with");
}

#[test]
fn retention_that_passes_the_reader_is_a_gap_with_that_reason() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    for seq in 1..4 {
        log.frame("a", header(1, seq));
    }
    log.frame("a", key(1, 4));
    let mut reader = reader(Beginning::OfTheLog, 0);
    let mut events = Vec::new();
    for at in [0, 3, 4] {
        assert_eq!(reader.record(&log.0[at].at(at), &Anywhere, &mut events), Step::Continue);
    }
    assert_eq!(
        words(&events),
        ["a:1.0", "retention 2", "a:1 gap 1..=2 retention", "a:1 gap 3..=3 undecodable", "a:1.4"]
    );
}

#[test]
fn foreign_and_damaged_records_disturb_nobody() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.0.push(Stored::foreign("a", "hello".into()));
    log.frame("a", key(1, 1));
    let damaged = log.0.len() - 1;
    log.0[damaged].value = "not what was written".into();
    log.frame("a", key(1, 2));
    let mut reader = reader(Beginning::OfTheLog, 0);
    let events = read(&mut reader, &log, 0);
    assert_eq!(words(&events).last().unwrap(), "a:1.2");
    assert!(words(&events).contains(&"a:1 gap 1..=1 record-damaged".to_owned()), "{:?}", words(&events));
    assert_eq!((reader.stats.foreign + reader.stats.damaged, reader.stats.frames), (2, 2));
}

#[test]
fn repeats_are_explained() {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.control("a", header(1, 4), Control::Repeat(SeqRange { first: Seq(1), last: Seq(3) }));
    log.frame("a", header(1, 4));
    let events = read(&mut reader(Beginning::OfTheLog, 0), &log, 0);
    assert_eq!(words(&events), ["a:1.0", "repeat 1..=3", "a:1.4"]);
}

/// What a run of the publisher's lane leaves in the log, with failed and doubled deliveries.
fn lane_log(steps: &[(u8, u8)]) -> (Log, u64) {
    let mut lane = Lane::new(3_000);
    let mut log = Log::default();
    let send = |lane: &mut Lane, log: &mut Log, fate: u8| {
        let Some(entry) = lane.pop(0) else { return };
        let gaps: Vec<_> = lane.gaps_before(entry.seq).copied().collect();
        let mark = lane.mark();
        let header = Header { is_keyframe: entry.frame.is_keyframe, ..with_gaps(header(1, entry.seq.0), &gaps) };
        match fate % 8 {
            0 => lane.delivery_failed(entry.seq, false),
            1 => {
                // Timed out for the publisher, but in the log all the same.
                log.frame("a", header);
                lane.delivery_failed(entry.seq, false);
            }
            2 => {
                log.frame("a", header.clone());
                log.frame("a", header);
                lane.acknowledged(entry.seq, mark);
            }
            _ => {
                log.frame("a", header);
                lane.acknowledged(entry.seq, mark);
            }
        }
    };
    for &(action, detail) in steps {
        if action % 3 == 0 {
            send(&mut lane, &mut log, detail);
        } else {
            let mut frame =
                EncodedFrame::new(Codec::H264, CaptureTime::arrival(0), Bytes::from(vec![0; usize::from(detail) * 4]));
            frame.is_keyframe = detail % 5 == 0;
            lane.push(frame, 0);
        }
    }
    while !lane.is_empty() {
        send(&mut lane, &mut log, 7);
    }
    let submitted = lane.next_seq().0;
    let gaps: Vec<_> = lane.gaps_before(Seq(u64::MAX)).copied().collect();
    let end = Control::End { last_seq: submitted.checked_sub(1).map(Seq) };
    log.control("a", with_gaps(header(1, submitted), &gaps), end);
    (log, submitted)
}

proptest! {
    #[test]
    fn after_a_clean_end_published_is_delivered_plus_explained(steps in prop::collection::vec(any::<(u8, u8)>(), 0..200)) {
        let (log, submitted) = lane_log(&steps);
        let events = read(&mut reader(Beginning::OfTheLog, 0), &log, 0);
        let mut seen = BTreeSet::new();
        let mut last = None;
        for event in &events {
            match event {
                Event::Frame(frame) => {
                    let seq = frame.id().seq.0;
                    prop_assert!(seen.insert(seq), "seq {seq} twice");
                    prop_assert!(last < Some(seq), "order");
                    last = Some(seq);
                }
                Event::Gap { gap, .. } => {
                    prop_assert_ne!(gap.reason, GapReason::Unexplained);
                    for seq in gap.first.0..=gap.last.unwrap().0 {
                        prop_assert!(seen.insert(seq), "seq {seq} delivered or explained twice");
                    }
                }
                _ => {}
            }
        }
        prop_assert_eq!(seen.len() as u64, submitted);
        prop_assert_eq!(seen.last().map_or(0, |last| last + 1), submitted);
    }

    #[test]
    fn nobody_hands_over_what_cannot_be_decoded(steps in prop::collection::vec(any::<(u8, u8)>(), 0..200)) {
        let (log, _) = lane_log(&steps);
        let mut expected = None;
        for event in read(&mut reader(Beginning::OfTheLog, 0), &log, 0) {
            if let Event::Frame(frame) = event {
                prop_assert!(frame.header.is_keyframe || expected == Some(frame.id().seq));
                expected = Some(frame.id().seq.next());
            }
        }
    }
}

#[test]
fn a_trace_comes_with_its_frame_and_a_foreign_one_is_nothing() {
    const TRACE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.frame("a", header(1, 1));
    log.frame("a", header(1, 2));
    log.chunks("a", &header(1, 3), 3);
    log.chunks("a", &header(1, 4), 2);
    log.frame("a", header(1, 5));
    let traces = [Some(TRACE), None, Some("b3: 80f198ee56343ba8"), Some(TRACE), None, Some("not on chunk 0")];
    for (stored, trace) in log.0.iter_mut().zip(traces) {
        stored.traceparent = trace;
    }
    let mut reader = reader(Beginning::OfTheLog, 0);
    let traces: Vec<_> = read(&mut reader, &log, 0)
        .iter()
        .map(|event| match event {
            Event::Frame(frame) => frame.trace.map(|trace| trace.to_string()),
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [Some(TRACE), None, None, Some(TRACE), None, None].map(|trace| trace.map(str::to_owned));
    assert_eq!(traces, expected);
    assert_eq!((reader.stats.damaged, reader.stats.foreign), (0, 0));
}

/// Keyframes at seqs 0 and 4, a keyframe of another stream between, all else refers to the newest.
fn long_log() -> Log {
    let mut log = Log::default();
    log.frame("a", key(1, 0));
    log.frame("b", key(1, 0));
    let hinted =
        |seq, key: u64, offset| Header { keyframe: Some(KeyframeHint { seq: Seq(key), offset }), ..header(1, seq) };
    for seq in 1..4 {
        log.frame("a", hinted(seq, 0, 0));
    }
    let newest = log.frame("a", key(1, 4));
    log.frame("b", hinted(1, 0, 1));
    for seq in 5..9 {
        log.frame("a", hinted(seq, 4, newest));
    }
    log.frame("b", hinted(2, 0, 1));
    log
}

#[test]
fn a_skip_goes_on_at_the_newest_keyframe_behind_the_end() {
    let log = long_log();
    let mut reader = reader(Beginning::OfTheLog, 0);
    let mut events = read(&mut reader, &Log(log.0[..3].to_vec()), 0);
    reader.skipped(9, 0);
    events.extend(read(&mut reader, &log, 9));
    let expected = [
        "a:1.0",
        "b:1.0",
        "a:1.1",
        // From the keyframe on, which was skipped too, with what is missing before it told.
        "a:1 gap 2..=3 lagging",
        "a:1.4 catch-up",
        "a:1.5 catch-up",
        "a:1.6 catch-up",
        "a:1.7",
        "a:1.8",
    ];
    let words = words(&events);
    // The other stream's newest keyframe was handed over before: it has to wait for the next.
    let (of_b, of_a): (Vec<_>, Vec<_>) = words.iter().map(String::as_str).partition(|word| word.starts_with("b:1 gap"));
    assert_eq!((of_a, of_b.is_empty()), (expected.to_vec(), false), "{words:?}");
    assert_eq!(reader.stats.rewinds, 1);
}

/// A frame that may have its result already is no more than a preroll.
#[test]
fn who_is_taken_to_the_end_has_nothing_twice() {
    let log = long_log();
    let mut reader = reader(Beginning::Resumed(Marks::default()), 2);
    let mut events = read(&mut reader, &Log(log.0[..3].to_vec()), 2);
    reader.passed_over(9, 0);
    events.extend(read(&mut reader, &log, 9));
    let words = words(&events);
    let (of_b, of_a): (Vec<_>, Vec<_>) = words.iter().map(String::as_str).partition(|word| word.starts_with("b:"));
    let expected = [
        "a:1.0 preroll",
        "a:1.1",
        "a:1 gap 2..=3 lagging",
        // For the decoder; what was passed over has no results.
        "a:1.4 preroll",
        "a:1.5 preroll",
        "a:1.6 preroll",
        "a:1.7",
        "a:1.8",
    ];
    assert_eq!(of_a, expected, "{words:?}");
    // Its newest keyframe was handed over before: it has to wait for the next.
    assert_eq!(of_b, ["b:1.0 preroll", "b:1 gap 1..=1 lagging", "b:1 gap 2..=2 undecodable"], "{words:?}");
    assert!(!reader.holds(8) && reader.holds(9), "what is behind the end moves no offset");
}

#[test]
fn who_is_skipped_again_soon_waits_for_the_next_keyframe() {
    let mut log = long_log();
    log.frame("a", key(1, 9));
    let mut reader = reader(Beginning::OfTheLog, 0);
    let mut events = read(&mut reader, &Log(log.0[..3].to_vec()), 0);
    reader.skipped(8, 0);
    reader.skipped(9, SKIPPED_AGAIN_NANOS - 1);
    events.extend(read(&mut reader, &log, 9));
    let told: Vec<_> = words(&events).into_iter().filter(|word| word.starts_with("a:")).collect();
    assert_eq!(told[..2], ["a:1.0", "a:1.1"]);
    assert_eq!(told.last().map(String::as_str), Some("a:1.9"));
    assert!(told[2..told.len() - 1].iter().all(|word| word.contains("gap")), "{told:?}");
    assert_eq!(reader.stats.rewinds, 0);
}

#[test]
fn a_skip_whose_keyframe_is_not_there_tells_everything_missing() {
    let mut log = long_log();
    log.0[5].key = "somebody-else";
    log.frame("a", key(1, 9));
    let mut reader = reader(Beginning::OfTheLog, 0);
    let mut events = read(&mut reader, &Log(log.0[..3].to_vec()), 0);
    reader.skipped(9, 0);
    events.extend(read(&mut reader, &log, 9));
    let missing: u64 = events
        .iter()
        .filter_map(|event| match event {
            Event::Gap { stream, gap } if stream.camera.as_str() == "a" => {
                gap.last.map(|last| last.0 - gap.first.0 + 1)
            }
            _ => None,
        })
        .sum();
    assert_eq!(missing, 7, "2 to 8: {:?}", words(&events));
    assert!(events.iter().any(|event| matches!(event, Event::Notice(Notice::KeyframeNotFound { .. }))));
}
