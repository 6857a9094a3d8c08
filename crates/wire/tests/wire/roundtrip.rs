//! What goes in comes out, in every form.

use bytes::Bytes;
use lumenbus_frame::{
    CaptureSource, CaptureTime, Codec, Deadline, Dimensions, Epoch, FrameId, FrameRate, Gap, GapReason, PixelFormat,
    Priority, Seq, SeqRange, StreamName, StreamParameters, Timebase, TopicName,
};
use lumenbus_wire::{
    Assembled, BatchWriter, CameraEntry, Chunk, ChunkAssembler, ChunkPlan, Control, Envelope, FrameRecord, FrameRef,
    Header, HeaderPlace, KeyframeHint, Moved, Opened, RawRecord, StreamEntry, StreamState, content_type, open_record,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::sync::Arc;

const CODECS: [Codec; 8] =
    [Codec::Jpeg, Codec::Png, Codec::Webp, Codec::Jpeg2000, Codec::H264, Codec::H265, Codec::Av1, Codec::Raw];
const ENVELOPES: [Envelope; 4] = [Envelope::Native, Envelope::Protobuf, Envelope::Msgpack, Envelope::Json];

fn stream_names() -> impl Strategy<Value = StreamName> {
    "[a-z0-9_-]{1,64}".prop_map(|name| StreamName::new(&name).unwrap())
}

fn captures() -> impl Strategy<Value = CaptureTime> {
    let sources = [CaptureSource::Arrival, CaptureSource::Rtcp, CaptureSource::Sensor];
    (any::<i64>(), select(sources.to_vec())).prop_map(|(unix_nanos, source)| CaptureTime { unix_nanos, source })
}

fn ranges() -> impl Strategy<Value = (Seq, Seq)> {
    (any::<u64>(), any::<u64>()).prop_map(|(a, b)| (Seq(a.min(b)), Seq(a.max(b))))
}

fn gaps() -> impl Strategy<Value = Gap> {
    let reasons = [
        GapReason::Overflow,
        GapReason::Expired,
        GapReason::DeliveryFailed,
        GapReason::Oversize,
        GapReason::Undecodable,
        GapReason::SourceDamaged,
        GapReason::SourceLost,
        GapReason::Stopped,
        GapReason::Other(4_711),
    ];
    let epochs = option::of(any::<u64>());
    (epochs, ranges(), any::<bool>(), select(reasons.to_vec()), any::<bool>()).prop_map(
        |(epoch, (first, last), is_known, reason, is_discardable)| Gap {
            epoch: epoch.map(Epoch),
            last: is_known.then_some(last),
            is_discardable,
            ..Gap::new(first, last, reason)
        },
    )
}

fn parameters() -> impl Strategy<Value = Arc<StreamParameters>> {
    let formats = [PixelFormat::Gray8, PixelFormat::Gray16Le, PixelFormat::Rgb8, PixelFormat::I420];
    let rates = (1_u32.., 1_u32..).prop_map(|(frames, seconds)| FrameRate { frames, seconds });
    (
        select(&CODECS[..]),
        any::<[u32; 3]>(),
        1_u32..,
        option::of(select(formats.to_vec())),
        option::of(rates),
        option::of("[a-z0-9.]{1,64}"),
    )
        .prop_map(|(codec, [width, height, numerator], denominator, format, rate, string)| {
            Arc::new(StreamParameters {
                codec,
                dimensions: Dimensions::new(width, height),
                pixel_format: format,
                timebase: Timebase { numerator, denominator },
                frame_rate: rate,
                codec_string: string,
            })
        })
}

/// A frame's header: no chunk, batch, seal or control.
fn headers() -> impl Strategy<Value = Header> {
    let identity = (any::<u64>(), any::<u64>(), option::of(stream_names()), captures());
    let flags = any::<[bool; 4]>();
    let hint = option::of((any::<u64>(), any::<u64>()));
    let numbers = (option::of(any::<i64>()), any::<[Option<u32>; 3]>());
    let of = option::of((any::<u64>(), any::<u64>()));
    let rest = (option::of(parameters()), vec(gaps(), 0..5), of);
    (identity, flags, hint, numbers, rest).prop_map(
        |((epoch, seq, stream, capture), flags, hint, (pts, micros), (parameters, gaps, of))| {
            let id = |(epoch, seq)| FrameId { epoch: Epoch(epoch), seq: Seq(seq) };
            let keyframe = |(before, offset)| KeyframeHint { seq: Seq(before % (seq.max(1))), offset };
            Header {
                stream,
                pts,
                is_keyframe: flags[0],
                is_discontinuity: flags[1],
                is_discardable: flags[2],
                priority: if flags[3] { Priority::High } else { Priority::Normal },
                deadline: micros[0].map(|after_capture_millis| Deadline { after_capture_millis }),
                submit_micros: micros[1],
                queue_micros: micros[2],
                keyframe: hint.map(keyframe),
                parameters,
                gaps,
                of: of.map(|of| FrameRef { id: id(of) }),
                ..Header::new(id((epoch, seq)), capture)
            }
        },
    )
}

fn payloads() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..600).prop_map(Bytes::from)
}

fn controls() -> impl Strategy<Value = Control> {
    prop_oneof![
        Just(Control::Gap),
        option::of(any::<u64>()).prop_map(|last| Control::End { last_seq: last.map(Seq) }),
        (any::<i64>(), ".{0,256}").prop_map(|(since_unix_nanos, reason)| Control::Offline { since_unix_nanos, reason }),
        ranges().prop_map(|(first, last)| Control::Repeat(SeqRange { first, last })),
        any::<(u64, u32)>().prop_map(|(epoch, partition)| { Control::Moved(Moved { epoch: Epoch(epoch), partition }) }),
    ]
}

fn stream_entries() -> impl Strategy<Value = StreamEntry> {
    let states = [StreamState::Live, StreamState::Offline, StreamState::Ended];
    let place = ("[a-z_.]{3,30}", stream_names(), any::<u32>(), any::<u64>());
    let kind = (select(&CODECS[..]), select(states.to_vec()), any::<i64>());
    let numbers = any::<(Option<u64>, Option<u64>, Option<u32>)>();
    let rest = (vec(gaps(), 0..3), option::of(parameters()), option::of(ranges()));
    (place, kind, numbers, rest).prop_map(|(place, kind, numbers, (gaps, parameters, repeat))| StreamEntry {
        topic: TopicName::new(&format!("t{}", place.0)).unwrap(),
        name: place.1,
        partition: place.2,
        epoch: Epoch(place.3),
        codec: kind.0,
        state: kind.1,
        last_seq: numbers.0.map(Seq),
        gaps,
        next_offset: numbers.1,
        updated_unix_nanos: kind.2,
        parameters,
        repeat: repeat.map(|(first, last)| SeqRange { first, last }),
        moved_from: numbers.2,
    })
}

fn open(content_type: &str, header: Option<Bytes>, value: Bytes) -> Opened {
    let content_type = Some(content_type.as_bytes());
    open_record(RawRecord { content_type, header, value: Some(value) }).unwrap()
}

/// Through chunks of `part_bytes` with their headers as bytes.
fn through_chunks(header: &Header, plan: ChunkPlan) -> FrameRecord {
    let mut assembler = ChunkAssembler::new(1 << 20);
    let parts = plan.parts();
    for (offset, (chunk, part)) in (7..).zip(plan) {
        let lb = header.for_chunk(chunk, &part).to_bytes();
        let Opened::Chunk { header, header_bytes, part } = open(content_type::CHUNK, Some(lb), part) else {
            panic!("not a chunk")
        };
        match assembler.push(header, header_bytes, offset, part) {
            Assembled::Pending => assert!(assembler.open().is_some()),
            Assembled::Complete { record, first_offset } => {
                assert_eq!((first_offset, offset + 1), (7, 7 + u64::from(parts)));
                assert_eq!(assembler.open(), None);
                return record;
            }
            other => panic!("{other:?}"),
        }
    }
    panic!("never whole");
}

proptest! {
    #[test]
    fn headers_as_protobuf_and_json(header in headers()) {
        prop_assert_eq!(&Header::decode(&header.to_bytes()).unwrap(), &header);
        prop_assert_eq!(&Header::from_json(&header.to_json()).unwrap(), &header);
    }

    #[test]
    fn frames_in_every_envelope(
        mut header in headers(),
        payload in payloads(),
        envelope in select(&ENVELOPES[..]),
        codec in select(&CODECS[..]),
    ) {
        let wrapped = envelope.wrap(&mut header, codec, &payload);
        let lb = (wrapped.header_place == HeaderPlace::Record).then(|| header.to_bytes());
        let value = wrapped.value.clone();
        let Opened::Frame(frame) = open(wrapped.content_type, lb, wrapped.value) else {
            panic!("not a frame")
        };
        prop_assert_eq!(&frame.header, &header);
        prop_assert_eq!(frame.codec, codec);
        prop_assert_eq!(&frame.payload, &payload);
        if envelope == Envelope::Protobuf || envelope == Envelope::Native {
            prop_assert_eq!(&frame.header_bytes, &header.to_bytes());
        }
        if envelope != Envelope::Json && !payload.is_empty() {
            prop_assert!(value.as_ptr_range().contains(&frame.payload.as_ptr()), "copied");
        }
    }

    #[test]
    fn frames_in_chunks(
        mut header in headers(),
        payload in payloads(),
        envelope in select(&ENVELOPES[..]),
        part_bytes in 1_usize..400,
    ) {
        let wrapped = envelope.wrap(&mut header, Codec::H265, &payload);
        let plan = ChunkPlan::new(wrapped.value.clone(), wrapped.content_type, part_bytes);
        prop_assert_eq!(plan.len(), wrapped.value.len().div_ceil(part_bytes).max(1));
        let frame = through_chunks(&header, plan);
        prop_assert_eq!(&frame.header, &header);
        prop_assert_eq!(&frame.payload, &payload);
    }

    #[test]
    fn later_chunks_carry_little(header in headers(), index in 1_u32..) {
        let chunk = Chunk { index, ..Chunk::default() };
        let small = header.for_chunk(chunk.clone(), b"part");
        prop_assert_eq!(small.id, header.id);
        prop_assert_eq!(&small.stream, &header.stream);
        prop_assert_eq!(small.chunk.as_ref(), Some(&chunk));
        let name_bytes = header.stream.map_or(0, |name| name.as_str().len());
        prop_assert!(small.to_bytes().len() <= 40 + name_bytes);
    }

    #[test]
    fn frames_in_batches(
        first in headers(),
        rest in vec((1_u64..1000, payloads()), 0..20),
    ) {
        let first = Header { keyframe: None, ..first };
        let mut writer = BatchWriter::new();
        let mut seq = first.id.seq.0 >> 1;
        let mut expected = Vec::new();
        let start = Header { id: FrameId { seq: Seq(seq), ..first.id }, ..first.clone() };
        let mut push = |mut header: Header, payload: Bytes| {
            writer.push(&mut header, Codec::H264, &payload).unwrap();
            expected.push((header, payload));
        };
        push(start.clone(), Bytes::from_static(b"first"));
        for (step, payload) in rest {
            seq += step;
            let id = FrameId { seq: Seq(seq), ..first.id };
            push(Header { id, is_keyframe: false, ..first.clone() }, payload);
        }
        let claimed_bytes = writer.value_bytes();
        let (batch, value) = writer.finish().unwrap();
        prop_assert_eq!(claimed_bytes, value.len());
        let header = Header { batch: Some(batch), ..start };
        let Opened::Batch { items, .. } =
            open(content_type::BATCH, Some(header.to_bytes()), value)
        else {
            panic!("not a batch")
        };
        let found: Vec<_> = items.into_iter().map(|item| (item.header, item.payload)).collect();
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn control_records(header in headers(), control in controls()) {
        let header = Header { control: Some(control.clone()), ..header };
        let lb = Some(header.to_bytes());
        let Opened::Control(record) = open(control.content_type(), lb, Bytes::new()) else {
            panic!("not a control record")
        };
        prop_assert_eq!(record.header, header);
        prop_assert_eq!(record.control, control);
    }

    #[test]
    fn directory_entries(
        name in ".{0,40}",
        labels in vec((".{0,10}", ".{0,20}"), 0..5),
        streams in vec(stream_entries(), 0..6),
    ) {
        let mut entry = CameraEntry { name, labels, ..CameraEntry::default() };
        for stream in streams {
            let newer = CameraEntry { streams: vec![stream], ..entry.clone() };
            entry.merge(newer);
        }
        prop_assert_eq!(CameraEntry::decode(&entry.encode().unwrap()).unwrap(), entry);
    }
}
