//! Ctrl-C and SIGTERM: the first finishes files and reports, the second aborts.

use crate::exit;
use anyhow::Context as _;
use lumenbus_pipeline::Shutdown;
use std::sync::Arc;

/// A shutdown that signals request.
pub(crate) fn shutdown() -> anyhow::Result<Arc<Shutdown>> {
    let shutdown = Arc::new(Shutdown::default());
    let handler = Arc::clone(&shutdown);
    ctrlc::set_handler(move || {
        if handler.request() > 1 {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    })
    .context("cannot listen for Ctrl-C")?;
    Ok(shutdown)
}
