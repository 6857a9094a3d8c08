//! Kafka Streams' own word count with `exactly_once_v2`, killed in the middle.

use lumenbus_tests::cli::Background;
use lumenbus_tests::judges::transcript::follow;
use lumenbus_tests::judges::{Program, Site, on_both};
use std::collections::BTreeMap;
use std::path::Path;

const WORDS: [&str; 5] = ["gate", "corridor", "yard", "roof", "cellar"];
const LINES: usize = 300;

fn word_count(settings: &Path) -> Background {
    Program::new("org.apache.kafka.streams.examples.wordcount.WordCountDemo").args([settings]).start()
}

/// Lines of three words each.
fn write_lines(site: &mut Site) {
    let word = |number: usize| WORDS[number % WORDS.len()];
    let line = |number: usize| format!("> {} {} {}\n", word(number), word(number * 3 + 1), word(number / 7));
    let typed: String = (0..LINES).map(line).collect();
    follow(site, &format!("$ ConsoleProducer --topic streams-plaintext-input\n{typed}"));
}

/// The counts that a reader of whole transactions sees of each word, `count` in all.
fn counts(site: &mut Site, count: usize) -> BTreeMap<String, Vec<i64>> {
    let count = count.to_string();
    let mut words = vec!["--topic", "streams-wordcount-output", "--from-beginning", "--max-messages", &count];
    words.extend([
        "--isolation-level",
        "read_committed",
        "--timeout-ms",
        "120000",
        "--bootstrap-server",
        &site.bootstrap,
    ]);
    words.extend(["--formatter-property", "print.key=true", "--formatter-property"]);
    words.push("value.deserializer=org.apache.kafka.common.serialization.LongDeserializer");
    let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    let answer = site.jvm.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &words, "");
    let mut counts = BTreeMap::<String, Vec<i64>>::new();
    for line in answer.out.lines() {
        let (word, count) = line.split_once('\t').unwrap();
        counts.entry(word.to_owned()).or_default().push(count.parse().unwrap());
    }
    let seen: usize = counts.values().map(Vec::len).sum();
    assert_eq!(seen.to_string(), count, "{:?}: {}\n{}", site.kind, answer.out, answer.err);
    counts
}

#[test]
fn words_are_counted_exactly_once_through_a_kill() {
    on_both("Kafka Streams", |site| {
        for topic in ["streams-plaintext-input", "streams-wordcount-output"] {
            follow(site, &format!("$ TopicCommand --create --topic {topic} --partitions 2\nCreated topic {topic}.\n"));
        }
        let state = site.files.path().display();
        let settings = format!(
            "bootstrap.servers={}\nstate.dir={state}/state\nprocessing.guarantee=exactly_once_v2\n\
             commit.interval.ms=100\nstatestore.cache.max.bytes=0\nnum.stream.threads=2\n\
             # A killed member is replaced after its session.\n\
             session.timeout.ms=6000\nheartbeat.interval.ms=1000\n",
            site.bootstrap
        );
        let settings = site.file("streams.properties", &settings);
        write_lines(site);
        let counting = word_count(&settings);
        counts(site, LINES);
        drop(counting);
        write_lines(site);
        let counting = word_count(&settings);
        // Without a cache every word in the input is one record in the output.
        let counts = counts(site, 2 * 3 * LINES);
        for (word, counts) in &counts {
            let each_once: Vec<i64> = (1..).take(counts.len()).collect();
            assert_eq!(counts, &each_once, "{:?}: {word}", site.kind);
        }
        assert_eq!(counts.len(), WORDS.len());
        drop(counting);
        follow(site, "$ TopicCommand --delete --topic 'streams-.*'\n");
    });
}
