//! Kafka's transactional copier, killed again and again, and what its tools then say of the broker's files.

use crate::tools::transcripts;
use lumenbus_tests::backend::Kind;
use lumenbus_tests::cli::Background;
use lumenbus_tests::judges::transcript::follow;
use lumenbus_tests::judges::{Program, Site, on_both};
use std::path::{Path, PathBuf};

const RECORDS: usize = 3_000;
const KILLS: usize = 4;

/// Copies `judged-in` to `judged-out` in transactions of 20 records, and aborts about every third of them.
fn copier(site: &Site, more: &[&str]) -> Background {
    let fixed = ["--input-topic", "judged-in", "--input-partition", "0", "--output-topic", "judged-out"];
    let names = ["--transactional-id", "judged-copier", "--consumer-group", "judged-copiers", "--use-group-metadata"];
    let program = Program::new("org.apache.kafka.tools.TransactionalMessageCopier");
    let program = program.args(fixed).args(names).args(["--enable-random-aborts", "--transaction-size", "20"]);
    program.args(["--broker-list", &site.bootstrap]).args(more).start()
}

/// What a reader of whole transactions sees in `judged-out`; it holds `count` records.
fn copied(site: &mut Site, count: usize) -> Vec<String> {
    let mut words = vec!["--topic", "judged-out", "--from-beginning", "--isolation-level", "read_committed"];
    let count = count.to_string();
    words.extend(["--timeout-ms", "60000", "--bootstrap-server", &site.bootstrap, "--max-messages", &count]);
    let words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    let answer = site.jvm.run("org.apache.kafka.tools.consumer.ConsoleConsumer", &words, "");
    assert_eq!(answer.code, 0, "{}\n{}", answer.out, answer.err);
    answer.out.lines().map(str::to_owned).collect()
}

fn lines(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("record {number:05}")).collect()
}

fn typed(lines: &[String]) -> String {
    lines.iter().map(|line| format!("> {line}\n")).collect()
}

#[test]
fn transactional_copies_are_exact_through_aborts_and_kills() {
    on_both("Java copier", |site| {
        let input = lines(RECORDS);
        follow(
            site,
            &format!(
                "$ TopicCommand --create --topic judged-in --partitions 1\nCreated topic judged-in.\n\
                 $ TopicCommand --create --topic judged-out --partitions 1\nCreated topic judged-out.\n\
                 $ ConsoleProducer --topic judged-in\n{}",
                typed(&input)
            ),
        );
        for kill in 1..=KILLS {
            // The next one does not read past offsets that await the end of a transaction.
            let copying = copier(site, &["--transaction-timeout", "10000"]);
            copying.wait_for_lines("totalProcessed", 6 * kill);
            // Dropped: SIGKILL.
        }
        let ended = copier(site, &[]).finish().code(0);
        assert!(ended.stdout.contains("ShutdownComplete"), "{}", ended.stdout);

        // Whatever comes before this record has been decided.
        follow(site, "$ ConsoleProducer --topic judged-out\n> the end\n");
        let mut copies = copied(site, RECORDS + 1);
        assert_eq!(copies.pop().as_deref(), Some("the end"));
        assert!(copies == input, "{:?}: {} of {RECORDS} copies: {copies:?}", site.kind, copies.len());
        transcripts(site, &["transactions.txt", "files.txt"]);
        if site.kind == Kind::Embedded {
            dump(site);
        }
    });
}

/// Kafka's own reader of files over all that is left, after a clean stop.
fn dump(site: &mut Site) {
    let data = site.data().unwrap().to_owned();
    site.stop();
    for log in files(&data, "log") {
        let (decoder, part) = match log.parent().and_then(Path::file_name).and_then(|name| name.to_str()).unwrap() {
            name if name.starts_with("__consumer_offsets") => ("--offsets-decoder", r#""group":"judged-copiers""#),
            name if name.starts_with("__transaction_state") => ("--transaction-log-decoder", r#""judged-copier""#),
            _ => ("--deep-iteration", "| offset: "),
        };
        let said = dumped(site, &log, decoder);
        assert!(!said.contains("isvalid: false"), "{said}");
        let is_empty = std::fs::metadata(&log).unwrap().len() == 0;
        assert!(is_empty || said.contains(part), "{part} is not in: {said}");
    }
    for index in ["index", "timeindex"].into_iter().flat_map(|kind| files(&data, kind)) {
        let said = dumped(site, &index, "--index-sanity-check");
        assert!(said.contains("passed sanity check"), "{said}");
        let said = dumped(site, &index, "--verify-index-only");
        assert!(!said.contains("mismatch") && !said.contains("out of order"), "{said}");
    }
    let segments = files(&data.join("judged-files-0"), "log");
    assert!(segments.len() > 2, "{segments:?}");
    let last = dumped(site, segments.last().unwrap(), "--print-data-log");
    says(&last, &["in zstd", "in lz4", "in snappy", "in gzip", "compresscodec: zstd", "LogAppendTime"]);
    dump_transactions(site, &data);
}

fn dump_transactions(site: &mut Site, data: &Path) {
    let out = data.join("judged-out-0").join("00000000000000000000");
    let said = dumped(site, &out.with_extension("log"), "--print-data-log");
    says(&said, &["payload: record 00000", "payload: the end", "endTxnMarker: COMMIT", "endTxnMarker: ABORT"]);
    let said = dumped(site, &out.with_extension("txnindex"), "--deep-iteration");
    says(&said, &["producerId: ", "firstOffset: ", "lastOffset: ", "lastStableOffset: "]);
    let snapshots = files(&data.join("judged-out-0"), "snapshot");
    let said = dumped(site, snapshots.last().expect("a clean stop leaves one"), "--deep-iteration");
    says(
        &said,
        &["producerId: ", "producerEpoch: ", "coordinatorEpoch: ", "currentTxnFirstOffset: OptionalLong.empty"],
    );
}

#[track_caller]
fn says(said: &str, parts: &[&str]) {
    let missing: Vec<_> = parts.iter().filter(|part| !said.contains(**part)).collect();
    assert!(missing.is_empty(), "{missing:?} is not in:\n{said}");
}

fn dumped(site: &mut Site, file: &Path, how: &str) -> String {
    let words = ["--files", file.to_str().unwrap(), how].map(str::to_owned);
    let answer = site.jvm.run("org.apache.kafka.tools.DumpLogSegments", &words, "");
    // It says so of every segment but the first, also of Kafka's own.
    let first =
        |line: &&str| line.starts_with("Non-consecutive offsets in ") || line.starts_with("  -1 is followed by ");
    let complaints: Vec<&str> = answer.err.lines().filter(|line| !first(line)).collect();
    assert!(answer.code == 0 && complaints.is_empty(), "{file:?} {how}: {complaints:?}");
    answer.out
}

/// Files of this kind below a folder, in the order of their names.
fn files(folder: &Path, kind: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(files(&path, kind));
        } else if path.extension().is_some_and(|end| end == kind) {
            found.push(path);
        }
    }
    found.sort();
    found
}
