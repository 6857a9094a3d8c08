//! The records of each kind: from real frames, with the headers and values that the bus gives them.

use super::batch::Record;
use crate::bench::decoded::pictures::{Limits, Pictures};
use anyhow::Context as _;
use lumenbus_codec::{EncoderConfig, encoder};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame, Epoch, FrameId, RawFrame, Seq, StreamName, TopicName};
use lumenbus_source::{SourceItem, SourceOptions};
use lumenbus_wire::{CameraEntry, Header, IndexEntry, IndexPosition, IndexSection, StreamEntry, StreamState};
use serde_json::json;

/// Of pictures as pixels, one in so many frames is taken.
const PIXELS_EVERY: usize = 10;
const MAX_BYTES: usize = 1 << 30;
const LABELS: [&str; 3] = ["person", "car", "bicycle"];
/// 2026-05-01T12:00:00Z.
const BEGAN_UNIX_NANOS: i64 = 1_777_636_800_000_000_000;
const FRAME_NANOS: i64 = 33_333_333;

/// What a record holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Coded,
    Pixels,
    Headers,
    JsonHeaders,
    Results,
    Index,
    Directory,
}

impl Kind {
    pub(super) const ALL: [Self; 7] =
        [Self::Coded, Self::Pixels, Self::Headers, Self::JsonHeaders, Self::Results, Self::Index, Self::Directory];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Coded => "coded frames",
            Self::Pixels => "raw pixels",
            Self::Headers => "headers (lb)",
            Self::JsonHeaders => "headers (lb-json)",
            Self::Results => "results (JSON)",
            Self::Index => "index entries",
            Self::Directory => "directory entries",
        }
    }
}

pub(super) struct Records {
    coded: Vec<EncodedFrame>,
    pixels: Vec<RawFrame>,
}

impl Records {
    /// The first frames of a file; pixels are encoded as H.264.
    pub(super) fn of(spec: &str, frames: usize) -> anyhow::Result<Self> {
        let mut source = lumenbus_source::open(spec, &SourceOptions::default())?;
        let mut coded = Vec::new();
        let mut h264 = encoder(&EncoderConfig::new(Codec::H264))?;
        while coded.len() < frames {
            match source.next_frame()? {
                Some(SourceItem::Encoded { frame, .. }) => coded.push(frame),
                Some(SourceItem::Raw { frame, .. }) => h264.encode(&frame, &mut coded)?,
                Some(_) => {}
                None => break,
            }
        }
        let limits = Limits { pictures: frames, bytes: MAX_BYTES };
        let pictures = Pictures::of_file(spec, None, limits).context("its pixels")?;
        let pixels = pictures.frames().iter().step_by(PIXELS_EVERY).cloned().collect();
        Ok(Self { coded, pixels })
    }

    /// The compressed part of Kafka's batches.
    pub(super) fn batches(&self, kind: Kind, per_batch: usize) -> Vec<Vec<u8>> {
        let records = self.records(kind);
        let batch = |records: &[Record]| {
            let mut out = Vec::new();
            records.iter().enumerate().for_each(|(offset, record)| record.append(offset, &mut out));
            out
        };
        records.chunks(per_batch).map(batch).collect()
    }

    fn records(&self, kind: Kind) -> Vec<Record> {
        let numbered = || self.coded.iter().enumerate();
        match kind {
            Kind::Coded => {
                numbered().map(|(at, frame)| record(at, headers(frame, at), frame.payload.to_vec())).collect()
            }
            Kind::Pixels => {
                let of = |(at, frame): (usize, &RawFrame)| record(at, Vec::new(), frame.pixels().to_vec());
                self.pixels.iter().enumerate().map(of).collect()
            }
            Kind::Headers => numbered().map(|(at, frame)| record(at, headers(frame, at), Vec::new())).collect(),
            Kind::JsonHeaders => {
                let of = |(at, frame)| record(at, vec![("lb-json", header(frame, at).to_json().into())], Vec::new());
                numbered().map(of).collect()
            }
            Kind::Results => numbered().map(|(at, _)| record(at, Vec::new(), results(at))).collect(),
            Kind::Index => numbered().map(|(at, frame)| record(at, Vec::new(), entry(frame, at))).collect(),
            Kind::Directory => (0..self.coded.len()).map(camera).collect(),
        }
    }
}

fn key(at: usize) -> Vec<u8> {
    // Four cameras in a partition take turns.
    format!("gate-{}", at % 4).into_bytes()
}

fn record(at: usize, headers: Vec<(&'static str, Vec<u8>)>, value: Vec<u8>) -> Record {
    Record { key: key(at), headers, value }
}

fn signed(at: usize) -> i64 {
    i64::try_from(at).unwrap_or(i64::MAX)
}

fn capture(at: usize) -> CaptureTime {
    // No camera keeps time to the nanosecond.
    CaptureTime::sensor(BEGAN_UNIX_NANOS + signed(at) * FRAME_NANOS + scattered(at, 2_000_000))
}

/// A number that looks random.
fn scattered(at: usize, below: i64) -> i64 {
    let mixed = (at as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 20;
    i64::try_from(mixed).unwrap_or(0) % below
}

fn header(frame: &EncodedFrame, at: usize) -> Header {
    let mut header = Header::new(id(at), capture(at));
    header.is_keyframe = frame.is_keyframe;
    header.parameters = frame.parameters.clone().filter(|_| frame.is_keyframe);
    header.pts = Some(signed(at) * 3_000);
    header.payload_crc32c = Some(u32::try_from(scattered(at, i64::from(u32::MAX))).unwrap_or(0));
    header
}

fn id(at: usize) -> FrameId {
    FrameId { epoch: Epoch(0x019d_e3a1_5c00_1234), seq: Seq((at / 4) as u64) }
}

/// As the publisher puts them on every record.
fn headers(frame: &EncodedFrame, at: usize) -> Vec<(&'static str, Vec<u8>)> {
    let content_type = frame.codec.content_type().as_bytes().to_vec();
    vec![("content-type", content_type), ("lb", header(frame, at).to_bytes().to_vec())]
}

/// What a detector says of a frame: a few objects that move on.
fn results(at: usize) -> Vec<u8> {
    let object = |n: usize| {
        let along = |step: i64| signed(at) * step % 1_500 + scattered(at * 7 + n, 40);
        let score = 0.5 + f64::from(u32::try_from(scattered(at * 11 + n, 4_999)).unwrap_or(0)) / 1e4;
        json!({
            "label": LABELS[n % LABELS.len()],
            "score": (score * 1e4).round() / 1e4,
            "box": { "x": along(3 + signed(n)), "y": 200 + along(1), "width": 80 + signed(n) * 20, "height": 160 },
            "track": 100 + n,
        })
    };
    let value = json!({
        "camera": String::from_utf8_lossy(&key(at)),
        "epoch": id(at).epoch.0,
        "seq": id(at).seq.0,
        "capture_unix_nanos": capture(at).unix_nanos,
        "detector": "people-and-vehicles",
        "model_version": "1.4.2",
        "objects": (0..2 + at % 4).map(object).collect::<Vec<_>>(),
    });
    value.to_string().into_bytes()
}

/// As if every frame were a keyframe.
fn entry(frame: &EncodedFrame, at: usize) -> Vec<u8> {
    let position = |at: usize| IndexPosition { partition: 3, offset: at as u64 };
    let entry = IndexEntry {
        topic: topic(),
        stream: StreamName::default(),
        id: id(at),
        capture_unix_nanos: capture(at).unix_nanos,
        partition: 3,
        offset: at as u64 * 60,
        bytes: frame.payload.len() as u64,
        previous: at.checked_sub(4).map(position),
        section: IndexSection {
            first_capture_unix_nanos: BEGAN_UNIX_NANOS,
            before: None,
            newest_before_unix_nanos: None,
        },
        is_thinned: false,
    };
    entry.encode().to_vec()
}

fn topic() -> TopicName {
    TopicName::new("raw_video").expect("a name")
}

fn camera(at: usize) -> Record {
    let stream = StreamEntry {
        topic: topic(),
        name: StreamName::default(),
        partition: u32::try_from(at % 12).unwrap_or(0),
        epoch: Epoch(id(0).epoch.0 + (at as u64) * 77_777_777),
        codec: Codec::H264,
        state: StreamState::Live,
        last_seq: None,
        gaps: Vec::new(),
        next_offset: None,
        updated_unix_nanos: capture(at).unix_nanos,
        parameters: None,
        repeat: None,
        moved_from: None,
    };
    let entry = CameraEntry {
        name: format!("Gate {at}, north side"),
        group: format!("building {}", at % 5),
        labels: vec![("floor".to_owned(), (at % 4).to_string())],
        streams: vec![stream],
        unread: Vec::new(),
    };
    let value = entry.encode().map(|value| value.to_vec()).unwrap_or_default();
    Record { key: format!("gate-{at}").into_bytes(), headers: Vec::new(), value }
}
