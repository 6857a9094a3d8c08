//! What the publisher writes, read by a plain Kafka consumer: against the embedded broker, and Apache Kafka where
//! `LUMENBUS_TEST_KAFKA` names its bootstrap servers.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic")]

mod support;

use bytes::Bytes;
use lumenbus_bus::publisher::{BatchLimits, LbJson, PublisherEvent};
use lumenbus_bus::topics::Cluster;
use lumenbus_bus::{
    BusConfig, BusError, Directory, Publisher, PublisherConfig, Role, StreamHandle, StreamOptions, first_partition,
};
use lumenbus_frame::{CameraId, CaptureTime, Clock, Codec, EncodedFrame, Gap, GapReason, ManualClock, Seq, StreamId};
use lumenbus_lanes::Admission;
use lumenbus_wire::{
    Assembled, ChunkAssembler, Control, Header, MAX_FRAME_BYTES, Opened, RawRecord, StreamState, open_record,
};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use support::{PATIENCE, Site, camera, now, start_broker, video, wait_for};

impl Site {
    /// Every record of a topic, partition by partition.
    fn records(&self, base: &str) -> Vec<Record> {
        let topic = self.topic(base);
        let mut config = self.config.client_config(Role::Consumer);
        config.set("group.id", "plain").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().unwrap();
        let metadata = consumer.fetch_metadata(Some(topic.as_str()), PATIENCE).unwrap();
        let partitions = metadata.topics()[0].partitions().len();
        let mut assignment = TopicPartitionList::new();
        for partition in 0..partitions {
            let partition = partition.try_into().unwrap();
            assignment.add_partition_offset(topic.as_str(), partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&assignment).unwrap();
        let (mut records, mut ends, start) = (Vec::new(), 0, Instant::now());
        while ends < partitions {
            assert!(start.elapsed() < PATIENCE, "the topic could not be read");
            match consumer.poll(Duration::from_millis(200)) {
                Some(Ok(message)) => records.push(Record::of(&message)),
                Some(Err(KafkaError::PartitionEOF(_))) => ends += 1,
                Some(Err(error)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::PartitionEOF) => ends += 1,
                Some(Err(error)) => panic!("{error}"),
                None => {}
            }
        }
        records.sort_by_key(|record| (record.partition, record.offset));
        records
    }
}

#[derive(Debug)]
struct Record {
    partition: i32,
    offset: i64,
    key: Vec<u8>,
    headers: Vec<(String, Vec<u8>)>,
    value: Option<Bytes>,
}

impl Record {
    fn of(message: &impl Message) -> Self {
        let headers = message.headers().map(|headers| {
            headers.iter().map(|header| (header.key.to_owned(), header.value.unwrap().to_vec())).collect()
        });
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().unwrap().to_vec(),
            headers: headers.unwrap_or_default(),
            value: message.payload().map(Bytes::copy_from_slice),
        }
    }

    fn named(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|header| header.0 == name).map(|header| &header.1[..])
    }

    fn opened(&self) -> Opened {
        open_record(RawRecord {
            content_type: self.named("content-type"),
            header: self.named("lb").map(Bytes::copy_from_slice),
            value: self.value.clone(),
        })
        .unwrap()
    }

    fn header(&self) -> Header {
        Header::decode(self.named("lb").unwrap()).unwrap()
    }

    fn control(&self) -> Option<Control> {
        match self.opened() {
            Opened::Control(record) => Some(record.control),
            _ => None,
        }
    }
}

fn unit(bytes: usize, fill: u8, is_keyframe: bool) -> EncodedFrame {
    let mut frame = EncodedFrame::new(Codec::H264, now(), Bytes::from(vec![fill; bytes]));
    frame.is_keyframe = is_keyframe;
    frame
}

fn queued(handle: &StreamHandle, frame: EncodedFrame) -> Seq {
    match handle.submit(frame).unwrap() {
        Admission::Queued(seq) => seq,
        Admission::Dropped(seq, reason) => panic!("{seq} was dropped: {reason}"),
    }
}

fn event(publisher: &Publisher, is_wanted: impl Fn(&PublisherEvent) -> bool) -> PublisherEvent {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        if let Some(event) = publisher.next_event(Duration::from_millis(100)).filter(&is_wanted) {
            return event;
        }
    }
    panic!("the event did not come")
}

#[test]
fn a_plain_consumer_reads_the_access_units() {
    for site in Site::all() {
        let publisher = site.publisher();
        let handle = video(&publisher);
        for n in 0..20_u8 {
            queued(&handle, unit(1_000, n, n % 10 == 0));
        }
        handle.lose(2, GapReason::SourceLost).unwrap();
        let epoch = handle.epoch();
        let summary = handle.finish(PATIENCE).unwrap();
        assert!(summary.is_end_written, "{summary:?}");
        assert_eq!((summary.stats.submitted_frames, summary.stats.acknowledged_frames), (22, 20));
        assert_eq!(summary.stats.drops, [(GapReason::SourceLost, 2)]);
        assert_eq!(summary.stats.ack_latency.count, 20);

        let records = site.records("raw_video");
        let topic = site.topic("raw_video");
        let partitions =
            Cluster::open(&site.config).unwrap().actual(&[topic.as_str()]).unwrap()[topic.as_str()].partitions;
        let expected = i32::try_from(first_partition(&camera(), partitions)).unwrap();
        assert!(records.iter().all(|record| record.partition == expected && record.key == b"gate"));
        assert_eq!(records.len(), 21);
        for (n, record) in records[..20].iter().enumerate() {
            assert_eq!(record.named("content-type"), Some(&b"video/h264"[..]));
            assert_eq!(record.value.as_ref().unwrap(), &vec![u8::try_from(n).unwrap(); 1_000]);
            assert_eq!((record.header().id.seq, record.header().id.epoch), (Seq(n as u64), epoch));
        }
        let end = &records[20];
        assert_eq!(end.value.as_deref(), Some(&b""[..]), "empty, not null");
        assert_eq!(end.control(), Some(Control::End { last_seq: Some(Seq(21)) }));
        assert_eq!(end.header().gaps, [Gap::new(Seq(20), Seq(21), GapReason::SourceLost)]);

        let directory = Directory::open(&site.config).unwrap();
        let id = StreamId::main(camera(), site.topic("raw_video"));
        let entry = directory.stream(&id).unwrap();
        assert_eq!((entry.state, entry.last_seq, entry.epoch), (StreamState::Ended, Some(Seq(21)), epoch));
        assert_eq!(entry.next_offset, Some(21));
        assert!(publisher.close(PATIENCE).is_empty());
    }
}

#[test]
fn a_keyframe_hint_points_to_an_acknowledged_keyframe() {
    for site in Site::all() {
        let publisher = site.publisher();
        let handle = video(&publisher);
        queued(&handle, unit(10, 0, true));
        assert!(handle.flush(PATIENCE));
        queued(&handle, unit(10, 1, false));
        handle.finish(PATIENCE).unwrap();
        let records = site.records("raw_video");
        let hint = records[1].header().keyframe.unwrap();
        assert_eq!((hint.seq, hint.offset), (Seq(0), records[0].offset.cast_unsigned()));
        assert!(records[1].named("lb").unwrap().len() <= 64);
    }
}

#[test]
fn large_frames_pass_default_limits() {
    for site in Site::all() {
        let publisher = site.publisher();
        let handle = video(&publisher);
        let sizes = [6_000_000, 40_000_000, 10];
        for (size, fill) in sizes.into_iter().zip(1..) {
            queued(&handle, unit(size, fill, true));
        }
        let summary = handle.finish(PATIENCE).unwrap();
        assert_eq!((summary.stats.acknowledged_frames, summary.unresolved_frames), (3, 0), "{summary:?}");
        let mut assembler = ChunkAssembler::new(MAX_FRAME_BYTES);
        let mut found = Vec::new();
        for record in site.records("raw_video") {
            match record.opened() {
                Opened::Chunk { header, header_bytes, part } => {
                    let offset = record.offset.cast_unsigned();
                    if let Assembled::Complete { record, .. } = assembler.push(header, header_bytes, offset, part) {
                        found.push((record.payload.len(), record.payload[0]));
                    }
                }
                Opened::Frame(frame) => found.push((frame.payload.len(), frame.payload[0])),
                _ => {}
            }
        }
        assert_eq!(found, [(6_000_000, 1), (40_000_000, 2), (10, 3)]);
    }
}

#[test]
fn a_picture_topic_holds_pictures_only() {
    for site in Site::all() {
        let publisher = site.publisher();
        let handle = publisher.main_stream(camera(), "raw_images", StreamOptions::new(Codec::Jpeg)).unwrap();
        let picture = || EncodedFrame::new(Codec::Jpeg, now(), Bytes::from_static(b"\xff\xd8\xff\xd9"));
        queued(&handle, picture());
        handle.repeat(3).unwrap();
        queued(&handle, picture());
        handle.offline("unplugged").unwrap();
        let summary = handle.finish(PATIENCE).unwrap();
        assert!(summary.is_end_written);
        assert_eq!((summary.stats.repeated_frames, summary.stats.acknowledged_frames), (3, 2));
        let records = site.records("raw_images");
        assert_eq!(records.len(), 2);
        for record in &records {
            assert_eq!(record.named("content-type"), Some(&b"image/jpeg"[..]));
            assert_eq!(record.value.as_deref(), Some(&b"\xff\xd8\xff\xd9"[..]));
        }
        let directory = Directory::open(&site.config).unwrap();
        let id = StreamId::main(camera(), site.topic("raw_images"));
        let entry = directory.stream(&id).unwrap();
        assert_eq!((entry.state, entry.last_seq, entry.next_offset), (StreamState::Ended, Some(Seq(4)), Some(2)));
    }
}

#[test]
fn frames_travel_in_batches_and_with_json_when_asked() {
    for site in Site::all() {
        let mut config = PublisherConfig::new(site.config.clone());
        config.batching = Some(BatchLimits { frames: 5, bytes: 100_000, wait: Duration::from_millis(50) });
        config.lb_json = LbJson::On;
        let publisher = Publisher::open(config).unwrap();
        let handle = video(&publisher);
        for n in 0..10_u8 {
            queued(&handle, unit(100, n, n == 0));
        }
        let summary = handle.finish(PATIENCE).unwrap();
        assert_eq!(summary.stats.acknowledged_frames, 10);
        let records = site.records("raw_video");
        let mut fills = Vec::new();
        for record in &records {
            assert!(record.named("lb-json").unwrap().starts_with(b"{"));
            if let Opened::Batch { items, .. } = record.opened() {
                fills.extend(items.iter().map(|item| item.payload[0]));
            }
        }
        assert_eq!(fills, Vec::from_iter(0..10));
    }
}

#[test]
fn a_second_publisher_supersedes_the_first() {
    for site in Site::all() {
        let (first, second) = (site.publisher(), site.publisher());
        let old = video(&first);
        queued(&old, unit(10, 1, true));
        assert!(old.flush(PATIENCE));
        let new = video(&second);
        assert!(new.epoch() > old.epoch());
        event(&first, |event| matches!(event, PublisherEvent::Superseded { .. }));
        let refused = old.submit(unit(10, 2, true));
        assert!(matches!(refused, Err(BusError::Superseded { .. })), "{refused:?}");
        queued(&new, unit(10, 3, true));
        assert!(new.finish(PATIENCE).unwrap().is_end_written);
        assert!(matches!(old.finish(PATIENCE), Err(BusError::Superseded { .. })));
        let fills: Vec<_> =
            site.records("raw_video").iter().filter_map(|record| record.value.as_ref()?.first().copied()).collect();
        assert_eq!(fills, [1, 3]);
    }
}

#[test]
fn a_move_leaves_a_pointer_behind() {
    for site in Site::all() {
        let publisher = site.publisher();
        let handle = video(&publisher);
        queued(&handle, unit(10, 1, true));
        let from = handle.stats().partition;
        let to = (from + 1) % 12;
        let epoch = handle.move_to(to).unwrap();
        queued(&handle, unit(10, 2, false));
        queued(&handle, unit(10, 3, true));
        assert_eq!((handle.epoch(), handle.stats().partition), (epoch, to));
        assert!(matches!(handle.move_to(999), Err(BusError::TopicUnfit { .. })));
        let summary = handle.finish(PATIENCE).unwrap();
        assert_eq!((summary.stats.submitted_frames, summary.stats.acknowledged_frames), (3, 3));
        let records = site.records("raw_video");
        let of = |partition: u32| records.iter().filter(move |record| record.partition.cast_unsigned() == partition);
        let controls: Vec<_> = of(from).filter_map(Record::control).collect();
        assert!(
            matches!(controls[..], [Control::End { last_seq: Some(Seq(1)) }, Control::Moved(moved)]
            if moved.epoch == epoch && moved.partition == to),
            "{controls:?}"
        );
        let ids: Vec<_> = of(to).map(|record| (record.header().id.epoch, record.header().id.seq)).collect();
        assert_eq!(ids, [(epoch, Seq(0)), (epoch, Seq(1))]);
        let directory = Directory::open(&site.config).unwrap();
        let id = StreamId::main(camera(), site.topic("raw_video"));
        let entry = directory.stream(&id).unwrap();
        assert_eq!((entry.partition, entry.moved_from), (to, Some(from)));
    }
}

#[test]
fn a_broker_that_goes_and_comes_back_costs_only_what_did_not_fit() {
    let site = Site::embedded();
    let mut config = PublisherConfig::new(site.config.clone());
    config.lane_bytes = 1_000_000;
    config.stream_window_bytes = 100_000;
    let publisher = Publisher::open(config).unwrap();
    let handle = video(&publisher);
    queued(&handle, unit(10_000, 0, true));
    assert!(handle.flush(PATIENCE));

    let (broker, folder) = site.embedded.unwrap();
    let address: SocketAddr = broker.bootstrap_servers().parse().unwrap();
    broker.shutdown_blocking().unwrap();
    event(&publisher, |event| matches!(event, PublisherEvent::Disconnected { .. }));
    for n in 0..500_u16 {
        handle.submit(unit(10_000, 1, n % 25 == 0)).unwrap();
        let stats = publisher.stats();
        assert!(stats.queued_bytes <= 1_000_000 && stats.in_flight_bytes <= 120_000, "{stats:?}");
    }
    assert!(handle.stats().dropped_frames() > 300);

    let broker = start_broker(folder.path(), address);
    event(&publisher, |event| matches!(event, PublisherEvent::Connected));
    let summary = handle.finish(PATIENCE).unwrap();
    assert!(summary.is_end_written && summary.unresolved_frames == 0, "{summary:?}");
    let stats = &summary.stats;
    assert_eq!(stats.submitted_frames, 501);
    assert_eq!(stats.acknowledged_frames + stats.dropped_frames(), 501);
    assert!(stats.acknowledged_frames > 50);

    let site = Site { config: site.config, embedded: Some((broker, folder)) };
    let mut fate = vec![0; 501];
    let mut frames = 0;
    let mut gaps = std::collections::BTreeSet::new();
    for record in site.records("raw_video") {
        let header = record.header();
        for gap in &header.gaps {
            gaps.extend(gap.first.0..=gap.last.unwrap().0);
        }
        if record.control().is_none() {
            fate[usize::try_from(header.id.seq.0).unwrap()] += 1;
            frames += 1;
        }
    }
    for seq in &gaps {
        fate[usize::try_from(*seq).unwrap()] += 1;
    }
    assert_eq!(frames, stats.acknowledged_frames);
    assert!(fate.iter().all(|times| *times == 1), "each frame is there or explained: {fate:?}");
}

#[test]
fn finishing_without_a_broker_says_what_is_not_known() {
    let site = Site::embedded();
    let publisher = site.publisher();
    let handle = video(&publisher);
    queued(&handle, unit(10, 0, true));
    assert!(handle.flush(PATIENCE));
    let (broker, _folder) = site.embedded.unwrap();
    broker.shutdown_blocking().unwrap();
    queued(&handle, unit(10, 1, true));
    let summary = handle.finish(Duration::from_millis(500)).unwrap();
    assert!(!summary.is_end_written);
    assert_eq!((summary.stats.acknowledged_frames, summary.unresolved_frames), (1, 1));
    drop(publisher);
}

#[test]
fn a_record_that_is_too_large_is_told_once_with_the_limit() {
    let mut site = Site::embedded();
    site.config.properties.insert("message.max.bytes".to_owned(), "20000".to_owned());
    let publisher = site.publisher();
    let handle = video(&publisher);
    for n in 0..3 {
        handle.submit(unit(50_000, n, true)).unwrap();
    }
    queued(&handle, unit(10, 9, true));
    assert!(handle.flush(PATIENCE));
    let told = event(&publisher, |event| matches!(event, PublisherEvent::DeliveryProblem { .. }));
    let PublisherEvent::DeliveryProblem { error, .. } = told else { unreachable!() };
    assert!(matches!(*error, BusError::RecordTooLarge { .. }), "{error:?}");
    assert!(error.to_string().contains("max.message.bytes"), "{error}");
    event(&publisher, |event| matches!(event, PublisherEvent::DeliveryResumed { .. }));
    let summary = handle.finish(PATIENCE).unwrap();
    assert_eq!(summary.stats.drops, [(GapReason::DeliveryFailed, 3)]);
    assert_eq!(summary.stats.acknowledged_frames, 1);
}

#[test]
fn a_clock_step_is_a_jump_in_the_stream() {
    let site = Site::embedded();
    let clock = Arc::new(ManualClock::at(1_700_000_000_000_000_000));
    let mut config = PublisherConfig::new(site.config.clone());
    config.clock = Arc::clone(&clock) as Arc<dyn Clock>;
    let publisher = Publisher::open(config).unwrap();
    let handle = video(&publisher);
    let frame = |fill| {
        EncodedFrame::new(Codec::H264, CaptureTime::sensor(clock.unix_nanos()), Bytes::from(vec![fill; 10])).keyframe()
    };
    queued(&handle, frame(1));
    clock.step_to(1_700_000_100_000_000_000);
    queued(&handle, frame(2));
    queued(&handle, frame(3));
    event(&publisher, |event| matches!(event, PublisherEvent::ClockStep { millis: 100_000 }));
    handle.finish(PATIENCE).unwrap();
    let jumps: Vec<_> = site.records("raw_video").iter().map(|record| record.header().is_discontinuity).collect();
    assert_eq!(jumps, [false, true, false, false]);
}

#[test]
fn closing_ends_every_stream() {
    for site in Site::all() {
        let publisher = site.publisher();
        let handles: Vec<_> = (0..8)
            .map(|n| {
                let id = CameraId::new(&format!("camera-{n}")).unwrap();
                publisher.main_stream(id, "raw_video", StreamOptions::new(Codec::H264)).unwrap()
            })
            .collect();
        for round in 0..30 {
            for handle in &handles {
                queued(handle, unit(5_000, 1, round == 0));
            }
        }
        let summaries = publisher.close(PATIENCE);
        assert_eq!(summaries.len(), 8);
        assert!(summaries.iter().all(|summary| summary.is_end_written && summary.stats.acknowledged_frames == 30));
        assert!(matches!(handles[0].submit(unit(10, 1, true)), Err(BusError::Closed { .. })));
        assert_eq!(site.records("raw_video").len(), 8 * 31);
    }
}

#[test]
fn a_dropped_publisher_flushes_but_writes_no_end() {
    for site in Site::all() {
        let publisher = site.publisher();
        let handle = video(&publisher);
        queued(&handle, unit(10, 1, true));
        drop(publisher);
        assert!(matches!(handle.submit(unit(10, 1, true)), Err(BusError::Closed { .. })));
        let records = site.records("raw_video");
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].control(), None);
    }
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let refused = Publisher::open(PublisherConfig::new(BusConfig::new("127.0.0.1:1")));
    assert!(matches!(refused, Err(BusError::Broker(_))), "{refused:?}");
    let mut site = Site::embedded();
    drop(site.publisher());
    site.config.keeps_topics_as_they_are = true;
    let publisher = site.publisher();
    let refused = publisher.main_stream(camera(), "raw_video", StreamOptions::new(Codec::H264));
    assert!(matches!(refused, Err(BusError::UnknownTopic { .. })), "{refused:?}");
}

#[test]
fn silence_is_broken_by_a_gap_record() {
    let site = Site::embedded();
    let publisher = site.publisher();
    let handle = video(&publisher);
    queued(&handle, unit(10, 1, true));
    handle.lose(4, GapReason::SourceDamaged).unwrap();
    wait_for("the gap record", || (handle.stats().records == 2).then_some(()));
    assert!(handle.flush(PATIENCE));
    let records = site.records("raw_video");
    assert_eq!(records[1].control(), Some(Control::Gap));
    assert_eq!(records[1].header().gaps, [Gap::new(Seq(1), Seq(4), GapReason::SourceDamaged)]);
}
