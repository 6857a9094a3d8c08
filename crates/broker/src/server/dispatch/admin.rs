//! The APIs with which a cluster is looked after.

use bytes::Bytes;
use kafka_protocol::messages::ApiKey;

use super::{BadRequest, Header};
use crate::server::Server;
use crate::server::access::Peer;
use crate::server::handlers::{
    acls, alter_configs, cluster, configs, log_dirs, metadata, partitions, producers, records, topics,
};
use crate::server::wire::Reply;

/// Answers them; none of them waits.
pub(super) fn administer(server: &Server, peer: &Peer, header: &Header, body: Bytes) -> Result<Reply, BadRequest> {
    let version = header.version;
    match header.api.key {
        ApiKey::CreateTopics => header.reply(&topics::create_topics(server, peer, &header.decode(body)?)),
        ApiKey::DeleteTopics => header.reply(&topics::delete_topics(server, peer, header.decode(body)?, version)),
        ApiKey::CreatePartitions => header.reply(&partitions::create_partitions(server, peer, header.decode(body)?)),
        ApiKey::DeleteRecords => header.reply(&records::delete_records(server, peer, header.decode(body)?)),
        ApiKey::DescribeConfigs => {
            header.reply(&configs::describe_configs(server, peer, header.decode(body)?, version))
        }
        ApiKey::AlterConfigs => header.reply(&alter_configs::alter_configs(server, peer, header.decode(body)?)),
        ApiKey::IncrementalAlterConfigs => {
            header.reply(&alter_configs::incremental_alter_configs(server, peer, header.decode(body)?))
        }
        ApiKey::ListConfigResources => {
            header.reply(&alter_configs::list_config_resources(server, peer, &header.decode(body)?, version))
        }
        _ => inspect(server, peer, header, body),
    }
}

/// Those that change nothing here.
fn inspect(server: &Server, peer: &Peer, header: &Header, body: Bytes) -> Result<Reply, BadRequest> {
    match header.api.key {
        ApiKey::DescribeCluster => header.reply(&cluster::describe_cluster(server, peer, &header.decode(body)?)),
        ApiKey::DescribeTopicPartitions => {
            header.reply(&metadata::describe_topic_partitions(server, peer, header.decode(body)?))
        }
        ApiKey::DescribeLogDirs => header.reply(&log_dirs::describe_log_dirs(server, peer, header.decode(body)?)),
        ApiKey::DescribeProducers => header.reply(&producers::describe_producers(server, peer, header.decode(body)?)),
        ApiKey::ElectLeaders => header.reply(&partitions::elect_leaders(server, peer, header.decode(body)?)),
        ApiKey::AlterPartitionReassignments => {
            header.reply(&partitions::alter_reassignments(server, peer, header.decode(body)?))
        }
        ApiKey::ListPartitionReassignments => {
            header.decode::<kafka_protocol::messages::ListPartitionReassignmentsRequest>(body)?;
            header.reply(&partitions::list_reassignments(server, peer))
        }
        ApiKey::DescribeAcls => {
            header.decode::<kafka_protocol::messages::DescribeAclsRequest>(body)?;
            header.reply(&acls::describe_acls())
        }
        ApiKey::CreateAcls => header.reply(&acls::create_acls(&header.decode(body)?)),
        ApiKey::DeleteAcls => header.reply(&acls::delete_acls(&header.decode(body)?)),
        ApiKey::DescribeClientQuotas => {
            header.decode::<kafka_protocol::messages::DescribeClientQuotasRequest>(body)?;
            header.reply(&acls::describe_client_quotas(server, peer))
        }
        key => Err(BadRequest::UnknownApi { key: key as i16 }),
    }
}
