//! Bytes that nobody here wrote: never a panic, never more memory than the input deserves.

use crate::samples::{self, Sample, header};
use allocation_counter::measure;
use bytes::Bytes;
use lumenbus_frame::{Codec, Gap, GapReason, Seq, SeqRange};
use lumenbus_wire::{
    Batch, BatchWriter, CameraEntry, Chunk, Control, ControlRequest, FleetBeat, Header, MAX_BATCH_FRAMES, MAX_GAPS,
    Opened, RawRecord, WireError, content_type, open_record, proto,
};
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;

const CONTENT_TYPES: [&str; 16] = [
    "image/jpeg",
    "video/h264",
    "video/raw",
    content_type::CHUNK,
    content_type::BATCH,
    content_type::SEALED,
    content_type::GAP,
    content_type::END,
    content_type::OFFLINE,
    content_type::REPEAT,
    content_type::MOVED,
    content_type::ENVELOPE_PROTOBUF,
    content_type::ENVELOPE_MSGPACK,
    content_type::ENVELOPE_JSON,
    "application/vnd.lumenbus.later",
    "text/plain",
];

/// Opens a record and checks what it cost: an input of `n` bytes may take `64 n + 8 KiB`. The factor
/// is what the densest valid header takes (3 bytes of an empty gap become 40, while the list doubles).
fn open_bounded(sample: &Sample) -> Result<Opened, WireError> {
    let bytes = sample.value.len() + sample.lb.as_ref().map_or(0, Bytes::len);
    let mut opened = None;
    let counted = measure(|| opened = Some(sample.open()));
    let limit = 64 * bytes as u64 + 8192;
    assert!(counted.bytes_max <= limit, "{}: {bytes} bytes took {counted:?}", sample.name);
    opened.unwrap()
}

fn sample(content_type: &'static str, lb: Option<Bytes>, value: impl Into<Bytes>) -> Sample {
    Sample { name: "hostile", content_type, lb, value: value.into(), traceparent: None }
}

#[track_caller]
fn check(content_type: &'static str, lb: Option<&Header>, value: &[u8], expected: &str) {
    let lb = lb.map(Header::to_bytes);
    let error = open_bounded(&sample(content_type, lb, Bytes::copy_from_slice(value))).unwrap_err();
    let mut message = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        message += &format!(": {next}");
        cause = next.source();
    }
    assert!(message.contains(expected), "{message}");
    assert!(message.len() < 400, "{message}");
}

#[test]
fn every_truncation_is_survived() {
    for whole in samples::all() {
        for cut in 0..whole.value.len() {
            let value = whole.value.slice(..cut);
            let opened = open_bounded(&Sample { value, ..whole.clone() });
            assert!(opened.is_err(), "{} cut to {cut} bytes opened", whole.name);
        }
        let lb = whole.lb.clone().unwrap_or_default();
        for cut in 0..lb.len() {
            let _ = open_bounded(&Sample { lb: Some(lb.slice(..cut)), ..whole.clone() });
        }
    }
}

fn flipped(bytes: &Bytes, bit: usize) -> Bytes {
    let mut changed = bytes.to_vec();
    changed[bit / 8] ^= 1 << (bit % 8);
    changed.into()
}

#[test]
fn every_bit_flip_is_survived_and_none_changes_a_payload() {
    for whole in samples::all() {
        let payload = match whole.open() {
            Ok(Opened::Frame(frame)) => Some(frame.payload),
            _ => None,
        };
        for bit in 0..whole.value.len() * 8 {
            let value = flipped(&whole.value, bit);
            match open_bounded(&Sample { value, ..whole.clone() }) {
                // A flip may only take the checksum's own field away.
                Ok(Opened::Frame(frame)) if frame.header.payload_crc32c.is_some() => {
                    assert_eq!(Some(&frame.payload), payload.as_ref(), "{} {bit}", whole.name);
                }
                Ok(Opened::Chunk { .. }) => panic!("{}: bit {bit} went unseen", whole.name),
                _ => {}
            }
        }
        let lb = whole.lb.clone().unwrap_or_default();
        for bit in 0..lb.len() * 8 {
            let _ = open_bounded(&Sample { lb: Some(flipped(&lb, bit)), ..whole.clone() });
        }
    }
}

#[test]
fn somebody_elses_records() {
    let foreign = |content_type: Option<&[u8]>, expected: &str| {
        let value = Some(Bytes::from_static(b"hello"));
        let error = open_record(RawRecord { content_type, header: None, value }).unwrap_err();
        assert!(matches!(error, WireError::Foreign { .. }), "{error}");
        assert!(error.to_string().contains(expected), "{error}");
    };
    foreign(None, "content-type");
    foreign(Some(b"\xff\xfe"), "content-type");
    foreign(Some(b"text/plain"), "content-type");
    foreign(Some(b"image/jpeg"), "`lb`");
    foreign(Some(content_type::CHUNK.as_bytes()), "`lb`");
    foreign(Some(content_type::END.as_bytes()), "`lb`");
}

#[test]
fn a_content_type_of_the_future_is_named() {
    check("video/h266", Some(&header(1)), b"", "\"video/h266\" is not known here");
    check("application/vnd.lumenbus.later", None, b"", "lumenbus.later\" is not known here");
}

#[test]
fn null_values_are_errors() {
    for content_type in CONTENT_TYPES {
        let opened = open_record(RawRecord {
            content_type: Some(content_type.as_bytes()),
            header: Some(header(1).to_bytes()),
            value: None,
        });
        let message = opened.unwrap_err().to_string();
        assert!(message.contains("value is null"), "{content_type}: {message}");
    }
}

#[test]
fn header_and_content_type_must_agree() {
    let chunk = Some(Chunk { index: 1, ..Chunk::default() });
    let with_chunk = Header { chunk: chunk.clone(), ..header(1) };
    let end = Some(Control::End { last_seq: None });
    let with_end = Header { control: end.clone(), ..header(1) };
    check("image/jpeg", Some(&with_chunk), b"", "chunk is present");
    check("image/jpeg", Some(&with_end), b"", "end, offline, repeat or moved is present");
    check(content_type::CHUNK, Some(&header(1)), b"", "chunk is absent");
    check(content_type::CHUNK, Some(&Header { control: end, ..with_chunk }), b"", "never chunked");
    check(content_type::BATCH, Some(&header(1)), b"", "batch is absent");
    check(content_type::END, Some(&header(1)), b"", "content-type is");
    check(content_type::GAP, Some(&with_end), b"", "content-type is");
    check(content_type::MOVED, Some(&with_end), b"", "content-type is");
    check(content_type::END, Some(&with_end), b"x", "empty in a control record");
    check(content_type::END, Some(&Header { chunk, ..with_end }), b"", "absent in a control");
    check(content_type::SEALED, Some(&header(1)), b"", "seal is absent");
}

#[test]
fn checksums_are_checked() {
    let wrong = Header { payload_crc32c: Some(1), ..header(1) };
    check("image/jpeg", Some(&wrong), b"x", "a frame: CRC-32C is");
    let chunk = Some(Chunk { index: 1, ..Chunk::default() });
    check(content_type::CHUNK, Some(&Header { chunk, ..wrong }), b"x", "a chunk: CRC-32C is");
}

/// A header message with one thing changed.
fn message(change: impl FnOnce(&mut proto::FrameHeader)) -> Bytes {
    let mut message = proto::FrameHeader::decode(header(5).to_bytes()).unwrap();
    change(&mut message);
    message.encode_to_vec().into()
}

#[track_caller]
fn check_header(change: impl FnOnce(&mut proto::FrameHeader), expected: &str) {
    let bytes = message(change);
    let error = open_bounded(&sample("image/jpeg", Some(bytes), Bytes::new())).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
}

#[test]
fn hostile_header_fields() {
    let gap = proto::Gap { first: 9, last: Some(3), ..proto::Gap::default() };
    check_header(|header| header.gaps.push(gap), "last must not be below first");
    check_header(|header| header.gaps = vec![proto::Gap::default(); MAX_GAPS + 1], "at most 1024");
    check_header(|header| header.stream = "a/b".to_owned(), "stream is");
    check_header(|header| header.stream = "x".repeat(60_000), "stream is");
    check_header(|header| header.stream = "x".repeat(70_000), "the limit is 65536");
    check_header(|header| header.version = 0, "wire version 0");
    let parameters = |change: fn(&mut proto::StreamParameters)| {
        let mut parameters = proto::StreamParameters { codec: 1, timebase_denominator: 1, ..Default::default() };
        change(&mut parameters);
        move |header: &mut proto::FrameHeader| header.parameters = Some(parameters)
    };
    check_header(parameters(|it| it.timebase_denominator = 0), "must not be 0");
    check_header(parameters(|it| it.codec = 99), "codec is 99");
    let far = |header: &mut proto::FrameHeader| {
        header.keyframe_distance = Some(6);
        header.keyframe_offset = Some(1);
    };
    check_header(far, "at most the seq");
    let seal = proto::Seal { key_id: vec![0; 300].into(), ..proto::Seal::default() };
    check_header(|header| header.seal = Some(seal), "the limit is 256");
    let backwards = proto::SeqRange { first: 2, last: 1 };
    check_header(|header| header.repeat = Some(backwards), "last must not be below first");
    let two = |header: &mut proto::FrameHeader| {
        header.end = Some(proto::End::default());
        header.moved = Some(proto::Moved::default());
    };
    check_header(two, "at most one");
}

#[test]
fn values_of_the_future_do_not_hurt() {
    let bytes = message(|header| {
        header.capture_source = 77;
        header.priority = -1;
        header.gaps.push(proto::Gap { reason: 4_711, ..proto::Gap::default() });
        header.keyframe_offset = Some(1);
    });
    let Opened::Frame(frame) = sample("image/jpeg", Some(bytes), Bytes::new()).open().unwrap() else {
        panic!("not a frame")
    };
    assert_eq!(frame.header.gaps[0].reason, GapReason::Other(4_711));
    assert_eq!(frame.header.keyframe, None);
    assert_eq!(Header::from_json(&frame.header.to_json()).unwrap(), frame.header);
}

#[test]
fn hostile_protobuf_envelopes() {
    let of = |bytes: &[u8], expected| check(content_type::ENVELOPE_PROTOBUF, None, bytes, expected);
    of(b"", "header is absent");
    of(b"\x0a\x02\x08\x01", "content_type is absent");
    of(b"\x0a\x02\x08\x01\x12\x01\xff", "content_type is absent");
    of(b"\x0a\x02\x08\x01\x12\x01x", "\"x\" is not known here");
    of(b"\x0a\x02\x08\x01\x0a\x02\x08\x01", "field 1 twice");
    of(b"\x08\x01", "field 1 twice or not as bytes");
    of(b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", "cannot be decoded");
    of(b"\x0b\x0b\x0b\x0b", "cannot be decoded");
    of(&[0x0b; 100_000], "cannot be decoded");
}

#[test]
fn hostile_msgpack_envelopes() {
    let of = |bytes: &[u8], expected| check(content_type::ENVELOPE_MSGPACK, None, bytes, expected);
    of(b"", "msgpack envelope cannot be decoded");
    of(b"\x93\x01\x02\x03", "msgpack envelope cannot be decoded");
    // {"header": {"gaps": [… 4 billion]}}
    of(b"\x81\xa6header\x81\xa4gaps\xdd\xff\xff\xff\xff", "cannot be decoded");
    let many = [&b"\x81\xa6header\x81\xa4gaps\xdd\xff\xff\xff\xff"[..], &[0x80; 9_000]].concat();
    of(&many, "at most 1024 gaps");
    // {"payload": 4 GiB of bytes}, a map of 4 billion, nesting.
    of(b"\x81\xa7payload\xc6\xff\xff\xff\xff", "cannot be decoded");
    of(b"\xdf\xff\xff\xff\xff", "cannot be decoded");
    of(&[b"\x81\xa1x".to_vec(), vec![0x91; 100_000]].concat(), "cannot be decoded");
}

#[test]
fn hostile_json_envelopes() {
    let of = |text: &str, expected| {
        check(content_type::ENVELOPE_JSON, None, text.as_bytes(), expected);
    };
    of("", "json envelope cannot be decoded");
    of("[]", "json envelope cannot be decoded");
    of(r#"{"header":{"version":1},"content_type":"image/jpeg"}"#, "missing field `payload`");
    of(r#"{"header":{"version":1},"content_type":"","payload":""}"#, "content_type is absent");
    of(r#"{"header":{"version":1},"content_type":"x","payload":""}"#, "not known here");
    of(r#"{"header":{"version":1},"content_type":"image/png","payload":"*"}"#, "not Base64");
    of(r#"{"header":{"seq":"-1"}}"#, "64-bit integer");
    of(r#"{"header":{"seq":1e300}}"#, "64-bit integer");
    of(r#"{"header":{"seq":"99999999999999999999"}}"#, "64-bit integer");
    of(&format!(r#"{{"x":{}"#, "[".repeat(100_000)), "cannot be decoded");
    let gaps = vec![r#"{"first":"1"}"#; MAX_GAPS + 1].join(",");
    of(&format!(r#"{{"header":{{"gaps":[{gaps}]}}}}"#), "at most 1024 gaps");
}

#[test]
fn json_and_msgpack_read_what_others_may_write() {
    // Numbers where strings are usual, Base64 without padding, fields nobody knows.
    let text = br#"{"later":[{}],"payload":"QQ","content_type":"image\/jpeg",
        "header":{"version":1,"seq":7,"epoch":"9","capture_source":"CAPTURE_SOURCE_LATER","x":1}}"#;
    let Opened::Frame(frame) = sample(content_type::ENVELOPE_JSON, None, &text[..]).open().unwrap() else {
        panic!("not a frame")
    };
    assert_eq!((frame.header.id.seq, frame.header.id.epoch.0), (Seq(7), 9));
    assert_eq!((frame.codec, &frame.payload[..]), (Codec::Jpeg, &b"A"[..]));
    let bytes = b"\x83\xa6header\x82\xa7version\x01\xa3seq\xa17\xaccontent_type\xaaimage/jpeg\xa7payload\xc4\x01A";
    let Opened::Frame(frame) = sample(content_type::ENVELOPE_MSGPACK, None, &bytes[..]).open().unwrap() else {
        panic!("not a frame")
    };
    assert_eq!((frame.header.id.seq, &frame.payload[..]), (Seq(7), &b"A"[..]));
}

/// A batch value out of headers and the payload lengths they claim.
fn batch_value(items: &[(Header, u64)], payloads: &[u8]) -> Vec<u8> {
    let mut value = vec![1];
    prost::encoding::encode_varint(items.len() as u64, &mut value);
    for (header, bytes) in items {
        let header = header.to_bytes();
        prost::encoding::encode_varint(header.len() as u64, &mut value);
        value.extend_from_slice(&header);
        prost::encoding::encode_varint(*bytes, &mut value);
    }
    [&value, payloads].concat()
}

#[track_caller]
fn check_batch(value: &[u8], count: u32, last_seq: u64, expected: &str) {
    let content_type = "video/h264".to_owned();
    let batch = Batch { count, last_seq: Seq(last_seq), content_type };
    let header = Header { batch: Some(batch), ..header(1) };
    check(content_type::BATCH, Some(&header), value, expected);
}

#[test]
fn hostile_batches() {
    let good = [(header(1), 2), (header(3), 1)];
    let value = batch_value(&good, b"abc");
    check_batch(&value, 3, 3, "its count is not");
    check_batch(&value, 2, 4, "last_seq");
    check_batch(&batch_value(&good, b"abcd"), 2, 3, "do not add up");
    check_batch(&batch_value(&[], b""), 0, 3, "1 to 1024");
    check_batch(b"", 2, 3, "cut short");
    check_batch(b"\x02\x01", 2, 3, "version 2 is not known here");
    check_batch(b"\x01\xff\xff\xff\xff\x0f", u32::MAX, 3, "1 to 1024");
    check_batch(b"\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 2, 3, "longer than 64 KiB");
    check_batch(b"\x01\x02\xff\xff\x03", 2, 3, "cut short");
    check_batch(b"\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 2, 3, "no number");
    let two = |first: Header, second: Header, expected: &str| {
        check_batch(&batch_value(&[(first, 0), (second, 0)], b""), 2, 3, expected);
    };
    two(header(1), header(1), "do not rise");
    two(header(2), header(3), "first frame is not the header's");
    two(header(1), Header { is_keyframe: true, ..header(3) }, "keyframe");
    let mut other_epoch = header(3);
    other_epoch.id.epoch.0 += 1;
    two(header(1), other_epoch, "several streams or epochs");
    let other_stream = Header { stream: Some("sub".parse().unwrap()), ..header(3) };
    two(header(1), other_stream, "several streams or epochs");
    let nested = Header { control: Some(Control::End { last_seq: None }), ..header(3) };
    two(header(1), nested, "is present");
    let wrong = Header { payload_crc32c: Some(1), ..header(3) };
    two(header(1), wrong, "a frame of a batch: CRC-32C is");
    for bytes in [u64::MAX, 1 << 62] {
        check_batch(&batch_value(&[(header(1), bytes), (header(3), bytes)], b""), 2, 3, "add up");
    }
}

#[test]
fn the_batch_writer_refuses_what_a_reader_would() {
    let payload = Bytes::from_static(b"p");
    let mut writer = BatchWriter::new();
    let mut push = |mut header: Header, codec| writer.push(&mut header, codec, &payload);
    push(Header { is_keyframe: true, ..header(1) }, Codec::H264).unwrap();
    for (refused, codec) in [
        (header(1), Codec::H264),
        (Header { is_keyframe: true, ..header(2) }, Codec::H264),
        (header(2), Codec::H265),
        (Header { stream: Some("sub".parse().unwrap()), ..header(2) }, Codec::H264),
    ] {
        assert!(matches!(push(refused, codec), Err(WireError::Batch { .. })));
    }
    for seq in 2..=MAX_BATCH_FRAMES as u64 {
        push(header(seq), Codec::H264).unwrap();
    }
    assert!(push(header(5_000), Codec::H264).unwrap_err().to_string().contains("full"));
    let (batch, value) = writer.finish().unwrap();
    assert_eq!((batch.count as usize, batch.last_seq), (MAX_BATCH_FRAMES, Seq(1024)));
    let header = Header { batch: Some(batch), ..header(1) };
    let opened = sample(content_type::BATCH, Some(header.to_bytes()), value).open().unwrap();
    assert!(matches!(opened, Opened::Batch { items, .. } if items.len() == MAX_BATCH_FRAMES));
    assert!(BatchWriter::new().finish().is_none());
}

fn decode_entry(value: &[u8]) -> Result<CameraEntry, WireError> {
    let mut entry = None;
    let counted = measure(|| entry = Some(CameraEntry::decode(value)));
    let limit = 64 * value.len() as u64 + 64 * 1024;
    assert!(counted.bytes_max <= limit, "{} bytes took {counted:?}", value.len());
    entry.unwrap()
}

#[test]
fn hostile_directory_entries() {
    let check = |value: &[u8], expected: &str| {
        let message = decode_entry(value).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    check(b"", "wire version 0");
    check(&[8, 1, 0xff], "cannot be decoded");
    check(&[&[8, 1][..], &[0x2a, 0].repeat(100_000)].concat(), "streams is 65");
    check(&[&[8, 1][..], &[0x22, 0].repeat(100_000)].concat(), "labels is 65");
    check(&vec![0; 300_000], "the limit is 262144");
    let whole = samples::directory().encode().unwrap();
    for cut in 0..whole.len() {
        let _ = decode_entry(&whole[..cut]);
    }
    for bit in 0..whole.len() * 8 {
        let _ = decode_entry(&flipped(&whole, bit));
    }
}

#[test]
fn hostile_control_requests() {
    let check = |value: &[u8], expected: &str| {
        let message = ControlRequest::decode(value).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    check(b"", "wire version 0");
    check(&[8, 9], "wire version 9");
    check(&[8, 1, 0xff], "cannot be decoded");
    check(&[8, 1], "kind is 0");
    check(&[8, 1, 24, 77], "kind is 77");
    check(&[8, 1, 24, 1], "topic");
    check(&[8, 1, 24, 1, 34, 1, b'a', 42, 1, b'/'], "stream");
    check(&[0; 1_025], "the limit is 1024");
    let long = ControlRequest { by: "ü".repeat(1_000), ..samples::control_request() };
    assert_eq!(ControlRequest::decode(&long.encode()).unwrap().by, "ü".repeat(64), "cut between characters");
    let whole = samples::control_request().encode();
    for cut in 0..whole.len() {
        let _ = ControlRequest::decode(&whole[..cut]);
    }
    for bit in 0..whole.len() * 8 {
        if let Ok(request) = ControlRequest::decode(&flipped(&whole, bit)) {
            assert_eq!(ControlRequest::decode(&request.encode()).unwrap(), request, "bit {bit}");
        }
    }
}

#[test]
fn hostile_beats() {
    let check = |value: &[u8], expected: &str| {
        let message = FleetBeat::decode(value).unwrap_err().to_string();
        assert!(message.contains(expected), "{message}");
    };
    check(b"", "wire version 0");
    check(&[8, 9], "wire version 9");
    check(&[8, 1, 0xff], "cannot be decoded");
    check(&[8, 1, 24, 3], "standing is 0");
    check(&[8, 1, 24, 3, 66, 2, 24, 9], "standing is 9");
    check(&[8, 1, 24, 3, 66, 2, 24, 2], "sequence is 0");
    check(&[0; 1_025], "the limit is 1024");
    let long = FleetBeat { by: "ü".repeat(1_000), ..samples::fleet_beat() };
    assert_eq!(FleetBeat::decode(&long.encode()).unwrap().unwrap().by, "ü".repeat(64), "cut between characters");
    // A beat is no request, whatever else it holds, and a request is no beat.
    let beat = samples::fleet_beat().encode();
    let message = ControlRequest::decode(&beat).unwrap_err().to_string();
    assert!(message.contains("kind is 3"), "{message}");
    assert_eq!(FleetBeat::decode(&samples::control_request().encode()).unwrap(), None);
    for cut in 0..beat.len() {
        let _ = FleetBeat::decode(&beat[..cut]);
    }
    for bit in 0..beat.len() * 8 {
        if let Ok(Some(decoded)) = FleetBeat::decode(&flipped(&beat, bit)) {
            assert_eq!(FleetBeat::decode(&decoded.encode()).unwrap(), Some(decoded), "bit {bit}");
        }
    }
}

#[test]
fn an_entry_beyond_the_limits_is_not_written() {
    let labels = vec![(String::new(), String::new()); 65];
    let entry = CameraEntry { labels, ..CameraEntry::default() };
    assert!(entry.encode().unwrap_err().to_string().contains("labels is 65"));
    let entry = CameraEntry { name: "x".repeat(300_000), ..CameraEntry::default() };
    assert!(entry.encode().unwrap_err().to_string().contains("the limit is 262144"));
}

/// `samples::directory` with the second stream's codec one that nobody here knows.
fn with_an_unreadable_stream(epoch: u64) -> Bytes {
    let value = samples::directory().encode().unwrap();
    let mut message = proto::CameraEntry::decode(value).unwrap();
    message.streams[1].codec = 99;
    message.streams[1].epoch = epoch;
    message.encode_to_vec().into()
}

#[test]
fn a_stream_that_cannot_be_read_leaves_the_others_and_is_kept() {
    let epoch = samples::EPOCH.0 + 1;
    let value = with_an_unreadable_stream(epoch);
    let entry = decode_entry(&value).unwrap();
    assert_eq!(entry.streams, samples::directory().streams[..1]);
    assert_eq!(entry.unread.len(), 1);
    assert_eq!(entry.encode().unwrap(), value);

    // It is a later epoch of the readable one, and an earlier one of the next.
    let mut merged = samples::directory();
    merged.merge(entry.clone());
    assert_eq!(merged, entry);
    merged.merge(samples::directory());
    assert_eq!(merged, entry);
    let mut newer = samples::directory();
    newer.streams[1].epoch.0 = epoch + 1;
    merged.merge(newer.clone());
    assert_eq!(merged, newer);
    merged.merge(entry);
    assert_eq!(merged, newer);
}

#[test]
fn the_highest_epoch_wins_and_the_newer_names() {
    let mut older = samples::directory();
    older.streams[0].epoch.0 -= 1;
    older.streams.pop();
    older.name = "renamed".to_owned();
    let mut merged = samples::directory();
    merged.merge(older);
    assert_eq!(merged.streams, samples::directory().streams);
    assert_eq!(merged.name, "renamed");

    let mut equal = samples::directory();
    equal.streams[0].last_seq = Some(Seq(3));
    merged.merge(equal.clone());
    assert_eq!(merged, equal);
}

#[test]
fn merging_keeps_to_the_stream_limit() {
    let mut merged = CameraEntry::default();
    for number in 0..200_u64 {
        let mut entry = samples::directory();
        entry.streams.truncate(1);
        entry.streams[0].name = format!("s{number}").parse().unwrap();
        entry.streams[0].epoch.0 += number;
        merged.merge(entry);
    }
    assert_eq!(merged.streams.len(), 64);
    assert!(merged.streams.iter().any(|stream| stream.name.as_str() == "s199"));
    assert!(merged.encode().is_ok());
}

#[test]
fn the_densest_gaps_stay_bounded() {
    let range = SeqRange { first: Seq(0), last: Seq(0) };
    let gap = Gap::new(range.first, range.last, GapReason::Other(0));
    let whole = Header { gaps: vec![gap; MAX_GAPS], ..header(1) };
    let lb = Some(whole.to_bytes());
    let opened = open_bounded(&sample("image/jpeg", lb, Bytes::new())).unwrap();
    assert!(matches!(opened, Opened::Frame(frame) if frame.header == whole));
    // Far more than allowed, each of no bytes.
    let many = [&whole.to_bytes()[..], &[0xa2, 0x01, 0].repeat(15_000)].concat();
    assert!(open_bounded(&sample("image/jpeg", Some(many.into()), Bytes::new())).is_err());
}

proptest! {
    #[test]
    fn noise_is_survived(
        content_type in select(&CONTENT_TYPES[..]),
        lb in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..200)),
        value in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let _ = open_bounded(&sample(content_type, lb.map(Bytes::from), value.clone()));
        let _ = decode_entry(&value);
    }

    #[test]
    fn noise_after_a_good_header_is_survived(
        content_type in select(&CONTENT_TYPES[..]),
        which in any::<proptest::sample::Index>(),
        noise in proptest::collection::vec(any::<u8>(), 0..100),
        value in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let all = samples::all();
        let lb = all[which.index(all.len())].lb.clone().unwrap_or_default();
        let lb = [&lb[..], &noise].concat();
        let _ = open_bounded(&sample(content_type, Some(lb.into()), value));
    }
}

#[test]
fn debug_shows_little_of_a_payload() {
    let payload = Bytes::from(vec![7; 100_000]);
    let mut of = header(1);
    let wrapped = lumenbus_wire::Envelope::Native.wrap(&mut of, Codec::Jpeg, &payload);
    let record = sample(wrapped.content_type, Some(of.to_bytes()), payload.clone());
    let mut writer = BatchWriter::new();
    writer.push(&mut of, Codec::H264, &payload).unwrap();
    let chunk = Some(Chunk { index: 1, ..Chunk::default() });
    let chunk = Header { chunk, payload_crc32c: None, ..header(1) };
    let chunk = sample(content_type::CHUNK, Some(chunk.to_bytes()), payload.clone());
    let texts = [
        format!("{wrapped:?}"),
        format!("{:?}", record.record()),
        format!("{:?}", record.open().unwrap()),
        format!("{:?}", chunk.open().unwrap()),
        format!("{writer:?}"),
        format!("{:?}", lumenbus_wire::ChunkPlan::new(payload.clone(), "image/jpeg", 10)),
    ];
    for text in texts {
        assert!(text.len() < 2000, "{} characters", text.len());
    }
    let (batch, value) = writer.finish().unwrap();
    let lb = Header { batch: Some(batch), ..header(1) }.to_bytes();
    let opened = sample(content_type::BATCH, Some(lb), value).open().unwrap();
    assert!(format!("{opened:?}").len() < 3000);
}
