//! What can be wrong with a fleet and its cameras.

use lumenbus_bus::BusError;
use lumenbus_frame::{CameraId, FleetName};
use lumenbus_source::SourceError;
use std::sync::Arc;

/// Why a camera was refused, or did not end cleanly.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum FleetError {
    /// Two cameras of one id, or two streams of one name in a camera; the first counts.
    #[error(
        "camera {camera} is there twice; give each camera an id of its own, or each of its streams a name of its own"
    )]
    Duplicate {
        /// The id.
        camera: CameraId,
    },
    /// No camera of this id runs.
    #[error("there is no camera {camera} here, or it is not enabled")]
    Unknown {
        /// The id.
        camera: CameraId,
    },
    /// More cameras than one process runs.
    #[error("more than {limit} cameras; spread them over several processes")]
    TooMany {
        /// Most cameras of a fleet.
        limit: usize,
    },
    /// The source can't be one.
    #[error("camera {camera}: {source}")]
    Source {
        /// The camera.
        camera: CameraId,
        /// What is wrong with it.
        #[source]
        source: Arc<SourceError>,
    },
    /// The system gave no thread.
    #[error("camera {camera}: cannot start its thread; check the limits of processes and memory")]
    Thread {
        /// The camera.
        camera: CameraId,
        /// What the system says.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The other nodes of a shared fleet can't be heard.
    #[error("the fleet {fleet} cannot be shared: {source}")]
    Share {
        /// The fleet.
        fleet: FleetName,
        /// Why not.
        #[source]
        source: Arc<BusError>,
    },
    /// The system gave no thread.
    #[error("the fleet {fleet} cannot be shared: no thread; check the limits of processes and memory")]
    ShareThread {
        /// The fleet.
        fleet: FleetName,
        /// What the system says.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The fleet was finished.
    #[error("the cameras are being stopped")]
    Finished,
    /// It was stopped before its first frame.
    #[error("camera {camera} never gave a frame: {reason}")]
    NeverLive {
        /// The camera.
        camera: CameraId,
        /// Why not.
        reason: Arc<str>,
    },
    /// Its thread is held up, most likely by a source that does not answer.
    #[error("camera {camera} did not stop in time; its stream has no end in the log")]
    Stuck {
        /// The camera.
        camera: CameraId,
    },
    /// Its stream could not be ended.
    #[error("camera {camera}: {source}")]
    Bus {
        /// The camera.
        camera: CameraId,
        /// Why not.
        #[source]
        source: Arc<BusError>,
    },
}
