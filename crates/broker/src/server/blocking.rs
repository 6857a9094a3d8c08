//! Work that syncs the disk before it is done must not hold up the connections that share its thread.

use tokio::task::block_in_place;

use crate::log::LogConfig;

/// Whether an append under these settings may wait for the disk. Handing a thread's other connections on costs more
/// than an append that does not.
pub(crate) fn syncs(config: &LogConfig) -> bool {
    config.flush_messages < i64::MAX || config.flush_ms < i64::MAX
}

/// Does `work`; where it may sync, other connections go on meanwhile.
pub(crate) fn blocking<T>(syncs: bool, work: impl FnOnce() -> T) -> T {
    if syncs { block_in_place(work) } else { work() }
}
