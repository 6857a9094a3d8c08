//! DescribeLogDirs: what lies in the data directory, and how much room there is.

use std::collections::BTreeMap;
use std::sync::Arc;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};

use super::{log_error, text};
use crate::log::Partition;
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};

/// The one directory there is, with the sizes of the partitions asked for.
pub(crate) fn describe_log_dirs(
    server: &Server,
    peer: &Peer,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if !server.allows(peer, Operation::Describe, Resource::Cluster) {
        return DescribeLogDirsResponse::default().with_error_code(ResponseError::ClusterAuthorizationFailed.code());
    }
    let path = server.store.data_dir();
    // Kafka tells the absolute path, and tools look it up by that.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let result = DescribeLogDirsResult::default().with_log_dir(text(path.display().to_string()));
    let result = match server.store.disk_space() {
        Ok((total, free)) => result.with_total_bytes(bytes(total)).with_usable_bytes(bytes(free)),
        Err(error) => result.with_error_code(log_error(&error).code()),
    };
    let topics = wanted(server, request).into_iter().map(|(name, logs)| {
        let partitions = logs.values().map(|log| {
            DescribeLogDirsPartition::default()
                .with_partition_index(log.index())
                .with_partition_size(bytes(log.size_bytes()))
        });
        DescribeLogDirsTopic::default().with_name(TopicName(text(name))).with_partitions(partitions.collect())
    });
    DescribeLogDirsResponse::default().with_results(vec![result.with_topics(topics.collect())])
}

/// All partitions, or those named that exist; each once.
fn wanted(server: &Server, request: DescribeLogDirsRequest) -> BTreeMap<String, BTreeMap<i32, Arc<Partition>>> {
    let mut found: BTreeMap<String, BTreeMap<i32, Arc<Partition>>> = BTreeMap::new();
    let mut add = |log: Arc<Partition>| drop(found.entry(log.topic().to_owned()).or_default().insert(log.index(), log));
    match request.topics {
        None => server.store.topics().iter().flat_map(|topic| topic.partitions()).for_each(add),
        Some(topics) => {
            for topic in topics {
                let logs = topic.partitions.iter().filter_map(|index| server.store.partition(&topic.topic, *index));
                logs.for_each(&mut add);
            }
        }
    }
    found
}

fn bytes(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
