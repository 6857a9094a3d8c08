//! What is known about a cluster, as JSON in its folder; tests and other processes read it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::secure::Credentials;
use super::{KafkaError, KafkaOptions};

/// Below the ephemeral range of Linux (32768 and up): no outgoing connection can take the port of a
/// node that is down for a moment.
const FREE_PORTS: std::ops::Range<u16> = 20_000..32_000;
const STATE_FILE: &str = "state.json";

/// A cluster as recorded in `state.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClusterState {
    /// The exact Kafka version.
    pub version: String,
    /// The cluster id given at formatting.
    pub cluster_id: String,
    /// `host:port` of every node's client listener, separated by commas.
    pub bootstrap: String,
    /// Java runs as Kafka's own start script runs it.
    #[serde(default)]
    pub as_shipped: bool,
    /// Users and certificates, when secured.
    pub credentials: Option<Credentials>,
    /// The nodes, node 1 first.
    pub nodes: Vec<NodeState>,
}

/// One combined broker and controller.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NodeState {
    /// The node id, from 1.
    pub id: u16,
    /// The KRaft directory id given at formatting.
    pub directory_id: String,
    /// Port of the client listener on 127.0.0.1.
    pub client_port: u16,
    /// Port between brokers (secured clusters; otherwise the client listener serves).
    pub broker_port: u16,
    /// Port of the controller listener.
    pub controller_port: u16,
    /// The process, when one was started and not stopped since.
    pub pid: Option<u32>,
    /// Properties, data and log of the node.
    pub dir: PathBuf,
}

impl NodeState {
    /// The file the node writes its standard output to.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.dir.join("node.log")
    }

    pub(crate) fn properties(&self) -> PathBuf {
        self.dir.join("server.properties")
    }
}

impl ClusterState {
    /// Reads the state of the cluster in `dir`.
    ///
    /// # Errors
    /// No cluster there, or an unreadable file.
    pub fn read(dir: &Path) -> Result<Self, KafkaError> {
        let path = dir.join(STATE_FILE);
        let text = std::fs::read_to_string(&path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => KafkaError::NoCluster { dir: dir.to_owned() },
            _ => KafkaError::Io { action: "reading", path: path.clone(), source },
        })?;
        serde_json::from_str(&text).map_err(|source| KafkaError::BadState { path, source })
    }

    pub(crate) fn write(&self, dir: &Path) -> Result<(), KafkaError> {
        let path = dir.join(STATE_FILE);
        let text =
            serde_json::to_string_pretty(self).map_err(|source| KafkaError::BadState { path: path.clone(), source })?;
        // Readers never see half a file.
        let staging = dir.join("state.json.new");
        std::fs::write(&staging, text).map_err(KafkaError::io("writing", &staging))?;
        std::fs::rename(&staging, &path).map_err(KafkaError::io("renaming", &staging))
    }

    pub(crate) fn plan(version: &str, options: &KafkaOptions, dir: &Path) -> Result<Self, KafkaError> {
        let ports = choose_ports(options)?;
        let count = usize::from(options.nodes);
        let nodes: Vec<NodeState> = (1..=options.nodes)
            .map(|id| {
                let index = usize::from(id) - 1;
                NodeState {
                    id,
                    directory_id: random_id(),
                    client_port: ports[index],
                    broker_port: ports[count + index],
                    controller_port: ports[2 * count + index],
                    pid: None,
                    dir: dir.join(format!("node-{id}")),
                }
            })
            .collect();
        let bootstrap = addresses(&nodes, |node| node.client_port);
        let (version, cluster_id) = (version.to_owned(), random_id());
        let as_shipped = options.as_shipped;
        Ok(Self { version, cluster_id, bootstrap, as_shipped, credentials: None, nodes })
    }

    /// The value of `controller.quorum.bootstrap.servers`.
    pub(crate) fn controllers(&self) -> String {
        addresses(&self.nodes, |node| node.controller_port)
    }
}

fn addresses(nodes: &[NodeState], port: impl Fn(&NodeState) -> u16) -> String {
    nodes.iter().map(|node| format!("127.0.0.1:{}", port(node))).collect::<Vec<_>>().join(",")
}

/// Client, broker and controller ports, each for all nodes.
fn choose_ports(options: &KafkaOptions) -> Result<Vec<u16>, KafkaError> {
    let count = options.nodes * 3;
    if let Some(base) = options.base_port {
        let last = base.checked_add(count).ok_or_else(|| KafkaError::BadOptions {
            reason: format!("--base-port {base} leaves no room for {count} ports below 65536"),
        })?;
        return Ok((base + 1..=last).collect());
    }
    // Held until all are found, so that no port is handed out twice.
    let mut held = Vec::new();
    let mut ports = Vec::new();
    let span = FREE_PORTS.len();
    let start = usize::try_from(random_u64() % span as u64).unwrap_or_default();
    for step in 0..span {
        let offset = u16::try_from((start + step) % span).unwrap_or_default();
        let port = FREE_PORTS.start + offset;
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push(listener);
            ports.push(port);
        }
        if ports.len() == usize::from(count) {
            return Ok(ports);
        }
    }
    let reason = format!("fewer than {count} of the ports {FREE_PORTS:?} are free");
    Err(KafkaError::BadOptions { reason })
}

/// A Kafka UUID: 16 random bytes in URL-safe Base64, which must not begin with a dash.
fn random_id() -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digit = |bits: u128| char::from(ALPHABET[usize::try_from(bits & 63).unwrap_or_default()]);
    // Two cleared top bits make the first digit one of A to P.
    let value = ((u128::from(random_u64()) << 64) | u128::from(random_u64())) >> 2;
    let mut text: String = (0..21).map(|index| digit(value >> (122 - 6 * index))).collect();
    text.push(digit(value << 4));
    text
}

/// The standard library seeds its hash maps from the operating system's random source.
fn random_u64() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_form_kafka_reads() {
        for _ in 0..1000 {
            let id = random_id();
            assert_eq!(id.len(), 22, "{id}");
            assert!(id.starts_with(|c: char| c.is_ascii_uppercase()), "{id}");
            // 128 bits in 22 digits: the last digit has four zero bits.
            assert!("AQgw".contains(&id[21..]), "{id}");
        }
        assert_ne!(random_id(), random_id());
    }

    #[test]
    fn free_ports_are_distinct_and_below_the_ephemeral_range() {
        let options = KafkaOptions { nodes: 3, ..KafkaOptions::default() };
        let mut ports = choose_ports(&options).unwrap();
        assert!(ports.iter().all(|port| FREE_PORTS.contains(port)), "{ports:?}");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 9);
    }

    #[test]
    fn a_base_port_is_obeyed_and_checked() {
        let with = |base| KafkaOptions { base_port: Some(base), ..KafkaOptions::default() };
        assert_eq!(choose_ports(&with(19_090)).unwrap(), [19_091, 19_092, 19_093]);
        assert!(choose_ports(&with(65_534)).is_err());
    }

    #[test]
    fn state_survives_the_file_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let missing = ClusterState::read(dir.path()).unwrap_err();
        assert!(matches!(missing, KafkaError::NoCluster { .. }), "{missing}");
        let options = KafkaOptions { nodes: 3, ..KafkaOptions::default() };
        let state = ClusterState::plan("4.4.0", &options, dir.path()).unwrap();
        state.write(dir.path()).unwrap();
        let read = ClusterState::read(dir.path()).unwrap();
        assert_eq!(format!("{read:?}"), format!("{state:?}"));
        assert_eq!(read.bootstrap.split(',').count(), 3);
        std::fs::write(dir.path().join(STATE_FILE), "{").unwrap();
        assert!(matches!(ClusterState::read(dir.path()), Err(KafkaError::BadState { .. })));
    }
}
