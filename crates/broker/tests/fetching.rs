//! Fetches that wait, fetches with budgets, and the order of answers.

mod support;

use std::time::{Duration, Instant};

use kafka_protocol::ResponseError;
use kafka_protocol::messages::DeleteTopicsRequest;
use kafka_protocol::messages::fetch_request::FetchPartition;
use kafka_protocol::messages::{FetchRequest, HeartbeatRequest, MetadataRequest, ProduceRequest};
use support::*;

/// Longer than any test may take: a fetch that comes back was woken, not timed out.
const FOR_EVER_MS: i32 = 60_000;

#[test]
fn a_waiting_fetch_is_woken_by_an_append() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let (mut writer, mut reader) = (Client::connect(broker.addr()), Client::connect(broker.addr()));
    writer.create_topic("t", 2, &[]);
    let mut slowest = Duration::ZERO;
    for round in 0..200 {
        let wanted = [("t", 0, round), ("t", 1, 0)];
        let request = fetch_request(&wanted).with_max_wait_ms(FOR_EVER_MS);
        let sent = reader.send(&request, 12);
        if round % 2 == 0 {
            // Half of the appends meet the fetch on its way, half find it waiting.
            writer.call(&MetadataRequest::default().with_topics(Some(Vec::new())), 9);
        }
        let began = Instant::now();
        writer.produce("t", 0, batch(&[b"wake up"]));
        let answer = reader.receive::<FetchRequest>(sent, 12);
        slowest = slowest.max(began.elapsed());
        let found = only_partition(answer);
        assert_eq!(found.high_watermark, round + 1);
        assert!(!found.records.unwrap().is_empty());
    }
    eprintln!("slowest of 200 append-to-answer times: {slowest:?}");
}

/// One writer, one reader, one record at a time: a single lost wake-up would end in silence.
#[test]
fn no_wake_up_is_lost_between_looking_and_waiting() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let (mut writer, mut reader) = (Client::connect(broker.addr()), Client::connect(broker.addr()));
    writer.create_topic("t", 8, &[]);
    let mut ends = [0_i64; 8];
    for round in 0..2000 {
        let wanted: Vec<_> = (0..).zip(ends).map(|(index, end)| ("t", index, end)).collect();
        let sent = reader.send(&fetch_request(&wanted).with_max_wait_ms(FOR_EVER_MS), 12);
        let index = round % 8;
        writer.produce("t", index, batch(&[b"tick"]));
        let answer = reader.receive::<FetchRequest>(sent, 12);
        let mut found = answer.responses.iter().flat_map(|topic| &topic.partitions);
        let found = found.find(|partition| partition.partition_index == index).unwrap();
        ends[usize::try_from(index).unwrap()] += 1;
        assert!(!found.records.as_ref().unwrap().is_empty());
    }
}

#[test]
fn little_data_waits_for_more_and_not_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let (mut writer, mut reader) = (Client::connect(broker.addr()), Client::connect(broker.addr()));
    writer.create_topic("t", 1, &[]);
    let record = batch(&[&[7; 1000]]);
    let one = i32::try_from(record.len()).unwrap();
    let request = fetch_request(&[("t", 0, 0)]).with_min_bytes(5 * one);
    writer.produce("t", 0, record.clone());
    let sent = reader.send(&request.clone().with_max_wait_ms(FOR_EVER_MS), 12);
    for _ in 0..4 {
        writer.produce("t", 0, record.clone());
    }
    let found = only_partition(reader.receive::<FetchRequest>(sent, 12));
    assert_eq!(found.records.unwrap().len(), 5 * record.len(), "all five, not fewer");
    let began = Instant::now();
    let request = request.with_min_bytes(50 * one).with_max_wait_ms(100);
    let found = only_partition(reader.call(&request, 12));
    assert_eq!(found.records.unwrap().len(), 5 * record.len());
    assert!(began.elapsed() >= Duration::from_millis(100), "the wait was cut short");
    let empty = fetch_request(&[("t", 0, 5)]).with_max_wait_ms(20);
    let found = only_partition(reader.call(&empty, 12));
    assert_eq!(found.records.as_deref(), Some(&[][..]), "empty, not null");
}

#[test]
fn errors_and_deleted_topics_end_the_wait() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let (mut writer, mut reader) = (Client::connect(broker.addr()), Client::connect(broker.addr()));
    writer.create_topic("t", 1, &[]);
    let wanted = [("t", 0, 0), ("missing", 0, 0)];
    let answer = reader.call(&fetch_request(&wanted).with_max_wait_ms(FOR_EVER_MS), 12);
    assert_eq!(answer.responses[1].partitions[0].error_code, 3);
    let beyond = fetch_request(&[("t", 0, 99)]).with_max_wait_ms(FOR_EVER_MS);
    assert_eq!(only_partition(reader.call(&beyond, 12)).error_code, 1);
    let waiting = fetch_request(&[("t", 0, 0)]).with_max_wait_ms(FOR_EVER_MS);
    let sent = reader.send(&waiting, 12);
    let delete = DeleteTopicsRequest::default().with_topic_names(vec![topic("t")]);
    assert_eq!(writer.call(&delete, 5).responses[0].error_code, 0);
    let found = only_partition(reader.receive::<FetchRequest>(sent, 12));
    assert_ne!(found.error_code, 0);
    assert_eq!(only_partition(reader.call(&waiting, 12)).error_code, 3);
}

#[test]
fn budgets_are_kept_but_the_first_batch_always_comes() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 2, &[]);
    let record = batch(&[&[7; 10_000]]);
    let size = record.len();
    for index in [0, 1] {
        for _ in 0..5 {
            client.produce("t", index, record.clone());
        }
    }
    let request = |partition_max: usize, max: usize| {
        let mut request = fetch_request(&[("t", 0, 0), ("t", 1, 0)]).with_max_bytes(i32::try_from(max).unwrap());
        for topic in &mut request.topics {
            topic.partitions[0].partition_max_bytes = i32::try_from(partition_max).unwrap();
        }
        request
    };
    for (partition_max, max, expected) in [
        (1, 1, [1, 0]),
        (0, 0, [1, 0]),
        (1, 1 << 20, [1, 0]),
        (2 * size, 1 << 20, [2, 2]),
        (2 * size + size / 2, 3 * size, [2, 1]),
        (1 << 20, 7 * size, [5, 2]),
        (1 << 20, 1 << 20, [5, 5]),
    ] {
        let answer = client.call(&request(partition_max, max), 12);
        let found = answer.responses.iter().map(|t| t.partitions[0].records.as_ref().unwrap());
        let found: Vec<usize> = found.map(|records| records.len() / size).collect();
        assert_eq!(found, expected, "{partition_max} and {max} bytes");
    }
}

#[test]
fn a_reader_gets_every_offset_once_whatever_its_budget() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[("segment.bytes", "65536")]);
    for round in 0..200_u32 {
        let value = vec![0; 10 + usize::try_from(round).unwrap() * 17];
        let values: Vec<&[u8]> = (0..=round % 4).map(|_| &value[..]).collect();
        assert_eq!(client.produce("t", 0, batch(&values)).error_code, 0);
    }
    let end = client.fetch("t", 0, 0).high_watermark;
    for budget in [1, 5_000, 100_000, 10 << 20] {
        let mut next = 0;
        while next < end {
            let partition = FetchPartition::default().with_fetch_offset(next).with_partition_max_bytes(budget);
            let mut request = fetch_request(&[("t", 0, next)]);
            request.topics[0].partitions = vec![partition];
            let mut bytes = only_partition(client.call(&request, 11)).records.unwrap();
            assert!(!bytes.is_empty(), "stuck at {next} of {end} with {budget} bytes");
            let batches = kafka_protocol::records::RecordBatchDecoder::decode_all(&mut bytes);
            for record in batches.unwrap().iter().flat_map(|batch| &batch.records) {
                if record.offset >= next {
                    assert_eq!(record.offset, next);
                    next += 1;
                }
            }
        }
    }
}

#[test]
fn sessions_are_neither_promised_nor_continued() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    let wants_session = fetch_request(&[("t", 0, 0)]).with_session_epoch(0);
    let answer = client.call(&wants_session, 12);
    assert_eq!((answer.error_code, answer.session_id, answer.responses.len()), (0, 0, 1));
    let continues = fetch_request(&[]).with_session_id(5).with_session_epoch(1);
    let answer = client.call(&continues, 12);
    assert_eq!(answer.error_code, ResponseError::FetchSessionIdNotFound.code());
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    let heartbeat = HeartbeatRequest::default().with_group_id(group("g"));
    let fetch = fetch_request(&[("t", 0, 100)]);
    let waits = fetch_request(&[("t", 0, 100)]).with_max_wait_ms(50);
    let mut sent = Vec::new();
    for round in 0..100 {
        let produce = produce_request("t", 0, batch(&[&[1; 5000]]), -1);
        sent.push((client.send(&produce, 9), 'p'));
        sent.push((client.send(&heartbeat, 2), 'h'));
        let request = if round == 50 { &waits } else { &fetch };
        sent.push((client.send(request, 12), 'f'));
    }
    let mut expected = 0;
    for (correlation_id, kind) in sent {
        match kind {
            'p' => {
                let answer = client.receive::<ProduceRequest>(correlation_id, 9);
                let partition = &answer.responses[0].partition_responses[0];
                assert_eq!((partition.error_code, partition.base_offset), (0, expected));
                expected += 1;
            }
            'h' => drop(client.receive::<HeartbeatRequest>(correlation_id, 2)),
            _ => drop(client.receive::<FetchRequest>(correlation_id, 12)),
        }
    }
}

#[test]
fn many_idle_fetches_are_all_woken() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut writer = Client::connect(broker.addr());
    writer.create_topic("t", 1, &[]);
    let request = fetch_request(&[("t", 0, 0)]).with_max_wait_ms(FOR_EVER_MS);
    let mut readers: Vec<_> = (0..300)
        .map(|_| {
            let mut reader = Client::connect(broker.addr());
            let sent = reader.send(&request, 12);
            (reader, sent)
        })
        .collect();
    writer.produce("t", 0, batch(&[b"all of you"]));
    for (reader, sent) in &mut readers {
        let found = only_partition(reader.receive::<FetchRequest>(*sent, 12));
        assert_eq!(found.high_watermark, 1);
    }
}
