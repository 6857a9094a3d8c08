//! `lumenbus topics`: plans, what they create, and what differs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{Background, BrokerProcess, Ran, lumenbus, skip, spawn_at};
use serde_json::Value;
use std::collections::BTreeMap;
use xtask::kafka::{KafkaCluster, KafkaOptions};

const TOPIC_COMMAND: &str = "org.apache.kafka.tools.TopicCommand";

/// `None`, said loudly, where Kafka cannot run.
fn kafka(options: &KafkaOptions) -> Option<KafkaCluster> {
    match KafkaCluster::start(options) {
        Ok(cluster) => Some(cluster),
        Err(error) if error.is_missing_prerequisite() => {
            skip(&error.to_string());
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// The plan as JSON, by topic.
fn planned(ran: &Ran) -> BTreeMap<String, Value> {
    let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let topics = lines.filter(|object| object.get("partitions").is_some());
    topics.map(|object| (object["topic"].as_str().unwrap().to_owned(), object)).collect()
}

#[test]
fn a_plan_has_the_topics_of_the_design() {
    let broker = BrokerProcess::start();
    let plan = planned(&broker.run("topics plan --format json").code(0));
    for topic in ["raw_images", "raw_video", "raw_pixels"] {
        let topic = &plan[topic];
        assert_eq!((&topic["partitions"], &topic["replication"]), (&12.into(), &1.into()), "on the embedded broker");
        let configs = &topic["configs"];
        assert_eq!((&configs["retention.ms"], &configs["segment.ms"]), (&"86400000".into(), &"3600000".into()));
        assert_eq!((&configs["segment.bytes"], &configs["cleanup.policy"]), (&"1073741824".into(), &"delete".into()));
        assert_eq!(configs["message.timestamp.type"], "LogAppendTime");
        assert_eq!(configs["compression.type"], "producer");
    }
    assert_eq!(plan["lumenbus.cameras"]["configs"]["cleanup.policy"], "compact");
    assert_eq!(plan["lumenbus.cameras"]["partitions"], 1);
    assert_eq!(plan["lumenbus.index"]["partitions"], 12);
    assert_eq!(plan["analysis_results"]["configs"]["retention.ms"], "604800000");
    let other =
        "topics plan --format json --partitions 5 --retention 2h --topic-prefix site-a. --with dicom,keys,audit";
    let plan = planned(&broker.run(other).code(0));
    let video = &plan["site-a.raw_video"];
    assert_eq!((&video["partitions"], &video["configs"]["retention.ms"]), (&5.into(), &"7200000".into()));
    assert_eq!(plan["site-a.dicom_pixels"]["configs"]["retention.ms"], "-1");
    assert_eq!(plan["site-a.lumenbus.keys"]["configs"]["cleanup.policy"], "compact");
    assert!(plan.contains_key("site-a.lumenbus.audit"));
}

/// YAML as Strimzi's resources use it: two-space steps, `key: value`, documents begun by `---`.
fn documents(yaml: &str) -> Vec<BTreeMap<String, String>> {
    let mut documents = Vec::new();
    let mut path: Vec<&str> = Vec::new();
    for line in yaml.lines() {
        if line == "---" {
            documents.push(BTreeMap::new());
            continue;
        }
        let text = line.trim_start();
        let indent = line.len() - text.len();
        assert!(indent % 2 == 0 && !text.starts_with('\t'), "{line}");
        let (key, value) = text.split_once(':').unwrap_or_else(|| panic!("no key in {line}"));
        path.truncate(indent / 2);
        assert_eq!(path.len(), indent / 2, "a step too deep: {line}");
        path.push(key);
        let value = value.trim().trim_matches('"');
        if !value.is_empty() {
            documents.last_mut().unwrap().insert(path.join("/"), value.to_owned());
        }
    }
    documents
}

#[test]
fn the_strimzi_form_says_what_the_plan_says() {
    let broker = BrokerProcess::start();
    let plan = planned(&broker.run("topics plan --format json --topic-prefix Site_A.").code(0));
    let yaml = broker.run("topics plan --format strimzi --topic-prefix Site_A.").code(0).stdout;
    let documents = documents(&yaml);
    assert_eq!(documents.len(), plan.len());
    for document in documents {
        assert_eq!(document["kind"], "KafkaTopic");
        let name = &document["metadata/name"];
        let is_legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        assert!(name.chars().all(is_legal), "{name} is no name in Kubernetes");
        let topic = &plan[&document["spec/topicName"]];
        assert_eq!(document["spec/partitions"], topic["partitions"].to_string());
        assert_eq!(document["spec/replicas"], topic["replication"].to_string());
        for (setting, value) in topic["configs"].as_object().unwrap() {
            assert_eq!(document[&format!("spec/config/{setting}")], value.as_str().unwrap(), "{name}");
        }
    }
}

#[test]
fn apply_creates_what_is_missing_and_check_finds_what_differs() {
    let broker = BrokerProcess::start();
    let missing = broker.run("topics check --json").code(3);
    let topics = missing.objects("drift").len();
    assert!(topics >= 9, "{}", missing.stdout);
    assert_eq!(missing.summary()["drift"], topics);
    let applied = broker.run("topics apply --json").code(0).summary();
    assert_eq!(applied["created"].as_array().unwrap().len(), topics);
    let table = broker.run("topics check").code(0);
    assert!(table.stdout.contains("as planned"), "{}", table.stdout);
    assert_eq!(broker.run("topics apply --json").code(0).summary()["created"], Value::Array(Vec::new()));
    let drift = broker.run("topics check --retention 2h --json").code(3).objects("drift");
    assert_eq!(drift.len(), 4, "the frames' and the index: {drift:?}");
    assert_eq!((&drift[0]["planned"], &drift[0]["actual"]), (&"7200000".into(), &"86400000".into()));
    let table = broker.run("topics check --retention 2h").code(3).stdout;
    assert!(table.contains("TO DO") && table.contains("retention.ms"), "{table}");
    let altered = broker.run("topics apply --retention 2h --json").code(0).summary();
    assert_eq!(altered["altered"].as_array().unwrap().len(), 4, "{altered}");
    broker.run("topics check --retention 2h").code(0);
    // More partitions move cameras: only when asked to.
    broker.run("topics apply --partitions 13 --retention 2h").code(3);
    broker.run("topics apply --partitions 13 --retention 2h --grow").code(0);
    broker.run("topics check --partitions 13 --retention 2h").code(0);
}

/// The printed commands, run by Kafka's own program, make exactly what was planned; then drift is made and mended.
#[test]
fn on_apache_kafka_the_printed_commands_make_the_plan() {
    let Some(cluster) = kafka(&KafkaOptions::default()) else { return };
    let run = |line: &str| spawn_at(cluster.bootstrap(), line).finish();
    run("topics check").code(3);
    let commands = run("topics plan --format kafka-topics --partitions 3").code(0).stdout;
    for command in commands.lines() {
        let words: Vec<_> = command.split(' ').collect();
        let server = format!("'{}'", cluster.bootstrap());
        assert_eq!(words[..3], ["kafka-topics.sh", "--bootstrap-server", &server]);
        cluster.tool(TOPIC_COMMAND, &words[3..]).unwrap();
    }
    run("topics check --partitions 3").code(0);
    assert_eq!(run("topics apply --partitions 3 --json").code(0).summary()["created"], Value::Array(Vec::new()));

    let drift = run("topics check --partitions 3 --retention 2h --json").code(3).objects("drift");
    assert_eq!(drift.len(), 4);
    let altered = run("topics apply --partitions 3 --retention 2h --json").code(0).summary();
    assert_eq!(altered["altered"].as_array().unwrap().len(), 4, "{altered}");
    run("topics check --partitions 3 --retention 2h").code(0);
    // More partitions move cameras: only when asked to.
    run("topics apply --partitions 5 --retention 2h").code(3);
    run("topics apply --partitions 5 --retention 2h --grow").code(0);
    run("topics check --partitions 5 --retention 2h").code(0);
    cluster.tool(TOPIC_COMMAND, &["--delete", "--topic", "raw_video"]).unwrap();
    let gone = run("topics check --partitions 5 --retention 2h --json").code(3).objects("drift");
    assert_eq!((gone.len(), &gone[0]["topic"]), (1, &"raw_video".into()));
}

/// TLS, SCRAM and ACLs: who may, publishes and reads; who may not, is told why.
#[test]
fn on_a_secured_cluster_rights_decide_and_are_explained() {
    let options = KafkaOptions { secure: true, ..KafkaOptions::default() };
    let Some(cluster) = kafka(&options) else { return };
    let credentials = cluster.credentials().unwrap();
    let as_user = |user: &xtask::kafka::User, line: &str| {
        let file = user.client_properties.display().to_string();
        spawn_at(cluster.bootstrap(), &format!("{line} --kafka-config {file}")).finish()
    };
    let (alice, mallory) = (&credentials.alice, &credentials.mallory);
    as_user(alice, "topics apply").code(0);
    as_user(alice, "publish test:320x240@30,frames=30 --camera gate --unpaced").code(0);
    let read = as_user(alice, "subscribe --group lumenbus-archive --from start --until-end --json").code(0).summary();
    assert_eq!(read["streams"][0]["frames"], 30);

    for line in ["publish test:320x240@30,frames=3 --camera gate --unpaced", "subscribe --topic raw_video --for 5s"] {
        let refused = as_user(mallory, line).code(4).says("not authorised").says("ACL");
        assert!(!refused.stderr.contains(&mallory.password), "{}", refused.stderr);
    }
    as_user(alice, "subscribe --group payroll --topic raw_video --for 20s")
        .code(4)
        .says("payroll")
        .says("not authorised");

    // By the same properties, one by one.
    let mut by_flags: Vec<String> =
        vec!["topics".into(), "check".into(), "--brokers".into(), cluster.bootstrap().into()];
    for (name, value) in alice.librdkafka() {
        by_flags.extend(["-X".to_owned(), format!("{name}={value}")]);
    }
    Background::start(lumenbus(&by_flags)).finish().code(0);
    let wrong: Vec<_> = by_flags.iter().map(|flag| flag.replace("alice-secret", "guess-7")).collect();
    let refused = Background::start(lumenbus(&wrong)).finish().code(4).says("refuses the login").says("LB-E0112");
    assert!(!refused.stderr.contains("guess-7"), "{}", refused.stderr);
    let unknown_ca: Vec<_> = by_flags.iter().filter(|flag| !flag.starts_with("ssl.ca")).cloned().collect();
    let position = by_flags.iter().position(|flag| flag.starts_with("ssl.ca")).unwrap() - 1;
    let unknown_ca: Vec<_> =
        unknown_ca.iter().enumerate().filter(|(at, _)| *at != position).map(|(_, flag)| flag).collect();
    Background::start(lumenbus(unknown_ca)).finish().code(4).says("certificate").says("ssl.ca.location");
    spawn_at(cluster.bootstrap(), "topics check").finish().code(4).says("speaks TLS").says("LB-E0105");
}
