//! Why a viewer cannot be started.

use crate::tls::TlsError;
use std::net::SocketAddr;

/// Every message says what, on what, why, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewerError {
    /// The port is taken.
    #[error(
        "port {} on {} is in use{}; choose another with {flag}, for example {flag} {}:{}",
        listen.port(), listen.ip(), also_tried(*.tried), bracketed(*.listen), listen.port().wrapping_add(100).max(1_024)
    )]
    PortInUse {
        /// The address wanted.
        listen: SocketAddr,
        /// Further ports that were tried.
        tried: u16,
        /// The option that sets the address.
        flag: &'static str,
    },
    /// Another reason not to be able to listen.
    #[error("cannot listen on {listen}: {source}; set an address of this machine with {flag}")]
    Listen {
        /// The address wanted.
        listen: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
        /// The option that sets the address.
        flag: &'static str,
    },
    /// Everybody on the network would see the cameras.
    #[error("the viewer would listen on {listen} without a token; set one, or listen on 127.0.0.1")]
    TokenMissing {
        /// The address wanted.
        listen: SocketAddr,
    },
    /// Encryption cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// No thread for it.
    #[error("cannot start a thread for the viewer: {source}")]
    Thread {
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn also_tried(tried: u16) -> String {
    if tried == 0 { String::new() } else { format!(", as are the {tried} ports after it") }
}

fn bracketed(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(address) => address.ip().to_string(),
        SocketAddr::V6(address) => format!("[{}]", address.ip()),
    }
}
