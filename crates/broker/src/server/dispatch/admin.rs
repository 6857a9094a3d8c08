//! The APIs with which a cluster is looked after.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::{BadRequest, Header};
use crate::server::Server;
use crate::server::access::Peer;
use crate::server::handlers::partitions;
use crate::server::wire::Reply;

/// Answers them; none of them waits.
pub(super) fn administer(server: &Server, peer: &Peer, header: &Header, body: Bytes) -> Result<Reply, BadRequest> {
    match header.api.key {
        ApiKey::CreatePartitions => header.reply(&partitions::create_partitions(server, peer, header.decode(body)?)),
        key => Err(BadRequest::UnknownApi { key: key as i16 }),
    }
}
