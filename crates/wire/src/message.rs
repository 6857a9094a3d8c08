//! The parts of a header as Protobuf messages, and back, checked.

use crate::header::{Batch, Chunk, Control, KeyframeHint, MAX_GAPS, Moved, Seal};
use crate::{WireError, proto};
use lumenbus_frame::{
    CaptureSource, Codec, Dimensions, Epoch, FrameRate, Gap, GapReason, PixelFormat, Seq, SeqRange, StreamName,
    StreamParameters, Timebase, TopicName,
};

/// Longest seal field (key id, nonce) accepted.
const MAX_SEAL_BYTES: usize = 256;

pub(crate) fn check_gap_count(gaps: usize) -> Result<(), WireError> {
    if gaps > MAX_GAPS {
        let found = gaps.to_string();
        return Err(WireError::Field { field: "gaps", found, expected: "at most 1024 are accepted" });
    }
    Ok(())
}

pub(crate) type ControlParts =
    (Option<proto::End>, Option<proto::Offline>, Option<proto::SeqRange>, Option<proto::Moved>);

pub(crate) fn control_to_proto(control: Option<&Control>) -> ControlParts {
    match control {
        None | Some(Control::Gap) => (None, None, None, None),
        Some(Control::End { last_seq }) => (Some(proto::End { last_seq: last_seq.map(|seq| seq.0) }), None, None, None),
        Some(Control::Offline { since_unix_nanos, reason }) => {
            let offline = proto::Offline { since_unix_nanos: *since_unix_nanos, reason: reason.clone() };
            (None, Some(offline), None, None)
        }
        Some(Control::Repeat(range)) => (None, None, Some(range_to_proto(*range)), None),
        Some(Control::Moved(moved)) => {
            (None, None, None, Some(proto::Moved { epoch: moved.epoch.0, partition: moved.partition }))
        }
    }
}

pub(crate) fn control_from_proto(message: &proto::FrameHeader) -> Result<Option<Control>, WireError> {
    let present = [message.end.is_some(), message.offline.is_some(), message.repeat.is_some(), message.moved.is_some()];
    if present.into_iter().filter(|is_set| *is_set).count() > 1 {
        return Err(WireError::Field {
            field: "end, offline, repeat, moved",
            found: "several".to_owned(),
            expected: "at most one of them in a header",
        });
    }
    if let Some(end) = &message.end {
        return Ok(Some(Control::End { last_seq: end.last_seq.map(Seq) }));
    }
    if let Some(offline) = &message.offline {
        let reason = offline.reason.chars().take(256).collect();
        return Ok(Some(Control::Offline { since_unix_nanos: offline.since_unix_nanos, reason }));
    }
    if let Some(range) = &message.repeat {
        return Ok(Some(Control::Repeat(range_from_proto(range, "repeat")?)));
    }
    let moved = message.moved.as_ref();
    Ok(moved.map(|moved| Control::Moved(Moved { epoch: Epoch(moved.epoch), partition: moved.partition })))
}

pub(crate) fn range_to_proto(range: SeqRange) -> proto::SeqRange {
    proto::SeqRange { first: range.first.0, last: range.last.0 }
}

pub(crate) fn range_from_proto(range: &proto::SeqRange, field: &'static str) -> Result<SeqRange, WireError> {
    if range.last < range.first {
        let found = format!("{}..={}", range.first, range.last);
        return Err(WireError::Field { field, found, expected: "last must not be below first" });
    }
    Ok(SeqRange { first: Seq(range.first), last: Seq(range.last) })
}

pub(crate) fn source_to_proto(source: CaptureSource) -> proto::CaptureSource {
    match source {
        CaptureSource::Arrival => proto::CaptureSource::Arrival,
        CaptureSource::Sensor => proto::CaptureSource::Sensor,
        CaptureSource::Rtcp => proto::CaptureSource::Rtcp,
    }
}

pub(crate) fn source_from_proto(number: i32) -> CaptureSource {
    match proto::CaptureSource::try_from(number) {
        Ok(proto::CaptureSource::Sensor) => CaptureSource::Sensor,
        Ok(proto::CaptureSource::Rtcp) => CaptureSource::Rtcp,
        // A source that a newer version knows is trusted no more than arrival.
        Ok(proto::CaptureSource::Arrival) | Err(_) => CaptureSource::Arrival,
    }
}

pub(crate) fn stream_to_proto(stream: Option<&StreamName>) -> String {
    stream.filter(|name| !name.is_main()).map_or_else(String::new, |name| name.as_str().to_owned())
}

pub(crate) fn topic_from_proto(topic: &str) -> Result<TopicName, WireError> {
    TopicName::new(topic).map_err(|error| WireError::Field {
        field: "topic",
        found: error.to_string(),
        expected: "1 to 249 characters of A-Z a-z 0-9 . _ -",
    })
}

pub(crate) fn stream_from_proto(name: &str) -> Result<Option<StreamName>, WireError> {
    if name.is_empty() || name == StreamName::MAIN {
        return Ok(None);
    }
    let field = |error: lumenbus_frame::IdError| WireError::Field {
        field: "stream",
        found: error.to_string(),
        expected: "1 to 64 characters of A-Z a-z 0-9 . _ -",
    };
    StreamName::new(name).map(Some).map_err(field)
}

const CODECS: [(Codec, proto::Codec); 8] = [
    (Codec::Jpeg, proto::Codec::Jpeg),
    (Codec::Png, proto::Codec::Png),
    (Codec::Webp, proto::Codec::Webp),
    (Codec::Jpeg2000, proto::Codec::Jpeg2000),
    (Codec::H264, proto::Codec::H264),
    (Codec::H265, proto::Codec::H265),
    (Codec::Av1, proto::Codec::Av1),
    (Codec::Raw, proto::Codec::Raw),
];

const PIXEL_FORMATS: [(PixelFormat, proto::PixelFormat); 4] = [
    (PixelFormat::Gray8, proto::PixelFormat::Gray8),
    (PixelFormat::Gray16Le, proto::PixelFormat::Gray16le),
    (PixelFormat::Rgb8, proto::PixelFormat::Rgb8),
    (PixelFormat::I420, proto::PixelFormat::I420),
];

pub(crate) fn codec_to_proto(codec: Codec) -> i32 {
    CODECS.iter().find(|row| row.0 == codec).map_or(0, |row| row.1.into())
}

pub(crate) fn codec_from_proto(number: i32) -> Result<Codec, WireError> {
    let row = CODECS.iter().find(|row| i32::from(row.1) == number);
    row.map(|row| row.0).ok_or_else(|| WireError::Field {
        field: "codec",
        found: number.to_string(),
        expected: "a codec of this version; update the reader",
    })
}

pub(crate) fn parameters_to_proto(parameters: &StreamParameters) -> proto::StreamParameters {
    let format = parameters.pixel_format.and_then(|format| PIXEL_FORMATS.iter().find(|row| row.0 == format));
    let rate = parameters.frame_rate;
    proto::StreamParameters {
        codec: codec_to_proto(parameters.codec),
        width: parameters.dimensions.width,
        height: parameters.dimensions.height,
        timebase_numerator: parameters.timebase.numerator,
        timebase_denominator: parameters.timebase.denominator,
        pixel_format: format.map_or(0, |row| row.1.into()),
        rate_frames: rate.map_or(0, |rate| rate.frames),
        rate_seconds: rate.map_or(0, |rate| rate.seconds),
        codec_string: parameters.codec_string.clone().unwrap_or_default(),
    }
}

pub(crate) fn parameters_from_proto(message: &proto::StreamParameters) -> Result<StreamParameters, WireError> {
    if message.timebase_denominator == 0 {
        let expected = "must not be 0";
        return Err(WireError::Field { field: "timebase_denominator", found: "0".to_owned(), expected });
    }
    let format = PIXEL_FORMATS.iter().find(|row| i32::from(row.1) == message.pixel_format);
    let has_rate = message.rate_frames > 0 && message.rate_seconds > 0;
    Ok(StreamParameters {
        codec: codec_from_proto(message.codec)?,
        dimensions: Dimensions::new(message.width, message.height),
        pixel_format: format.map(|row| row.0),
        timebase: Timebase { numerator: message.timebase_numerator, denominator: message.timebase_denominator },
        frame_rate: has_rate.then_some(FrameRate { frames: message.rate_frames, seconds: message.rate_seconds }),
        codec_string: (!message.codec_string.is_empty()).then(|| message.codec_string.chars().take(64).collect()),
    })
}

const REASONS: [(GapReason, proto::GapReason); 9] = [
    (GapReason::Overflow, proto::GapReason::Overflow),
    (GapReason::Expired, proto::GapReason::Expired),
    (GapReason::DeliveryFailed, proto::GapReason::DeliveryFailed),
    (GapReason::Oversize, proto::GapReason::Oversize),
    (GapReason::Undecodable, proto::GapReason::Undecodable),
    (GapReason::SourceDamaged, proto::GapReason::SourceDamaged),
    (GapReason::SourceLost, proto::GapReason::SourceLost),
    (GapReason::Stopped, proto::GapReason::Stopped),
    (GapReason::Repeated, proto::GapReason::Repeated),
];

pub(crate) fn gap_to_proto(gap: &Gap) -> proto::Gap {
    let known = REASONS.iter().find(|row| row.0 == gap.reason).map(|row| i32::from(row.1));
    let reason = match gap.reason {
        GapReason::Other(number) => i32::try_from(number).unwrap_or(0),
        _ => known.unwrap_or(0),
    };
    proto::Gap {
        epoch: gap.epoch.map(|epoch| epoch.0),
        first: gap.first.0,
        last: gap.last.map(|last| last.0),
        reason,
        discardable: gap.is_discardable,
    }
}

pub(crate) fn gap_from_proto(message: proto::Gap) -> Result<Gap, WireError> {
    if message.last.is_some_and(|last| last < message.first) {
        let found = format!("{}..={}", message.first, message.last.unwrap_or_default());
        return Err(WireError::Field { field: "gaps", found, expected: "last must not be below first" });
    }
    let known = REASONS.iter().find(|row| i32::from(row.1) == message.reason).map(|row| row.0);
    Ok(Gap {
        epoch: message.epoch.map(Epoch),
        first: Seq(message.first),
        last: message.last.map(Seq),
        reason: known.unwrap_or(GapReason::Other(u32::try_from(message.reason).unwrap_or(0))),
        is_discardable: message.discardable,
    })
}

pub(crate) fn keyframe_from_proto(message: &proto::FrameHeader) -> Result<Option<KeyframeHint>, WireError> {
    let (Some(distance), Some(offset)) = (message.keyframe_distance, message.keyframe_offset) else {
        return Ok(None);
    };
    let seq = message.seq.checked_sub(distance).ok_or_else(|| WireError::Field {
        field: "keyframe_distance",
        found: distance.to_string(),
        expected: "at most the seq",
    })?;
    Ok(Some(KeyframeHint { seq: Seq(seq), offset }))
}

pub(crate) fn batch_to_proto(batch: &Batch) -> proto::Batch {
    proto::Batch { count: batch.count, last_seq: batch.last_seq.0, content_type: batch.content_type.clone() }
}

pub(crate) fn batch_from_proto(message: proto::Batch) -> Batch {
    Batch { count: message.count, last_seq: Seq(message.last_seq), content_type: message.content_type }
}

pub(crate) fn chunk_to_proto(chunk: &Chunk) -> proto::Chunk {
    proto::Chunk {
        index: chunk.index,
        count: chunk.count,
        total_bytes: chunk.total_bytes,
        total_crc32c: chunk.total_crc32c,
        content_type: chunk.content_type.clone(),
    }
}

pub(crate) fn chunk_from_proto(message: proto::Chunk) -> Chunk {
    Chunk {
        index: message.index,
        count: message.count,
        total_bytes: message.total_bytes,
        total_crc32c: message.total_crc32c,
        content_type: message.content_type,
    }
}

pub(crate) fn seal_to_proto(seal: &Seal) -> proto::Seal {
    proto::Seal {
        algorithm: seal.algorithm,
        key_id: seal.key_id.clone(),
        nonce: seal.nonce.clone(),
        content_type: seal.content_type.clone(),
    }
}

pub(crate) fn seal_from_proto(message: proto::Seal) -> Result<Seal, WireError> {
    let longest = message.key_id.len().max(message.nonce.len());
    if longest > MAX_SEAL_BYTES {
        let limit = MAX_SEAL_BYTES as u64;
        return Err(WireError::TooLarge { what: "a seal field", bytes: longest as u64, limit });
    }
    Ok(Seal {
        algorithm: message.algorithm,
        key_id: message.key_id,
        nonce: message.nonce,
        content_type: message.content_type,
    })
}
