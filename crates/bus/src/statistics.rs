//! What librdkafka counts, as far as somebody watches it.

mod parse;

use crate::SystemClock;
use lumenbus_frame::Clock as _;
use parse::parse;
use std::fmt;
use std::sync::Arc;

/// librdkafka's statistics of one client, taken at one moment.
///
/// Counts are since the client was made. Latencies are of the last interval, in seconds: means over all brokers, and the
/// worst broker's 99th percentile. A consumer's round trips hold what a broker waits for records (`fetch.wait.max.ms`).
/// `None`: nothing was measured.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct ClientStatistics {
    /// librdkafka's name of the client, such as `lumenbus#producer-1`.
    pub name: String,
    /// Producer or consumer.
    pub client_type: ClientType,
    /// When they were taken, Unix microseconds.
    pub at_unix_micros: i64,
    /// How long the client has existed, in microseconds: what rates are computed over.
    pub age_micros: i64,
    /// Records sent (record-send-total).
    pub tx_messages: u64,
    /// Their bytes.
    pub tx_message_bytes: u64,
    /// Records received (records-consumed-total).
    pub rx_messages: u64,
    /// Their bytes.
    pub rx_message_bytes: u64,
    /// Records in the producer's queue.
    pub queued_messages: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Bytes that the queue may hold.
    pub queued_bytes_limit: u64,
    /// Requests sent to brokers.
    pub requests: u64,
    /// Fetch requests among them.
    pub fetches: u64,
    /// Times the reading thread came for records; 0 for a producer.
    pub polls: u64,
    /// Requests that could not be sent, and answers that could not be received.
    pub request_errors: u64,
    /// Requests that were sent again.
    pub request_retries: u64,
    /// Requests without an answer in time.
    pub request_timeouts: u64,
    /// Mean round trip (request-latency-avg), in seconds.
    pub request_latency_avg_seconds: Option<f64>,
    /// 99 % of round trips are at most this, in seconds.
    pub request_latency_p99_seconds: Option<f64>,
    /// Mean time that a record waits in the producer's queue (record-queue-time-avg), in seconds.
    pub queue_latency_avg_seconds: Option<f64>,
    /// 99 % wait at most this, in seconds.
    pub queue_latency_p99_seconds: Option<f64>,
    /// Mean time for which a broker made us wait (throttle-time-avg), in seconds.
    pub throttle_avg_seconds: Option<f64>,
    /// Mean bytes of a batch (batch-size-avg) over all topics.
    pub batch_size_avg_bytes: Option<f64>,
    /// Records that were fetched and not yet taken.
    pub fetch_queue_messages: u64,
    /// Their bytes.
    pub fetch_queue_bytes: u64,
    /// Times partitions were assigned or revoked.
    pub rebalances: u64,
    /// Partitions assigned by the group now.
    pub assigned_partitions: u64,
    /// Brokers, at most 256.
    pub brokers: Vec<BrokerStatistics>,
    /// Partitions that the client reads or writes, at most 4,096.
    pub partitions: Vec<PartitionStatistics>,
}

impl ClientStatistics {
    /// What librdkafka's callback brings; what cannot be read is left out.
    pub(crate) fn from_callback(json: &[u8], polls: u64) -> Option<Arc<Self>> {
        match parse(json, SystemClock.unix_nanos() / 1_000, polls) {
            Ok(statistics) => Some(Arc::new(statistics)),
            Err(error) => {
                tracing::debug!(%error, "client statistics");
                None
            }
        }
    }

    /// The largest known lag of any partition (records-lag-max).
    #[must_use]
    pub fn lag_max(&self) -> Option<i64> {
        self.partitions.iter().filter_map(|partition| partition.lag).max()
    }
}

/// What a Kafka client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientType {
    /// Sends.
    #[default]
    Producer,
    /// Reads.
    Consumer,
}

impl fmt::Display for ClientType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Producer => "producer",
            Self::Consumer => "consumer",
        })
    }
}

/// One broker as a client knows it.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct BrokerStatistics {
    /// `node.id`
    pub id: i32,
    /// `host:port`
    pub name: String,
    /// librdkafka's word, such as `UP` or `DOWN`.
    pub state: String,
    /// Requests sent.
    pub requests: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Requests that could not be sent, and answers that could not be received.
    pub errors: u64,
    /// Requests that were sent again.
    pub retries: u64,
    /// Requests without an answer in time.
    pub timeouts: u64,
    /// Connections lost.
    pub disconnects: u64,
    /// Requests that wait to be sent or for their answer.
    pub requests_in_flight: u64,
    /// Mean round trip, in seconds.
    pub latency_avg_seconds: Option<f64>,
    /// 99 % of round trips are at most this, in seconds.
    pub latency_p99_seconds: Option<f64>,
}

/// One partition as a client knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PartitionStatistics {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: i32,
    /// Records between the position of the reader and the end of the log; `None` when not known, and for a producer.
    pub lag: Option<i64>,
    /// Records between what the group has committed and the end of the log.
    pub committed_lag: Option<i64>,
    /// Records that were fetched and not yet taken.
    pub fetch_queue_messages: u64,
    /// Their bytes.
    pub fetch_queue_bytes: u64,
    /// Records sent.
    pub tx_messages: u64,
    /// Records received.
    pub rx_messages: u64,
}
