//! `server.properties` of a node.
//!
//! Limits of records, requests and fetches are left at the broker's defaults: default brokers have
//! to suffice. What is set makes a small cluster start and fail over fast.

use std::fmt::Write as _;

use super::secure::broker_properties;
use super::state::{ClusterState, NodeState};

/// The text of the node's `server.properties`; `extra` wins.
pub(crate) fn server_properties(cluster: &ClusterState, node: &NodeState, extra: &[(String, String)]) -> String {
    let mut all = common(cluster, node);
    match &cluster.credentials {
        None => all.extend(plain_listeners(node)),
        Some(credentials) => all.extend(broker_properties(credentials, node)),
    }
    all.retain(|(name, _)| !extra.iter().any(|(wanted, _)| wanted == name));
    all.extend_from_slice(extra);
    all.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name}={value}");
        text
    })
}

fn common(cluster: &ClusterState, node: &NodeState) -> Vec<(String, String)> {
    let replicas = cluster.nodes.len().min(3).to_string();
    let in_sync = cluster.nodes.len().min(3).saturating_sub(1).max(1).to_string();
    let fixed = [
        ("process.roles", "broker,controller"),
        ("controller.listener.names", "CONTROLLER"),
        ("num.network.threads", "2"),
        ("num.io.threads", "4"),
        ("background.threads", "2"),
        // A topic that nobody planned is an error worth seeing.
        ("auto.create.topics.enable", "false"),
        ("offsets.topic.num.partitions", "4"),
        ("transaction.state.log.num.partitions", "4"),
        ("group.initial.rebalance.delay.ms", "0"),
        // Clients choose short sessions in tests.
        ("group.min.session.timeout.ms", "1000"),
        // A killed broker is noticed, and let in again, after this time.
        ("broker.session.timeout.ms", "3000"),
        ("broker.heartbeat.interval.ms", "500"),
        ("controlled.shutdown.enable", "true"),
        // A transaction whose producer was killed ends soon after its time.
        ("transaction.abort.timed.out.transaction.cleanup.interval.ms", "1000"),
    ];
    let chosen = [
        ("node.id", node.id.to_string()),
        ("controller.quorum.bootstrap.servers", cluster.controllers()),
        ("log.dirs", node.dir.join("data").display().to_string()),
        ("offsets.topic.replication.factor", replicas.clone()),
        ("transaction.state.log.replication.factor", replicas.clone()),
        ("transaction.state.log.min.isr", in_sync.clone()),
        ("default.replication.factor", replicas),
        ("min.insync.replicas", in_sync),
    ];
    let fixed = fixed.map(|(name, value)| (name, value.to_owned()));
    fixed.into_iter().chain(chosen).map(|(name, value)| (name.to_owned(), value)).collect()
}

fn plain_listeners(node: &NodeState) -> Vec<(String, String)> {
    let listeners =
        format!("PLAINTEXT://127.0.0.1:{},CONTROLLER://127.0.0.1:{}", node.client_port, node.controller_port);
    [
        ("listeners", listeners.clone()),
        ("advertised.listeners", listeners),
        ("inter.broker.listener.name", "PLAINTEXT".to_owned()),
        ("listener.security.protocol.map", "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT".to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

#[cfg(test)]
mod tests {
    use super::super::KafkaOptions;
    use super::*;

    fn text(nodes: u16, extra: &[(String, String)]) -> String {
        let options = KafkaOptions { nodes, ..KafkaOptions::default() };
        let cluster = ClusterState::plan("4.4.0", &options, std::path::Path::new("k")).unwrap();
        server_properties(&cluster, &cluster.nodes[0], extra)
    }

    #[test]
    fn replication_follows_the_number_of_nodes() {
        let check = |nodes, replicas: &str, in_sync: &str| {
            let text = text(nodes, &[]);
            assert!(text.contains(&format!("\ndefault.replication.factor={replicas}\n")), "{text}");
            assert!(text.contains(&format!("\nmin.insync.replicas={in_sync}\n")), "{text}");
        };
        check(1, "1", "1");
        check(2, "2", "1");
        check(3, "3", "2");
        check(5, "3", "2");
    }

    #[test]
    fn an_extra_property_replaces_ours() {
        let extra = [("auto.create.topics.enable".to_owned(), "true".to_owned())];
        let text = text(1, &extra);
        assert_eq!(text.matches("auto.create.topics.enable").count(), 1, "{text}");
        assert!(text.contains("auto.create.topics.enable=true"), "{text}");
    }

    #[test]
    fn record_limits_stay_at_the_default() {
        let text = text(3, &[]);
        assert!(!text.contains("message.max.bytes") && !text.contains("fetch"), "{text}");
    }
}
