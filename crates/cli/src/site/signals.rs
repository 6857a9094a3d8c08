//! Signals of a box: Ctrl-C and SIGTERM stop it, SIGHUP reads the settings again.

use crate::exit;
use crate::output::say;
use anyhow::Context as _;
use lumenbus_pipeline::Shutdown;
use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::signal::unix::{Signal, SignalKind, signal};

/// What signals ask for.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) shutdown: Shutdown,
    is_reload_asked: AtomicBool,
}

impl Requests {
    /// Whether a reload was asked for since the last call.
    pub(crate) fn take_reload(&self) -> bool {
        self.is_reload_asked.swap(false, Ordering::AcqRel)
    }

    fn stop(&self, is_quiet: bool) {
        if self.shutdown.request() > 1 {
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
        if !is_quiet {
            // On a terminal ^C stands at the end of the line.
            let line = if std::io::stderr().is_terminal() { "\n" } else { "" };
            say("INFO", &format!("{line}finishing; once more aborts"));
        }
    }
}

/// Listens from now on, on a thread of its own.
pub(crate) fn listen(is_quiet: bool) -> anyhow::Result<Arc<Requests>> {
    let what = "cannot listen for signals";
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context(what)?;
    let signals = {
        let _guard = runtime.enter();
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        kinds.map(signal).into_iter().collect::<Result<Vec<_>, _>>().context(what)?
    };
    let [interrupt, terminate, hangup] = <[Signal; 3]>::try_from(signals).map_err(|_| anyhow::anyhow!("{what}"))?;
    let requests = Arc::new(Requests::default());
    let handler = Arc::clone(&requests);
    let wait = move || runtime.block_on(handle(&handler, interrupt, terminate, hangup, is_quiet));
    std::thread::Builder::new().name("signals".to_owned()).spawn(wait).context(what)?;
    Ok(requests)
}

async fn handle(requests: &Requests, mut interrupt: Signal, mut terminate: Signal, mut hangup: Signal, is_quiet: bool) {
    let had_terminal = std::io::stdin().is_terminal();
    loop {
        let is_stop = tokio::select! {
            _ = interrupt.recv() => true,
            _ = terminate.recv() => true,
            // A terminal that was closed sends this as well.
            _ = hangup.recv() => had_terminal && !std::io::stdin().is_terminal(),
        };
        if is_stop {
            requests.stop(is_quiet);
        } else {
            requests.is_reload_asked.store(true, Ordering::Release);
        }
    }
}
