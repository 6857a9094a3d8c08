//! librdkafka's statistics, which are JSON (STATISTICS.md), as typed values.

use super::{BrokerStatistics, ClientStatistics, ClientType, PartitionStatistics};
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// Of 48 partitions and three brokers it is 60 KiB.
const MAX_JSON_BYTES: usize = 8 << 20;
const MAX_BROKERS: usize = 256;
const MAX_TOPICS: usize = 1_024;
const MAX_PARTITIONS: usize = 4_096;

/// Why statistics are of no use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StatisticsError {
    #[error("librdkafka's statistics have {bytes} bytes; at most {MAX_JSON_BYTES} are read")]
    TooLarge { bytes: usize },
    #[error("librdkafka's statistics are not as expected: {0}")]
    Malformed(#[from] serde_json::Error),
}

/// The values of a JSON object, as many as fit; the others are skipped.
struct Values<T, const MOST: usize>(Vec<T>);

impl<T, const MOST: usize> Default for Values<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for Values<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object<T, const MOST: usize>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for Object<T, MOST> {
            type Value = Values<T, MOST>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut values = Vec::new();
                while map.next_key::<IgnoredAny>()?.is_some() {
                    if values.len() < MOST {
                        values.push(map.next_value()?);
                    } else {
                        map.next_value::<IgnoredAny>()?;
                    }
                }
                Ok(Values(values))
            }
        }
        deserializer.deserialize_map(Object(PhantomData))
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Raw {
    name: String,
    #[serde(rename = "type")]
    client_type: String,
    age: i64,
    msg_cnt: i64,
    msg_size: i64,
    msg_size_max: i64,
    tx: i64,
    txmsgs: i64,
    txmsg_bytes: i64,
    rxmsgs: i64,
    rxmsg_bytes: i64,
    brokers: Values<RawBroker, MAX_BROKERS>,
    topics: Values<RawTopic, MAX_TOPICS>,
    cgrp: Option<RawGroup>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawBroker {
    nodeid: i32,
    nodename: String,
    source: String,
    state: String,
    outbuf_cnt: i64,
    waitresp_cnt: i64,
    tx: i64,
    txbytes: i64,
    txerrs: i64,
    txretries: i64,
    req_timeouts: i64,
    rxbytes: i64,
    rxerrs: i64,
    disconnects: i64,
    req: RawRequests,
    int_latency: Window,
    rtt: Window,
    throttle: Window,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawRequests {
    #[serde(rename = "Fetch")]
    fetch: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawTopic {
    topic: String,
    batchsize: Window,
    partitions: Values<RawPartition, MAX_PARTITIONS>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawPartition {
    partition: i32,
    desired: bool,
    fetchq_cnt: i64,
    fetchq_size: i64,
    app_offset: i64,
    hi_offset: i64,
    consumer_lag: i64,
    consumer_lag_stored: i64,
    txmsgs: i64,
    rxmsgs: i64,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawGroup {
    rebalance_cnt: i64,
    assignment_size: i64,
}

/// A rolling window, in whatever unit.
#[derive(Deserialize, Default, Clone, Copy)]
#[serde(default)]
struct Window {
    sum: i64,
    cnt: i64,
    p99: i64,
}

const MICROS: f64 = 1e6;
const MILLIS: f64 = 1e3;

#[expect(clippy::cast_precision_loss, reason = "sums of one interval are far below 2^52")]
impl Window {
    /// Mean of several windows, each value divided by `unit`.
    fn mean(windows: impl Iterator<Item = Self>, unit: f64) -> Option<f64> {
        let (sum, count) =
            windows.fold((0.0, 0.0), |(sum, count), window| (sum + window.sum as f64, count + window.cnt as f64));
        (count > 0.0).then(|| sum / count / unit)
    }

    /// The largest 99th percentile of several windows.
    fn p99(windows: impl Iterator<Item = Self>, unit: f64) -> Option<f64> {
        windows.filter(|window| window.cnt > 0).map(|window| window.p99).max().map(|p99| p99 as f64 / unit)
    }
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

impl RawBroker {
    fn statistics(&self) -> BrokerStatistics {
        BrokerStatistics {
            id: self.nodeid,
            name: self.nodename.clone(),
            state: self.state.clone(),
            requests: count(self.tx),
            tx_bytes: count(self.txbytes),
            rx_bytes: count(self.rxbytes),
            errors: count(self.txerrs.saturating_add(self.rxerrs)),
            retries: count(self.txretries),
            timeouts: count(self.req_timeouts),
            disconnects: count(self.disconnects),
            requests_in_flight: count(self.outbuf_cnt.saturating_add(self.waitresp_cnt)),
            latency_avg_seconds: Window::mean([self.rtt].into_iter(), MICROS),
            latency_p99_seconds: Window::p99([self.rtt].into_iter(), MICROS),
        }
    }

    /// librdkafka also lists handles of its own, such as the group's coordinator, which is one of the others.
    fn is_a_broker(&self) -> bool {
        matches!(self.source.as_str(), "learned" | "configured")
    }
}

impl RawPartition {
    /// Partition -1 is where librdkafka keeps records that have none.
    fn is_in_use(&self) -> bool {
        self.partition >= 0 && (self.desired || self.txmsgs > 0 || self.rxmsgs > 0)
    }

    fn statistics(&self, topic: &str, client_type: ClientType) -> PartitionStatistics {
        let known = |number: i64| (client_type == ClientType::Consumer && number >= 0).then_some(number);
        // Offsets are not stored with librdkafka: the position is what it handed over last.
        let behind = known(self.app_offset).zip(known(self.hi_offset)).map(|(app, end)| end.saturating_sub(app).max(0));
        PartitionStatistics {
            topic: topic.to_owned(),
            partition: self.partition,
            lag: known(self.consumer_lag_stored).or(behind),
            committed_lag: known(self.consumer_lag),
            fetch_queue_messages: count(self.fetchq_cnt),
            fetch_queue_bytes: count(self.fetchq_size),
            tx_messages: count(self.txmsgs),
            rx_messages: count(self.rxmsgs),
        }
    }
}

/// Statistics that came at this time; `polls` is how often records were asked for.
pub(crate) fn parse(json: &[u8], at_unix_micros: i64, polls: u64) -> Result<ClientStatistics, StatisticsError> {
    if json.len() > MAX_JSON_BYTES {
        return Err(StatisticsError::TooLarge { bytes: json.len() });
    }
    let raw: Raw = serde_json::from_slice(json)?;
    let client_type = if raw.client_type == "consumer" { ClientType::Consumer } else { ClientType::Producer };
    let brokers = || raw.brokers.0.iter();
    let sum = |number: fn(&RawBroker) -> i64| brokers().map(|broker| count(number(broker))).sum::<u64>();
    let partitions: Vec<_> = raw
        .topics
        .0
        .iter()
        .flat_map(|topic| topic.partitions.0.iter().map(move |partition| (topic, partition)))
        .filter(|(_, partition)| partition.is_in_use())
        .take(MAX_PARTITIONS)
        .map(|(topic, partition)| partition.statistics(&topic.topic, client_type))
        .collect();
    let cgrp = raw.cgrp.as_ref();
    Ok(ClientStatistics {
        client_type,
        at_unix_micros,
        age_micros: raw.age,
        tx_messages: count(raw.txmsgs),
        tx_message_bytes: count(raw.txmsg_bytes),
        rx_messages: count(raw.rxmsgs),
        rx_message_bytes: count(raw.rxmsg_bytes),
        queued_messages: count(raw.msg_cnt),
        queued_bytes: count(raw.msg_size),
        queued_bytes_limit: count(raw.msg_size_max),
        requests: count(raw.tx),
        fetches: sum(|broker| broker.req.fetch),
        polls,
        request_errors: sum(|broker| broker.txerrs.saturating_add(broker.rxerrs)),
        request_retries: sum(|broker| broker.txretries),
        request_timeouts: sum(|broker| broker.req_timeouts),
        request_latency_avg_seconds: Window::mean(brokers().map(|broker| broker.rtt), MICROS),
        request_latency_p99_seconds: Window::p99(brokers().map(|broker| broker.rtt), MICROS),
        queue_latency_avg_seconds: Window::mean(brokers().map(|broker| broker.int_latency), MICROS),
        queue_latency_p99_seconds: Window::p99(brokers().map(|broker| broker.int_latency), MICROS),
        throttle_avg_seconds: Window::mean(brokers().map(|broker| broker.throttle), MILLIS),
        batch_size_avg_bytes: Window::mean(raw.topics.0.iter().map(|topic| topic.batchsize), 1.0),
        fetch_queue_messages: partitions.iter().map(|partition| partition.fetch_queue_messages).sum(),
        fetch_queue_bytes: partitions.iter().map(|partition| partition.fetch_queue_bytes).sum(),
        rebalances: cgrp.map_or(0, |cgrp| count(cgrp.rebalance_cnt)),
        assigned_partitions: cgrp.map_or(0, |cgrp| count(cgrp.assignment_size)),
        brokers: brokers().filter(|broker| broker.is_a_broker()).map(RawBroker::statistics).collect(),
        partitions,
        name: raw.name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONSUMER: &str = r#"{
        "name": "lumenbus#consumer-2", "client_id": "lumenbus", "type": "consumer", "ts": 1, "time": 2, "age": 5000000,
        "tx": 40, "rxmsgs": 7, "rxmsg_bytes": 700, "a future field": {"with": [1, 2]},
        "brokers": {
            "127.0.0.1:9092/1": {"name": "127.0.0.1:9092/1", "nodeid": 1, "nodename": "127.0.0.1:9092", "source": "learned",
                "state": "UP", "tx": 30, "txerrs": 1, "rxerrs": 2, "txretries": 3, "req_timeouts": 4, "waitresp_cnt": 1,
                "rtt": {"min": 1, "avg": 2000, "sum": 6000, "cnt": 3, "p99": 4000}, "throttle": {"sum": 50, "cnt": 10},
                "req": {"Fetch": 25, "Metadata": 2}},
            "GroupCoordinator": {"nodeid": 1, "source": "logical", "state": "UP", "tx": 10,
                "rtt": {"sum": 2000, "cnt": 1, "p99": 9000}, "req": {"Fetch": 0}}
        },
        "topics": {"raw_video": {"topic": "raw_video", "partitions": {
            "0": {"partition": 0, "desired": true, "fetchq_cnt": 2, "fetchq_size": 90, "app_offset": 95, "hi_offset": 100,
                "consumer_lag": 12, "consumer_lag_stored": -1, "rxmsgs": 7},
            "1": {"partition": 1, "desired": true, "app_offset": -1001, "hi_offset": -1001, "consumer_lag": -1,
                "consumer_lag_stored": -1},
            "2": {"partition": 2, "desired": false},
            "-1": {"partition": -1, "desired": true}
        }}},
        "cgrp": {"state": "up", "rebalance_cnt": 3, "assignment_size": 2}
    }"#;

    #[test]
    fn a_consumers_statistics_are_read() {
        let found = parse(CONSUMER.as_bytes(), 99, 11).unwrap();
        assert_eq!((found.client_type, found.at_unix_micros, found.polls), (ClientType::Consumer, 99, 11));
        assert_eq!((found.rx_messages, found.rx_message_bytes, found.requests, found.fetches), (7, 700, 40, 25));
        assert_eq!((found.request_errors, found.request_retries, found.request_timeouts), (3, 3, 4));
        assert_eq!(found.request_latency_avg_seconds, Some(0.002));
        assert_eq!(found.request_latency_p99_seconds, Some(0.009));
        assert_eq!((found.throttle_avg_seconds, found.queue_latency_avg_seconds), (Some(0.005), None));
        assert_eq!((found.rebalances, found.assigned_partitions), (3, 2));
        assert_eq!((found.fetch_queue_messages, found.fetch_queue_bytes), (2, 90));
        assert_eq!(found.brokers.len(), 1, "the coordinator is one of the brokers");
        assert_eq!((found.brokers[0].state.as_str(), found.brokers[0].requests_in_flight), ("UP", 1));
        let lags: Vec<_> = found.partitions.iter().map(|p| (p.partition, p.lag, p.committed_lag)).collect();
        assert_eq!(lags, [(0, Some(5), Some(12)), (1, None, None)]);
        assert_eq!(found.lag_max(), Some(5));
    }

    #[test]
    fn what_is_too_much_is_left_out_and_what_is_malformed_refused() {
        let brokers: Vec<_> = (0..2 * MAX_BROKERS).map(|n| format!(r#""b{n}": {{"source": "learned"}}"#)).collect();
        let found = parse(format!(r#"{{"brokers": {{{}}}}}"#, brokers.join(",")).as_bytes(), 0, 0).unwrap();
        assert_eq!(found.brokers.len(), MAX_BROKERS);
        assert!(matches!(parse(&vec![b' '; MAX_JSON_BYTES + 1], 0, 0), Err(StatisticsError::TooLarge { .. })));
        for malformed in ["", "7", "{", r#"{"brokers": []}"#, r#"{"tx": "many"}"#] {
            assert!(matches!(parse(malformed.as_bytes(), 0, 0), Err(StatisticsError::Malformed(_))), "{malformed}");
        }
        assert!(parse(b"{}", 0, 0).unwrap().partitions.is_empty());
    }

    proptest! {
        #[test]
        fn cut_or_mangled_text_never_panics(at in 0..CONSUMER.len(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut text = CONSUMER.as_bytes().to_vec();
            if cut { text.truncate(at) } else { text[at] = byte }
            let _ = parse(&text, 0, 0);
        }
    }
}
