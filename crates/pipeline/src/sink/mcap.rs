//! `.mcap`: any number of streams, a channel each, in the messages that Foxglove shows.
//!
//! Video is `foxglove.CompressedVideo`, stills are `foxglove.CompressedImage`; both carry the coded bytes as they are.
//! Log time is the capture time. Coded pictures do not shrink, so chunks are not compressed. Where writing ends early, what is
//! there up to the last whole chunk can be read.

use super::output::Output;
use super::{Sink, SinkError, SinkReport};
use crate::decode::breaks_decoding;
use bytes::Bytes;
use descriptor::{Field, Kind, descriptor_set};
use lumenbus_frame::{Codec, EncodedFrame, FrameId, Gap, StreamId};
use mcap::records::MessageHeader;
use mcap::write::NoSeek;
use mcap::{McapError, WriteOptions, Writer};
use prost::Message as _;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

mod descriptor;

/// What may be lost when writing ends early, per file.
const CHUNK_BYTES: u64 = 4 << 20;
const TAKES: &str = "h264, h265, av1, jpeg, png and webp";
const INSTEAD: &str = "a folder";

/// `foxglove.CompressedVideo`: one picture, in Annex B or as a temporal unit.
#[derive(Clone, PartialEq, prost::Message)]
struct CompressedVideo {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    frame_id: String,
    #[prost(bytes = "bytes", tag = "3")]
    data: Bytes,
    #[prost(string, tag = "4")]
    format: String,
}

/// `foxglove.CompressedImage`: one file.
#[derive(Clone, PartialEq, prost::Message)]
struct CompressedImage {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(bytes = "bytes", tag = "2")]
    data: Bytes,
    #[prost(string, tag = "3")]
    format: String,
    #[prost(string, tag = "4")]
    frame_id: String,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, prost::Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

impl Timestamp {
    fn of(unix_nanos: i64) -> Self {
        let nanos = i32::try_from(unix_nanos.rem_euclid(1_000_000_000)).unwrap_or(0);
        Self { seconds: unix_nanos.div_euclid(1_000_000_000), nanos }
    }
}

const VIDEO: [Field; 4] = [
    Field { name: "timestamp", number: 1, kind: Kind::Timestamp },
    Field { name: "frame_id", number: 2, kind: Kind::String },
    Field { name: "data", number: 3, kind: Kind::Bytes },
    Field { name: "format", number: 4, kind: Kind::String },
];
const IMAGE: [Field; 4] = [
    Field { name: "timestamp", number: 1, kind: Kind::Timestamp },
    Field { name: "data", number: 2, kind: Kind::Bytes },
    Field { name: "format", number: 3, kind: Kind::String },
    Field { name: "frame_id", number: 4, kind: Kind::String },
];

/// One stream's.
struct Channel {
    id: u16,
    is_video: bool,
    /// Whether references are complete since a keyframe.
    is_joined: bool,
    messages: u32,
}

pub(super) struct Mcap {
    path: PathBuf,
    /// Gone after an error.
    writer: Option<Writer<NoSeek<Output>>>,
    channels: HashMap<(StreamId, bool), Channel>,
    report: SinkReport,
}

impl Mcap {
    pub(super) fn new(output: Output) -> Result<Self, SinkError> {
        let report = SinkReport { files: 1, ..SinkReport::of(output.name()) };
        let path = PathBuf::from(output.name());
        let options = WriteOptions::new()
            .compression(None)
            .chunk_size(Some(CHUNK_BYTES))
            .library(concat!("lumenbus ", env!("CARGO_PKG_VERSION")))
            .disable_seeking(true);
        let writer = options.create(NoSeek::new(output));
        let writer = writer.map_err(|error| SinkError::Container { path: path.clone(), source: Box::new(error) })?;
        Ok(Self { path, writer: Some(writer), channels: HashMap::new(), report })
    }

    /// A camera may send video and stills; each kind has its own messages.
    fn channel(
        &mut self,
        writer: &mut Writer<NoSeek<Output>>,
        stream: &StreamId,
        is_video: bool,
    ) -> Result<&mut Channel, McapError> {
        let key = (stream.clone(), is_video);
        if !self.channels.contains_key(&key) {
            let name = if is_video { "CompressedVideo" } else { "CompressedImage" };
            let fields = if is_video { &VIDEO } else { &IMAGE };
            let schema = writer.add_schema(&format!("foxglove.{name}"), "protobuf", &descriptor_set(name, fields))?;
            let mut metadata = BTreeMap::new();
            for (name, value) in
                [("camera", stream.camera.as_str()), ("topic", stream.topic.as_str()), ("stream", stream.name.as_str())]
            {
                metadata.insert(name.to_owned(), value.to_owned());
            }
            let topic = topic(stream, is_video);
            let id = writer.add_channel(schema, &topic, "protobuf", &metadata)?;
            self.channels.insert(key.clone(), Channel { id, is_video, is_joined: false, messages: 0 });
        }
        Ok(self.channels.get_mut(&key).expect("inserted above"))
    }

    fn write(
        &mut self,
        writer: &mut Writer<NoSeek<Output>>,
        stream: &StreamId,
        frame: &EncodedFrame,
        format: &str,
    ) -> Result<(), McapError> {
        let channel = self.channel(writer, stream, !frame.codec.is_intra_only())?;
        channel.is_joined |= frame.is_keyframe;
        if !channel.is_joined {
            self.report.awaiting_keyframe += 1;
            return Ok(());
        }
        let (id, is_video, sequence) = (channel.id, channel.is_video, channel.messages);
        channel.messages = channel.messages.wrapping_add(1);
        let time = frame.capture.unix_nanos;
        let log_time = u64::try_from(time).unwrap_or(0);
        let (timestamp, frame_id) = (Some(Timestamp::of(time)), stream.camera.to_string());
        let (data, format) = (frame.payload.clone(), format.to_owned());
        let message = if is_video {
            CompressedVideo { timestamp, frame_id, data, format }.encode_to_vec()
        } else {
            CompressedImage { timestamp, data, format, frame_id }.encode_to_vec()
        };
        let header = MessageHeader { channel_id: id, sequence, log_time, publish_time: log_time };
        writer.write_to_known_channel(&header, &message)?;
        self.report.frames += 1;
        self.report.bytes += message.len() as u64;
        Ok(())
    }

    fn failure(&self, writer: Writer<NoSeek<Output>>, error: McapError) -> SinkError {
        match error {
            McapError::Io(source) => writer.into_inner().into_inner().failure(source),
            other => SinkError::Container { path: self.path.clone(), source: Box::new(other) },
        }
    }
}

/// As ROS names topics.
fn topic(stream: &StreamId, is_video: bool) -> String {
    let kind = if is_video { "video" } else { "image" };
    let StreamId { camera, topic, name } = stream;
    if name.is_main() { format!("/{camera}/{topic}/{kind}") } else { format!("/{camera}/{topic}/{name}/{kind}") }
}

/// Foxglove's name of a codec; `None` where it has none.
fn format_of(codec: Codec) -> Option<&'static str> {
    match codec {
        Codec::H264 | Codec::H265 | Codec::Av1 | Codec::Jpeg | Codec::Png | Codec::Webp => Some(codec.as_str()),
        _ => None,
    }
}

impl Sink for Mcap {
    fn frame(&mut self, stream: &StreamId, _id: FrameId, frame: &EncodedFrame) -> Result<(), SinkError> {
        let Some(format) = format_of(frame.codec) else {
            let (target, stream, codec) = (self.report.target.clone(), Box::new(stream.clone()), frame.codec);
            return Err(SinkError::Uncontained { target, stream, codec, takes: TAKES, instead: INSTEAD });
        };
        let Some(mut writer) = self.writer.take() else { return Ok(()) };
        match self.write(&mut writer, stream, frame, format) {
            Ok(()) => {
                self.writer = Some(writer);
                Ok(())
            }
            Err(error) => Err(self.failure(writer, error)),
        }
    }

    fn gap(&mut self, stream: &StreamId, gap: &Gap) -> Result<(), SinkError> {
        self.report.note_gap(gap);
        if breaks_decoding(gap)
            && let Some(channel) = self.channels.get_mut(&(stream.clone(), true))
        {
            channel.is_joined = false;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<SinkReport, SinkError> {
        let Some(mut writer) = self.writer.take() else { return Ok(self.report) };
        if let Err(error) = writer.finish() {
            return Err(self.failure(writer, error));
        }
        let mut output = writer.into_inner().into_inner();
        output.flush()?;
        self.report.bytes = output.bytes();
        Ok(self.report)
    }
}
