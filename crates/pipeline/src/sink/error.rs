//! What can go wrong while writing.

use lumenbus_codec::CodecError;
use lumenbus_frame::{Codec, Dimensions, StreamId};
use std::path::PathBuf;

/// The forms that work, for messages.
pub(super) const WORKS: &str = "a folder, .mp4, .mcap, .h264, .h265, .mjpeg, .y4m, or - for standard output";

/// A sink could not be opened or could not go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SinkError {
    /// The file is there already.
    #[error("{} exists; pass --overwrite to replace it, or choose another path", path.display())]
    Exists {
        /// The target.
        path: PathBuf,
    },
    /// The folder is there already and holds something.
    #[error("the folder {} is not empty; pass --overwrite to write into it, or choose another path", path.display())]
    NotEmpty {
        /// The target.
        path: PathBuf,
    },
    /// No sink writes this form.
    #[error("{target}: {form} cannot be written by this build; what works: {WORKS}")]
    Form {
        /// As given.
        target: String,
        /// What it asks for.
        form: String,
    },
    /// A second stream came to a sink that holds one.
    #[error(
        "{target} holds one stream and has {first}; {second} came too. \
         Name one camera with --camera, or write into a folder"
    )]
    SecondStream {
        /// The target.
        target: String,
        /// The stream it holds.
        first: Box<StreamId>,
        /// The one that came.
        second: Box<StreamId>,
    },
    /// A frame of a codec that the form cannot hold.
    #[error("{target} holds {takes} only, and {stream} is {codec}; write into a folder, .mjpeg or .y4m instead")]
    WrongCodec {
        /// The target.
        target: String,
        /// The stream.
        stream: Box<StreamId>,
        /// Its codec.
        codec: Codec,
        /// What the form holds.
        takes: Codec,
    },
    /// A frame of a codec that a container cannot hold.
    #[error("{target} holds {takes}, and {stream} is {codec}; write {instead} instead")]
    Uncontained {
        /// The target.
        target: String,
        /// The stream.
        stream: Box<StreamId>,
        /// Its codec.
        codec: Codec,
        /// What the container holds.
        takes: &'static str,
        /// The forms that work.
        instead: &'static str,
    },
    /// A container could not be written as it should.
    #[error("{} could not be written", path.display())]
    Container {
        /// The target.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The picture size changed where it cannot.
    #[error(
        "{target} holds pictures of one size: {stream} changed from {before} to {after}. \
         Write into a folder, or start a new file there"
    )]
    Resized {
        /// The target.
        target: String,
        /// The stream.
        stream: Box<StreamId>,
        /// Size at the beginning.
        before: Dimensions,
        /// Size now.
        after: Dimensions,
    },
    /// The stream can't be turned into what the form holds.
    #[error("{stream} cannot be written as {form}")]
    Codec {
        /// The stream.
        stream: Box<StreamId>,
        /// What it should become.
        form: &'static str,
        /// Why.
        #[source]
        source: CodecError,
    },
    /// Something on the way would lead out of the folder.
    #[error("{} is a link or a file; remove it, so that pictures stay inside their folder", path.display())]
    Leaves {
        /// The path.
        path: PathBuf,
    },
    /// The target could not be made.
    #[error("cannot create {}; check that its folder exists and may be written", path.display())]
    Create {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The disk is full, or the reader of a pipe is gone, or the device failed.
    #[error("writing {} failed after {bytes} bytes; what is written is kept", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// Bytes that went in before.
        bytes: u64,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}
