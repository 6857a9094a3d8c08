//! What keeps a broker from starting or stopping.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use crate::log::LogError;

/// Why the broker could not be started or stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; stop what uses it or choose another address with --listen")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The threads that serve connections cannot be started.
    #[error("cannot start the broker's threads: {source}")]
    Threads {
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The file that keeps producer ids unique cannot be read or written.
    #[error(
        "cannot use {path}, which keeps producer ids unique: {source}; write a number above all ids in use into it"
    )]
    ProducerIds {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: io::Error,
    },
    /// The log store.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A broker's thread ended by a panic; the logs recover as after a crash.
    #[error("the broker stopped unexpectedly; start it again to recover its logs")]
    Stopped,
}
