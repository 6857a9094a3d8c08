//! One camera as it is configured.

use crate::video::VideoOptions;
use bytes::Bytes;
use lumenbus_bus::CameraDescription;
use lumenbus_codec::EncoderConfig;
use lumenbus_frame::{CameraId, Codec, Deadline, FrameRate, StreamName, StreamParameters, TopicName};
use lumenbus_source::{
    Credentials, Interrupt, Looped, Source, SourceError, SourceOptions, SourceSpec, open_bytes, open_spec, redact,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How a camera's frames are coded on the bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CameraCodec {
    /// Coded frames as the source gives them; pixels as H.264.
    #[default]
    Auto,
    /// As the source gives them; a source of pixels is refused.
    Passthrough,
    /// H.264, transcoded where the source is something else.
    H264,
    /// AV1, in builds with the `ffmpeg` feature.
    Av1,
    /// One JPEG a frame.
    Jpeg,
    /// One WebP a frame.
    Webp,
    /// One PNG a frame.
    Png,
    /// One JPEG 2000 file a frame.
    Jpeg2000,
    /// Uncompressed.
    Raw,
}

/// Where a camera's frames come from.
#[derive(Clone, PartialEq, Eq)]
pub enum CameraSource {
    /// What a user writes: a file, a folder, a pattern of pictures, `test:640x480@30`.
    Spec(String),
    /// A clip in memory, such as one inside the program.
    Bytes {
        /// For messages.
        name: Arc<str>,
        /// The file's content.
        bytes: Bytes,
    },
}

impl CameraSource {
    /// Whether it can be a source at all, without opening it.
    ///
    /// # Errors
    /// [`SourceError::Specification`] with what is wrong.
    pub fn check(&self) -> Result<(), SourceError> {
        match self {
            Self::Spec(spec) => match spec.parse()? {
                // A camera is opened again and again, beside others and without a terminal.
                SourceSpec::StandardInput => {
                    let why = "standard input is read by `lumenbus publish -` alone, never by a configured camera";
                    Err(SourceError::Specification { spec: redact(spec), why })
                }
                _ => Ok(()),
            },
            Self::Bytes { .. } => Ok(()),
        }
    }

    /// Opens it once.
    ///
    /// # Errors
    /// Everything that is wrong before the first frame.
    pub fn open(&self, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
        match self {
            // Read again each time: a file may have come into being since.
            Self::Spec(spec) => open_spec(&spec.parse()?, options),
            Self::Bytes { name, bytes } => open_bytes(Arc::clone(name), bytes.clone(), options),
        }
    }
}

impl fmt::Display for CameraSource {
    /// Without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Spec(spec) => f.write_str(&redact(spec)),
            Self::Bytes { name, .. } => f.write_str(name),
        }
    }
}

impl fmt::Debug for CameraSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CameraSource({self})")
    }
}

/// A camera of a fleet. Two that differ in name, group and labels only need no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CameraConfig {
    /// Its id; with `stream` unique in the fleet.
    pub id: CameraId,
    /// Where the frames come from.
    pub source: CameraSource,
    /// Who asks a camera on the network; goes before what its address says.
    pub credentials: Option<Credentials>,
    /// Display name; without one the directory has none.
    pub name: Option<String>,
    /// Group; without one the directory has none.
    pub group: Option<String>,
    /// All of its labels.
    pub labels: Vec<(String, String)>,
    /// How the frames are coded on the bus.
    pub codec: CameraCodec,
    /// Bits per second of encoded video; `None`: by size and frame rate.
    pub bitrate: Option<u32>,
    /// Quality of encoded stills, 1 to 100.
    pub quality: u8,
    /// How video is encoded otherwise, and what is left out before.
    pub video: VideoOptions,
    /// Goes before the rate that the source states.
    pub fps: Option<FrameRate>,
    /// Begin again at the end of the source.
    pub is_looped: bool,
    /// Frames older than this are not sent.
    pub deadline: Option<Duration>,
    /// Topic without prefix; `None`: by codec.
    pub topic: Option<TopicName>,
    /// Which of the camera's streams this is.
    pub stream: StreamName,
    /// Stills of its frames at this distance, on a stream of their own.
    pub snapshots: Option<Duration>,
    /// A camera that is not enabled is listed and does not run.
    pub enabled: bool,
}

impl CameraConfig {
    /// The defaults: passed through in real time, once, to the topic of its codec.
    #[must_use]
    pub fn new(id: CameraId, source: CameraSource) -> Self {
        Self {
            id,
            source,
            credentials: None,
            name: None,
            group: None,
            labels: Vec::new(),
            codec: CameraCodec::Auto,
            bitrate: None,
            quality: 85,
            video: VideoOptions::default(),
            fps: None,
            is_looped: false,
            deadline: None,
            topic: None,
            stream: StreamName::main(),
            snapshots: None,
            enabled: true,
        }
    }

    /// What it is known by in a fleet.
    pub(super) fn key(&self) -> (CameraId, StreamName) {
        (self.id.clone(), self.stream.clone())
    }

    /// How to encode what this source gives; `None` passes it through.
    #[must_use]
    pub fn encoder(&self, parameters: &StreamParameters) -> Option<EncoderConfig> {
        let codec = match (self.codec, parameters.codec) {
            (CameraCodec::Auto, Codec::Raw) | (CameraCodec::H264, _) => Codec::H264,
            (CameraCodec::Auto | CameraCodec::Passthrough, _) => return None,
            (CameraCodec::Av1, _) => Codec::Av1,
            (CameraCodec::Jpeg, _) => Codec::Jpeg,
            (CameraCodec::Webp, _) => Codec::Webp,
            (CameraCodec::Png, _) => Codec::Png,
            (CameraCodec::Jpeg2000, _) => Codec::Jpeg2000,
            (CameraCodec::Raw, _) => Codec::Raw,
        };
        let mut config = EncoderConfig::new(codec);
        if let Some(rate) = self.fps.or(parameters.frame_rate) {
            config.frame_rate = rate;
        }
        config.timebase = parameters.timebase;
        config.bits_per_second = self.bitrate;
        config.quality = self.quality;
        self.video.apply(&mut config);
        Some(config)
    }

    /// Names of what is set for encoded video.
    pub(super) fn chosen_for_encoding(&self) -> Vec<&'static str> {
        let bitrate = self.bitrate.map(|_| "bitrate");
        bitrate.into_iter().chain(self.video.chosen()).collect()
    }

    /// What people are told of it: this configuration is the whole truth.
    pub(super) fn description(&self) -> CameraDescription {
        let (name, group) = (self.name.clone().unwrap_or_default(), self.group.clone().unwrap_or_default());
        CameraDescription { name: Some(name), group: Some(group), labels: Some(self.labels.clone()) }
    }

    /// Whether it gives the same frames in the same way, whatever people are told of it.
    pub(super) fn feeds_as(&self, other: &Self) -> bool {
        let (name, group, labels) = (other.name.clone(), other.group.clone(), other.labels.clone());
        Self { name, group, labels, ..self.clone() } == *other
    }

    /// `interrupt` ends the wait for a camera on the network.
    pub(super) fn open(&self, interrupt: Interrupt) -> Result<Looped, SourceError> {
        let credentials = self.credentials.clone();
        let options = SourceOptions { frame_rate: self.fps, credentials, interrupt, ..SourceOptions::default() };
        let source = self.source.clone();
        let reopen = move || source.open(&options);
        if self.is_looped { Looped::new(reopen) } else { Looped::once(reopen) }
    }

    pub(super) fn deadline(&self) -> Option<Deadline> {
        self.deadline.map(Deadline::after_capture)
    }
}

/// The topic (without prefix) where a codec's frames belong.
#[must_use]
pub fn default_topic(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 | Codec::H265 | Codec::Av1 => "raw_video",
        Codec::Raw => "raw_pixels",
        _ => "raw_images",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        let source = CameraSource::Spec("rtsp://admin:hunter2@10.0.0.7/1".to_owned());
        let shown = format!("{source} {source:?}");
        assert!(shown.contains("10.0.0.7") && !shown.contains("hunter2"), "{shown}");
    }

    #[test]
    fn standard_input_is_no_camera() {
        let refused = CameraSource::Spec("-".to_owned()).check().unwrap_err().to_string();
        assert!(refused.contains("publish -"), "{refused}");
        CameraSource::Spec("test:640x480@30".to_owned()).check().unwrap();
    }

    #[test]
    fn a_name_does_not_change_what_is_fed() {
        let camera = CameraConfig::new("a".parse().unwrap(), CameraSource::Spec("test:640x480@30".to_owned()));
        let named = CameraConfig { name: Some("Gate".to_owned()), ..camera.clone() };
        assert!(named.feeds_as(&camera) && camera.feeds_as(&named));
        assert!(!CameraConfig { bitrate: Some(1_000_000), ..named }.feeds_as(&camera));
    }

    #[test]
    fn pixels_are_encoded_and_coded_video_passes() {
        let size = lumenbus_frame::Dimensions { width: 640, height: 480 };
        let of = |codec, source| {
            let mut camera = CameraConfig::new("a".parse().unwrap(), CameraSource::Spec(String::new()));
            camera.codec = codec;
            camera.encoder(&StreamParameters::new(source, size)).map(|encoder| encoder.codec)
        };
        assert_eq!(of(CameraCodec::Auto, Codec::Raw), Some(Codec::H264));
        assert_eq!(of(CameraCodec::Auto, Codec::Jpeg), None);
        assert_eq!(of(CameraCodec::Passthrough, Codec::Raw), None);
        assert_eq!(of(CameraCodec::Av1, Codec::H264), Some(Codec::Av1));
        assert_eq!(of(CameraCodec::Jpeg, Codec::H264), Some(Codec::Jpeg));
        assert_eq!(of(CameraCodec::Jpeg2000, Codec::Jpeg), Some(Codec::Jpeg2000));
        assert_eq!(of(CameraCodec::Raw, Codec::Raw), Some(Codec::Raw));
    }
}
