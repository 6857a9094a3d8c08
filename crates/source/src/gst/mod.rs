//! Pipelines of GStreamer that end in `appsink`: `gst:PIPELINE`, in builds with the feature `gstreamer`.
//!
//! A pipeline is a text in the words of `gst-launch-1.0`. It can open any file and any address, so it is code: who may
//! write it may do what this program may. Nothing but the user's own command line and settings file is taken for one.
//!
//! Samples are turned into frames in the pipeline's own thread. Where its source is live, they wait in a bounded queue
//! that leaves out the rest of a GOP when it is full, and counts that; any other pipeline is made to wait.

mod address;

#[cfg(feature = "gstreamer")]
mod coding;
#[cfg(feature = "gstreamer")]
mod intake;
#[cfg(feature = "gstreamer")]
mod launch;
#[cfg(feature = "gstreamer")]
mod runner;
#[cfg(feature = "gstreamer")]
mod source;
#[cfg(feature = "gstreamer")]
mod time;

pub use address::GstPipeline;
pub(crate) use address::shown;
#[cfg(feature = "gstreamer")]
pub use source::GstSource;

use crate::{Source, SourceError, SourceOptions};

/// Starts a pipeline and waits for its first frame.
#[cfg(feature = "gstreamer")]
pub(crate) fn open(pipeline: &GstPipeline, options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    Ok(Box::new(GstSource::open(pipeline, options)?))
}

/// Refuses it by name.
#[cfg(not(feature = "gstreamer"))]
pub(crate) fn open(pipeline: &GstPipeline, _options: &SourceOptions) -> Result<Box<dyn Source>, SourceError> {
    Err(SourceError::Unsupported {
        name: pipeline.name(),
        what: "pipelines of GStreamer".to_owned(),
        remedy: "a build with the `gstreamer` feature can (cargo build --release -p lumenbus-cli --features gstreamer)",
    })
}
