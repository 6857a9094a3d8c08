//! The stream's core against a log in memory.

use super::*;
use crate::publisher::outgoing::{LbJson, OutRecord};
use bytes::Bytes;
use lumenbus_frame::{CameraId, CaptureTime, Codec, StreamName, TopicName};
use lumenbus_wire::KeyframeHint;
use lumenbus_wire::{Assembled, ChunkAssembler, Header, MAX_FRAME_BYTES, Opened, RawRecord, open_record};
use std::cell::{Cell, RefCell};
use std::time::Duration;

mod model;
mod runs;
mod traces;

const UNIX: i64 = 1_700_000_000_000_000_000;

/// A record as a broker would hold it.
#[derive(Debug, Clone)]
struct Stored {
    partition: u32,
    content_type: String,
    header: Option<Bytes>,
    json: Option<String>,
    traceparent: Option<String>,
    value: Bytes,
    slot: u32,
}

impl Stored {
    fn header(&self) -> Header {
        Header::decode(self.header.as_ref().expect("has a header")).unwrap()
    }

    fn opened(&self) -> Opened {
        let content_type = Some(self.content_type.as_bytes());
        open_record(RawRecord { content_type, header: self.header.clone(), value: Some(self.value.clone()) }).unwrap()
    }

    fn control(&self) -> Option<Control> {
        match self.opened() {
            Opened::Control(record) => Some(record.control),
            _ => None,
        }
    }
}

/// Takes records and hands them to the test, which decides what becomes of them.
#[derive(Default)]
struct Client {
    taken: RefCell<VecDeque<Stored>>,
    is_full: Cell<bool>,
    refuses: Cell<bool>,
}

impl RecordSink for Client {
    fn send(&self, record: &OutRecord<'_>) -> Result<(), Refusal> {
        if self.is_full.get() {
            return Err(Refusal::Later);
        }
        if self.refuses.get() {
            return Err(Refusal::Failed);
        }
        self.taken.borrow_mut().push_back(Stored {
            partition: record.partition,
            content_type: record.content_type.to_owned(),
            header: record.header.map(Bytes::copy_from_slice),
            json: record.json.map(str::to_owned),
            traceparent: record.traceparent.map(|text| String::from_utf8(text.to_vec()).unwrap()),
            value: Bytes::copy_from_slice(record.value),
            slot: record.slot,
        });
        Ok(())
    }
}

struct Bench {
    core: StreamCore,
    client: Client,
    total: TotalWindow,
    log: Vec<Stored>,
    now: Now,
}

fn limits() -> StreamLimits {
    StreamLimits {
        lane_bytes: 100_000,
        window_bytes: 50_000,
        form: RecordForm { limit_bytes: 20_000, lb_json: LbJson::Off },
        envelope: Envelope::Native,
        batching: None,
        kind: TopicKind::Records,
    }
}

fn bench(limits: StreamLimits) -> Bench {
    let id = StreamId {
        camera: CameraId::new("gate-7").unwrap(),
        topic: TopicName::new("raw_video").unwrap(),
        name: StreamName::main(),
    };
    Bench {
        core: StreamCore::new(id, Epoch(1 << 16), 3, limits),
        client: Client::default(),
        total: TotalWindow::new(200_000),
        log: Vec::new(),
        now: Now { monotonic_nanos: 0, unix_nanos: UNIX },
    }
}

fn frame(bytes: usize, is_keyframe: bool) -> EncodedFrame {
    let mut frame = EncodedFrame::new(Codec::H264, CaptureTime::sensor(UNIX), Bytes::from(vec![7; bytes]));
    frame.is_keyframe = is_keyframe;
    frame
}

impl Bench {
    fn pump(&mut self) -> Pumped {
        self.core.pump(self.now, &self.client, &self.total)
    }

    fn submit(&mut self, frame: EncodedFrame) -> Admission {
        let admission = self.core.submit(frame, self.now);
        self.pump();
        admission
    }

    fn submit_many(&mut self, count: usize, bytes: usize) {
        for n in 0..count {
            self.submit(frame(bytes, n == 0));
        }
    }

    /// The broker takes the oldest record.
    fn acknowledge(&mut self) -> bool {
        let Some(record) = self.client.taken.borrow_mut().pop_front() else {
            return false;
        };
        let offset = Some(self.log.len() as u64);
        let delivery = Delivery::InLog { offset };
        self.core.delivered(record.slot, delivery, record.value.len(), self.now, &self.total);
        self.log.push(record);
        self.pump();
        true
    }

    /// The oldest record is lost.
    fn lose_record(&mut self) -> bool {
        let Some(record) = self.client.taken.borrow_mut().pop_front() else {
            return false;
        };
        self.core.delivered(record.slot, Delivery::Failed, record.value.len(), self.now, &self.total);
        self.pump();
        true
    }

    fn settle(&mut self) {
        self.pump();
        while self.acknowledge() {}
    }

    fn wait(&mut self, millis: u64) {
        let nanos = millis * 1_000_000;
        self.now.monotonic_nanos += nanos;
        self.now.unix_nanos += i64::try_from(nanos).unwrap();
        self.core.tick(self.now);
        self.pump();
    }

    fn finish(&mut self) {
        self.core.begin_finish();
        self.settle();
    }

    fn restart(&mut self, epochs: &mut u64) {
        let next = || {
            *epochs += 1;
            Epoch(*epochs << 16)
        };
        self.core.restart(next, self.now);
        assert_eq!(self.pump(), Pumped::Idle);
        self.core.release();
    }

    fn controls(&self) -> Vec<Control> {
        self.log.iter().filter_map(Stored::control).collect()
    }

    fn account(&self) {
        let counts = self.core.counts;
        let known = counts.acknowledged_frames + counts.repeated_frames + self.core.drops().total();
        let open = self.core.queued_frames() as u64 + self.core.in_flight_frames();
        assert_eq!(self.core.submitted(), known + open, "every frame is somewhere, and only there");
    }
}

#[test]
fn an_ordinary_record_is_the_payload_and_small_headers() {
    let mut bench = bench(limits());
    bench.submit(frame(1_000, true));
    bench.settle();
    bench.submit(frame(900, false).with_pts(3_003));
    bench.settle();
    let [key, delta] = &bench.log[..] else { panic!("{:?}", bench.log) };
    assert_eq!((key.partition, key.content_type.as_str(), key.value.len()), (3, "video/h264", 1_000));
    assert!(delta.header.as_ref().unwrap().len() <= 64, "{:?}", delta.header());
    let header = delta.header();
    assert_eq!((header.id.seq, header.id.epoch), (Seq(1), Epoch(1 << 16)));
    assert_eq!(header.keyframe, Some(KeyframeHint { seq: Seq(0), offset: 0 }));
    assert!(header.payload_crc32c.is_some() && header.gaps.is_empty());
    assert_eq!(key.header().keyframe, None, "a keyframe needs no hint");
    bench.account();
}

#[test]
fn stages_are_measured() {
    let mut bench = bench(StreamLimits { window_bytes: 1, ..limits() });
    bench.submit(frame(10, true));
    let mut late = frame(10, false);
    late.capture = CaptureTime::sensor(UNIX - 5_000_000);
    bench.submit(late);
    bench.wait(7);
    bench.settle();
    let header = bench.log[1].header();
    assert_eq!((header.submit_micros, header.queue_micros), (Some(5_000), Some(7_000)));
    assert_eq!(bench.core.latency.summary().max_micros, 7_000);
}

#[test]
fn a_large_frame_goes_in_chunks_one_after_the_other() {
    let mut bench = bench(limits());
    bench.submit(frame(70_000, true));
    assert!(bench.core.in_flight_bytes() <= 50_000, "the window bounds chunks as well");
    bench.settle();
    bench.submit(frame(100, false));
    bench.settle();
    let mut assembler = ChunkAssembler::new(MAX_FRAME_BYTES);
    let mut whole = None;
    for (offset, record) in bench.log.iter().enumerate() {
        let size = record.value.len() + record.header.as_ref().unwrap().len() + "gate-7".len();
        assert!(size <= 20_000, "{size}");
        let Opened::Chunk { header, header_bytes, part } = record.opened() else { continue };
        assert!(whole.is_none());
        match assembler.push(header, header_bytes, offset as u64, part) {
            Assembled::Complete { record, first_offset } => whole = Some((record, first_offset)),
            Assembled::Pending => {}
            other => panic!("{other:?}"),
        }
    }
    let (record, first_offset) = whole.unwrap();
    assert_eq!((record.payload.len(), record.header.id.seq, first_offset), (70_000, Seq(0), 0));
    assert_eq!(bench.log.last().unwrap().header().id.seq, Seq(1));
    assert_eq!(bench.log.last().unwrap().header().keyframe.unwrap().offset, 0, "the hint is the first chunk");
    assert_eq!(bench.core.counts.acknowledged_frames, 2);
}

#[test]
fn a_lost_chunk_loses_its_frame_and_the_rest_is_not_sent() {
    let mut bench = bench(limits());
    bench.submit(frame(90_000, true));
    bench.submit(frame(10, false));
    bench.acknowledge();
    bench.lose_record();
    bench.settle();
    let last_index = bench.log.iter().filter_map(|record| record.header().chunk).map(|chunk| chunk.index).max();
    assert!(last_index < Some(4), "{last_index:?}");
    bench.submit(frame(10, true));
    bench.settle();
    let header = bench.log.last().unwrap().header();
    assert_eq!(header.id.seq, Seq(2));
    assert_eq!(header.gaps, [Gap::new(Seq(0), Seq(1), GapReason::DeliveryFailed)]);
    bench.account();
}

#[test]
fn gaps_ride_until_a_record_that_carries_them_is_acknowledged() {
    let mut bench = bench(limits());
    bench.submit(frame(10, true));
    bench.core.lose(2, GapReason::SourceLost);
    bench.submit(frame(10, true));
    bench.submit(frame(10, false));
    let gap = Gap::new(Seq(1), Seq(2), GapReason::SourceLost);
    let gaps_of = |bench: &Bench, at: usize| bench.client.taken.borrow()[at].header().gaps;
    assert_eq!((gaps_of(&bench, 1), gaps_of(&bench, 2)), (vec![gap], vec![gap]));
    bench.settle();
    bench.submit(frame(10, false));
    assert_eq!(gaps_of(&bench, 0), []);
}

#[test]
fn silence_is_broken_by_a_gap_record() {
    let mut bench = bench(limits());
    bench.submit(frame(10, true));
    bench.settle();
    bench.core.lose(3, GapReason::SourceDamaged);
    bench.wait(500);
    bench.settle();
    assert_eq!(bench.log.len(), 1);
    bench.wait(600);
    bench.settle();
    assert_eq!(bench.controls(), [Control::Gap]);
    let header = bench.log[1].header();
    assert_eq!((header.id.seq, header.gaps.len()), (Seq(4), 1));
    bench.wait(5_000);
    bench.settle();
    assert_eq!(bench.log.len(), 2, "told once");
}

#[test]
fn frames_travel_together_up_to_a_keyframe() {
    let wait = Duration::from_millis(20);
    let batching = Some(BatchLimits { frames: 4, bytes: 5_000, wait });
    let form = RecordForm { limit_bytes: 100_000, ..limits().form };
    let mut bench = bench(StreamLimits { batching, form, ..limits() });
    for n in 0..3 {
        bench.submit(frame(100, n == 0));
    }
    assert_eq!(bench.client.taken.borrow().len(), 0, "waits for a fourth");
    bench.submit(frame(100, true));
    bench.wait(25);
    bench.submit_many(1, 100);
    for _ in 0..4 {
        bench.submit(frame(2_000, false));
    }
    bench.wait(25);
    bench.settle();
    let mut shapes = Vec::new();
    for record in &bench.log {
        match record.opened() {
            Opened::Batch { items, .. } => {
                shapes.push(items.iter().map(|item| item.header.id.seq.0).collect());
            }
            Opened::Frame(frame) => shapes.push(vec![frame.header.id.seq.0]),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(shapes, [vec![0, 1, 2], vec![3], vec![4, 5, 6], vec![7, 8]]);
    assert_eq!(bench.core.counts.acknowledged_frames, 9);
    bench.account();
}

#[test]
fn a_lost_batch_is_a_gap_of_all_its_frames() {
    let batching = Some(BatchLimits { frames: 3, bytes: 5_000, wait: Duration::ZERO });
    let mut bench = bench(StreamLimits { batching, ..limits() });
    bench.client.is_full.set(true);
    bench.submit_many(1, 10);
    bench.submit_many(3, 10);
    bench.client.is_full.set(false);
    bench.pump();
    bench.acknowledge();
    bench.lose_record();
    bench.submit(frame(10, true));
    bench.settle();
    let gap = Gap::new(Seq(1), Seq(3), GapReason::DeliveryFailed);
    assert_eq!(bench.log.last().unwrap().header().gaps, [gap]);
    bench.account();
}

#[test]
fn the_envelope_carries_the_header_itself() {
    let mut bench = bench(StreamLimits { envelope: Envelope::Json, ..limits() });
    bench.submit(frame(100, true));
    bench.submit(frame(40_000, true));
    bench.settle();
    assert!(bench.log[0].header.is_none());
    let Opened::Frame(frame) = bench.log[0].opened() else { panic!("a frame") };
    assert_eq!(frame.payload.len(), 100);
    assert!(bench.log.len() > 3 && bench.log[1].header().chunk.is_some());
}

#[test]
fn the_header_is_repeated_as_json_when_asked() {
    let form = RecordForm { lb_json: LbJson::On, ..limits().form };
    let mut bench = bench(StreamLimits { form, ..limits() });
    bench.submit(frame(100, true));
    bench.settle();
    let json = bench.log[0].json.as_ref().unwrap();
    assert_eq!(Header::from_json(json).unwrap(), bench.log[0].header());
}

#[test]
fn idle_frames_are_counted_and_told() {
    let mut bench = bench(limits());
    bench.submit(frame(10, true));
    bench.core.repeat(3, bench.now);
    bench.core.repeat(2, bench.now);
    bench.submit(frame(10, false));
    bench.core.repeat(4, bench.now);
    bench.wait(1_100);
    bench.settle();
    let range = |first, last| Control::Repeat(SeqRange { first: Seq(first), last: Seq(last) });
    assert_eq!(bench.controls(), [range(1, 5), range(7, 10)]);
    assert_eq!(bench.core.counts.repeated_frames, 9);
    bench.account();
}

#[test]
fn an_offline_camera_is_told_after_its_gaps_and_comes_back_with_a_jump() {
    let mut bench = bench(limits());
    bench.submit(frame(10, true));
    bench.core.lose(1, GapReason::SourceLost);
    bench.core.offline("unplugged", bench.now);
    bench.settle();
    let record = bench.log.last().unwrap();
    assert!(matches!(record.control(), Some(Control::Offline { reason, .. }) if reason == "unplugged"));
    assert_eq!(record.header().gaps.len(), 1);
    bench.submit(frame(10, true));
    bench.submit(frame(10, false));
    bench.settle();
    let jumps: Vec<_> = bench.log.iter().rev().take(2).map(|record| record.header().is_discontinuity).collect();
    assert_eq!(jumps, [false, true]);
}

#[test]
fn a_jump_is_told_again_when_its_frame_was_lost() {
    let mut bench = bench(limits());
    bench.core.jump();
    bench.submit(frame(10, true));
    bench.lose_record();
    bench.submit(frame(10, true));
    bench.settle();
    assert!(bench.log[0].header().is_discontinuity);
}

#[test]
fn a_jump_within_a_gop_begins_a_section_at_the_next_keyframe() {
    let mut bench = bench(limits());
    bench.core.index.is_wanted = true;
    bench.submit_many(3, 10);
    bench.submit(EncodedFrame { is_discontinuity: true, ..frame(10, false) });
    bench.submit(frame(10, false));
    for is_keyframe in [true, false, true] {
        bench.submit(frame(10, is_keyframe));
    }
    bench.settle();
    let jumps: Vec<_> = bench.core.index.take().map(|keyframe| (keyframe.id.seq.0, keyframe.is_jump)).collect();
    assert_eq!(jumps.iter().map(|(_, is_jump)| *is_jump).collect::<Vec<_>>(), [false, true, false], "{jumps:?}");
}

#[test]
fn a_superseded_stream_sends_nothing_more() {
    let mut bench = bench(limits());
    bench.client.is_full.set(true);
    bench.submit_many(3, 10);
    bench.core.supersede(Epoch(9 << 16), bench.now);
    bench.client.is_full.set(false);
    bench.settle();
    assert!(bench.log.is_empty());
    assert_eq!(bench.core.queued_bytes(), 0);
    bench.account();
}

#[test]
fn a_picture_topic_gets_pictures_only_and_the_entry_says_the_rest() {
    let mut bench = bench(StreamLimits { kind: TopicKind::PicturesOnly, ..limits() });
    let picture = || EncodedFrame::new(Codec::Jpeg, CaptureTime::sensor(UNIX), Bytes::from_static(b"jpeg"));
    bench.submit(picture());
    bench.core.repeat(5, bench.now);
    bench.settle();
    assert!(!bench.core.take_entry_due());
    bench.wait(1_500);
    assert!(bench.core.take_entry_due());
    let facts = bench.core.entry_facts();
    assert_eq!(facts.repeat, Some(SeqRange { first: Seq(1), last: Seq(5) }));
    assert_eq!((facts.last_seq, facts.next_offset), (Some(Seq(5)), Some(1)));
    bench.submit(picture());
    bench.core.lose(2, GapReason::SourceLost);
    bench.core.offline("away", bench.now);
    bench.settle();
    assert!(bench.core.take_entry_due() && bench.core.entry_facts().is_offline);
    bench.finish();
    assert!(bench.core.is_finished() && bench.core.is_end_written());
    assert_eq!(bench.core.entry_facts().gaps, [Gap::new(Seq(7), Seq(8), GapReason::SourceLost)]);
    assert!(bench.controls().is_empty());
    let repeated = Gap { is_discardable: true, ..Gap::new(Seq(1), Seq(5), REPEATED) };
    assert_eq!(bench.log.last().unwrap().header().gaps, [repeated]);
    bench.account();
}

#[test]
fn the_entry_of_a_move_tells_nothing_of_the_epoch_before() {
    let mut bench = bench(StreamLimits { kind: TopicKind::PicturesOnly, ..limits() });
    bench.submit(EncodedFrame::new(Codec::Jpeg, CaptureTime::sensor(UNIX), Bytes::from_static(b"jpeg")).keyframe());
    bench.core.lose(2, GapReason::SourceLost);
    bench.settle();
    let to = Moved { epoch: Epoch(9 << 16), partition: 7 };
    let before = bench.core.facts_moved(to);
    assert_eq!((before.epoch, before.partition, before.moved_from), (to.epoch, 7, Some(3)));
    assert!(before.gaps.is_empty() && before.next_offset.is_none() && before.last_seq.is_none());
    bench.core.move_to(to);
    assert_eq!(bench.core.entry_facts(), before);
}

#[test]
fn an_entry_tells_nothing_beyond_frames_that_are_not_in_the_log_yet() {
    let mut bench = bench(StreamLimits { kind: TopicKind::PicturesOnly, ..limits() });
    let picture = || EncodedFrame::new(Codec::Jpeg, CaptureTime::sensor(UNIX), Bytes::from_static(b"jpeg"));
    bench.submit(picture());
    bench.settle();
    bench.core.lose(1, GapReason::SourceDamaged);
    bench.core.offline("away", bench.now);
    bench.submit(picture());
    bench.client.is_full.set(true);
    bench.submit(picture());
    bench.core.lose(2, GapReason::SourceLost);
    bench.core.repeat(3, bench.now);
    assert!(bench.core.take_entry_due());
    let damaged = Gap::new(Seq(1), Seq(1), GapReason::SourceDamaged);
    let facts = bench.core.entry_facts();
    assert_eq!((facts.gaps, facts.repeat, facts.next_offset), (vec![damaged], None, Some(1)), "2 and 3 may still come");
    bench.client.is_full.set(false);
    bench.settle();
    bench.wait(1_500);
    assert!(bench.core.take_entry_due(), "silence brings another one");
    let facts = bench.core.entry_facts();
    let repeat = Some(SeqRange { first: Seq(6), last: Seq(8) });
    let lost = Gap::new(Seq(4), Seq(5), GapReason::SourceLost);
    assert_eq!((facts.gaps, facts.repeat, facts.next_offset), (vec![lost], repeat, Some(3)));
    bench.account();
}

#[test]
fn a_record_that_the_client_refuses_is_a_gap() {
    let mut bench = bench(limits());
    bench.client.refuses.set(true);
    bench.submit(frame(10, true));
    bench.client.refuses.set(false);
    bench.submit(frame(10, true));
    bench.settle();
    assert_eq!(bench.log[0].header().gaps, [Gap::new(Seq(0), Seq(0), GapReason::DeliveryFailed)]);
    assert_eq!(bench.total.used_bytes(), 0);
}

#[test]
fn an_impossible_capture_time_is_replaced_and_counted() {
    let mut bench = bench(limits());
    let mut wrong = frame(10, true);
    wrong.capture = CaptureTime::sensor(0);
    bench.submit(wrong);
    bench.settle();
    assert_eq!(bench.log[0].header().capture, CaptureTime::arrival(UNIX));
    assert_eq!((bench.core.counts.replaced_captures, bench.core.counts.last_capture_offset_nanos), (1, -UNIX));
}
