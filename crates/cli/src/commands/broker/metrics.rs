//! What the embedded broker shows at `--metrics`.

use crate::output::Output;
use lumenbus_broker::{ApiRequests, BrokerStatistics, RequestTimes, RunningBroker};
use lumenbus_ops::http::{self, Server};
use lumenbus_ops::metrics::{Distribution, Families, Row, collector};
use lumenbus_ops::{Health, Metrics, State};
use serde_json::json;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

/// The component's name in `/readyz`.
const COMPONENT: &str = "broker";

/// The endpoint; it ends when dropped.
pub(super) struct Endpoint {
    metrics: Metrics,
    health: Health,
    _server: Server,
}

impl Endpoint {
    /// Listens before the broker opens its logs, which may take a while after a crash.
    pub(super) fn start(listen: SocketAddr, output: &mut Output) -> anyhow::Result<Self> {
        let (metrics, health) = (Metrics::new(), Health::new());
        health.set(COMPONENT, State::Starting);
        let server = http::serve(listen, http::routes(metrics.clone(), health.clone()))?;
        output.note(&format!("metrics on http://{}/metrics", server.addr()));
        output.object("metrics", json!({ "listen": server.addr().to_string() }));
        Ok(Self { metrics, health, _server: server })
    }

    pub(super) fn show(&self, broker: &RunningBroker) {
        let observe = broker.observer();
        self.metrics.register(collector(move |families| match observe() {
            Some(statistics) => write(&statistics, families),
            None => Ok(()),
        }));
        self.health.ask(COMPONENT, condition(broker));
    }
}

/// How a broker is, asked whenever somebody wants to know.
pub(crate) fn condition(broker: &RunningBroker) -> impl Fn() -> State + Send + Sync + use<> {
    let observe = broker.observer();
    move || match observe() {
        None => State::Failed("the broker has ended".to_owned()),
        Some(now) if now.offline_partitions > 0 => State::Failed(format!(
            "{} of {} partitions are offline: look into the log, mend the disk and restart",
            now.offline_partitions, now.partitions
        )),
        Some(_) => State::Ok,
    }
}

fn write(now: &BrokerStatistics, families: &mut Families<'_>) -> fmt::Result {
    let mut gauge = |name: &str, help: &str, value: u64| families.gauges(name, help, [Row::count(value)]);
    gauge("lumenbus_broker_connections", "Connections that are open.", now.connections)?;
    gauge("lumenbus_broker_topics", "Topics, the broker's own among them.", now.topics)?;
    gauge("lumenbus_broker_partitions", "Partitions.", now.partitions)?;
    let help = "Partitions that take no appends since their disk failed.";
    gauge("lumenbus_broker_offline_partitions", help, now.offline_partitions)?;
    gauge("lumenbus_broker_log_bytes", "Bytes of all segments.", now.log_bytes)?;
    gauge("lumenbus_broker_groups", "Consumer groups.", now.groups)?;
    let help = "Transactions, by partition, that are neither committed nor aborted.";
    gauge("lumenbus_broker_open_transactions", help, now.open_transactions)?;
    if let Some((total_bytes, free_bytes)) = now.disk_bytes {
        gauge("lumenbus_broker_disk_bytes", "Size of the data directory's file system.", total_bytes)?;
        gauge("lumenbus_broker_disk_free_bytes", "What is free of it.", free_bytes)?;
    }
    let mut counter = |name: &str, help: &str, value: u64| families.counters(name, help, [Row::count(value)]);
    counter("lumenbus_broker_received_bytes", "Bytes of requests.", now.received_bytes)?;
    counter("lumenbus_broker_sent_bytes", "Bytes of answers.", now.sent_bytes)?;
    let help = "Requests that were no requests and ended their connection.";
    counter("lumenbus_broker_bad_requests", help, now.bad_requests)?;
    let help = "Connections closed at once because too many were open.";
    counter("lumenbus_broker_refused_connections", help, now.refused_connections)?;
    counter("lumenbus_broker_flushes", "Partitions flushed in the background.", now.flushes.0)?;
    let help = "Failures of retention, flushes and compaction.";
    counter("lumenbus_broker_housekeeping_errors", help, now.housekeeping_errors)?;
    let seconds = [Row::new(now.flushes.1.as_secs_f64())];
    families.counters("lumenbus_broker_flush_seconds", "Time that background flushes took.", seconds)?;
    // One series for each API, of which there is a fixed number.
    let requests = now.requests.iter().map(|api| Row::count(api.requests.iter().sum()).label("api", api.api.as_str()));
    families.counters("lumenbus_broker_requests", "Well-formed requests.", requests)?;
    let errors = now.requests.iter().map(|api| Row::count(api.errors).label("api", api.api.as_str()));
    let help = "Requests that were answered with an error, of the whole or of a part.";
    families.counters("lumenbus_broker_request_errors", help, errors)?;
    let help = "Time from a request to its answer, with what it waited for.";
    let asked = now.requests.iter().filter(|api| api.requests.iter().any(|count| *count > 0));
    families.distributions("lumenbus_broker_request_seconds", help, asked.map(times))
}

fn times(api: &ApiRequests) -> Distribution {
    let bounds = RequestTimes::BOUNDS.iter().map(Duration::as_secs_f64).chain([f64::INFINITY]);
    Distribution {
        label: ("api", api.api.clone()),
        sum_seconds: api.times.total.as_secs_f64(),
        buckets: bounds.zip(api.times.counts).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lumenbus_broker::{Broker, BrokerConfig};
    use std::io::Write as _;
    use std::net::TcpStream;

    #[test]
    fn a_scrape_counts_connections_requests_and_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let config = BrokerConfig::new(dir.path()).listen(([127, 0, 0, 1], 0).into());
        let broker = Broker::start_blocking(config).unwrap();
        let metrics = Metrics::new();
        let observe = broker.observer();
        metrics.register(collector(move |families| write(&observe().unwrap(), families)));
        // ApiVersions, version 0, without a client's name.
        let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
        let mut client = TcpStream::connect(broker.addr()).unwrap();
        client.write_all(&request).unwrap();
        std::io::Read::read_exact(&mut client, &mut [0; 8]).unwrap();
        let text = metrics.encode();
        for line in [
            "lumenbus_broker_connections 1",
            "lumenbus_broker_offline_partitions 0",
            "lumenbus_broker_received_bytes_total 10",
            "lumenbus_broker_bad_requests_total 0",
            "lumenbus_broker_requests_total{api=\"ApiVersions\"} 1",
            "lumenbus_broker_requests_total{api=\"Fetch\"} 0",
            "lumenbus_broker_request_errors_total{api=\"ApiVersions\"} 0",
            "lumenbus_broker_request_seconds_count{api=\"ApiVersions\"} 1",
            "lumenbus_broker_request_seconds_bucket{le=\"+Inf\",api=\"ApiVersions\"} 1",
        ] {
            let wanted = |found: &str| found == line || found == format!("{line}.0");
            assert!(text.lines().any(wanted), "{line} is not in\n{text}");
        }
        assert!(!text.contains("_seconds_count{api=\"Fetch\"}"), "nobody asked");
        broker.shutdown_blocking().unwrap();
    }
}
