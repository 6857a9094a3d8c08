//! The one runtime that all cameras share.

use std::io;
use std::sync::{Mutex, PoisonError};
use tokio::runtime::{Builder, Handle, Runtime};

/// Hundreds of cameras of a few Mbit/s each need no more.
const THREADS: usize = 2;

/// Started with the first camera, and never stopped: the next one may come at any time.
pub(super) fn handle() -> io::Result<Handle> {
    static RUNTIME: Mutex<Option<Runtime>> = Mutex::new(None);
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(runtime) = &*runtime {
        return Ok(runtime.handle().clone());
    }
    let new = Builder::new_multi_thread().worker_threads(THREADS).thread_name("cameras").enable_all().build()?;
    Ok(runtime.insert(new).handle().clone())
}
