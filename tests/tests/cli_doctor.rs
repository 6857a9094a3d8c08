//! `lumenbus doctor`: what it finds on a healthy broker, on none, and on a secured cluster.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::backend::start_kafka;
use lumenbus_tests::cli::{BrokerProcess, Ran, run, spawn_at};
use serde_json::Value;
use xtask::kafka::{KafkaOptions, User};

/// The findings of one code.
fn findings(ran: &Ran, code: &str) -> Vec<Value> {
    ran.objects("finding").into_iter().filter(|finding| finding["code"] == code).collect()
}

/// The only finding of a code.
#[track_caller]
fn finding(ran: &Ran, code: &str) -> Value {
    let found = findings(ran, code);
    assert_eq!(found.len(), 1, "{code} in {}", ran.stdout);
    found.into_iter().next().unwrap()
}

#[track_caller]
fn is(ran: &Ran, code: &str, severity: &str) -> String {
    let finding = finding(ran, code);
    assert_eq!(finding["severity"], severity, "{finding}");
    finding["what"].as_str().unwrap().to_owned()
}

fn is_problem(finding: &Value) -> bool {
    ["warning", "error"].iter().any(|severity| finding["severity"] == *severity)
}

#[test]
fn a_healthy_broker_with_a_live_camera() {
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    let camera = broker.spawn("publish test:160x120@10 --camera gate --codec jpeg --loop --json");
    broker.run("subscribe --frames 1 --topic raw_images --from start").code(0);
    let data = broker.data().display().to_string();
    // A day of this camera must fit whatever else lies on the test machine's disk.
    let ran = broker.run(&format!("doctor --json --data {data} --free 10TB"));
    let problems: Vec<_> = ran.objects("finding").into_iter().filter(is_problem).collect();
    assert_eq!(problems, Vec::<Value>::new());
    let ran = ran.code(0);
    assert!(is(&ran, "broker.reachable", "ok").contains("embedded broker lumenbus-"));
    is(&ran, "broker.round_trip", "ok");
    assert!(is(&ran, "protocol.api", "ok").contains("Produce"));
    let allowed = is(&ran, "rights.allowed", "ok");
    for right in [
        "Write topic raw_images",
        "Read topic lumenbus.index",
        "Write topic lumenbus.index",
        "Read topic lumenbus.control",
        "Write topic lumenbus.control",
    ] {
        assert!(allowed.contains(right), "{right} is not in {allowed}");
    }
    is(&ran, "topics.settings", "ok");
    is(&ran, "isr", "ok");
    is(&ran, "clocks.broker", "ok");
    is(&ran, "clocks.camera", "ok");
    assert!(is(&ran, "disk", "ok").contains("retention ends the growth"));
    is(&ran, "latency.budget", "ok");
    assert_eq!(ran.summary()["is_reachable"], true);
    // Other processors' H.264 code needs no nasm. Without it nothing is wrong: the exit code is 0.
    let needs_nasm = cfg!(any(target_arch = "x86", target_arch = "x86_64"));
    assert_eq!(findings(&ran, "build.nasm").len(), usize::from(needs_nasm));
    for finding in ran.objects("finding") {
        let is_told = !finding["what"].as_str().unwrap().is_empty();
        assert!(is_told, "{finding}");
    }
    camera.interrupt().code(0);
}

#[test]
fn without_a_camera_the_clocks_are_not_known_and_nothing_is_left_behind() {
    let broker = BrokerProcess::start();
    let ran = broker.run("doctor --json").code(0);
    is(&ran, "clocks", "note");
    assert!(is(&ran, "topics.missing", "note").contains("raw_video"));
    let plan = broker.run("topics check --json").code(3);
    let missing = plan.objects("drift").iter().filter(|drift| drift["what"] == "topic").count();
    assert_eq!(missing, 10, "the doctor has created none of the topics: {}", plan.stdout);
}

#[test]
fn nobody_there_is_code_4_and_the_budget_is_told_all_the_same() {
    let ran = run("doctor --brokers 127.0.0.1:1 --json").code(4);
    let unreachable = finding(&ran, "LB-E0101");
    assert_eq!((&unreachable["severity"], &unreachable["what"]), (&"error".into(), &"no broker at 127.0.0.1:1".into()));
    assert!(unreachable["remedy"].as_str().unwrap().starts_with("start one with `lumenbus broker --data DIR`"));
    is(&ran, "latency.budget", "ok");
    assert_eq!(ran.summary()["is_reachable"], false);
    let text = run("doctor --brokers 127.0.0.1:1").code(4).stdout;
    assert!(text.starts_with("error    no broker at 127.0.0.1:1\n         to do: start one with"), "{text}");
}

#[test]
fn the_budget_is_of_the_effective_configuration() {
    let line = "doctor --brokers 127.0.0.1:1 --mbit 2.3 -X fetch.min.bytes=102400 -X fetch.wait.max.ms=500";
    let text = run(line).code(4).stdout;
    assert!(text.contains("warning  fetch.min.bytes=102400 at 2.3 Mbit/s: +356 ms: set it to 1\n"), "{text}");
    assert!(text.contains("warning  the settings add 356 ms of 50 ms allowed"), "{text}");
    let ran = run("doctor --brokers 127.0.0.1:1 --profile throughput -X max.poll.records=500 --json").code(4);
    assert!(is(&ran, "latency.max.poll.records", "ok").contains("+16.7 s when a reader is behind"));
    is(&ran, "latency.budget", "warning");
    let sum = ran.summary()["budget"]["always_millis"].as_f64().unwrap();
    assert!((sum - 110.0).abs() < 1e-9, "{sum}");
}

#[test]
fn settings_that_differ_are_problems() {
    let broker = BrokerProcess::start();
    broker.run("topics apply").code(0);
    assert!(is(&broker.run("doctor --json").code(0), "topics.settings", "ok").contains("10 topics as planned"));
    let ran = broker.run("doctor --json --profile throughput").code(3);
    assert!(ran.summary()["warnings"].as_u64().unwrap() > 0);
}

/// TLS, certificate and rights, each as the user who asks has them.
#[test]
fn on_a_secured_cluster_tls_and_rights_are_told() {
    let options = KafkaOptions { secure: true, ..KafkaOptions::default() };
    let Some(cluster) = start_kafka("a secured cluster", &options) else { return };
    let credentials = cluster.credentials().unwrap();
    let as_user = |user: &User, more: &str| {
        let file = user.client_properties.display().to_string();
        spawn_at(cluster.bootstrap(), &format!("doctor --json --kafka-config {file} {more}")).finish()
    };
    let ran = as_user(&credentials.alice, "--group lumenbus-archive");
    assert!(is(&ran, "tls.version", "ok").starts_with("TLSv1."), "{}", ran.stdout);
    is(&ran, "tls.trust", "ok");
    let certificate = finding(&ran, "tls.expiry")["what"].as_str().unwrap().to_owned();
    for part in ["CN=", "127.0.0.1", "issued by", "valid until", "days"] {
        assert!(certificate.contains(part), "{part} is not in {certificate}");
    }
    is(&ran, "protocol.api", "ok");
    assert_eq!(findings(&ran, "rights.denied"), Vec::<Value>::new(), "{}", ran.stdout);
    is(&ran, "rights.allowed", "ok");

    let refused = as_user(&credentials.mallory, "").code(3);
    let denied = findings(&refused, "rights.denied");
    assert!(!denied.is_empty(), "{}", refused.stdout);
    assert!(denied[0]["remedy"].as_str().unwrap().contains("kafka-acls.sh --add --allow-principal"), "{}", denied[0]);
    assert!(!refused.stdout.contains(&credentials.mallory.password), "no secret is told");

    // Without the CA the certificate cannot be trusted; what it is, is told all the same.
    let blind = run(&format!("doctor --json --brokers {} -X security.protocol=SSL", cluster.bootstrap())).code(4);
    is(&blind, "tls.trust", "error");
    assert!(finding(&blind, "tls.expiry")["what"].as_str().unwrap().contains("issued by"));
}
