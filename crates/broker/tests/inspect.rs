//! Looking at a data directory: of a running broker, of a stopped one, of a killed one, and with damage in it.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

mod support;

use std::fs;
use std::path::Path;

use kafka_protocol::messages::DeleteTopicsRequest;
use lumenbus_broker::RunningBroker;
use lumenbus_broker::inspect::{Depth, InspectOptions, Inspection, Usage, inspect};
use support::groups::*;
use support::transactions::Producer;
use support::*;

fn look(folder: &Path, depth: Depth) -> Inspection {
    let mut options = InspectOptions::default();
    options.depth = depth;
    inspect(folder, &options).unwrap()
}

/// `t` of two partitions and small segments, with 40 records in partition 1, ten of them with a producer's id;
/// `g` has read five of them.
fn filled(folder: &tempfile::TempDir) -> (RunningBroker, Member) {
    let broker = start(folder);
    let mut member = Member::new(broker.addr(), 9);
    let settings = [("segment.bytes", "1048576"), ("retention.ms", "-1"), ("index.interval.bytes", "4096")];
    assert_eq!(member.client.create_topic("t", 2, &settings), 0);
    let large = vec![b'x'; 100_000];
    for number in 0..30 {
        let records = batch(&[&large]);
        assert_eq!(member.client.produce("t", 1, records).base_offset, number);
    }
    for number in 0..10 {
        let records = idempotent_batch(&[b"small"], (7, 0), number);
        assert_eq!(member.client.produce("t", 1, records).error_code, 0);
    }
    member.join();
    let id = member.id.clone();
    member.sync(&[(id, "all")]);
    let request = commit_request("t", 1, 5, "so far")
        .with_generation_id_or_member_epoch(member.generation)
        .with_member_id(member.id.clone());
    assert_eq!(member.client.call(&request, 9).topics[0].partitions[0].error_code, 0);
    (broker, member)
}

/// What [`filled`] made, seen at any depth.
fn check(found: &Inspection, depth: Depth) {
    assert!(found.faults.is_empty(), "{:?}", found.faults);
    assert!(found.cluster_id.starts_with("lumenbus-"));
    let topic = found.topics.iter().find(|topic| topic.name == "t").unwrap();
    assert_eq!(topic.settings["retention.ms"], "-1");
    assert_eq!(topic.partitions.iter().map(|p| (p.index, p.end_offset)).collect::<Vec<_>>(), [(0, 0), (1, 40)]);
    let partition = &topic.partitions[1];
    assert!(partition.segment_count >= 3 && partition.bytes > 3_000_000, "{partition:?}");
    assert_eq!((partition.start_offset, partition.leader_epoch.is_some()), (0, true));
    assert!(partition.first_timestamp_ms.unwrap() <= partition.last_timestamp_ms.unwrap());
    let producer = partition.producers[0];
    assert_eq!((partition.producers.len(), producer.id, producer.last_sequence), (1, 7, 9));
    assert_eq!((producer.transaction_start_offset, partition.producers_as_of), (None, None));
    let segments = &partition.segments;
    assert_eq!(segments.len(), if depth == Depth::Ends { 0 } else { partition.segment_count });
    for pair in segments.windows(2) {
        assert_eq!(pair[0].next_offset, pair[1].base_offset);
    }
    if depth == Depth::Everything {
        assert_eq!(segments.iter().map(|segment| segment.records.unwrap()).sum::<u64>(), 40);
    }
    let group = &found.groups[0];
    assert_eq!((found.groups.len(), &*group.name, group.generation, group.members.len()), (1, "g", 1, 1));
    assert_eq!((group.protocol.as_deref(), &*group.members[0].client_id), (Some("range"), "tester"));
    let offset = &group.offsets[0];
    assert_eq!((&*offset.topic, offset.partition, offset.offset, offset.lag), ("t", 1, 5, Some(35)));
    assert_eq!(offset.metadata, "so far");
}

const DEPTHS: [Depth; 3] = [Depth::Ends, Depth::Segments, Depth::Everything];

#[test]
fn a_directory_is_told_while_its_broker_runs_and_after_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, member) = filled(&folder);
    for depth in DEPTHS {
        let found = look(folder.path(), depth);
        assert_eq!(found.usage, Usage::Running);
        check(&found, depth);
    }
    drop(member);
    broker.shutdown_blocking().unwrap();
    let before = files(folder.path());
    for depth in DEPTHS {
        let found = look(folder.path(), depth);
        assert_eq!(found.usage, Usage::Stopped);
        check(&found, depth);
    }
    assert_eq!(files(folder.path()), before, "nothing was changed");
    let broker = start(&folder);
    assert_eq!(Client::connect(broker.addr()).fetch("t", 1, 40).high_watermark, 40);
}

/// Every file with its length and time of change.
fn files(folder: &Path) -> Vec<(std::path::PathBuf, u64, std::time::SystemTime)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        match metadata.is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push((entry.path(), metadata.len(), metadata.modified().unwrap())),
        }
    }
    found.sort();
    found
}

#[test]
fn only_the_topics_asked_for_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let (_broker, mut member) = filled(&folder);
    member.client.create_topic("other", 1, &[]);
    let mut options = InspectOptions::default();
    options.topics = vec!["other".to_owned()];
    let found = inspect(folder.path(), &options).unwrap();
    assert_eq!(found.topics.iter().map(|topic| &*topic.name).collect::<Vec<_>>(), ["other"]);
    assert!(found.groups.is_empty());
}

#[test]
fn faults_of_other_topics_are_not_told() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, member) = filled(&folder);
    drop(member);
    broker.shutdown_blocking().unwrap();
    fs::write(folder.path().join("other.topic"), b"nonsense").unwrap();
    fs::remove_dir_all(folder.path().join("t-0")).unwrap();
    let mut options = InspectOptions::default();
    for (topic, faults) in [("t", 1), ("other", 1), ("none", 0)] {
        options.topics = vec![topic.to_owned()];
        let found = inspect(folder.path(), &options).unwrap();
        assert_eq!(found.faults.len(), faults, "{topic}: {:?}", found.faults);
    }
}

#[test]
fn what_changes_under_a_running_broker_is_no_fault() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    let settings = [("segment.bytes", "1048576")];
    let records = batch(&[&vec![b'x'; 300_000]]);
    std::thread::scope(|scope| {
        let looking = scope.spawn(|| {
            for depth in DEPTHS.iter().cycle().take(90) {
                let found = look(folder.path(), *depth);
                assert_eq!((found.usage, &*found.faults), (Usage::Running, &[][..]));
            }
        });
        while !looking.is_finished() {
            assert_eq!(client.create_topic("t", 4, &settings), 0);
            for _ in 0..5 {
                assert_eq!(client.produce("t", 1, records.clone()).error_code, 0);
            }
            let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic("t")]).with_timeout_ms(5000);
            assert_eq!(client.call(&delete, 5).responses[0].error_code, 0);
        }
        looking.join().unwrap();
    });
    assert!(look(folder.path(), Depth::Everything).topics.iter().all(|topic| topic.name != "t"));
}

/// Its partitions are being removed, so what is missing in them is no fault; when the broker is gone it is.
#[test]
fn a_topic_that_a_running_broker_deletes_is_half_there() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, member) = filled(&folder);
    let topic_file = folder.path().join("t.topic");
    let live = fs::read_to_string(&topic_file).unwrap();
    // Files of version 1 have no checksum.
    let deleting = live.replace("version=2", "version=1").replace("state=live", "state=deleting");
    fs::write(&topic_file, &deleting[..deleting.find("crc32c=").unwrap()]).unwrap();
    let index = folder.path().join("t-1/00000000000000000000.index");
    let kept = fs::read(&index).unwrap();
    fs::remove_file(&index).unwrap();
    assert_eq!(look(folder.path(), Depth::Everything).faults, []);
    fs::write(&topic_file, live).unwrap();
    assert!(!look(folder.path(), Depth::Everything).faults.is_empty(), "the topic is live, and an index is missing");
    fs::write(&index, kept).unwrap();
    drop(member);
    broker.shutdown_blocking().unwrap();
}

#[test]
fn damage_is_named_and_the_rest_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (broker, member) = filled(&folder);
    drop(member);
    broker.shutdown_blocking().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut segments: Vec<_> = files(&at("t-1")).into_iter().map(|(path, ..)| path).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    let middle = &segments[1];
    let mut bytes = fs::read(middle).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(middle, bytes).unwrap();
    let newest = segments.last().unwrap();
    let length = newest.metadata().unwrap().len();
    fs::File::options().write(true).open(newest).unwrap().set_len(length - 1).unwrap();
    fs::write(middle.with_extension("timeindex"), b"odd").unwrap();
    fs::write(at("log-start-offset-checkpoint"), b"nonsense").unwrap();
    fs::write(at("other.topic"), b"nonsense").unwrap();
    fs::remove_dir_all(at("t-0")).unwrap();
    let snapshot = at("t-1/00000000000000000038.snapshot");
    fs::write(&snapshot, b"short").unwrap();

    let found = look(folder.path(), Depth::Everything);
    let named: Vec<_> = found.faults.iter().map(|fault| fault.path.clone()).collect();
    for path in [
        middle.clone(),
        newest.clone(),
        middle.with_extension("timeindex"),
        snapshot,
        at("log-start-offset-checkpoint"),
        at("other.topic"),
        at("t-0"),
    ] {
        assert!(named.contains(&path), "{} is not named in {:#?}", path.display(), found.faults);
    }
    let partition = &found.topics.iter().find(|topic| topic.name == "t").unwrap().partitions[0];
    assert_eq!((partition.index, partition.end_offset), (1, 39), "the last batch lacks a byte");
    assert_eq!(found.groups[0].offsets[0].lag, Some(34));
    fs::write(at("__consumer_offsets-0/00000000000000000000.log"), [b'?'; 100]).unwrap();
    let found = look(folder.path(), Depth::Ends);
    assert!(found.groups.is_empty() && found.faults.iter().any(|fault| fault.what.contains("groups and offsets")));
}

#[test]
fn what_is_no_data_directory_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().to_owned(), folder.path().join("missing")] {
        let error = inspect(&path, &InspectOptions::default()).unwrap_err().to_string();
        assert!(error.contains("not the data directory of a broker"), "{error}");
    }
}

#[test]
fn open_transactions_are_told_until_they_end() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    Client::connect(broker.addr()).create_topic("t", 1, &[]);
    let mut copier = Producer::ready(broker.addr(), "copier");
    copier.add("t", &[0]);
    let first = copier.write("t", 0, &[b"one"]);
    assert_eq!(copier.add_offsets("g"), 0);
    assert_eq!(copier.commit_offset("g", 1, (-1, "")), 0);
    let open = |found: &Inspection| {
        let topic = found.topics.iter().find(|topic| topic.name == "t").unwrap();
        let producers = &topic.partitions[0].producers;
        producers.iter().map(|producer| producer.transaction_start_offset).collect::<Vec<_>>()
    };
    let found = look(folder.path(), Depth::Ends);
    assert_eq!(open(&found), [Some(first)]);
    assert!(found.groups.iter().all(|group| group.offsets.is_empty()), "nothing is committed yet");
    assert_eq!(copier.end(true), 0);
    let found = look(folder.path(), Depth::Everything);
    assert_eq!((open(&found), found.groups[0].offsets[0].offset), (vec![None], 1));
    assert!(found.faults.is_empty(), "{:?}", found.faults);
}
