//! Ctrl-C and SIGTERM: the first finishes files and reports, the second aborts.

use crate::exit;
use crate::output::say;
use anyhow::Context as _;
use lumenbus_pipeline::Shutdown;
use std::io::IsTerminal as _;
use std::sync::Arc;

/// A shutdown that signals request.
pub(crate) fn shutdown(is_quiet: bool) -> anyhow::Result<Arc<Shutdown>> {
    let shutdown = Arc::new(Shutdown::default());
    let handler = Arc::clone(&shutdown);
    ctrlc::set_handler(move || stop(&handler, is_quiet)).context("cannot listen for Ctrl-C")?;
    Ok(shutdown)
}

/// Somebody wants the program to end; the second time at once.
pub(crate) fn stop(shutdown: &Shutdown, is_quiet: bool) {
    if shutdown.request() > 1 {
        std::process::exit(i32::from(exit::INTERRUPTED));
    }
    if !is_quiet {
        // On a terminal ^C stands at the end of the progress line.
        let line = if std::io::stderr().is_terminal() { "\n" } else { "" };
        say("INFO", &format!("{line}finishing; once more aborts"));
    }
}
