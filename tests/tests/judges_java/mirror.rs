//! MirrorMaker 2 from the judged broker to Apache Kafka.

use lumenbus_tests::backend::{self, Kind};
use lumenbus_tests::cli::Background;
use lumenbus_tests::judges::transcript::follow;
use lumenbus_tests::judges::{Program, Site, on_both};

fn mirror(site: &Site, source: &str, target: &str) -> Background {
    let settings = format!(
        "clusters={source},safe\n{source}.bootstrap.servers={}\nsafe.bootstrap.servers={target}\n\
         {source}->safe.enabled=true\nsafe->{source}.enabled=false\n\
         {source}->safe.topics=judged-frames\n{source}->safe.groups=judged-viewer\n\
         {source}->safe.sync.group.offsets.enabled=true\n{source}->safe.sync.group.offsets.interval.seconds=1\n\
         {source}->safe.emit.checkpoints.interval.seconds=1\n{source}->safe.refresh.topics.interval.seconds=1\n\
         {source}->safe.refresh.groups.interval.seconds=1\n{source}->safe.sync.topic.configs.interval.seconds=1\n\
         {source}->safe.offset.lag.max=0\nsync.topic.acls.enabled=false\n\
         replication.factor=1\ncheckpoints.topic.replication.factor=1\nheartbeats.topic.replication.factor=1\n\
         offset-syncs.topic.replication.factor=1\noffset.storage.replication.factor=1\n\
         config.storage.replication.factor=1\nstatus.storage.replication.factor=1\n\
         plugin.discovery=service_load\nlisteners=http://127.0.0.1:0\n",
        site.bootstrap
    );
    let settings = site.file("mirror.properties", &settings);
    Program::new("org.apache.kafka.connect.mirror.MirrorMaker").args([settings]).start()
}

/// The records of a topic with all that belongs to them.
fn records(site: &mut Site, topic: &str) -> Vec<String> {
    let mut words = vec!["--topic", topic, "--from-beginning", "--max-messages", "4", "--timeout-ms", "60000"];
    words.extend(["--bootstrap-server", &site.bootstrap]);
    let told = ["key", "value", "headers", "timestamp", "partition", "offset"];
    let told = told.map(|part| format!("print.{part}=true"));
    words.extend(told.iter().flat_map(|part| ["--formatter-property", part]));
    let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    let answer = site.jvm.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &words, "");
    let mut records: Vec<String> = answer.out.lines().map(str::to_owned).collect();
    records.sort();
    assert_eq!(records.len(), 4, "{:?}: {}\n{}", site.kind, answer.out, answer.err);
    records
}

#[test]
fn everything_moves_to_apache_kafka() {
    on_both("MirrorMaker 2", |site| {
        let Some(kafka) = backend::Site::together(Kind::Kafka1) else { return };
        let target = kafka.bus.brokers.clone();
        let source = if site.kind == Kind::Embedded { "ours" } else { "theirs" };
        follow(site, include_str!("../../judges/java/transcripts/mirrored.txt"));
        let sent = records(site, "judged-frames");
        assert!(sent.iter().all(|record| record.contains("lb:") && record.contains("CreateTime:")), "{sent:?}");
        let mirroring = mirror(site, source, &target);
        let judged = std::mem::replace(&mut site.bootstrap, target);
        follow(site, &include_str!("../../judges/java/transcripts/mirror.txt").replace("SOURCE", source));
        assert_eq!(records(site, &format!("{source}.judged-frames")), sent);
        drop(mirroring);
        site.bootstrap = judged;
        follow(site, "$ TopicCommand --delete --topic judged-frames\n");
    });
}
