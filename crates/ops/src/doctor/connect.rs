//! Connections of the doctor's own, to see what librdkafka does not tell.

use super::Finding;
use super::finding::of_text;
use super::{Severity, protocol, tls};
use lumenbus_bus::{BusConfig, ClusterFacts, probe};
use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::{Duration, Instant};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Brokers that are looked at one by one.
const MAX_BROKERS: usize = 32;
const DEFAULT_PORT: u16 = 9092;
/// A round trip beyond this is felt: a frame takes two before it is read.
const FAR_MILLIS: f64 = 20.0;

/// Connections that the time is the least of.
const ATTEMPTS: u32 = 3;

/// How the client speaks to brokers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Security {
    pub(super) has_tls: bool,
    pub(super) has_login: bool,
}

impl Security {
    pub(super) fn of(bus: &BusConfig) -> Self {
        let protocol = bus.properties.get("security.protocol").map(|text| text.to_ascii_lowercase());
        let protocol = protocol.as_deref().unwrap_or("plaintext");
        Self { has_tls: protocol.ends_with("ssl"), has_login: protocol.starts_with("sasl") }
    }
}

/// Whether the cluster can be used, and who it is.
pub(super) fn reach(bus: &BusConfig) -> (Vec<Finding>, Option<ClusterFacts>) {
    match probe(bus) {
        Ok(facts) => {
            let kind = if facts.is_embedded { "embedded broker" } else { "cluster" };
            let id = facts.cluster_id.as_deref().unwrap_or("without an id");
            let what = format!("{} answers: {kind} {id}, {}", bus.brokers, count(facts.brokers.len(), "broker"));
            (vec![Finding::ok("broker.reachable", what)], Some(facts))
        }
        Err(problem) => {
            let finding = of_text(Severity::Error, problem.code(), &problem.to_string());
            (vec![finding], None)
        }
    }
}

pub(super) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Each broker by the address that it gives to clients; the first of them is asked more closely.
pub(super) fn each_broker(bus: &BusConfig, facts: &ClusterFacts, client: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut reached, mut slowest) = (0, 0.0_f64);
    let brokers = facts.brokers.iter().take(MAX_BROKERS);
    let tried = brokers.len();
    for broker in brokers {
        let name = format!("{}:{}", broker.host, broker.port);
        match connect(&broker.host, broker.port) {
            Ok((_, millis)) => {
                reached += 1;
                slowest = slowest.max(least(&broker.host, broker.port, millis));
            }
            Err(error) => findings.push(
                Finding::error(
                    "broker.advertised",
                    format!("broker {} at {name} cannot be reached: {error}", broker.id),
                )
                .because("clients connect to the address that a broker gives them, not to --brokers")
                .remedy("start the broker, mend its advertised.listeners, or the network to it"),
            ),
        }
    }
    if reached == tried && tried > 0 {
        findings.push(round_trip(tried, slowest));
    }
    findings.extend(security(bus, facts));
    if let Some(broker) = facts.brokers.first() {
        findings.extend(look_closer(bus, &broker.host, broker.port, client));
    }
    findings
}

/// One attempt may have waited anywhere; a far broker is far each time.
fn least(host: &str, port: u16, first: f64) -> f64 {
    let again = (1..ATTEMPTS).filter_map(|_| connect(host, port).ok());
    again.map(|(_, millis)| millis).fold(first, f64::min)
}

fn round_trip(tried: usize, slowest: f64) -> Finding {
    let what = format!("{} reached, the farthest in {slowest:.1} ms", count(tried, "broker"));
    if slowest <= FAR_MILLIS {
        return Finding::ok("broker.round_trip", what);
    }
    Finding::warning("broker.round_trip", what)
        .because("a frame travels to the broker and from there to the reader: at least two such ways")
        .remedy("put the broker near the cameras or near the readers; see the latency budget below")
}

/// What is not encrypted can be read by everybody on the way.
fn security(bus: &BusConfig, facts: &ClusterFacts) -> Option<Finding> {
    let security = Security::of(bus);
    let is_local =
        |host: &str| host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if security.has_tls || facts.brokers.iter().all(|broker| is_local(&broker.host)) {
        return None;
    }
    if security.has_login {
        let finding = Finding::warning("tls.absent", "user, password and pictures travel unencrypted");
        return Some(
            finding
                .because("security.protocol is SASL_PLAINTEXT and the brokers are on other machines")
                .remedy("-X security.protocol=SASL_SSL and a TLS port"),
        );
    }
    let finding =
        Finding::note("tls.absent", "pictures travel unencrypted, and everybody in the network may publish and read");
    Some(finding.because("security.protocol is PLAINTEXT and the brokers are on other machines"))
}

fn look_closer(bus: &BusConfig, host: &str, port: u16, client: &str) -> Vec<Finding> {
    let name = format!("{host}:{port}");
    let Ok((mut stream, _)) = connect(host, port) else { return Vec::new() };
    let asked = if Security::of(bus).has_tls {
        let (mut findings, session) = tls::examine(bus, host, stream);
        let Some(mut session) = session else { return findings };
        let asked = protocol::ask(&mut session);
        findings.extend(versions(&name, asked, client));
        return findings;
    } else {
        protocol::ask(&mut stream)
    };
    versions(&name, asked, client)
}

fn versions(name: &str, asked: io::Result<protocol::Versions>, client: &str) -> Vec<Finding> {
    match asked {
        Ok(versions) => protocol::findings(name, &versions, client),
        Err(error) => vec![Finding::warning("protocol.api", format!("{name} did not say which APIs it has: {error}"))],
    }
}

/// A connection, and how long it took in milliseconds: one round trip.
fn connect(host: &str, port: u16) -> io::Result<(TcpStream, f64)> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let began = Instant::now();
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => {
                let millis = began.elapsed().as_secs_f64() * 1e3;
                stream.set_read_timeout(Some(CONNECT_TIMEOUT))?;
                stream.set_write_timeout(Some(CONNECT_TIMEOUT))?;
                return Ok((stream, millis));
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// TLS is looked at also when the cluster cannot be used: often it is the reason.
pub(super) fn tls_of_bootstrap(bus: &BusConfig) -> Vec<Finding> {
    if !Security::of(bus).has_tls {
        return Vec::new();
    }
    let servers = bus.brokers.split(',').filter_map(server).take(MAX_BROKERS);
    let reached = servers.filter_map(|(host, port)| Some((connect(&host, port).ok()?.0, host))).next();
    reached.map(|(stream, host)| tls::examine(bus, &host, stream).0).unwrap_or_default()
}

/// `host`, `host:port` or `[v6]:port`, with or without librdkafka's `protocol://`.
fn server(text: &str) -> Option<(String, u16)> {
    let text = text.trim().rsplit_once("://").map_or(text.trim(), |(_, rest)| rest);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') => (host, port.parse().ok()?),
        _ => (text, DEFAULT_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_travels_in_the_clear_is_told() {
        let facts = |host: &str| {
            let broker = lumenbus_bus::BrokerAddress { id: 1, host: host.to_owned(), port: 9092 };
            ClusterFacts::new(vec![broker], None)
        };
        let bus = |protocol: &str| {
            let mut bus = BusConfig::new("kafka:9092");
            bus.set_property("security.protocol", protocol);
            bus
        };
        let severity = |protocol, host| security(&bus(protocol), &facts(host)).map(|finding| finding.severity);
        assert_eq!(severity("PLAINTEXT", "127.0.0.1"), None);
        assert_eq!(severity("PLAINTEXT", "kafka"), Some(Severity::Note));
        assert_eq!(severity("SASL_PLAINTEXT", "kafka"), Some(Severity::Warning));
        assert_eq!(severity("SASL_SSL", "kafka"), None);
    }

    #[test]
    fn servers() {
        assert_eq!(server("SASL_SSL://kafka:9094"), Some(("kafka".to_owned(), 9094)));
        assert_eq!(server(" [::1]:9 "), Some(("::1".to_owned(), 9)));
        assert_eq!(server("kafka"), Some(("kafka".to_owned(), 9092)));
        assert_eq!(server("kafka:x"), None);
    }
}
