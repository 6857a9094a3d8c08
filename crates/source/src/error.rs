//! What can go wrong with a source.

use lumenbus_frame::bitstream::BitstreamError;
use std::io;
use std::sync::Arc;

/// What is wrong with a camera on the network.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CameraFault {
    /// No connection.
    #[error("the camera cannot be reached: {source}")]
    Unreachable {
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It wants to know who asks.
    #[error("the camera asks for a user and a password; give them by --username and --password-file")]
    NeedsPassword,
    /// And does not accept the answer.
    #[error("the camera does not accept this user and password")]
    WrongPassword,
    /// It answers, but not with the stream.
    #[error("the camera answers {action} with status {status}; is the path right?")]
    Refused {
        /// What was asked of it.
        action: &'static str,
        /// Status code of RTSP or HTTP.
        status: u16,
    },
    /// Something other than the protocol demands.
    #[error("what the camera sends is not understood ({action}): {what}")]
    Protocol {
        /// While doing what.
        action: &'static str,
        /// At most 200 characters.
        what: String,
    },
    /// No stream that can be used.
    #[error("the camera offers no video in H.264, H.265 or JPEG; it offers {offered}")]
    NoVideo {
        /// What it does offer.
        offered: String,
    },
    /// Too long without an answer or a frame.
    #[error("the camera has given nothing for {seconds} s ({action})")]
    Silent {
        /// While waiting for what.
        action: &'static str,
        /// How long.
        seconds: u64,
    },
    /// Frames come, but none that decoding can begin at.
    #[error("no keyframe came within {seconds} s; streams with intra refresh only cannot be joined")]
    NoKeyframe {
        /// How long.
        seconds: u64,
    },
    /// Nothing but damage.
    #[error("the last {frames} frames were all damaged: {what}")]
    Garbage {
        /// In a row.
        frames: u64,
        /// The last one.
        what: &'static str,
    },
    /// The camera closed the connection.
    #[error("the camera has ended the stream")]
    Ended,
    /// What came from the camera was too much for this program.
    #[error("a defect in this program ended the reading of the camera; the program's error output says where")]
    Defect,
    /// Somebody asked to stop while it was being opened.
    #[error("stopped while waiting for its first frame")]
    Interrupted,
    /// GStreamer cannot make a pipeline of the text.
    #[error("GStreamer cannot make a pipeline of it: {what}")]
    NoPipeline {
        /// Why not, without secrets.
        what: String,
    },
    /// A pipeline gives something that is not read here.
    #[error("the pipeline gives {given}; put before appsink what makes one of these: {taken}")]
    Caps {
        /// Its caps, at most 300 characters.
        given: String,
        /// The caps that are read, and how to get them.
        taken: &'static str,
    },
    /// An element of a pipeline cannot go on.
    #[error("its element {element} says: {what}")]
    Element {
        /// The element's name.
        element: String,
        /// What it said, without secrets.
        what: String,
    },
    /// A pipeline gives another kind of frames than before.
    #[error("the pipeline has changed from {before} to {after}")]
    CodecChanged {
        /// So far.
        before: lumenbus_frame::Codec,
        /// From now on.
        after: lumenbus_frame::Codec,
    },
    /// The same pipeline ran before, and one of its elements does not let go.
    #[error("its last run has not stopped yet; one of its elements does not let go")]
    NotStopped,
    /// A device of this machine refuses.
    #[error("the device cannot be used: {source}; {remedy}")]
    Device {
        /// Why.
        #[source]
        source: io::Error,
        /// What to do.
        remedy: String,
    },
    /// A device of this machine that gives no frames, or none that can be read.
    #[error("the device gives {what}")]
    NoCapture {
        /// What it gives.
        what: String,
    },
    /// A device of this machine has not got what its address asks for.
    #[error("the device does not give {wish}; it offers {offered}")]
    NotOffered {
        /// Format, size and rate, as far as they are named.
        wish: String,
        /// What there is, at most 1000 characters.
        offered: String,
    },
    /// A device of this machine is gone.
    #[error("the device is gone; somebody may have unplugged it")]
    Unplugged,
    /// Threads for the network could not be started.
    #[error("the network cannot be used: {source}")]
    NoRuntime {
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// A source that cannot be opened or read, or a part of it that cannot be used.
///
/// `name` is the file (or specification) concerned; offsets are bytes from the beginning of that file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// The operating system refused.
    #[error("cannot {action} {name}: {source}")]
    Io {
        /// The file or folder.
        name: Arc<str>,
        /// What was tried: `open`, `read`, `list`.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The specification is not understood.
    #[error(
        "{spec:?} is not a source: {why}; give a file, a folder, a pattern such as 'shots/*.jpg', rtsp://HOST/PATH, \
         http://HOST/PATH, /dev/video0, or test:1920x1080@30"
    )]
    Specification {
        /// What was given.
        spec: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A format of a stream is not known, or what is said of it does not fit.
    #[error("the stream's format {format:?}: {why}")]
    Format {
        /// Its name, at most 32 characters.
        format: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Standard input is where somebody types.
    #[error(
        "standard input is a terminal; send a stream into it, such as `ffmpeg -i IN -f h264 - | lumenbus publish - …`"
    )]
    Terminal,
    /// A file of 0 bytes.
    #[error("{name} is empty")]
    Empty {
        /// The file.
        name: Arc<str>,
    },
    /// The content is of no known kind.
    #[error(
        "{name} is none of mp4, mov, h264, h265, mjpeg, y4m, avi, jpeg, png, webp, jp2 (it begins with {begins_with}); \
         convert it, for example to mp4 with H.264"
    )]
    NotRecognised {
        /// The file.
        name: Arc<str>,
        /// The first bytes in hexadecimal.
        begins_with: String,
    },
    /// A known format or codec that this build cannot read.
    #[error("{name}: this build cannot read {what}; {remedy}")]
    Unsupported {
        /// The file.
        name: Arc<str>,
        /// The format or codec by name.
        what: String,
        /// What can read it.
        remedy: &'static str,
    },
    /// Bytes that cannot be what the format demands.
    #[error("{name} is damaged at byte {offset}: {what}")]
    Malformed {
        /// The file.
        name: Arc<str>,
        /// Where.
        offset: u64,
        /// What was expected or found.
        what: &'static str,
    },
    /// The file ends before something it announced.
    #[error("{name} is cut short: {what} at byte {offset} needs {needed} bytes, the file ends at {length}")]
    Truncated {
        /// The file.
        name: Arc<str>,
        /// What is incomplete.
        what: &'static str,
        /// Where it begins.
        offset: u64,
        /// Bytes it has.
        needed: u64,
        /// Bytes the file has.
        length: u64,
    },
    /// Something larger than is ever loaded.
    #[error("{name}: {what} at byte {offset} has {bytes} bytes; the limit is {limit}")]
    TooLarge {
        /// The file.
        name: Arc<str>,
        /// What is too large.
        what: &'static str,
        /// Where it begins.
        offset: u64,
        /// Bytes it claims.
        bytes: u64,
        /// Most bytes that are accepted.
        limit: u64,
    },
    /// A coded picture that cannot be used.
    #[error("{name}, access unit {unit}: {source}")]
    Bitstream {
        /// The file.
        name: Arc<str>,
        /// Number of the access unit in decode order, from 0.
        unit: u64,
        /// What is wrong with it.
        #[source]
        source: BitstreamError,
    },
    /// A stream that never says what it is.
    #[error(
        "{name} holds no parameter sets within its first {searched_bytes} bytes; without them no picture can be decoded"
    )]
    NoParameters {
        /// The file.
        name: Arc<str>,
        /// How far was looked.
        searched_bytes: u64,
    },
    /// A camera on the network that cannot be had, or is gone.
    #[error("{name}: {fault}")]
    Camera {
        /// Its address, without user and password.
        name: Arc<str>,
        /// What is wrong.
        #[source]
        fault: CameraFault,
    },
    /// A frame from a camera that arrived in part, or in a form that means nothing.
    #[error("{name}: a frame is lost: {what}")]
    Lost {
        /// The camera.
        name: Arc<str>,
        /// Why.
        what: &'static str,
    },
    /// Frames of a camera that were not taken in time.
    #[error("{name}: {frames} frames were left out up to a keyframe: they came faster than they were taken")]
    Overrun {
        /// The camera.
        name: Arc<str>,
        /// How many.
        frames: u64,
    },
    /// A folder or pattern without a usable picture.
    #[error("{name} holds no readable picture (jpg, png, webp, jp2); {broken} were broken")]
    NoPictures {
        /// The folder or pattern.
        name: Arc<str>,
        /// Pictures that were found but cannot be read.
        broken: u64,
    },
}

impl SourceError {
    /// Whether a camera asks for a password or does not accept the one it got.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Camera { fault: CameraFault::NeedsPassword | CameraFault::WrongPassword, .. })
    }
}
