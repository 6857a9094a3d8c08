//! The Kafka harness against real Kafka. Skips loudly where Java or Maven is missing.

use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use xtask::kafka::{ClusterState, KafkaCluster, KafkaError, KafkaOptions};

const TOPIC_COMMAND: &str = "org.apache.kafka.tools.TopicCommand";

fn start(options: &KafkaOptions) -> Option<KafkaCluster> {
    match KafkaCluster::start(options) {
        Ok(cluster) => Some(cluster),
        Err(error) if error.is_missing_prerequisite() => {
            let required = std::env::var_os("LUMENBUS_REQUIRE_ALL").is_some_and(|all| all == "1");
            assert!(!required, "{error}");
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn runs(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|command| !command.is_empty())
}

/// Waits until the condition holds; the limit only ends a hopeless wait.
fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what} did not happen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_topic_survives_kill_and_restart_and_drop_leaves_nothing() {
    let Some(mut cluster) = start(&KafkaOptions::default()) else {
        return;
    };
    let create = ["--create", "--topic", "raw_video", "--partitions", "3"];
    cluster.tool(TOPIC_COMMAND, &create).unwrap();
    cluster.kill(1).unwrap();
    assert!(cluster.running().is_empty());
    cluster.restart(1).unwrap();
    let topics = cluster.tool(TOPIC_COMMAND, &["--list"]).unwrap();
    assert_eq!(topics.trim(), "raw_video");
    assert!(matches!(cluster.kill(2), Err(KafkaError::UnknownNode { node: 2, nodes: 1, .. })));

    let node = cluster.state().nodes[0].clone();
    let pid = node.pid.unwrap();
    assert!(runs(pid));
    drop(cluster);
    assert!(!runs(pid), "the broker outlived its cluster");
    assert!(!node.dir.exists(), "the cluster's folder was left");
}

#[test]
fn a_secured_cluster_lets_alice_in_and_keeps_mallory_out() {
    let options = KafkaOptions { secure: true, ..KafkaOptions::default() };
    let Some(cluster) = start(&options) else {
        return;
    };
    let credentials = cluster.credentials().unwrap();
    let create = |user: &xtask::kafka::User, topic: &str| {
        let config = user.client_properties.display().to_string();
        let command = ["--create", "--topic", topic, "--command-config", &config];
        cluster.tool(TOPIC_COMMAND, &command).map(drop)
    };
    create(&credentials.alice, "raw_images").unwrap();
    let outside = create(&credentials.alice, "payroll").unwrap_err().to_string();
    assert!(outside.contains("Authorization"), "{outside}");
    let denied = create(&credentials.mallory, "raw_video").unwrap_err().to_string();
    assert!(denied.contains("Authorization"), "{denied}");
}

const REPORT_VARIABLE: &str = "XTASK_TEST_OWNER";

/// The owner is another process, killed so that it cannot clean up.
#[test]
fn brokers_die_with_their_owner() {
    if let Some(report) = std::env::var_os(REPORT_VARIABLE) {
        return own_a_cluster(Path::new(&report));
    }
    let report = tempfile::NamedTempFile::new().unwrap();
    let mut owner = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "brokers_die_with_their_owner", "--nocapture"])
        .env(REPORT_VARIABLE, report.path())
        .spawn()
        .unwrap();
    let reported = wait_for_report(&mut owner, report.path());
    let node_dir = reported.as_deref().map(Path::new);
    let pid = node_dir.map(|dir| {
        let pid = ClusterState::read(dir.parent().unwrap()).unwrap().nodes[0].pid.unwrap();
        assert!(runs(pid));
        pid
    });
    owner.kill().unwrap();
    owner.wait().unwrap();
    if let (Some(pid), Some(dir)) = (pid, node_dir) {
        eventually("the broker's end", || !runs(pid));
        std::fs::remove_dir_all(dir.parent().unwrap()).unwrap();
    }
}

fn own_a_cluster(report: &Path) {
    let cluster = start(&KafkaOptions::default());
    let Some(cluster) = cluster else {
        return;
    };
    std::fs::write(report, cluster.state().nodes[0].dir.display().to_string()).expect("the report is written");
    loop {
        // Comes back without reason now and then.
        std::thread::park();
    }
}

/// The folder that the owner reports; none when it ended well without a cluster (it skipped).
fn wait_for_report(owner: &mut Child, report: &Path) -> Option<String> {
    let started = Instant::now();
    loop {
        let told = std::fs::read_to_string(report).unwrap_or_default();
        if !told.is_empty() {
            return Some(told);
        }
        if let Some(status) = owner.try_wait().expect("the owner can be waited for") {
            assert!(status.success(), "the owner failed");
            return None;
        }
        assert!(started.elapsed() < Duration::from_secs(240), "the owner started no cluster");
        std::thread::sleep(Duration::from_millis(50));
    }
}
