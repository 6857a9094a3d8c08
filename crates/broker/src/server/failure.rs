//! Which answers tell their client that something was not done.

use kafka_protocol::messages::*;

/// An answer that may hold errors: of the whole request, or of a part of it.
pub(crate) trait Failure {
    /// Whether it holds one. Some are part of a protocol, such as the first answer to a new group member.
    fn is_failure(&self) -> bool;
}

macro_rules! failures {
    ($($response:ident: |$answer:ident| $failed:expr;)*) => {
        $(impl Failure for $response {
            fn is_failure(&self) -> bool {
                let $answer = self;
                $failed
            }
        })*
    };
}

/// Whether an error code of a part stands for one.
macro_rules! any {
    ($parts:expr) => {
        $parts.iter().any(|part| part.error_code != 0)
    };
    ($topics:expr, $parts:ident) => {
        $topics.iter().any(|topic| any!(topic.$parts))
    };
}

failures! {
    AddOffsetsToTxnResponse: |answer| answer.error_code != 0;
    AddPartitionsToTxnResponse: |answer| answer.results_by_topic_v3_and_below.iter().any(|topic| {
        topic.results_by_partition.iter().any(|partition| partition.partition_error_code != 0)
    });
    AlterConfigsResponse: |answer| any!(answer.responses);
    AlterPartitionReassignmentsResponse: |answer| answer.error_code != 0 || any!(answer.responses, partitions);
    ApiVersionsResponse: |answer| answer.error_code != 0;
    CreateAclsResponse: |answer| any!(answer.results);
    CreatePartitionsResponse: |answer| any!(answer.results);
    CreateTopicsResponse: |answer| any!(answer.topics);
    DeleteAclsResponse: |answer| any!(answer.filter_results);
    DeleteGroupsResponse: |answer| any!(answer.results);
    DeleteRecordsResponse: |answer| any!(answer.topics, partitions);
    DeleteTopicsResponse: |answer| any!(answer.responses);
    DescribeAclsResponse: |answer| answer.error_code != 0;
    DescribeClientQuotasResponse: |answer| answer.error_code != 0;
    DescribeClusterResponse: |answer| answer.error_code != 0;
    DescribeConfigsResponse: |answer| any!(answer.results);
    DescribeGroupsResponse: |answer| any!(answer.groups);
    DescribeLogDirsResponse: |answer| answer.error_code != 0 || any!(answer.results);
    DescribeProducersResponse: |answer| any!(answer.topics, partitions);
    DescribeTopicPartitionsResponse: |answer| any!(answer.topics) || any!(answer.topics, partitions);
    DescribeTransactionsResponse: |answer| any!(answer.transaction_states);
    ElectLeadersResponse: |answer| {
        answer.error_code != 0 || any!(answer.replica_election_results, partition_result)
    };
    EndTxnResponse: |answer| answer.error_code != 0;
    FindCoordinatorResponse: |answer| answer.error_code != 0 || any!(answer.coordinators);
    HeartbeatResponse: |answer| answer.error_code != 0;
    IncrementalAlterConfigsResponse: |answer| any!(answer.responses);
    InitProducerIdResponse: |answer| answer.error_code != 0;
    JoinGroupResponse: |answer| answer.error_code != 0;
    LeaveGroupResponse: |answer| answer.error_code != 0 || any!(answer.members);
    ListConfigResourcesResponse: |answer| answer.error_code != 0;
    ListGroupsResponse: |answer| answer.error_code != 0;
    ListOffsetsResponse: |answer| any!(answer.topics, partitions);
    ListPartitionReassignmentsResponse: |answer| answer.error_code != 0;
    ListTransactionsResponse: |answer| answer.error_code != 0;
    MetadataResponse: |answer| answer.error_code != 0 || any!(answer.topics) || any!(answer.topics, partitions);
    OffsetCommitResponse: |answer| any!(answer.topics, partitions);
    OffsetDeleteResponse: |answer| answer.error_code != 0 || any!(answer.topics, partitions);
    OffsetFetchResponse: |answer| {
        let groups = &answer.groups;
        answer.error_code != 0
            || any!(answer.topics, partitions)
            || any!(groups)
            || groups.iter().any(|group| any!(group.topics, partitions))
    };
    OffsetForLeaderEpochResponse: |answer| any!(answer.topics, partitions);
    ProduceResponse: |answer| any!(answer.responses, partition_responses);
    SyncGroupResponse: |answer| answer.error_code != 0;
    TxnOffsetCommitResponse: |answer| any!(answer.topics, partitions);
}
