//! Kafka Connect's file connectors, and MirrorMaker 2 from the judged broker to Apache Kafka.

use lumenbus_tests::cli::Background;
use lumenbus_tests::judges::transcript::follow;
use lumenbus_tests::judges::{Program, Site, on_both};
use rustix::process::Signal;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

/// Ends only what never comes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a file that another program writes at its own pace.
const PAUSE: Duration = Duration::from_millis(50);

fn connect(site: &Site) -> Background {
    let files = site.files.path().display();
    let worker = format!(
        "bootstrap.servers={}\nlisteners=http://127.0.0.1:0\noffset.storage.file.filename={files}/offsets\n\
         key.converter=org.apache.kafka.connect.storage.StringConverter\n\
         value.converter=org.apache.kafka.connect.storage.StringConverter\n\
         plugin.discovery=service_load\noffset.flush.interval.ms=1000\nconsumer.session.timeout.ms=6000\n",
        site.bootstrap
    );
    let source = format!(
        "name=judged-source\nconnector.class=FileStreamSource\ntasks.max=1\nfile={files}/in.txt\ntopic=judged-lines\n"
    );
    let sink = format!(
        "name=judged-sink\nconnector.class=FileStreamSink\ntasks.max=1\nfile={files}/out.txt\ntopics=judged-lines\n"
    );
    let settings = [("worker", worker), ("source", source), ("sink", sink)];
    let files = settings.map(|(name, text)| site.file(&format!("{name}.properties"), &text));
    Program::new("org.apache.kafka.connect.cli.ConnectStandalone").args(files).start()
}

/// Ends Connect. Its own end and that of its web server begin at once with the signal, and now and then wait for each other
/// for ever, against any broker; its tasks run meanwhile and commit every second, so killing it loses nothing.
fn end(connect: Background) {
    connect.signal(Signal::TERM);
    let _ended = connect.finish_or_kill(Duration::from_secs(30));
}

/// Waits until a program has written this into a file; nothing tells of that but the file.
#[track_caller]
fn wait_for_file(path: &Path, expected: &str) {
    let started = Instant::now();
    loop {
        let is = std::fs::read_to_string(path).unwrap_or_default();
        if is == expected {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{path:?} is\n{is}\nand should be\n{expected}");
        std::thread::sleep(PAUSE);
    }
}

#[test]
fn a_file_arrives_through_connect() {
    on_both("Kafka Connect", |site| {
        follow(site, "$ TopicCommand --create --topic judged-lines --partitions 1\nCreated topic judged-lines.\n");
        let (input, output) = (site.files.path().join("in.txt"), site.files.path().join("out.txt"));
        let mut text = String::new();
        for part in 0..2 {
            for line in 0..200 {
                writeln!(text, "part {part} line {line}").unwrap();
            }
            std::fs::write(&input, &text).unwrap();
            let connect = connect(site);
            wait_for_file(&output, &text);
            // The next one goes on where this one has stopped.
            end(connect);
        }
        follow(
            site,
            "$ GetOffsetShell --topic judged-lines\njudged-lines:0:400\n\
             $ consumer.group.ConsumerGroupCommand --describe --group connect-judged-sink\n\
             GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID\n\
             connect-judged-sink judged-lines 0 400 400 0 - - -\n\
             Consumer group 'connect-judged-sink' has no active members.\n\
             [eventually]\n",
        );
    });
}
