//! librdkafka's figures, under the names that people know from Kafka's own clients.

use super::{Families, Row};
use lumenbus_bus::{ClientStatistics, ClientType};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Clients that rates are kept of.
const MAX_CLIENTS: usize = 256;

type Source = Arc<dyn Fn() -> Vec<Arc<ClientStatistics>> + Send + Sync>;

/// Producers and consumers of this process: rates, latencies, lag. Sums and maxima over all of a kind.
#[must_use]
pub fn client_metrics(clients: Source) -> Box<dyn Collector> {
    Box::new(ClientMetrics { clients, rates: Mutex::default() })
}

struct ClientMetrics {
    clients: Source,
    rates: Mutex<HashMap<String, Measured>>,
}

impl fmt::Debug for ClientMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientMetrics").finish_non_exhaustive()
    }
}

/// Two neighbouring statistics of a client, and the rates between them.
#[derive(Debug, Clone, Default)]
struct Measured {
    last: ClientStatistics,
    rates: Rates,
}

/// Per second.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Rates {
    records: f64,
    bytes: f64,
    requests: f64,
    fetches: f64,
    polls: f64,
}

impl Rates {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus's values are floats")]
    fn between(then: &ClientStatistics, now: &ClientStatistics) -> Option<Self> {
        let seconds = (now.at_unix_micros - then.at_unix_micros) as f64 / 1e6;
        let rate = |now: u64, then: u64| now.saturating_sub(then) as f64 / seconds;
        let of = |value: fn(&ClientStatistics) -> u64| rate(value(now), value(then));
        (seconds > 0.0).then(|| Self {
            records: of(|client| client.tx_messages + client.rx_messages),
            bytes: of(|client| client.tx_message_bytes + client.rx_message_bytes),
            requests: of(|client| client.requests),
            fetches: of(|client| client.fetches),
            polls: of(|client| client.polls),
        })
    }

    /// Over the client's whole life, before there are two statistics to compare.
    fn of(now: &ClientStatistics) -> Self {
        let mut then = ClientStatistics::default();
        then.at_unix_micros = now.at_unix_micros.saturating_sub(now.age_micros);
        Self::between(&then, now).unwrap_or_default()
    }

    fn plus(self, other: Self) -> Self {
        Self {
            records: self.records + other.records,
            bytes: self.bytes + other.bytes,
            requests: self.requests + other.requests,
            fetches: self.fetches + other.fetches,
            polls: self.polls + other.polls,
        }
    }
}

impl ClientMetrics {
    /// Of all clients of a kind together. Statistics that were seen before keep their rates.
    fn rates(&self, clients: &[&Arc<ClientStatistics>]) -> Rates {
        let mut known = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + clients.len() > MAX_CLIENTS {
            known.clear();
        }
        clients
            .iter()
            .map(|now| {
                let measured = known.entry(now.name.clone()).or_default();
                if measured.last.at_unix_micros != now.at_unix_micros {
                    let is_next = measured.last.at_unix_micros > 0;
                    let between = Rates::between(&measured.last, now).filter(|_| is_next);
                    measured.rates = between.unwrap_or_else(|| Rates::of(now));
                    measured.last = ClientStatistics::clone(now);
                }
                measured.rates
            })
            .fold(Rates::default(), Rates::plus)
    }
}

/// The largest of all clients: what somebody waits for.
fn worst(clients: &[&Arc<ClientStatistics>], value: fn(&ClientStatistics) -> Option<f64>) -> Option<Row> {
    clients.iter().filter_map(|client| value(client)).max_by(f64::total_cmp).map(Row::new)
}

fn sum(clients: &[&Arc<ClientStatistics>], value: fn(&ClientStatistics) -> u64) -> [Row; 1] {
    [Row::count(clients.iter().map(|client| value(client)).sum())]
}

impl Collector for ClientMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut families = Families::new(encoder);
        let all = (self.clients)();
        for kind in [ClientType::Producer, ClientType::Consumer] {
            let clients: Vec<_> =
                all.iter().filter(|client| client.client_type == kind).take(MAX_CLIENTS / 2).collect();
            if clients.is_empty() {
                continue;
            }
            let rates = self.rates(&clients);
            common(&mut families, kind, &clients, rates)?;
            match kind {
                ClientType::Producer => producer(&mut families, &clients, rates)?,
                ClientType::Consumer => consumer(&mut families, &clients, rates)?,
            }
        }
        Ok(())
    }
}

fn common(
    families: &mut Families<'_>,
    kind: ClientType,
    clients: &[&Arc<ClientStatistics>],
    rates: Rates,
) -> fmt::Result {
    let name = |what: &str| format!("lumenbus_{kind}_{what}");
    let help = "Requests sent to brokers per second (request-rate).";
    families.gauges(&name("request_rate"), help, [Row::new(rates.requests)])?;
    let help = "Mean round trip of a request, of the slowest broker (request-latency-avg).";
    families.gauges(
        &name("request_latency_avg_seconds"),
        help,
        worst(clients, |client| client.request_latency_avg_seconds),
    )?;
    let help = "99 % of round trips are at most this long, of the slowest broker.";
    families.gauges(
        &name("request_latency_p99_seconds"),
        help,
        worst(clients, |client| client.request_latency_p99_seconds),
    )?;
    let help = "Requests that failed (request-error-total).";
    families.counters(&name("request_errors"), help, sum(clients, |client| client.request_errors))?;
    families.counters(
        &name("request_retries"),
        "Requests that were sent again.",
        sum(clients, |client| client.request_retries),
    )?;
    let help = "Requests without an answer in time.";
    families.counters(&name("request_timeouts"), help, sum(clients, |client| client.request_timeouts))?;
    let help = "Mean time for which a broker made the client wait (throttle-time-avg).";
    families.gauges(&name("throttle_time_avg_seconds"), help, worst(clients, |client| client.throttle_avg_seconds))?;
    let connected =
        |client: &ClientStatistics| client.brokers.iter().filter(|broker| broker.state == "UP").count() as u64;
    families.gauges(&name("connections"), "Connections to brokers (connection-count).", sum(clients, connected))
}

fn producer(families: &mut Families<'_>, clients: &[&Arc<ClientStatistics>], rates: Rates) -> fmt::Result {
    let help = "Records sent per second (record-send-rate).";
    families.gauges("lumenbus_producer_record_send_rate", help, [Row::new(rates.records)])?;
    let help = "Bytes of records sent per second (outgoing-byte-rate).";
    families.gauges("lumenbus_producer_outgoing_byte_rate", help, [Row::new(rates.bytes)])?;
    families.counters("lumenbus_producer_records_sent", "Records sent.", sum(clients, |client| client.tx_messages))?;
    let help = "Records in librdkafka's queue.";
    families.gauges("lumenbus_producer_queued_records", help, sum(clients, |client| client.queued_messages))?;
    let help = "Bytes in librdkafka's queue.";
    families.gauges("lumenbus_producer_queued_bytes", help, sum(clients, |client| client.queued_bytes))?;
    let help = "Mean time of a record in librdkafka's queue (record-queue-time-avg).";
    families.gauges(
        "lumenbus_producer_record_queue_time_avg_seconds",
        help,
        worst(clients, |client| client.queue_latency_avg_seconds),
    )?;
    let help = "Mean bytes of a batch (batch-size-avg).";
    families.gauges(
        "lumenbus_producer_batch_size_avg_bytes",
        help,
        worst(clients, |client| client.batch_size_avg_bytes),
    )
}

fn consumer(families: &mut Families<'_>, clients: &[&Arc<ClientStatistics>], rates: Rates) -> fmt::Result {
    let help = "Records consumed per second (records-consumed-rate).";
    families.gauges("lumenbus_consumer_records_consumed_rate", help, [Row::new(rates.records)])?;
    let help = "Bytes consumed per second (bytes-consumed-rate).";
    families.gauges("lumenbus_consumer_bytes_consumed_rate", help, [Row::new(rates.bytes)])?;
    families.counters(
        "lumenbus_consumer_records_consumed",
        "Records consumed.",
        sum(clients, |client| client.rx_messages),
    )?;
    families.gauges(
        "lumenbus_consumer_fetch_rate",
        "Fetch requests per second (fetch-rate).",
        [Row::new(rates.fetches)],
    )?;
    let help = "Times per second that the reading thread came for records (poll rate).";
    families.gauges("lumenbus_consumer_poll_rate", help, [Row::new(rates.polls)])?;
    #[expect(clippy::cast_precision_loss, reason = "Prometheus's values are floats")]
    let lag = |client: &ClientStatistics| client.lag_max().map(|lag| lag as f64);
    let help = "The largest lag of any partition, in records (records-lag-max).";
    families.gauges("lumenbus_consumer_records_lag_max", help, worst(clients, lag))?;
    let help = "Bytes fetched and not yet taken.";
    families.gauges("lumenbus_consumer_fetch_queue_bytes", help, sum(clients, |client| client.fetch_queue_bytes))?;
    let help = "Times that partitions were assigned or revoked (rebalance-total).";
    families.counters("lumenbus_consumer_rebalances", help, sum(clients, |client| client.rebalances))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Metrics;

    fn producer_at(seconds: i64, records: u64) -> Arc<ClientStatistics> {
        let mut client = ClientStatistics::default();
        client.name = "lumenbus#producer-1".to_owned();
        client.at_unix_micros = 1_700_000_000_000_000 + seconds * 1_000_000;
        client.age_micros = seconds * 1_000_000;
        client.tx_messages = records;
        client.request_latency_avg_seconds = Some(0.0025);
        Arc::new(client)
    }

    #[test]
    fn rates_are_of_the_last_interval_whenever_it_is_asked() {
        let now = Arc::new(Mutex::new(producer_at(10, 1_000)));
        let metrics = Metrics::new();
        let source = Arc::clone(&now);
        metrics.register(client_metrics(Arc::new(move || vec![Arc::clone(&source.lock().unwrap())])));
        let says = |expected: &str| {
            let text = metrics.encode();
            assert!(text.contains(expected), "{expected} is not in {text}");
        };
        says("lumenbus_producer_record_send_rate 100.0\n");
        *now.lock().unwrap() = producer_at(12, 1_060);
        says("lumenbus_producer_record_send_rate 30.0\n");
        says("lumenbus_producer_record_send_rate 30.0\n");
        says("lumenbus_producer_request_latency_avg_seconds 0.0025\n");
        assert!(!metrics.encode().contains("lumenbus_consumer"));
    }
}
