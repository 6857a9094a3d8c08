//! `lumenbus broker`: what it shows of itself. `lumenbus broker inspect`: on the data of a broker that runs, of one that
//! was killed, and with damage in it.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

use lumenbus_tests::cli::{Background, Ran, lumenbus, run};
use lumenbus_tests::embedded::EmbeddedProcess;
use lumenbus_tests::http::get;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(120);

/// `raw_images` with 100 records in partition 3, of which the group `archive` has read 60.
fn filled() -> EmbeddedProcess {
    let broker = EmbeddedProcess::new();
    let brokers = broker.bootstrap();
    run(&format!("topics apply --brokers {brokers}")).code(0);
    let mut settings = ClientConfig::new();
    settings.set("bootstrap.servers", &brokers).set("enable.idempotence", "true").set("group.id", "archive");
    let producer: BaseProducer = settings.create().unwrap();
    for _ in 0..100 {
        producer.send(BaseRecord::<(), _>::to("raw_images").partition(3).payload(&[0; 1000])).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let consumer: BaseConsumer = settings.create().unwrap();
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset("raw_images", 3, Offset::Offset(60)).unwrap();
    consumer.commit(&offsets, CommitMode::Sync).unwrap();
    broker
}

fn inspect(broker: &EmbeddedProcess, options: &str) -> Ran {
    run(&format!("broker inspect {} {options}", broker.data().display()))
}

/// The cells of the line that begins with these.
fn cells<'a>(ran: &'a Ran, first: &[&str]) -> Vec<&'a str> {
    let mut lines = ran.stdout.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    lines.find(|cells| cells.starts_with(first)).unwrap_or_else(|| panic!("no line {first:?} in:\n{}", ran.stdout))
}

#[test]
fn people_see_partitions_and_groups_while_the_broker_runs() {
    let broker = filled();
    let ran = inspect(&broker, "").code(0);
    assert!(ran.stdout.lines().next().unwrap().contains("a broker runs on it"), "{}", ran.stdout);
    let partition = cells(&ran, &["raw_images", "3"]);
    assert_eq!(partition[2..4], ["0", "100"], "from the first to the next offset");
    assert_eq!(partition.last(), Some(&"1"), "one idempotent producer");
    assert!(ran.stdout.contains("settings of raw_images: "), "{}", ran.stdout);
    assert_eq!(cells(&ran, &["archive", "0", "raw_images"])[3..6], ["3", "60", "40"]);
    let one = inspect(&broker, "--topic raw_images --segments").code(0);
    assert!(!one.stdout.contains("raw_video"), "{}", one.stdout);
    let titles = cells(&one, &["TOPIC", "PARTITION", "SEGMENT"]);
    assert_eq!(titles.last(), Some(&"TO"));
}

#[test]
fn programs_get_objects_and_a_crash_is_no_damage() {
    let mut broker = filled();
    broker.kill();
    let ran = inspect(&broker, "--json --verify --segments").code(0);
    let summary = ran.summary();
    assert_eq!((&summary["command"], &summary["usage"]), (&"broker inspect".into(), &"crashed".into()));
    assert_eq!((&summary["faults"], &summary["open_transactions"]), (&0.into(), &0.into()));
    let of_ours = |object: &Value| object["topic"] == "raw_images" && object["partition"] == 3;
    let partition = ran.objects("partition").into_iter().find(of_ours).unwrap();
    assert_eq!((&partition["end_offset"], &partition["producers"][0]["last_sequence"]), (&100.into(), &99.into()));
    let segment = ran.objects("segment").into_iter().find(of_ours).unwrap();
    assert_eq!((&segment["records"], &segment["next_offset"]), (&100.into(), &100.into()));
    let topic = ran.objects("topic").into_iter().find(|topic| topic["topic"] == "raw_images").unwrap();
    assert_eq!(topic["settings"]["message.timestamp.type"], "LogAppendTime");
    let group = &ran.objects("group")[0];
    assert_eq!((&group["group"], &group["offsets"][0]["lag"]), (&"archive".into(), &40.into()));
}

#[test]
fn damage_is_named_with_code_3() {
    let mut broker = filled();
    broker.kill();
    let segment = broker.data().join("raw_images-3/00000000000000000000.log");
    let mut bytes = fs::read(&segment).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&segment, bytes).unwrap();
    inspect(&broker, "").code(0);
    let ran = inspect(&broker, "--verify").code(3);
    let said = format!("damaged: {}: ", segment.display());
    assert!(ran.stdout.contains(&said) && ran.stdout.contains("checksum"), "{}", ran.stdout);
    let faults = inspect(&broker, "--verify --json").code(3).objects("fault");
    assert_eq!((faults.len(), &faults[0]["path"]), (1, &segment.to_str().unwrap().into()));
}

#[test]
fn what_is_no_data_directory_and_wrong_usage_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let ran = run(&format!("broker inspect {}", folder.path().display())).code(1);
    ran.says("not the data directory of a broker");
    run("broker inspect").code(2).says("<DIR>");
    run("broker").code(2).says("--data <DIR>");
    run("broker --data here inspect there").code(2);
}

/// A broker on this folder that is ready, and where its metrics are.
fn serve(data: &Path) -> (Background, String) {
    let arguments = ["broker", "--json", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--data"];
    let broker = Background::start(lumenbus(arguments.iter().map(AsRef::as_ref).chain([data.as_os_str()])));
    let metrics: Value = serde_json::from_str(&broker.wait_for_line("\"type\":\"metrics\"")).unwrap();
    broker.wait_for_line("\"type\":\"ready\"");
    (broker, metrics["listen"].as_str().unwrap().to_owned())
}

#[test]
fn a_broker_with_a_partition_offline_serves_and_is_not_ready() {
    let mut filled = filled();
    filled.kill();
    let (broker, metrics) = serve(filled.data());
    assert_eq!(get(&metrics, "/readyz").unwrap().status, 200);
    broker.interrupt().code(0);
    // A log that is a folder cannot be opened.
    let log = filled.data().join("raw_images-3/00000000000000000000.log");
    fs::remove_file(&log).unwrap();
    fs::create_dir(&log).unwrap();
    let (broker, metrics) = serve(filled.data());
    let page = get(&metrics, "/readyz").unwrap();
    assert_eq!(page.status, 503, "{}", page.body);
    assert!(page.body.contains("1 of ") && page.body.contains("offline"), "{}", page.body);
    assert_eq!(get(&metrics, "/healthz").unwrap().status, 200, "it is alive");
    let figures = get(&metrics, "/metrics").unwrap().body;
    assert!(figures.contains("lumenbus_broker_offline_partitions 1"), "{figures}");
    let reference = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md");
    let reference = fs::read_to_string(reference).unwrap();
    let families = figures.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let unknown: Vec<&str> = families.filter(|name| !reference.contains(&format!("`{name}"))).collect();
    assert_eq!(unknown, [""; 0], "families that the reference does not name");
    broker.interrupt().code(0);
}

#[track_caller]
fn check_json_log(ran: &Ran) -> Vec<Value> {
    let entry = |line: &str| -> Value {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line:?}"));
        assert!(["timestamp", "level", "target"].iter().all(|key| entry[key].is_string()), "{line}");
        assert!(entry["fields"]["message"].is_string(), "{line}");
        entry
    };
    ran.stderr.lines().map(entry).collect()
}

#[test]
fn every_line_of_a_json_log_is_an_object() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let data = data.to_str().unwrap();
    let arguments = ["broker", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--data", data];
    let logging = ["--log-format", "json", "--verbose"];
    let broker = Background::start(lumenbus(arguments.iter().chain(&logging)));
    broker.wait_for_line("broker ready on");
    // It has opened no logs: the folder is in use.
    let refused = Background::start(lumenbus(arguments.iter().chain(&logging))).finish().code(1);
    let last = check_json_log(&refused).pop().unwrap();
    assert_eq!(last["level"], "ERROR");
    assert!(last["fields"]["message"].as_str().unwrap().contains(data), "{last}");
    let said = check_json_log(&broker.interrupt().code(0));
    let says = |part: &str| said.iter().any(|entry| entry["fields"]["message"].as_str().unwrap().contains(part));
    for part in ["broker listens", "metrics on", "once more aborts", "stopped cleanly"] {
        assert!(says(part), "{part:?} is not in {said:?}");
    }
}
