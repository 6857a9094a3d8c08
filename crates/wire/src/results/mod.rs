//! What analysis found in a frame: the values of the topic `analysis_results`.

mod bounds;
mod json;
mod protobuf;

use crate::record::unknown_content_type;
use crate::{WireError, content_type};
use bytes::Bytes;
use lumenbus_frame::{CameraId, CaptureTime, Dimensions, FrameId, StreamId, StreamName, TopicName, UnknownName};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

pub use bounds::Bounds;

/// Longest result written or read, in either form.
pub const MAX_RESULT_BYTES: usize = 256 * 1024;
/// Most detections in a result.
pub const MAX_DETECTIONS: usize = 1000;
/// Longest name of a class or model, version of a model, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Longest [`AnalysisResult::error`], in bytes; cut to it when written.
pub const MAX_ERROR_BYTES: usize = 256;
/// Coordinates lie between plus and minus this.
const MAX_COORDINATE: f32 = 65_536.0;
/// Longest side of a picture.
const MAX_SIDE: u32 = 65_535;

/// What one model found in one frame. The record's key is the camera id.
///
/// ```
/// use lumenbus_frame::{CaptureTime, Epoch, FrameId, Seq, StreamId};
/// use lumenbus_wire::{AnalysisResult, Model, ResultForm};
///
/// let stream = StreamId::main("gate-7".parse()?, "raw_video".parse()?);
/// let id = FrameId { epoch: Epoch(1 << 16), seq: Seq(3) };
/// let result = AnalysisResult::new(stream, id, CaptureTime::arrival(0), Model::new("motion", "1"));
/// let value = result.encode(ResultForm::Json)?;
/// assert_eq!(AnalysisResult::decode(Some(b"application/json"), &value)?, result);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct AnalysisResult {
    /// The frame's stream.
    pub stream: StreamId,
    /// The frame.
    pub id: FrameId,
    /// When the frame was taken.
    pub capture: CaptureTime,
    /// The frame's presentation time in its stream's timebase.
    pub pts: Option<i64>,
    /// Size of the picture that was analysed; `None` when there was none.
    pub size: Option<Dimensions>,
    /// Who found it.
    pub model: Model,
    /// What was found; needs [`size`](Self::size).
    pub detections: Vec<DetectedObject>,
    /// What it took.
    pub stages: StageTimes,
    /// Why the frame was not analysed: it counts, but nothing can be said of it.
    pub error: Option<String>,
}

/// Which model, in which version.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Model {
    /// Its name, such as `motion`.
    pub name: Arc<str>,
    /// Its version; changes when it would find something else.
    pub version: Arc<str>,
}

impl Model {
    /// A model by name and version.
    #[must_use]
    pub fn new(name: &str, version: &str) -> Self {
        Self { name: name.into(), version: version.into() }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// One thing in the picture.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectedObject {
    /// What it is, such as `person`.
    pub class: Arc<str>,
    /// How sure the model is, 0 to 1.
    pub score: f32,
    /// Where it is, in pixels of the picture.
    pub bounds: Bounds,
    /// The same object has the same number within one epoch of the stream.
    pub track_id: Option<u64>,
}

/// What the stages took, in microseconds; `None` where a stage did not happen or nobody looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StageTimes {
    /// From capture to the worker, by both their clocks.
    pub receive_micros: Option<u32>,
    /// In the worker, until its turn came.
    pub wait_micros: Option<u32>,
    /// Decoding.
    pub decode_micros: Option<u32>,
    /// Detection.
    pub detect_micros: Option<u32>,
    /// Tracking.
    pub track_micros: Option<u32>,
}

impl StageTimes {
    /// A duration as it stands here: at most `u32::MAX` microseconds (71 minutes).
    #[must_use]
    pub fn micros(duration: Duration) -> u32 {
        u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
    }
}

/// How results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ResultForm {
    /// One JSON object, `application/json`.
    #[default]
    Json,
    /// The Protobuf message `AnalysisResult`.
    Protobuf,
}

impl ResultForm {
    /// Both forms.
    pub const ALL: [Self; 2] = [Self::Json, Self::Protobuf];

    /// The stable lower-case name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Protobuf => "protobuf",
        }
    }

    /// The content type of records with it.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => content_type::RESULT_JSON,
            Self::Protobuf => content_type::RESULT_PROTOBUF,
        }
    }
}

impl fmt::Display for ResultForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ResultForm {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Self::ALL.into_iter().find(|form| form.as_str() == name).ok_or_else(|| UnknownName {
            what: "form of results",
            name: name.chars().take(64).collect(),
            known: Self::ALL.map(Self::as_str).join(", "),
        })
    }
}

impl AnalysisResult {
    /// A result without detections.
    #[must_use]
    pub fn new(stream: StreamId, id: FrameId, capture: CaptureTime, model: Model) -> Self {
        Self {
            stream,
            id,
            capture,
            pts: None,
            size: None,
            model,
            detections: Vec::new(),
            stages: StageTimes::default(),
            error: None,
        }
    }

    /// The result as a record value; the record's content type is [`ResultForm::content_type`].
    ///
    /// # Errors
    /// [`WireError::Field`] for what [`decode`](Self::decode) would refuse, [`WireError::TooLarge`] beyond
    /// [`MAX_RESULT_BYTES`].
    pub fn encode(&self, form: ResultForm) -> Result<Bytes, WireError> {
        self.check()?;
        let bytes = match form {
            ResultForm::Json => json::encode(self),
            ResultForm::Protobuf => protobuf::encode(self),
        };
        check_bytes(bytes.len())?;
        Ok(bytes.into())
    }

    /// Reads a result. Without a content type it is taken for JSON: simple writers set none.
    ///
    /// # Errors
    /// A content type of something else, another major version, bytes that are no result, numbers that are not
    /// finite, or a result beyond the limits.
    pub fn decode(content_type: Option<&[u8]>, value: &[u8]) -> Result<Self, WireError> {
        check_bytes(value.len())?;
        let stated = content_type.unwrap_or(content_type::RESULT_JSON.as_bytes());
        let form = ResultForm::ALL.into_iter().find(|form| form.content_type().as_bytes() == stated);
        let result = match form {
            Some(ResultForm::Json) => json::decode(value)?,
            Some(ResultForm::Protobuf) => protobuf::decode(value)?,
            None => return Err(unknown_content_type(&String::from_utf8_lossy(stated))),
        };
        result.check()?;
        Ok(result)
    }

    fn check(&self) -> Result<(), WireError> {
        check_detection_count(self.detections.len())?;
        check_name("model.name", &self.model.name)?;
        check_name("model.version", &self.model.version)?;
        if self.size.is_none() && !self.detections.is_empty() {
            let (field, found) = ("width and height", "0".to_owned());
            return Err(WireError::Field { field, found, expected: "detections need the size of their picture" });
        }
        if let Some(size) = self.size
            && !((1..=MAX_SIDE).contains(&size.width) && (1..=MAX_SIDE).contains(&size.height))
        {
            let (field, found) = ("width and height", size.to_string());
            return Err(WireError::Field { field, found, expected: "each is 1 to 65535, or both are 0" });
        }
        self.detections.iter().try_for_each(DetectedObject::check)
    }
}

impl DetectedObject {
    fn check(&self) -> Result<(), WireError> {
        check_name("detections.class", &self.class)?;
        if !(0.0..=1.0).contains(&self.score) {
            let (field, found) = ("detections.score", self.score.to_string());
            return Err(WireError::Field { field, found, expected: "0 to 1" });
        }
        let Bounds { x, y, width, height } = self.bounds;
        let corner = -MAX_COORDINATE..=MAX_COORDINATE;
        let side = 0.0..=MAX_COORDINATE;
        if corner.contains(&x) && corner.contains(&y) && side.contains(&width) && side.contains(&height) {
            return Ok(());
        }
        let (field, found) = ("detections.bounds", format!("{x}, {y}, {width} x {height}"));
        Err(WireError::Field { field, found, expected: "finite pixels, at most 65536, sides not negative" })
    }
}

fn check_bytes(bytes: usize) -> Result<(), WireError> {
    if bytes > MAX_RESULT_BYTES {
        let (bytes, limit) = (bytes as u64, MAX_RESULT_BYTES as u64);
        return Err(WireError::TooLarge { what: "an analysis result", bytes, limit });
    }
    Ok(())
}

fn check_detection_count(detections: usize) -> Result<(), WireError> {
    if detections > MAX_DETECTIONS {
        let found = detections.to_string();
        return Err(WireError::Field { field: "detections", found, expected: "at most 1000 are accepted" });
    }
    Ok(())
}

pub(crate) fn check_name(field: &'static str, name: &str) -> Result<(), WireError> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        let found = format!("{} bytes long", name.len());
        return Err(WireError::Field { field, found, expected: "1 to 128 bytes" });
    }
    Ok(())
}

/// What is the same of the stream in all forms.
pub(crate) fn stream_id(camera: &str, topic: &str, stream: &str) -> Result<StreamId, WireError> {
    let camera = CameraId::new(camera).map_err(|error| WireError::Field {
        field: "camera",
        found: error.to_string(),
        expected: "1 to 64 characters of A-Z a-z 0-9 . _ -",
    })?;
    let topic: TopicName = crate::message::topic_from_proto(topic)?;
    let name: StreamName = crate::message::stream_from_proto(stream)?.unwrap_or_default();
    Ok(StreamId { camera, topic, name })
}

/// A size where there is one.
fn size(width: u32, height: u32) -> Option<Dimensions> {
    (width > 0 || height > 0).then(|| Dimensions::new(width, height))
}

fn error_text(error: Option<&String>) -> Option<&str> {
    error.map(|text| &text[..text.floor_char_boundary(MAX_ERROR_BYTES)]).filter(|text| !text.is_empty())
}
