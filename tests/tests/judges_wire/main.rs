//! Bytes that no client sends, held against the embedded broker and against Apache Kafka with the same expectations:
//! `tests/judges/wire/expected.txt` has a line for each.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

mod records;
mod requests;

use lumenbus_tests::backend::Kind;
use lumenbus_tests::judges::clients::at_both;
use lumenbus_tests::python::in_repository;
use records::{Batch, GZIP, LZ4, SNAPPY, ZSTD, old_message, record, varint};
use requests::{API_VERSIONS, Body, METADATA, PRODUCE, answer, create_topic, fetch, produce};
use std::time::{Duration, Instant};

const JUDGE: &str = "raw bytes";
const EXPECTED: &str = "tests/judges/wire/expected.txt";
const TOPIC: &str = "judged-wire";
/// A version of Produce with plain lengths, which knows every codec.
const VERSION: i16 = 7;
/// Ends only what never comes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two requests to a broker that tells nobody when a topic is ready.
const PAUSE: Duration = Duration::from_millis(50);
/// What a bomb blows up to: more than any limit of a broker.
const BOMB_BYTES: usize = 110 << 20;

/// What is sent, and under which name.
type Case = (String, Vec<u8>);

/// Makes the topic; what a controller has made, a broker may not know yet.
fn prepare(bootstrap: &str) {
    let made = answer(bootstrap, &create_topic(TOPIC), true);
    assert!(["0", "36"].contains(&&*made), "the topic cannot be made: {made}");
    let good = produce(VERSION, -1, (TOPIC, 0), &Batch::good().bytes());
    let began = Instant::now();
    loop {
        let code = answer(bootstrap, &good, true);
        if code == "0" {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "the topic does not get ready: {code}");
        std::thread::sleep(PAUSE);
    }
}

fn records(name: &str, records: &[u8]) -> Case {
    (format!("records: {name}"), produce(VERSION, -1, (TOPIC, 0), records))
}

fn batch(name: &str, batch: &Batch) -> Case {
    records(name, &batch.bytes())
}

fn structure() -> Vec<Case> {
    let good = Batch::good();
    let bytes = good.bytes();
    let length = i32::try_from(bytes.len()).unwrap() - 12;
    let of_length = |length| Batch { length: Some(length), ..good.clone() };
    let of_magic = |magic| Batch { magic, ..good.clone() };
    vec![
        batch("one batch", &good),
        records("empty", &[]),
        records("ten bytes", &[0; 10]),
        records("a hundred bytes of zero", &[0; 100]),
        records("cut before the last byte", &bytes[..bytes.len() - 1]),
        records("cut within the header", &bytes[..40]),
        batch("a length of one too much", &of_length(length + 1)),
        batch("a length of one too little", &of_length(length - 1)),
        batch("a length of 0", &of_length(0)),
        batch("a length of 48", &of_length(48)),
        batch("a length of 2^31-1", &of_length(i32::MAX)),
        batch("a negative length", &of_length(-1)),
        batch("a header of format 0", &of_magic(0)),
        batch("a header of format 1", &of_magic(1)),
        batch("a header of format 3", &of_magic(3)),
        batch("a header of format -1", &of_magic(-1)),
        records("a message of format 0", &old_message(0)),
        records("a message of format 1", &old_message(1)),
        records("two batches", &[&bytes[..], &bytes].concat()),
        records("a batch and part of another", &[&bytes[..], &bytes[..40]].concat()),
        records("a batch and a message of format 1", &[bytes.clone(), old_message(1)].concat()),
        records("a batch and twenty bytes of zero", &[&bytes[..], &[0; 20]].concat()),
        records("a batch and five bytes", &[&bytes[..], &[0; 5]].concat()),
    ]
}

fn fields() -> Vec<Case> {
    let good = Batch::good();
    let counted = |count, last_offset_delta| Batch { count, last_offset_delta, ..good.clone() };
    let by = |producer| Batch { producer, ..good.clone() };
    let mut cases = vec![
        batch("a wrong checksum", &Batch { spoils_checksum: true, ..good.clone() }),
        batch("a wrong checksum of gzip", &Batch { spoils_checksum: true, ..Batch::compressed(GZIP, &record(b"v")) }),
        batch("a base offset of 5", &Batch { base_offset: 5, ..good.clone() }),
        batch("a count of 2, last offset delta 0", &counted(2, 0)),
        batch("a count of 1, last offset delta 1", &counted(1, 1)),
        batch("a count of 2 and its delta, one record", &counted(2, 1)),
        batch("a count of a million and its delta, one record", &counted(1_000_000, 999_999)),
        batch("a count of 0", &counted(0, 0)),
        batch("a count of 0 and its delta", &counted(0, -1)),
        batch("a negative count", &counted(-1, 0)),
        batch("a negative last offset delta", &counted(1, -1)),
        batch("no record at all", &Batch { body: Vec::new(), ..good.clone() }),
        batch("a count of 1, two records", &Batch { body: record(b"one").repeat(2), ..good.clone() }),
        batch("a record of garbage", &Batch { body: vec![0xff; 40], ..good.clone() }),
        batch("a record longer than its batch", &Batch { body: varint(1000), ..good.clone() }),
        batch("too large", &Batch { body: record(&vec![1; 1 << 20]), ..good.clone() }),
        batch("a producer id of -2", &by((-2, 0, 0))),
        batch("a producer without an epoch", &by((4000, -1, 0))),
        batch("a producer without a sequence", &by((4000, 0, -1))),
        batch("a year ahead", &Batch { timestamp_ms: good.timestamp_ms + 31_536_000_000, ..good.clone() }),
        batch("without a time", &Batch { timestamp_ms: -1, ..good.clone() }),
        batch("a time of -2", &Batch { timestamp_ms: -2, ..good.clone() }),
    ];
    let bits = [5, 6, 7, 0x08, 0x10, 0x20, 0x30, 0x40, 0x80, 0x4000, i16::MIN];
    cases.extend(bits.map(|attributes| {
        let name = format!("attributes {attributes:#06x}");
        batch(&name, &Batch { attributes, ..good.clone() })
    }));
    cases
}

fn compression() -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, codec) in [("gzip", GZIP), ("snappy", SNAPPY), ("lz4", LZ4), ("zstd", ZSTD)] {
        let garbage = Batch { attributes: codec, body: vec![0xa5; 40], ..Batch::good() };
        cases.push(batch(&format!("garbage that claims {name}"), &garbage));
    }
    let bomb = record(&vec![0; BOMB_BYTES]);
    let zeros = vec![0; BOMB_BYTES];
    for (name, codec) in [("gzip", GZIP), ("zstd", ZSTD)] {
        cases.push(batch(&format!("{name} with one record"), &Batch::compressed(codec, &record(b"value"))));
        let miscounted = Batch { count: 3, last_offset_delta: 2, ..Batch::compressed(codec, &record(b"value")) };
        cases.push(batch(&format!("{name} with one record, counted as three"), &miscounted));
        cases.push(batch(&format!("{name}, a record of 110 MiB"), &Batch::compressed(codec, &bomb)));
        cases.push(batch(&format!("{name}, 110 MiB of zero"), &Batch::compressed(codec, &zeros)));
    }
    cases
}

fn versions() -> Vec<Case> {
    let good = Batch::good().bytes();
    let zstd = Batch::compressed(ZSTD, &record(b"value")).bytes();
    let at = (TOPIC, 0);
    let mut cases = Vec::new();
    for version in 3..=8 {
        cases.push((format!("produce {version}: one batch"), produce(version, -1, at, &good)));
        cases.push((format!("produce {version}: zstd"), produce(version, -1, at, &zstd)));
    }
    for acks in [1, 2, -2] {
        cases.push((format!("produce: acks {acks}"), produce(VERSION, acks, at, &good)));
    }
    let elsewhere = [("an unknown topic", ("missing", 0)), ("an impossible topic", ("bad/name", 0))];
    let partitions = [("an unknown partition", (TOPIC, 1)), ("a negative partition", (TOPIC, -1))];
    for (name, at) in elsewhere.into_iter().chain(partitions) {
        cases.push((format!("produce: {name}"), produce(VERSION, -1, at, &good)));
        cases.push((format!("produce: {name}, bad records"), produce(VERSION, -1, at, &[0; 40])));
        cases.push((format!("fetch: {name}"), fetch(10, at, 0)));
    }
    cases.push(("produce: an unknown topic, acks 2".to_owned(), produce(VERSION, 2, ("missing", 0), &good)));
    cases.push(("produce: acks 2, bad records".to_owned(), produce(VERSION, 2, at, &[0; 40])));
    cases.extend([4, 9, 10].map(|version| (format!("fetch {version}: zstd among the records"), fetch(version, at, 0))));
    cases.push(("fetch: behind the end".to_owned(), fetch(10, at, 1 << 40)));
    cases.push(("fetch: before the beginning".to_owned(), fetch(10, at, -5)));
    cases
}

/// What is no request, or one that nobody speaks.
fn frames() -> Vec<Case> {
    let all_topics = || Body::default().i32(0);
    let none = Body::default;
    let lengths = [("of 2^31-1", i32::MAX), ("of -1", -1), ("of -2^31", i32::MIN), ("of 0", 0), ("of 3", 3)];
    let mut cases: Vec<Case> = lengths
        .map(|(name, length)| (format!("a request {name} bytes"), [&length.to_be_bytes()[..], &[0; 60]].concat()))
        .into();
    let more = [
        ("ApiVersions 0", none().request(API_VERSIONS, 0)),
        ("ApiVersions 99", none().i8(0).request(API_VERSIONS, 99)),
        ("ApiVersions -1", none().i8(0).request(API_VERSIONS, -1)),
        ("an unknown API", none().request(1000, 0)),
        ("a negative API", none().request(-1, 0)),
        ("Produce 0", none().i16(-1).i32(1000).i32(0).request(PRODUCE, 0)),
        ("Produce 2", none().i16(-1).i32(1000).i32(0).request(PRODUCE, 2)),
        ("Produce 99", none().request(PRODUCE, 99)),
        ("Produce -1", none().request(PRODUCE, -1)),
        ("Metadata 99", none().request(METADATA, 99)),
        ("a body that is missing", none().request(METADATA, 1)),
        ("an array of 2^31-1", none().i32(i32::MAX).request(METADATA, 1)),
        ("an array of -2", none().i32(-2).request(METADATA, 1)),
        ("a name longer than its request", none().i32(1).i16(i16::MAX).request(METADATA, 1)),
        ("a name of length -2", none().i32(1).i16(-2).request(METADATA, 1)),
        ("bytes behind a request", all_topics().i64(0).request(METADATA, 1)),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
    ];
    cases.extend(more.map(|(name, bytes)| (name.to_owned(), bytes)));
    cases
}

/// A request that ends too early: nothing more comes.
fn truncated() -> Vec<Case> {
    let whole = produce(VERSION, -1, (TOPIC, 0), &Batch::good().bytes());
    let cuts = [("within its length", 2), ("behind its length", 4), ("before its last byte", whole.len() - 1)];
    cuts.map(|(name, at)| (format!("a request cut {name}"), whole[..at].to_vec())).into()
}

/// What a line of the expectations says of this broker: `name: answer`, or `name: Kafka's | ours`.
fn expected(kind: Kind, line: &str) -> String {
    match (line.split_once(" | "), kind) {
        (None, _) => line.to_owned(),
        (Some((kafka, _)), Kind::Kafka1 | Kind::Kafka3) => kafka.to_owned(),
        (Some((kafka, ours)), Kind::Embedded) => {
            let (name, _) = kafka.rsplit_once(": ").unwrap();
            format!("{name}: {ours}")
        }
    }
}

#[test]
fn wrong_bytes_get_the_same_answers() {
    let text = std::fs::read_to_string(in_repository(EXPECTED)).unwrap();
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    let open = [structure(), fields(), compression(), versions(), frames()].concat();
    let cut = truncated();
    let cases = || open.iter().map(|case| (case, true)).chain(cut.iter().map(|case| (case, false)));
    at_both(JUDGE, prepare, |kind, bootstrap| {
        let seen = cases().map(|((name, bytes), goes_on)| format!("{name}: {}", answer(bootstrap, bytes, goes_on)));
        let seen: Vec<String> = seen.collect();
        let expected: Vec<String> = lines.iter().map(|line| expected(kind, line)).collect();
        assert!(seen == expected, "{kind:?} answers otherwise than {EXPECTED} says, all of it:\n{}", seen.join("\n"));
    });
}
