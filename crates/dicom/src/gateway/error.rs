//! What goes wrong between a gateway and its peers.

use super::dimse::CommandError;
use super::pdu::{PduError, Reject};
use std::path::PathBuf;

/// Why an association ended or did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GatewayError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}; choose another one with --listen")]
    Listen {
        /// As it was given.
        address: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// No connection to a peer.
    #[error("cannot connect to {peer}: {source}")]
    Connect {
        /// AE title and address.
        peer: String,
        /// What the system says.
        #[source]
        source: std::io::Error,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Io(#[from] std::io::Error),
    /// Nothing, or too little, came in the time there is.
    #[error("the peer was silent for too long while {waiting_for} was expected")]
    Silent {
        /// What was expected.
        waiting_for: &'static str,
    },
    /// The association took longer than one may.
    #[error("the association has reached its longest time")]
    TooLong,
    /// This side is ending.
    #[error("the gateway is stopping")]
    Stopping,
    /// Bytes that are no protocol data unit.
    #[error(transparent)]
    Pdu(#[from] PduError),
    /// Bytes that are no command.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A unit or message at the wrong time.
    #[error("the peer broke the protocol: {what}")]
    Protocol {
        /// How.
        what: &'static str,
    },
    /// The peer ended it.
    #[error("the peer aborted the association (source {origin}, reason {reason})")]
    Aborted {
        /// 0 its user, 2 its provider.
        origin: u8,
        /// PS3.8, table 9-26.
        reason: u8,
    },
    /// The peer wants no association.
    #[error("the peer rejected the association: {} ({})", .0.words(), if .0.is_for_now() { "for now" } else { "for good" })]
    Rejected(Reject),
    /// The peer takes none of the contexts that are needed.
    #[error("the peer does not take {what}")]
    Context {
        /// SOP class and transfer syntax.
        what: String,
    },
    /// A TLS file that is missing or is not what it should be.
    #[error("cannot use {} for TLS: {source}", path.display())]
    TlsFile {
        /// Which.
        path: PathBuf,
        /// What OpenSSL says.
        #[source]
        source: openssl::error::ErrorStack,
    },
    /// TLS cannot be set up.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] openssl::error::ErrorStack),
    /// The two sides do not agree on TLS.
    #[error("no TLS with the peer: {what}")]
    Handshake {
        /// What OpenSSL says.
        what: String,
    },
}
