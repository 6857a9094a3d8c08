//! Where a subscription's frames go: a folder, a file, standard output.
//!
//! [`open`] chooses the sink by the target's name. Every sink survives damaged frames (they are counted), says which
//! file failed and how far it got when a disk is full, and replaces nothing unless asked to.

mod appended;
mod error;
mod folder;
mod mcap;
mod mjpeg;
mod mp4;
mod output;
mod stills;
mod y4m;

use crate::subscribe::CaptureRange;
use appended::{Appended, Flushing};
pub use error::SinkError;
use folder::Folder;
use lumenbus_frame::{Codec, EncodedFrame, FrameId, Gap, GapReason, StreamId};
use mcap::Mcap;
use mjpeg::Mjpeg;
use mp4::Mp4;
use output::Output;
use std::io::Write;
use std::path::{Path, PathBuf};
use y4m::Y4m;

/// Takes frames of one or several streams; each stream's frames and gaps come in its order.
pub trait Sink: Send {
    /// Takes one frame.
    ///
    /// A frame that cannot be decoded where the form needs it is counted, not an error; after an error the
    /// sink may be finished, nothing else.
    fn frame(&mut self, stream: &StreamId, id: FrameId, frame: &EncodedFrame) -> Result<(), SinkError>;

    /// Takes note that frames are missing, or were not sent because they equal the one before (`repeated`).
    fn gap(&mut self, stream: &StreamId, gap: &Gap) -> Result<(), SinkError>;

    /// The stream's next frame is not behind the last one: keyframes are being played backwards.
    fn turn(&mut self, _stream: &StreamId) {}

    /// Writes what is held back, closes everything and says what was written.
    fn finish(self: Box<Self>) -> Result<SinkReport, SinkError>;
}

/// What a sink did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SinkReport {
    /// Where it wrote.
    pub target: String,
    /// Frames or pictures written.
    pub frames: u64,
    /// Files written.
    pub files: u64,
    /// Bytes written.
    pub bytes: u64,
    /// Gaps it was told of.
    pub gaps: u64,
    /// Frames missing in them, where that is known.
    pub missing: u64,
    /// Frames it got but could not decode, or not begin with.
    pub undecodable: u64,
    /// Frames it left out because what they are decoded from is missing.
    pub awaiting_keyframe: u64,
}

impl SinkReport {
    fn of(target: String) -> Self {
        Self { target, ..Self::default() }
    }

    fn note_gap(&mut self, gap: &Gap) {
        if gap.reason == GapReason::Repeated {
            return;
        }
        self.gaps += 1;
        self.missing = self.missing.saturating_add(gap.count().unwrap_or(0));
    }
}

/// What a folder's files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    /// Pictures: stills as they are, video decoded and written as JPEG.
    #[default]
    Pictures,
    /// Each frame's coded bytes as they are.
    Coded,
}

/// How to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SinkOptions {
    /// Whether existing files may be replaced.
    pub overwrite: bool,
    /// What a folder's files hold.
    pub form: Form,
    /// Quality of JPEG made from video, 1 to 100.
    pub jpeg_quality: u8,
    /// Pictures outside it are decoded, not written; players of a container begin with it.
    pub range: CaptureRange,
}

impl Default for SinkOptions {
    fn default() -> Self {
        Self { overwrite: false, form: Form::default(), jpeg_quality: 90, range: CaptureRange::default() }
    }
}

/// Opens the sink that a target's name asks for.
///
/// `-` is standard output. `.mp4`, `.h264`, `.h265`, `.mjpeg` and `.y4m` are files with one stream, `.mcap` holds any
/// number. A name without an extension, one that ends in `/`, and an existing folder are folders. Containers this build
/// does not write are refused by name, before anything is created.
pub fn open(target: &str, options: &SinkOptions) -> Result<Box<dyn Sink>, SinkError> {
    let path = Path::new(target);
    match kind(target)? {
        Kind::Stdout => Ok(to_writer(Box::new(std::io::stdout()))),
        Kind::Folder => Ok(Box::new(Folder::open(path, options)?)),
        Kind::Appended(codec) => open_appended(path, codec, options),
        Kind::Mp4 => Ok(Box::new(Mp4::create(path, options)?)),
        Kind::Mcap => Ok(Box::new(Mcap::new(Output::create(path, options)?)?)),
        Kind::Mjpeg => open_mjpeg(path, options),
        Kind::Y4m => Ok(Box::new(Y4m::new(Output::create(path, options)?, options.range))),
    }
}

/// Whether [`open`] knows the form; creates nothing.
pub fn check_form(target: &str) -> Result<(), SinkError> {
    kind(target).map(drop)
}

/// Whether the form can hold keyframes in any order: pictures, JPEG one after the other, and standard output.
#[must_use]
pub fn takes_backwards(target: &str) -> bool {
    matches!(kind(target), Ok(Kind::Stdout | Kind::Folder | Kind::Mjpeg))
}

/// Whether the form is decoded, or begins with a keyframe of its own: then what came before the first frame is needed.
#[must_use]
pub fn needs_preroll(target: &str) -> bool {
    matches!(kind(target), Ok(Kind::Folder | Kind::Mjpeg | Kind::Y4m | Kind::Mp4 | Kind::Mcap))
}

enum Kind {
    Stdout,
    Folder,
    Appended(Codec),
    Mp4,
    Mcap,
    Mjpeg,
    Y4m,
}

fn kind(target: &str) -> Result<Kind, SinkError> {
    let path = Path::new(target);
    if target == "-" {
        return Ok(Kind::Stdout);
    }
    if target.ends_with('/') || path.is_dir() {
        return Ok(Kind::Folder);
    }
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
    match extension.as_deref() {
        None if !target.is_empty() => Ok(Kind::Folder),
        Some("h264" | "264" | "avc") => Ok(Kind::Appended(Codec::H264)),
        Some("h265" | "265" | "hevc") => Ok(Kind::Appended(Codec::H265)),
        Some("mp4" | "m4v") => Ok(Kind::Mp4),
        Some("mcap") => Ok(Kind::Mcap),
        Some("mjpeg" | "mjpg") => Ok(Kind::Mjpeg),
        Some("y4m") => Ok(Kind::Y4m),
        other => Err(refusal(target, other)),
    }
}

/// Coded bytes of one stream into any writer, flushed after every frame.
#[must_use]
pub fn to_writer(writer: Box<dyn Write + Send>) -> Box<dyn Sink> {
    let output = Output::to(PathBuf::from("standard output"), writer);
    Box::new(Appended::new(output, None, Flushing::EveryFrame))
}

fn open_appended(path: &Path, takes: Codec, options: &SinkOptions) -> Result<Box<dyn Sink>, SinkError> {
    let output = Output::create(path, options)?;
    Ok(Box::new(Appended::new(output, Some(takes), Flushing::Buffered)))
}

fn open_mjpeg(path: &Path, options: &SinkOptions) -> Result<Box<dyn Sink>, SinkError> {
    let target = || path.display().to_string();
    let output = Output::create(path, options)?;
    let sink = Mjpeg::new(output, options);
    Ok(Box::new(sink.map_err(|error| SinkError::Form { target: target(), form: error.to_string() })?))
}

fn refusal(target: &str, extension: Option<&str>) -> SinkError {
    let form = match extension {
        None => "an empty name".to_owned(),
        Some(container @ ("mkv" | "mov" | "avi" | "webm")) => format!("the container .{container}"),
        Some(still @ ("jpg" | "jpeg" | "png" | "webp")) => {
            format!("a single .{still} (end the name with / for a folder of pictures)")
        }
        Some(other) => format!("a file .{other} (end the name with / if a folder is meant)"),
    };
    SinkError::Form { target: target.to_owned(), form }
}

/// Holds a file to the first stream that comes.
#[derive(Default)]
struct OnlyStream(Option<StreamId>);

impl OnlyStream {
    fn check(&mut self, stream: &StreamId, target: &str) -> Result<(), SinkError> {
        let first = self.0.get_or_insert_with(|| stream.clone());
        if first == stream {
            return Ok(());
        }
        let (first, second) = (Box::new(first.clone()), Box::new(stream.clone()));
        Err(SinkError::SecondStream { target: target.to_owned(), first, second })
    }

    /// The stream; only asked for behind a successful check.
    fn boxed(&self) -> Box<StreamId> {
        Box::new(self.0.clone().expect("a picture comes from a checked frame"))
    }
}

#[cfg(test)]
mod tests;
