//! Which APIs and versions this broker speaks, and how their requests are laid out.
//!
//! An API is listed here only when all of it works. Versions stop before what is missing: topic
//! ids (Produce 13, Fetch 13, OffsetCommit and OffsetFetch 10).

mod admin;
mod groups;
mod txn;

use kafka_protocol::messages::ApiKey;

use super::shape::{Field, Flexible, Kind, always, since};

/// One API: its version range and the layout of its requests.
#[derive(Debug)]
pub(crate) struct Api {
    /// The API.
    pub(crate) key: ApiKey,
    /// Lowest version a client is told about.
    pub(crate) advertised_min: i16,
    /// Lowest version that is understood.
    pub(crate) min: i16,
    /// Highest version.
    pub(crate) max: i16,
    /// First version with compact lengths and tagged fields.
    flexible_since: i16,
    /// Layout of the request body.
    pub(crate) layout: &'static [Field],
}

impl Api {
    /// Whether requests of `version` have compact lengths and tagged fields.
    pub(crate) fn flexible(&self, version: i16) -> Flexible {
        if version >= self.flexible_since { Flexible::Yes } else { Flexible::No }
    }

    /// Whether the response header of `version` ends in tagged fields. Never for ApiVersions: a
    /// client reads it before it knows what the broker speaks (KIP-511).
    pub(crate) fn tagged_response_header(&self, version: i16) -> Flexible {
        match self.key {
            ApiKey::ApiVersions => Flexible::No,
            _ => self.flexible(version),
        }
    }
}

/// The API with this key, when it is spoken here.
pub(crate) fn find(key: i16) -> Option<&'static Api> {
    APIS.iter().find(|api| api.key as i16 == key)
}

const fn api(key: ApiKey, versions: (i16, i16), flexible_since: i16, layout: &'static [Field]) -> Api {
    Api { key, advertised_min: versions.0, min: versions.0, max: versions.1, flexible_since, layout }
}

/// Everything the broker speaks; ApiVersions answers from this table.
pub(crate) static APIS: &[Api] = &[
    Api {
        // librdkafka silently drops compression unless Produce reaches down to version 0; message
        // formats 0 and 1 are gone, so lower versions are still turned away (as Kafka 4 does).
        advertised_min: 0,
        ..api(ApiKey::Produce, (3, 12), 9, PRODUCE)
    },
    api(ApiKey::Fetch, (4, 12), 12, FETCH),
    api(ApiKey::ListOffsets, (1, 10), 6, LIST_OFFSETS),
    api(ApiKey::Metadata, (0, 13), 9, admin::METADATA),
    api(ApiKey::OffsetCommit, (2, 9), 8, groups::OFFSET_COMMIT),
    api(ApiKey::OffsetFetch, (1, 9), 6, groups::OFFSET_FETCH),
    api(ApiKey::FindCoordinator, (0, 6), 3, groups::FIND_COORDINATOR),
    api(ApiKey::JoinGroup, (0, 9), 6, groups::JOIN_GROUP),
    api(ApiKey::Heartbeat, (0, 4), 4, groups::HEARTBEAT),
    api(ApiKey::LeaveGroup, (0, 5), 4, groups::LEAVE_GROUP),
    api(ApiKey::SyncGroup, (0, 5), 4, groups::SYNC_GROUP),
    api(ApiKey::DescribeGroups, (0, 6), 5, groups::DESCRIBE_GROUPS),
    api(ApiKey::ListGroups, (0, 5), 3, groups::LIST_GROUPS),
    api(ApiKey::DeleteGroups, (0, 2), 2, groups::DELETE_GROUPS),
    api(ApiKey::OffsetDelete, (0, 0), i16::MAX, groups::OFFSET_DELETE),
    api(ApiKey::ApiVersions, (0, 3), 3, API_VERSIONS),
    api(ApiKey::CreateTopics, (2, 7), 5, admin::CREATE_TOPICS),
    api(ApiKey::DeleteTopics, (1, 6), 4, admin::DELETE_TOPICS),
    // Higher versions belong to KIP-890's second part, which needs the feature transaction.version.
    api(ApiKey::InitProducerId, (0, 4), 2, txn::INIT_PRODUCER_ID),
    api(ApiKey::AddPartitionsToTxn, (0, 3), 3, txn::ADD_PARTITIONS),
    api(ApiKey::AddOffsetsToTxn, (0, 3), 3, txn::ADD_OFFSETS),
    api(ApiKey::EndTxn, (0, 3), 3, txn::END),
    api(ApiKey::TxnOffsetCommit, (0, 3), 3, txn::OFFSET_COMMIT),
    api(ApiKey::DescribeTransactions, (0, 0), 0, txn::DESCRIBE),
    api(ApiKey::ListTransactions, (0, 1), 0, txn::LIST),
    api(ApiKey::OffsetForLeaderEpoch, (2, 4), 4, LEADER_EPOCH),
    api(ApiKey::DescribeConfigs, (1, 4), 4, admin::DESCRIBE_CONFIGS),
    api(ApiKey::CreatePartitions, (0, 3), 2, admin::CREATE_PARTITIONS),
    api(ApiKey::DeleteRecords, (0, 2), 2, admin::DELETE_RECORDS),
    api(ApiKey::AlterConfigs, (0, 2), 2, admin::ALTER_CONFIGS),
    api(ApiKey::IncrementalAlterConfigs, (0, 1), 1, admin::INCREMENTAL_ALTER_CONFIGS),
    api(ApiKey::ListConfigResources, (0, 1), 0, admin::LIST_CONFIG_RESOURCES),
    api(ApiKey::DescribeTopicPartitions, (0, 0), 0, admin::DESCRIBE_TOPIC_PARTITIONS),
    api(ApiKey::DescribeLogDirs, (1, 4), 2, admin::DESCRIBE_LOG_DIRS),
    api(ApiKey::DescribeProducers, (0, 0), 0, admin::DESCRIBE_PRODUCERS),
    api(ApiKey::ElectLeaders, (0, 2), 2, admin::ELECT_LEADERS),
    api(ApiKey::AlterPartitionReassignments, (0, 1), 0, admin::ALTER_REASSIGNMENTS),
    api(ApiKey::ListPartitionReassignments, (0, 0), 0, admin::LIST_REASSIGNMENTS),
    api(ApiKey::DescribeClientQuotas, (0, 1), 1, admin::DESCRIBE_CLIENT_QUOTAS),
    api(ApiKey::DescribeAcls, (1, 3), 2, admin::DESCRIBE_ACLS),
    api(ApiKey::CreateAcls, (1, 3), 2, admin::ALTER_ACLS),
    api(ApiKey::DeleteAcls, (1, 3), 2, admin::ALTER_ACLS),
    api(ApiKey::DescribeCluster, (0, 2), 0, admin::DESCRIBE_CLUSTER),
];

const I8: Kind = Kind::Fixed(1);
const I16: Kind = Kind::Fixed(2);
const I32: Kind = Kind::Fixed(4);
const I64: Kind = Kind::Fixed(8);

const PRODUCE: &[Field] = &[
    always(Kind::Str),
    always(I16),
    always(I32),
    always(Kind::Array(&[always(Kind::Str), always(Kind::Array(&[always(I32), always(Kind::Bytes)]))])),
];

const FETCH: &[Field] = &[
    always(I32),
    always(I32),
    always(I32),
    always(I32),
    always(I8),
    since(7, I32),
    since(7, I32),
    always(Kind::Array(&[
        always(Kind::Str),
        always(Kind::Array(&[always(I32), since(9, I32), always(I64), since(12, I32), since(5, I64), always(I32)])),
    ])),
    since(7, Kind::Array(&[always(Kind::Str), always(Kind::FixedArray(4))])),
    since(11, Kind::Str),
];

const LIST_OFFSETS: &[Field] = &[
    always(I32),
    since(2, I8),
    always(Kind::Array(&[always(Kind::Str), always(Kind::Array(&[always(I32), since(4, I32), always(I64)]))])),
    since(10, I32),
];

const API_VERSIONS: &[Field] = &[since(3, Kind::Str), since(3, Kind::Str)];

const LEADER_EPOCH: &[Field] = &[
    since(3, I32),
    always(Kind::Array(&[always(Kind::Str), always(Kind::Array(&[always(I32), always(I32), always(I32)]))])),
];
