//! What the tasks of all cameras share: limits, waits that end, and an end that is always told.

use crate::SourceError;
use crate::error::CameraFault;
use crate::live::queue::Queue;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// For each answer, and between two frames.
pub(super) const SILENCE: Duration = Duration::from_secs(10);
/// So many damaged frames in a row are no stream.
pub(super) const MAX_BAD_IN_A_ROW: u64 = 250;

/// Runs a camera's receiver, and ends the queue when that is over.
pub(super) async fn run(
    queue: Arc<Queue>,
    name: Arc<str>,
    receive: impl Future<Output = Result<Infallible, CameraFault>>,
) {
    let mut ending = Ending { queue, name, fault: Some(CameraFault::Defect) };
    ending.fault = match receive.await {
        Err(fault) => Some(fault),
        Ok(never) => match never {},
    };
}

/// Ends the queue however its task ends: after a panic too, nobody shall wait for frames that cannot come.
struct Ending {
    queue: Arc<Queue>,
    name: Arc<str>,
    fault: Option<CameraFault>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(fault) = self.fault.take() {
            self.queue.end(SourceError::Camera { name: Arc::clone(&self.name), fault });
        }
    }
}

/// Bounds every wait for the camera.
pub(super) async fn within<T>(action: &'static str, what: impl Future<Output = T>) -> Result<T, CameraFault> {
    until(Instant::now() + SILENCE, action, what).await
}

/// The same, since something that was [`SILENCE`] before `end`.
pub(super) async fn until<T>(
    end: Instant,
    action: &'static str,
    what: impl Future<Output = T>,
) -> Result<T, CameraFault> {
    timeout_at(end, what).await.map_err(|_| CameraFault::Silent { action, seconds: SILENCE.as_secs() })
}

/// Of what a camera says, the first line at most.
pub(super) fn shorten(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().filter(|char| !char.is_control()).take(200).collect()
}
