//! One record of every form of version 1, with all fields fixed: the source of the golden bytes.

use bytes::Bytes;
use lumenbus_frame::{
    CaptureSource, CaptureTime, Codec, Deadline, Dimensions, Epoch, FrameId, FrameRate, Gap, GapReason, PixelFormat,
    Priority, Seq, SeqRange, StreamId, StreamName, StreamParameters, Timebase, TopicName, TraceContext,
};
use lumenbus_wire::{
    AnalysisResult, BatchWriter, Bounds, CameraEntry, CameraEvent, ChunkPlan, Control, ControlRequest, DetectedObject,
    Envelope, EventKind, Features, FleetBeat, FleetStanding, FrameRef, HISTOGRAM_BINS, Header, HeaderPlace, Health,
    HealthState, IndexEntry, IndexPosition, IndexSection, KeyframeHint, Model, Moved, Opened, PictureFeatures,
    PresencePhase, RawRecord, RequestKind, Seal, StageTimes, StreamEntry, StreamState, WireError, content_type,
    open_record,
};
use std::sync::Arc;

/// A record as a consumer gets it.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    pub(crate) name: &'static str,
    pub(crate) content_type: &'static str,
    pub(crate) lb: Option<Bytes>,
    pub(crate) value: Bytes,
    /// The record header of that name.
    pub(crate) traceparent: Option<TraceContext>,
}

impl Sample {
    pub(crate) fn record(&self) -> RawRecord<'_> {
        RawRecord {
            content_type: Some(self.content_type.as_bytes()),
            header: self.lb.clone(),
            value: Some(self.value.clone()),
        }
    }

    pub(crate) fn open(&self) -> Result<Opened, WireError> {
        open_record(self.record())
    }
}

pub(crate) const EPOCH: Epoch = Epoch((1_750_000_000_000 << 16) | 0xbeef);
pub(crate) const CAPTURE_NANOS: i64 = 1_750_000_012_345_678_901;

pub(crate) fn header(seq: u64) -> Header {
    let id = FrameId { epoch: EPOCH, seq: Seq(seq) };
    Header::new(id, CaptureTime::arrival(CAPTURE_NANOS))
}

/// The largest header of an ordinary delta frame: everything that such a frame can carry, a day into
/// an epoch of 30 frames a second, offsets beyond 2^33, two seconds in each stage.
pub(crate) fn worst_delta() -> Header {
    let seq = 30 * 86_400 - 1;
    Header {
        capture: CaptureTime { unix_nanos: CAPTURE_NANOS, source: CaptureSource::Rtcp },
        pts: Some(90_000 * 86_400),
        is_discardable: true,
        priority: Priority::High,
        deadline: Some(Deadline { after_capture_millis: 60_000 }),
        keyframe: Some(KeyframeHint { seq: Seq(seq - 299), offset: (1 << 33) + 12_345 }),
        payload_crc32c: Some(0xdead_beef),
        submit_micros: Some(2_000_000),
        queue_micros: Some(2_000_000),
        ..header(seq)
    }
}

pub(crate) fn keyframe() -> Header {
    Header {
        pts: Some(-3_000),
        is_keyframe: true,
        is_discontinuity: true,
        parameters: Some(Arc::new(StreamParameters {
            codec: Codec::H264,
            dimensions: Dimensions::new(1920, 1080),
            pixel_format: None,
            timebase: Timebase::MPEG,
            frame_rate: Some(FrameRate { frames: 30_000, seconds: 1_001 }),
            codec_string: Some("avc1.640028".to_owned()),
        })),
        gaps: gaps(),
        ..header(41)
    }
}

fn gaps() -> Vec<Gap> {
    let unknown_end =
        Gap { epoch: Some(Epoch(EPOCH.0 - (1 << 16))), last: None, ..Gap::new(Seq(7), Seq(7), GapReason::SourceLost) };
    let discardable = Gap { is_discardable: true, ..Gap::new(Seq(33), Seq(40), GapReason::Overflow) };
    vec![unknown_end, discardable]
}

fn payload() -> Bytes {
    Bytes::from_static(b"\xff\xd8 picture \x00\x01\x02\xff\xd9")
}

fn wrapped(name: &'static str, envelope: Envelope, mut header: Header, codec: Codec) -> Sample {
    let wrapped = envelope.wrap(&mut header, codec, &payload());
    let lb = (wrapped.header_place == HeaderPlace::Record).then(|| header.to_bytes());
    Sample { name, content_type: wrapped.content_type, lb, value: wrapped.value, traceparent: None }
}

fn still(codec: Codec) -> Header {
    let of = Some(FrameRef { id: FrameId { epoch: Epoch(EPOCH.0 + 1), seq: Seq(77) } });
    let pixel_format = (codec == Codec::Raw).then_some(PixelFormat::I420);
    let plain = StreamParameters::new(codec, Dimensions::new(7, 5));
    let parameters = Some(Arc::new(StreamParameters { pixel_format, ..plain }));
    let stream = Some(StreamName::new("sub-2").unwrap());
    Header { is_keyframe: true, of, parameters, stream, ..header(5) }
}

fn natives() -> Vec<Sample> {
    let native = |name, header, codec| wrapped(name, Envelope::Native, header, codec);
    let mut unknown = native("native-unknown-fields", worst_delta(), Codec::H265);
    unknown.lb = unknown.lb.map(|lb| with_unknown_fields(&lb));
    vec![
        native("native-delta", worst_delta(), Codec::H264),
        native("native-keyframe", keyframe(), Codec::H264),
        native("native-first", header(0), Codec::Av1),
        native("native-jpeg", still(Codec::Jpeg), Codec::Jpeg),
        native("native-png", still(Codec::Png), Codec::Png),
        native("native-webp", still(Codec::Webp), Codec::Webp),
        native("native-jpeg2000", still(Codec::Jpeg2000), Codec::Jpeg2000),
        native("native-raw", still(Codec::Raw), Codec::Raw),
        unknown,
    ]
}

/// A varint field 1000 and a bytes field 1001, as a later minor version may add.
pub(crate) fn with_unknown_fields(message: &[u8]) -> Bytes {
    let mut bytes = message.to_vec();
    prost::encoding::uint64::encode(1000, &77, &mut bytes);
    prost::encoding::string::encode(1001, &"later".to_owned(), &mut bytes);
    bytes.into()
}

fn enveloped() -> Vec<Sample> {
    vec![
        wrapped("protobuf-keyframe", Envelope::Protobuf, keyframe(), Codec::H264),
        wrapped("protobuf-still", Envelope::Protobuf, still(Codec::Jpeg), Codec::Jpeg),
        wrapped("msgpack-keyframe", Envelope::Msgpack, keyframe(), Codec::H264),
        wrapped("msgpack-still", Envelope::Msgpack, still(Codec::Jpeg), Codec::Jpeg),
        wrapped("json-keyframe", Envelope::Json, keyframe(), Codec::H264),
        wrapped("json-still", Envelope::Json, still(Codec::Jpeg), Codec::Jpeg),
    ]
}

fn chunks(names: [&'static str; 3], envelope: Envelope) -> Vec<Sample> {
    let mut header = keyframe();
    let wrapped = envelope.wrap(&mut header, Codec::H264, &payload());
    let part_bytes = wrapped.value.len().div_ceil(names.len());
    let plan = ChunkPlan::new(wrapped.value, wrapped.content_type, part_bytes);
    let sample = |(name, (chunk, part)): (_, (_, Bytes))| Sample {
        name,
        content_type: content_type::CHUNK,
        lb: Some(header.for_chunk(chunk, &part).to_bytes()),
        value: part,
        traceparent: None,
    };
    names.into_iter().zip(plan).map(sample).collect()
}

fn batch() -> Sample {
    let mut writer = BatchWriter::new();
    let first = Header { is_keyframe: true, ..header(10) };
    let gap = Gap::new(Seq(12), Seq(13), GapReason::Expired);
    let third = Header { gaps: vec![gap], ..header(14) };
    for (mut header, payload) in
        [(first.clone(), Bytes::from_static(b"one")), (header(11), Bytes::new()), (third, Bytes::from_static(b"three"))]
    {
        writer.push(&mut header, Codec::H264, &payload).unwrap();
    }
    let (batch, value) = writer.finish().unwrap();
    let header = Header { batch: Some(batch), ..first };
    Sample { name: "batch", content_type: content_type::BATCH, lb: Some(header.to_bytes()), value, traceparent: None }
}

fn control(name: &'static str, control: Control, gaps: Vec<Gap>) -> Sample {
    let content_type = control.content_type();
    let header = Header { control: Some(control), gaps, ..header(42) };
    let lb = Some(header.to_bytes());
    Sample { name, content_type, lb, value: Bytes::new(), traceparent: None }
}

fn controls() -> Vec<Sample> {
    let offline = Control::Offline { since_unix_nanos: CAPTURE_NANOS, reason: "no answer from 192.0.2.7".to_owned() };
    let moved = Moved { epoch: Epoch(EPOCH.0 + (5 << 16)), partition: 11 };
    let range = SeqRange { first: Seq(30), last: Seq(41) };
    vec![
        control("gap", Control::Gap, gaps()),
        control("end", Control::End { last_seq: Some(Seq(41)) }, Vec::new()),
        control("end-empty", Control::End { last_seq: None }, Vec::new()),
        control("offline", offline, Vec::new()),
        control("repeat", Control::Repeat(range), Vec::new()),
        control("moved", Control::Moved(moved), Vec::new()),
    ]
}

fn sealed() -> Sample {
    let value = Bytes::from_static(b"these bytes mean nothing");
    let seal = Seal {
        algorithm: 1,
        key_id: Bytes::from_static(b"key-1"),
        nonce: Bytes::from_static(&[9; 12]),
        content_type: "image/jpeg".to_owned(),
    };
    let header = Header { seal: Some(seal), payload_crc32c: Some(crc32c::crc32c(&value)), ..header(3) };
    Sample { name: "sealed", content_type: content_type::SEALED, lb: Some(header.to_bytes()), value, traceparent: None }
}

fn future() -> Sample {
    let mut sample = wrapped("future-major", Envelope::Native, header(1), Codec::Jpeg);
    let mut lb = sample.lb.unwrap().to_vec();
    // The first field is the version.
    lb[1] = 2;
    sample.lb = Some(lb.into());
    sample
}

/// As `native-delta`, in a trace: only the record header `traceparent` is more.
fn traced() -> Sample {
    let trace = TraceContext {
        trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c_u128.to_be_bytes(),
        span_id: 0xb7ad_6b71_6920_3331_u64.to_be_bytes(),
        flags: 1,
    };
    Sample { traceparent: Some(trace), ..wrapped("native-traced", Envelope::Native, worst_delta(), Codec::H264) }
}

/// Every form.
pub(crate) fn all() -> Vec<Sample> {
    let mut all = natives();
    all.extend(enveloped());
    all.extend(chunks(["chunk-0", "chunk-1", "chunk-2"], Envelope::Native));
    let names = ["chunk-protobuf-0", "chunk-protobuf-1", "chunk-protobuf-2"];
    all.extend(chunks(names, Envelope::Protobuf));
    all.push(batch());
    all.extend(controls());
    all.push(sealed());
    all.push(future());
    all.push(traced());
    all
}

pub(crate) fn control_request() -> ControlRequest {
    ControlRequest {
        request_id: 0x0123_4567_89ab_cdef,
        kind: RequestKind::Keyframe,
        topic: TopicName::new("raw_video").unwrap(),
        stream: StreamName::new("sub-2").unwrap(),
        asked_unix_nanos: CAPTURE_NANOS,
        by: "viewer at Lübeck".to_owned(),
    }
}

pub(crate) fn fleet_beat() -> FleetBeat {
    FleetBeat {
        node: 0xfedc_ba98_7654_3210,
        sequence: 1_234,
        standing: FleetStanding::Member,
        revision: 0x0f1e_2d3c_4b5a_6978,
        started_unix_nanos: CAPTURE_NANOS,
        by: "box at Lübeck".to_owned(),
    }
}

pub(crate) fn directory() -> CameraEntry {
    let stream = |topic: &str, name: &str, partition| StreamEntry {
        topic: TopicName::new(topic).unwrap(),
        name: StreamName::new(name).unwrap(),
        partition,
        epoch: EPOCH,
        codec: Codec::Jpeg,
        state: StreamState::Live,
        last_seq: None,
        gaps: Vec::new(),
        next_offset: None,
        updated_unix_nanos: CAPTURE_NANOS,
        parameters: None,
        repeat: None,
        moved_from: None,
    };
    let video = StreamEntry {
        codec: Codec::H264,
        parameters: keyframe().parameters,
        moved_from: Some(3),
        ..stream("raw_video", "main", 7)
    };
    let stills = StreamEntry {
        state: StreamState::Ended,
        last_seq: Some(Seq(99)),
        gaps: gaps(),
        next_offset: Some(1 << 33),
        repeat: Some(SeqRange { first: Seq(50), last: Seq(60) }),
        ..stream("raw_images", "sub-2", 0)
    };
    CameraEntry {
        name: "Gate 7, north".to_owned(),
        group: "yard".to_owned(),
        labels: vec![("site".to_owned(), "Lübeck".to_owned())],
        streams: vec![video, stills],
        unread: Vec::new(),
    }
}

/// An index entry with every field.
pub(crate) fn index_entry() -> IndexEntry {
    IndexEntry {
        topic: TopicName::new("site-a.raw_video").unwrap(),
        stream: StreamName::new("sub").unwrap(),
        id: FrameId { epoch: EPOCH, seq: Seq(1_000_000) },
        capture_unix_nanos: CAPTURE_NANOS,
        partition: 47,
        offset: (1 << 33) + 12_345,
        bytes: 667_000,
        previous: Some(IndexPosition { partition: 47, offset: 90_000 }),
        section: IndexSection {
            first_capture_unix_nanos: CAPTURE_NANOS - 3_600_000_000_000,
            before: Some(IndexPosition { partition: 3, offset: 0 }),
            newest_before_unix_nanos: Some(CAPTURE_NANOS - 10),
        },
        is_thinned: true,
    }
}

/// The first entry of a chain.
pub(crate) fn first_index_entry() -> IndexEntry {
    IndexEntry {
        stream: StreamName::main(),
        partition: 0,
        offset: 0,
        previous: None,
        section: IndexSection { first_capture_unix_nanos: CAPTURE_NANOS, before: None, newest_before_unix_nanos: None },
        is_thinned: false,
        ..index_entry()
    }
}

/// An analysis result with every field.
pub(crate) fn analysis_result() -> AnalysisResult {
    let stream = StreamId {
        camera: "gate-7".parse().unwrap(),
        topic: TopicName::new("site-a.raw_video").unwrap(),
        name: StreamName::new("sub").unwrap(),
    };
    let id = FrameId { epoch: EPOCH, seq: Seq(1_000_000) };
    let capture = CaptureTime { unix_nanos: CAPTURE_NANOS, source: CaptureSource::Rtcp };
    let person = DetectedObject {
        class: "person".into(),
        score: 0.875,
        bounds: Bounds::new(640.5, 270.0, 96.0, 270.25),
        track_id: Some((1 << 53) + 1),
    };
    let motion = DetectedObject {
        class: "motion".into(),
        score: 1.0,
        bounds: Bounds::new(0.0, 0.0, 192.0, 108.0),
        track_id: None,
    };
    AnalysisResult {
        pts: Some(-90_000),
        size: Some(Dimensions::new(1920, 1080)),
        detections: vec![person, motion],
        stages: StageTimes {
            receive_micros: Some(81_000),
            wait_micros: Some(12),
            decode_micros: Some(4_300),
            detect_micros: Some(3_900),
            track_micros: Some(25),
        },
        ..AnalysisResult::new(stream, id, capture, Model::new("motion", "1"))
    }
}

/// The result of a frame that could not be analysed, on a camera's main stream.
pub(crate) fn failed_analysis_result() -> AnalysisResult {
    let stream = StreamId::main("gate-7".parse().unwrap(), TopicName::new("raw_images").unwrap());
    let error = Some("the picture cannot be decoded".to_owned());
    let (id, capture) = (FrameId { epoch: EPOCH, seq: Seq(0) }, CaptureTime::arrival(CAPTURE_NANOS));
    AnalysisResult { error, ..AnalysisResult::new(stream, id, capture, Model::new("motion", "1")) }
}

fn gate() -> StreamId {
    StreamId::main("gate-7".parse().unwrap(), TopicName::new("site-a.raw_video").unwrap())
}

/// A feature record with every field.
pub(crate) fn features() -> Features {
    let mut histogram = [0.0; 3 * HISTOGRAM_BINS];
    for colour in histogram.chunks_mut(HISTOGRAM_BINS) {
        (colour[3], colour[4], colour[15]) = (0.5, 0.25, 0.25);
    }
    Features {
        last_seq: Seq(89),
        group: "guards".to_owned(),
        frames: 30,
        looked_at: 29,
        picture: Some(PictureFeatures {
            motion: Some(0.125),
            brightness: 0.4375,
            sharpness: 0.3125,
            contrast: 0.1875,
            histogram,
            phash: 0x8f3c_0000_1234_abcd,
        }),
        counts: vec![("person".into(), 2), ("vehicle".into(), 1)],
        health: Health { state: HealthState::Dark, since_unix_nanos: CAPTURE_NANOS - 3_000_000_000 },
        window: Bytes::from_static(b"\x01what the next owner needs"),
        ..Features::new(gate(), EPOCH, Seq(60), CAPTURE_NANOS)
    }
}

/// The record of a second in which no picture was looked at.
pub(crate) fn blind_features() -> Features {
    Features { frames: 1, ..Features::new(gate(), EPOCH, Seq(0), CAPTURE_NANOS) }
}

pub(crate) fn health_event() -> CameraEvent {
    let kind =
        EventKind::Health { state: HealthState::Ok, previous: HealthState::Covered, lasted_millis: Some(12_000) };
    let id = FrameId { epoch: EPOCH, seq: Seq(90) };
    CameraEvent { group: "guards".to_owned(), ..CameraEvent::new(gate(), id, CAPTURE_NANOS, kind) }
}

pub(crate) fn presence_event() -> CameraEvent {
    let (class, phase) = ("person".into(), PresencePhase::Begin);
    let kind = EventKind::Presence { class, phase, count: 1, score: 0.875, lasted_millis: None };
    CameraEvent::new(gate(), FrameId { epoch: EPOCH, seq: Seq(60) }, CAPTURE_NANOS, kind)
}
