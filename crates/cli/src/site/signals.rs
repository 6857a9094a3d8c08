//! Signals of a box: Ctrl-C and SIGTERM stop it, SIGHUP reads the settings again.

use crate::signals::stop;
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
            stop(&requests.shutdown, is_quiet);
        } else {
            requests.is_reload_asked.store(true, Ordering::Release);
        }
    }
}
