//! The APIs of transactional producers.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::{BadRequest, Header};
use crate::server::Server;
use crate::server::access::Peer;
use crate::server::handlers::{txn, txn_offsets};
use crate::server::wire::Reply;

/// Answers them; none of them waits for more than a disk.
pub(super) fn transact(server: &Server, peer: &Peer, header: &Header, body: Bytes) -> Result<Reply, BadRequest> {
    let version = header.version;
    match header.api.key {
        ApiKey::InitProducerId => header.reply(&txn::init_producer_id(server, peer, &header.decode(body)?, version)),
        ApiKey::AddPartitionsToTxn => header.reply(&txn::add_partitions(server, peer, &header.decode(body)?, version)),
        ApiKey::AddOffsetsToTxn => header.reply(&txn::add_offsets(server, peer, &header.decode(body)?, version)),
        ApiKey::TxnOffsetCommit => header.reply(&txn_offsets::commit(server, peer, header.decode(body)?)),
        ApiKey::EndTxn => header.reply(&txn::end(server, peer, &header.decode(body)?, version)),
        ApiKey::DescribeTransactions => header.reply(&txn::describe(server, peer, &header.decode(body)?)),
        ApiKey::ListTransactions => header.reply(&txn::list(server, peer, &header.decode(body)?)),
        key => Err(BadRequest::UnknownApi { key: key as i16 }),
    }
}
