//! Cameras on the network.
//!
//! All of them share one small runtime for the network; what they give waits in a bounded queue per camera
//! ([`Queue`](queue::Queue)) for the thread that reads the source. A source does not reconnect by itself: it ends with
//! an error, and who reads it decides when to open it again.

mod address;
pub(crate) mod capture;
mod http;
mod http_client;
mod multipart;
mod queue;
pub(crate) mod rtp;
mod rtp_jpeg;
mod rtsp;
mod runtime;
mod source;
mod task;

pub use address::{CameraAddress, Credentials, RtspTransport};
pub use multipart::{MultipartOutput, MultipartReader};
pub use rtp::{Depacketiser, RtpOutput, RtpPacket};
pub use source::LiveSource;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How often a thread that waits for a camera asks whether it shall go on.
pub(crate) const ASK: Duration = Duration::from_millis(100);

/// Asked while a source waits for a camera: whether to give up.
#[derive(Clone)]
pub struct Interrupt(Arc<dyn Fn() -> bool + Send + Sync>);

impl Interrupt {
    /// `is_requested` is asked about every tenth of a second.
    pub fn new(is_requested: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_requested))
    }

    pub(crate) fn is_requested(&self) -> bool {
        (self.0)()
    }
}

impl Default for Interrupt {
    /// Never.
    fn default() -> Self {
        Self::new(|| false)
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Interrupt")
    }
}
