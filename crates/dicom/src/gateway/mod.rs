//! DIMSE peers on one side, Kafka on the other: a Store SCP that answers when Kafka has acknowledged, and Store SCUs that
//! are destinations of the topics.
//!
//! [`pdu`], [`dimse`] and [`file_meta`] are bytes only. [`Server`] accepts associations, a thread each; data sets go to
//! Kafka while they come, as the bytes they are, behind file meta information of the gateway's own. [`Forwarder`] is a
//! member of a consumer group and sends each object's own data set in its own transfer syntax. [`echo`] asks a peer
//! whether it is there. docs/design/dicom-gateway.md says why all of it is so.

pub mod dimse;
pub mod file_meta;
pub mod pdu;

#[cfg(feature = "kafka")]
mod association;
#[cfg(feature = "kafka")]
mod connection;
#[cfg(feature = "kafka")]
mod error;
#[cfg(feature = "kafka")]
mod forward;
#[cfg(feature = "kafka")]
mod scp;
#[cfg(feature = "kafka")]
mod scu;

#[cfg(feature = "kafka")]
pub use association::MAX_DATA_BYTES;
#[cfg(feature = "kafka")]
pub use connection::{ClientTls, ServerTls};
#[cfg(feature = "kafka")]
pub use error::GatewayError;
#[cfg(feature = "kafka")]
pub use forward::{ForwardConfig, ForwardStats, Forwarded, Forwarder};
#[cfg(feature = "kafka")]
pub use scp::{Heard, Server, ServerConfig, ServerStats};
#[cfg(feature = "kafka")]
pub use scu::{Calling, Peer, PeerError, echo};

/// Implementation Class UID: of a UUID of this project (PS3.5, annex B.2).
pub const IMPLEMENTATION_CLASS: &str = "2.25.51006992315768886763890912219410324589";
/// Implementation Version Name.
pub const IMPLEMENTATION_VERSION: &str = concat!("LUMENBUS_", env!("CARGO_PKG_VERSION"));
/// Verification SOP class.
pub const VERIFICATION: &str = "1.2.840.10008.1.1";

/// Whether objects of a SOP class are stored here: the storage classes of PS3.4, annexes B and GG, and private ones.
#[must_use]
pub fn is_storage(sop_class: &str) -> bool {
    /// Instances that are no part of a study, RT instructions, and protocols (PS3.6, table A-1).
    const OTHERS: [&str; 9] = [
        "1.2.840.10008.5.1.4.34.7",
        "1.2.840.10008.5.1.4.34.10",
        "1.2.840.10008.5.1.4.38.1",
        "1.2.840.10008.5.1.4.39.1",
        "1.2.840.10008.5.1.4.43.1",
        "1.2.840.10008.5.1.4.44.1",
        "1.2.840.10008.5.1.4.45.1",
        "1.2.840.10008.5.1.1.27",
        "1.2.840.10008.5.1.1.29",
    ];
    /// Everything of the standard itself.
    const STANDARD: &str = "1.2.840.10008.";
    sop_class.starts_with("1.2.840.10008.5.1.4.1.1.") || OTHERS.contains(&sop_class) || !sop_class.starts_with(STANDARD)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn storage_is_what_stores() {
        let check = |uid, expected| assert_eq!(is_storage(uid), expected, "{uid}");
        check("1.2.840.10008.5.1.4.1.1.7", true);
        check("1.2.840.10008.5.1.4.1.1.481.3", true);
        check("1.3.12.2.1107.5.9.1", true);
        check(VERIFICATION, false);
        check("1.2.840.10008.5.1.4.1.2.2.1", false);
        check("1.2.840.10008.5.1.4.31", false);
        check("1.2.840.10008.1.20.1", false);
    }
}
