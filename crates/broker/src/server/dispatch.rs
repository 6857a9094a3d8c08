//! From the bytes of a request to the handler of its API and back to bytes.

mod admin;
mod txn;

use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey, RequestKind};
use kafka_protocol::protocol::{Decodable, Encodable};

use super::Server;
use super::access::Peer;
use super::api::{self, Api};
use super::blocking::blocking;
use super::failure::Failure;
use super::handlers::produce::Produced;
use super::handlers::{cluster, fetch, group, groups, list_offsets, metadata, offset_fetch, offsets, produce};
use super::shape::{self, Flexible, Misshapen};
use super::wire::Reply;

/// Room for the response's length.
const LENGTH_BYTES: usize = 4;

/// Why a request ends its connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BadRequest {
    #[error("API {key} is not spoken here")]
    UnknownApi { key: i16 },
    #[error("{api:?} version {version} is not spoken here ({min} to {max} are)")]
    UnsupportedVersion { api: ApiKey, version: i16, min: i16, max: i16 },
    #[error("the request is misshapen: {0}")]
    Misshapen(Misshapen),
    #[error("the request's header is misshapen")]
    Header,
    #[error("{api:?} version {version} cannot be decoded: {reason}")]
    Undecodable { api: ApiKey, version: i16, reason: String },
    #[error("the answer to {api:?} version {version} cannot be encoded: {reason}")]
    Unencodable { api: ApiKey, version: i16, reason: String },
    #[error("a produce request without acknowledgement failed")]
    UnacknowledgedFailure,
}

/// A request's header, and where it stands in [`api::APIS`].
#[derive(Debug)]
pub(crate) struct Header {
    api: &'static Api,
    version: i16,
    correlation_id: i32,
    client_id: Option<String>,
}

/// What the bytes of a request turn out to be.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// A request whose body has the right shape.
    Request(Header, Bytes),
    /// ApiVersions of a version from the future, with its correlation id.
    FutureApiVersions(i32),
}

/// Reads the header and checks the body's shape. Allocates nothing but the client's name.
pub(crate) fn parse(mut bytes: Bytes) -> Result<Parsed, BadRequest> {
    let key = bytes.try_get_i16().map_err(|_| BadRequest::Header)?;
    let version = bytes.try_get_i16().map_err(|_| BadRequest::Header)?;
    let correlation_id = bytes.try_get_i32().map_err(|_| BadRequest::Header)?;
    let api = api::find(key).ok_or(BadRequest::UnknownApi { key })?;
    if !(api.min..=api.max).contains(&version) {
        if api.key == ApiKey::ApiVersions {
            return Ok(Parsed::FutureApiVersions(correlation_id));
        }
        return Err(BadRequest::UnsupportedVersion { api: api.key, version, min: api.min, max: api.max });
    }
    let client_id = client_id(&mut bytes)?;
    let flexible = api.flexible(version);
    if flexible == Flexible::Yes {
        let tags = shape::tagged_fields_len(&bytes).map_err(BadRequest::Misshapen)?;
        bytes.advance(tags);
    }
    shape::check(&bytes, api.layout, version, flexible).map_err(BadRequest::Misshapen)?;
    let header = Header { api, version, correlation_id, client_id };
    Ok(Parsed::Request(header, bytes))
}

fn client_id(bytes: &mut Bytes) -> Result<Option<String>, BadRequest> {
    let length = bytes.try_get_i16().map_err(|_| BadRequest::Header)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| BadRequest::Header)?;
    if bytes.len() < length {
        return Err(BadRequest::Header);
    }
    let name = bytes.split_to(length);
    Ok(Some(String::from_utf8_lossy(&name).into_owned()))
}

/// Answers one request; `None` when the client wants no answer.
pub(crate) async fn answer(server: &Server, peer: &Peer, bytes: Bytes) -> Result<Option<Reply>, BadRequest> {
    match parse(bytes)? {
        Parsed::FutureApiVersions(correlation_id) => {
            let mut buffer = BytesMut::zeroed(LENGTH_BYTES);
            buffer.put_i32(correlation_id);
            let response = cluster::unsupported_api_versions();
            encode(ApiKey::ApiVersions, 0, buffer, &response).map(Some)
        }
        Parsed::Request(header, body) => {
            let (api, began) = (header.api, Instant::now());
            server.requests.count(api, header.version);
            let answered = respond(server, peer, header, body).await;
            let is_failure = match &answered {
                Ok(reply) => reply.as_ref().is_some_and(Reply::is_failure),
                Err(_) => true,
            };
            server.requests.answered(api, began.elapsed(), is_failure);
            answered
        }
    }
}

async fn respond(server: &Server, peer: &Peer, header: Header, body: Bytes) -> Result<Option<Reply>, BadRequest> {
    match header.api.key {
        ApiKey::Produce => produced(server, peer, &header, body),
        ApiKey::Fetch => fetched(server, peer, &header, body).await.map(Some),
        ApiKey::JoinGroup | ApiKey::SyncGroup => grouped(server, peer, header, body).await.map(Some),
        key => blocking(server.syncs || may_wait(key), || at_once(server, peer, &header, body)).map(Some),
    }
}

/// Whether a request may wait for the disk whatever the settings of the broker are: a search by time reads, and a topic's
/// own settings may sync the end of a transaction, for which others of the same id wait.
fn may_wait(api: ApiKey) -> bool {
    matches!(
        api,
        ApiKey::ListOffsets
            | ApiKey::InitProducerId
            | ApiKey::AddPartitionsToTxn
            | ApiKey::AddOffsetsToTxn
            | ApiKey::TxnOffsetCommit
            | ApiKey::EndTxn
            | ApiKey::DescribeTransactions
            | ApiKey::ListTransactions
    )
}

fn produced(server: &Server, peer: &Peer, header: &Header, body: Bytes) -> Result<Option<Reply>, BadRequest> {
    let request = header.decode(body)?;
    match blocking(produce::syncs(server, &request), || produce::produce(server, peer, request, header.version)) {
        Produced::Answer(response) => header.reply(&response).map(Some),
        Produced::Silence => Ok(None),
        Produced::Hangup => Err(BadRequest::UnacknowledgedFailure),
    }
}

async fn fetched(server: &Server, peer: &Peer, header: &Header, body: Bytes) -> Result<Reply, BadRequest> {
    let response = fetch::fetch(server, peer, header.decode(body)?).await;
    let held = server.hold_for_answer(response.record_bytes());
    let is_failure = response.is_failure();
    let (head, slices) = response.encode(header.version, header.response_head());
    Ok(Reply::framed(head, slices).holding(held).failing(is_failure))
}

async fn grouped(server: &Server, peer: &Peer, mut header: Header, body: Bytes) -> Result<Reply, BadRequest> {
    if header.api.key == ApiKey::SyncGroup {
        let response = group::sync(server, peer, header.decode(body)?, header.version).await;
        return header.reply(&response);
    }
    let from = (header.version, header.client_id.take());
    let response = group::join(server, peer, header.decode(body)?, from).await;
    header.reply(&response)
}

/// The APIs that wait for nothing but the disk.
fn at_once(server: &Server, peer: &Peer, header: &Header, body: Bytes) -> Result<Reply, BadRequest> {
    let version = header.version;
    match header.api.key {
        ApiKey::ApiVersions => header.reply(&cluster::api_versions()),
        ApiKey::Metadata => header.reply(&metadata::metadata(server, peer, header.decode(body)?, version)),
        ApiKey::ListOffsets => header.reply(&list_offsets::list_offsets(server, peer, header.decode(body)?, version)),
        ApiKey::OffsetForLeaderEpoch => {
            let request = header.decode(body)?;
            header.reply(&list_offsets::offset_for_leader_epoch(server, peer, request))
        }
        ApiKey::FindCoordinator => {
            header.reply(&cluster::find_coordinator(server, peer, header.decode(body)?, version))
        }
        ApiKey::InitProducerId
        | ApiKey::AddPartitionsToTxn
        | ApiKey::AddOffsetsToTxn
        | ApiKey::TxnOffsetCommit
        | ApiKey::EndTxn
        | ApiKey::DescribeTransactions
        | ApiKey::ListTransactions => txn::transact(server, peer, header, body),
        ApiKey::Heartbeat => header.reply(&group::heartbeat(server, peer, &header.decode(body)?)),
        ApiKey::LeaveGroup => header.reply(&group::leave(server, peer, header.decode(body)?, version)),
        ApiKey::OffsetCommit => header.reply(&offsets::commit(server, peer, header.decode(body)?, version)),
        ApiKey::OffsetFetch => header.reply(&offset_fetch::fetch(server, peer, header.decode(body)?, version)),
        ApiKey::OffsetDelete => header.reply(&offsets::delete(server, peer, header.decode(body)?)),
        ApiKey::DescribeGroups => header.reply(&groups::describe_groups(server, peer, header.decode(body)?, version)),
        ApiKey::ListGroups => header.reply(&groups::list_groups(server, peer, &header.decode(body)?, version)),
        ApiKey::DeleteGroups => header.reply(&groups::delete_groups(server, peer, header.decode(body)?)),
        _ => admin::administer(server, peer, header, body),
    }
}

impl Header {
    pub(crate) fn decode<T: Decodable>(&self, mut body: Bytes) -> Result<T, BadRequest> {
        T::decode(&mut body, self.version).map_err(|error| BadRequest::Undecodable {
            api: self.api.key,
            version: self.version,
            reason: error.to_string(),
        })
    }

    /// Length (filled in later), correlation id and, in flexible versions, no tagged fields.
    fn response_head(&self) -> BytesMut {
        let mut buffer = BytesMut::zeroed(LENGTH_BYTES);
        buffer.put_i32(self.correlation_id);
        if self.api.tagged_response_header(self.version) == Flexible::Yes {
            buffer.put_u8(0);
        }
        buffer
    }

    fn reply<T: Encodable + Failure>(&self, body: &T) -> Result<Reply, BadRequest> {
        let reply = encode(self.api.key, self.version, self.response_head(), body)?;
        Ok(reply.failing(body.is_failure()))
    }
}

fn encode<T: Encodable>(api: ApiKey, version: i16, mut head: BytesMut, body: &T) -> Result<Reply, BadRequest> {
    body.encode(&mut head, version).map_err(|error| BadRequest::Unencodable {
        api,
        version,
        reason: error.to_string(),
    })?;
    Ok(Reply::framed(head, []))
}

/// Decodes a request of any supported API and throws it away: what the fuzz target drives.
pub(crate) fn decode_only(bytes: Bytes) -> Result<(), BadRequest> {
    let Parsed::Request(header, mut body) = parse(bytes)? else {
        return Ok(());
    };
    let decoded = RequestKind::decode(header.api.key, &mut body, header.version);
    decoded.map(drop).map_err(|error| BadRequest::Undecodable {
        api: header.api.key,
        version: header.version,
        reason: error.to_string(),
    })
}

#[cfg(test)]
#[path = "dispatch_tests.rs"]
mod tests;

#[cfg(test)]
mod hostile_tests;
