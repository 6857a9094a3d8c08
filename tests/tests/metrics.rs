//! `/metrics`, `/healthz`, `/readyz`, traces and JSON logs of the real binary; Prometheus's own tool judges them.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{Background, BrokerProcess, lumenbus, run, skip, words};
use lumenbus_tests::http::{Answer, get, wait_for};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where a command said that its metrics are.
fn metrics_of(process: &Background) -> String {
    let line: Value = serde_json::from_str(&process.wait_for_line("\"type\":\"metrics\"")).unwrap();
    line["listen"].as_str().unwrap().to_owned()
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Whether promtool is there; said loudly where not.
fn has_promtool() -> bool {
    let found = Command::new("promtool").arg("--version").output().is_ok();
    if !found {
        skip("promtool is not installed (Debian: prometheus)");
    }
    found
}

#[track_caller]
fn promtool(arguments: &str, input: Option<&str>) {
    let mut command = Command::new("promtool");
    command.args(words(arguments)).current_dir(repository("deploy/prometheus"));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.unwrap_or_default().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {arguments}: {said}\n{}", input.unwrap_or_default());
}

/// The names of all families in an answer.
fn families(text: &str) -> BTreeSet<String> {
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    names.map(str::to_owned).collect()
}

fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| line.strip_prefix(series).is_some_and(|rest| rest.starts_with(' ')))?;
    line.rsplit(' ').next()?.parse().ok()
}

fn at_least(least: f64, series: &'static str) -> impl Fn(&Answer) -> bool {
    move |page| page.status == 200 && value(&page.body, series).is_some_and(|value| value >= least)
}

#[test]
fn publisher_and_subscriber_tell_prometheus_what_they_do() {
    let broker = BrokerProcess::start();
    let camera = broker.spawn("publish test:320x240@30 --camera gate --codec jpeg --loop --json --metrics 127.0.0.1:0");
    let publisher = metrics_of(&camera);
    wait_for(&publisher, "/metrics", at_least(30.0, "lumenbus_published_frames_total{camera=\"gate\"}"));
    let reader = broker.spawn("subscribe --camera gate --group archive --json --metrics 127.0.0.1:0");
    let subscriber = metrics_of(&reader);
    // librdkafka's statistics, the cluster and the group come a little later.
    let sent = wait_for(&publisher, "/metrics", at_least(1.0, "lumenbus_producer_record_send_rate"));
    let got = wait_for(&subscriber, "/metrics", |page| {
        let group = "lumenbus_group_members{group=\"archive\"}";
        at_least(1.0, "lumenbus_consumer_poll_rate")(page) && at_least(1.0, group)(page)
    });
    for name in
        ["lumenbus_producer_request_latency_avg_seconds", "lumenbus_producer_connections", "lumenbus_queued_bytes"]
    {
        assert!(value(&sent, name).is_some(), "{name} is not in {sent}");
    }
    let acknowledged = value(&sent, "lumenbus_stage_seconds_count{stage=\"acknowledge\"}");
    assert!(acknowledged.is_some_and(|count| count >= 30.0), "{acknowledged:?}");
    for name in [
        "lumenbus_consumer_records_lag_max",
        "lumenbus_consumer_records_consumed_rate",
        "lumenbus_cluster_up",
        "lumenbus_cluster_under_replicated_partitions{topic=\"raw_images\"}",
        "lumenbus_missing_frames_total{reason=\"unexplained\"}",
        "lumenbus_frame_age_seconds_count{camera=\"gate\"}",
        "lumenbus_stage_seconds_count{stage=\"append\"}",
        "lumenbus_stage_seconds_count{stage=\"receive\"}",
    ] {
        assert!(value(&got, name).is_some(), "{name} is not in {got}");
    }
    assert!(got.contains("lumenbus_disk_used_bytes{topic=\"raw_images\",estimate=\"true\"}"), "{got}");
    for address in [&publisher, &subscriber] {
        assert!(wait_for(address, "/readyz", |page| page.status == 200).contains("\"kafka\":{\"state\":\"ok\"}"));
        assert_eq!(get(address, "/healthz").unwrap().status, 200);
    }
    let documented = std::fs::read_to_string(repository("docs/reference/metrics.md")).unwrap();
    for family in families(&sent).union(&families(&got)) {
        assert!(
            documented.contains(&format!("`{family}`")) || documented.contains(&format!("`{family}{{")),
            "{family}"
        );
    }
    if has_promtool() {
        promtool("check metrics", Some(&sent));
        promtool("check metrics", Some(&got));
    }
    camera.interrupt().code(0);
    reader.interrupt().code(0);
}

#[test]
fn a_broker_that_goes_makes_it_unready_not_unhealthy() {
    let broker = BrokerProcess::start_restartable();
    let camera = broker.spawn("publish test:160x120@10 --camera gate --codec jpeg --loop --json --metrics 127.0.0.1:0");
    let address = metrics_of(&camera);
    wait_for(&address, "/readyz", |page| page.status == 200);
    // A publisher that has not begun yet would rather end.
    wait_for(&address, "/metrics", |page| page.body.contains("camera=\"gate\""));
    assert!(broker.stop().status.success());
    let why = wait_for(&address, "/readyz", |page| page.status == 503);
    assert!(why.contains("no broker at"), "{why}");
    assert_eq!(get(&address, "/healthz").unwrap().status, 200);
    wait_for(&address, "/metrics", |page| value(&page.body, "lumenbus_cluster_up") == Some(0.0));
    drop(camera);
}

#[test]
fn the_rules_are_right_and_of_metrics_that_exist() {
    let rules = std::fs::read_to_string(repository("deploy/prometheus/rules.yml")).unwrap();
    let documented = std::fs::read_to_string(repository("docs/reference/metrics.md")).unwrap();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let expressions = rules.lines().filter_map(|line| line.trim().strip_prefix("expr: "));
    let names = expressions.flat_map(|line| line.split(|c| !is_word(c))).filter(|word| word.starts_with("lumenbus_"));
    let mut count = 0;
    for name in names {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(documented.contains(&format!("`{family}`")), "{family} is in a rule and not in the reference");
        count += 1;
    }
    assert!(count >= 10, "{count} metrics in {rules}");
    if has_promtool() {
        promtool("check config prometheus.yml", None);
        promtool("check rules rules.yml", None);
        promtool("test rules rules_test.yml", None);
    }
}

#[test]
fn an_address_in_use_is_told_before_anything_is_published() {
    let broker = BrokerProcess::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let line = format!("publish test:160x120@10,frames=3 --camera gate --metrics {address}");
    broker.run(&line).code(1).says(&format!("cannot listen on {address} for metrics"));
    broker
        .run("publish test:160x120@10,frames=3 --camera gate --trace-endpoint collector:4318")
        .code(2)
        .says("--trace-endpoint http://");
    broker
        .run("publish test:160x120@10,frames=3 --camera gate --trace-endpoint http://127.0.0.1:9 --trace-ratio 7")
        .code(2)
        .says("between 0 and 1");
}

/// A collector that is away must not cost a frame, nor a clean end.
#[test]
fn traces_that_nobody_takes_cost_nothing() {
    let broker = BrokerProcess::start();
    let line = "publish test:160x120@30,frames=30 --camera gate --codec jpeg --unpaced --json --trace-endpoint http://127.0.0.1:9 --trace-ratio 1";
    let summary = broker.run(line).code(0).summary();
    assert_eq!((&summary["acknowledged"], &summary["clean"]), (&30.into(), &true.into()));
    let read = broker
        .run("subscribe --camera gate --from start --until-end --json --trace-endpoint http://127.0.0.1:9")
        .code(0);
    assert_eq!(read.summary()["streams"][0]["frames"], 30);
}

#[test]
fn json_logs_are_one_object_a_line() {
    let broker = BrokerProcess::start();
    let publish = "publish test:160x120@30,frames=30 --camera gate --codec jpeg --unpaced";
    let read = "subscribe --camera gate --from start --until-end";
    let absent = "subscribe --topic absent --for 1s";
    for (line, code) in [(publish, 0), (read, 0), (absent, 1)] {
        let arguments = format!("{line} -vv --log-format json --brokers {}", broker.address());
        let ran = Background::start(lumenbus(words(&arguments))).finish().code(code);
        assert!(ran.stderr.contains("settings in force"), "-vv says what is meant: {}", ran.stderr);
        for line in ran.stderr.lines() {
            let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            for key in ["timestamp", "level", "target", "fields"] {
                assert!(!entry[key].is_null(), "no {key} in {line}");
            }
        }
    }
    run("size --cameras 1 --log-format yaml").code(2);
}
