//! Fetch: reads the logs, and waits for them when there is too little to read.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use tokio::time::{Instant, timeout_at};

use super::NO_OFFSET;
use super::fetch_response::{FetchBody, FetchedPartition, FetchedTopic};
use crate::log::{FirstBatch, Isolation, LogError, Partition, Waiter, Watch};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};

const NO_EPOCH: i32 = -1;

/// One partition a client wants to read.
struct Want {
    request: FetchPartition,
    log: Result<Arc<Partition>, ResponseError>,
}

/// What one look at the logs found.
struct Look {
    partitions: Vec<FetchedPartition>,
    bytes: usize,
    has_error: bool,
}

/// Answers a fetch once `min_bytes` are there, something is wrong, or `max_wait_ms` is over.
///
/// Sessions are not kept: a client that asks for one is told session 0, which means that every
/// fetch names all its partitions (KIP-227).
pub(crate) async fn fetch(server: &Server, peer: &Peer, request: FetchRequest) -> FetchBody {
    let isolation = isolation(request.isolation_level);
    if request.session_id != 0 && request.session_epoch > 0 {
        return FetchBody::failed(ResponseError::FetchSessionIdNotFound, isolation);
    }
    let budget = positive(request.max_bytes).min(server.limits.max_fetch_bytes).min(server.room_for_answer());
    let patience =
        Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)).min(server.limits.max_fetch_wait);
    let min_bytes = positive(request.min_bytes).min(budget);
    let wants = wanted(server, peer, &request.topics);
    let found =
        match Some(look(&wants, budget, isolation)).filter(|found| patience.is_zero() || found.is_enough(min_bytes)) {
            Some(found) => found,
            None => wait(server, &wants, (budget, min_bytes, isolation), Instant::now() + patience).await,
        };
    FetchBody { error: None, isolation, topics: by_topic(request.topics, found.partitions) }
}

/// What a request's number for it means.
pub(crate) fn isolation(level: i8) -> Isolation {
    const READ_COMMITTED: i8 = 1;
    if level == READ_COMMITTED { Isolation::Committed } else { Isolation::Uncommitted }
}

impl Look {
    fn is_enough(&self, min_bytes: usize) -> bool {
        self.has_error || self.bytes >= min_bytes
    }

    fn missing(&self, min_bytes: usize) -> u64 {
        u64::try_from(min_bytes.saturating_sub(self.bytes)).unwrap_or(u64::MAX)
    }
}

fn positive(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

fn wanted(server: &Server, peer: &Peer, topics: &[FetchTopic]) -> Vec<Want> {
    let mut wants = Vec::with_capacity(topics.iter().map(|topic| topic.partitions.len()).sum());
    for topic in topics {
        let allowed = server.allows(peer, Operation::Read, Resource::Topic(&topic.topic));
        for request in &topic.partitions {
            let log = match server.store.partition(&topic.topic, request.partition) {
                _ if !allowed => Err(ResponseError::TopicAuthorizationFailed),
                None => Err(ResponseError::UnknownTopicOrPartition),
                Some(log) => check_epoch(&log, request.current_leader_epoch).map(|()| log),
            };
            let request = request.clone();
            wants.push(Want { request, log });
        }
    }
    wants
}

/// A client with older or newer metadata than ours is told so (KIP-320).
pub(crate) fn check_epoch(log: &Partition, epoch: i32) -> Result<(), ResponseError> {
    if epoch == NO_EPOCH || epoch == log.leader_epoch() {
        Ok(())
    } else if epoch < log.leader_epoch() {
        Err(ResponseError::FencedLeaderEpoch)
    } else {
        Err(ResponseError::UnknownLeaderEpoch)
    }
}

/// Waits with the waiter armed before each look, so that no append between looking and waiting is
/// missed. It is armed with what the look before found missing; when a look finds something new,
/// that number was wrong and it looks again.
async fn wait(
    server: &Server,
    wants: &[Want],
    (budget, min_bytes, isolation): (usize, usize, Isolation),
    deadline: Instant,
) -> Look {
    let waiter = Waiter::new(1);
    let logs = wants.iter().filter_map(|want| want.log.as_ref().ok());
    let _watches: Vec<Watch> = logs.map(|log| log.watch(&waiter, isolation)).collect();
    let mut bytes_before = 0;
    let mut missing = u64::try_from(min_bytes).unwrap_or(u64::MAX);
    loop {
        waiter.rearm(missing);
        let found = look(wants, budget, isolation);
        if found.is_enough(min_bytes) || server.is_stopping() || Instant::now() >= deadline {
            return found;
        }
        missing = found.missing(min_bytes);
        if found.bytes != bytes_before {
            bytes_before = found.bytes;
            continue;
        }
        // A fetch that waits holds no records.
        drop(found);
        tokio::select! {
            _ = timeout_at(deadline, waiter.woken()) => {}
            () = server.stopping() => {}
        }
    }
}

/// Reads every partition within the budget. The first batch found is returned even when it is
/// larger than all budgets, or its reader could never go on.
fn look(wants: &[Want], budget: usize, isolation: Isolation) -> Look {
    let mut look = Look { partitions: Vec::with_capacity(wants.len()), bytes: 0, has_error: false };
    for want in wants {
        let left = budget.saturating_sub(look.bytes);
        let limit = positive(want.request.partition_max_bytes).min(left);
        let first = match look.bytes {
            0 => FirstBatch::Whole,
            _ => FirstBatch::WithinBudget,
        };
        let found = read(want, (limit, first), isolation);
        look.bytes += found.records.len();
        look.has_error |= found.error_code != 0;
        look.partitions.push(found);
    }
    look
}

fn read(want: &Want, budget: (usize, FirstBatch), isolation: Isolation) -> FetchedPartition {
    let index = want.request.partition;
    let log = match &want.log {
        Ok(log) => log,
        Err(error) => return FetchedPartition::failed(index, error.code()),
    };
    match log.read_isolated(want.request.fetch_offset, budget, isolation) {
        Ok(slice) => FetchedPartition {
            index,
            error_code: 0,
            high_watermark: slice.high_watermark,
            last_stable_offset: slice.last_stable_offset,
            log_start_offset: slice.log_start_offset,
            aborted: slice.aborted,
            records: slice.records,
        },
        Err(LogError::OffsetOutOfRange { log_start_offset, end_offset, .. }) => FetchedPartition {
            high_watermark: end_offset,
            last_stable_offset: log.last_stable_offset(),
            log_start_offset,
            ..FetchedPartition::failed(index, ResponseError::OffsetOutOfRange.code())
        },
        Err(error) => FetchedPartition::failed(index, super::log_error(&error).code()),
    }
}

impl FetchedPartition {
    fn failed(index: i32, error_code: i16) -> Self {
        Self {
            index,
            error_code,
            high_watermark: NO_OFFSET,
            last_stable_offset: NO_OFFSET,
            log_start_offset: NO_OFFSET,
            aborted: Vec::new(),
            records: Bytes::new(),
        }
    }
}

fn by_topic(topics: Vec<FetchTopic>, partitions: Vec<FetchedPartition>) -> Vec<FetchedTopic> {
    let mut partitions = partitions.into_iter();
    topics
        .into_iter()
        .map(|topic| FetchedTopic {
            partitions: partitions.by_ref().take(topic.partitions.len()).collect(),
            name: topic.topic,
        })
        .collect()
}
