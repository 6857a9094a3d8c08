use super::*;

fn code(log: &Partition, records: &[u8]) -> i16 {
    append(log, Bytes::copy_from_slice(records)).unwrap_err().kafka_code()
}

/// A batch with some bytes changed and its checksum made right again.
fn altered(batch: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut copy = batch.to_vec();
    copy[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = checksum(&copy);
    copy[17..21].copy_from_slice(&crc.to_be_bytes());
    copy
}

#[test]
fn what_producers_must_not_send_is_refused_and_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[("max.message.bytes", "1000")]);
    let good = BatchSpec::values(&[b"one", b"two"], NOW).bytes();
    let one = |bits| BatchSpec::values(&[b"one"], NOW).attributes(bits).bytes();

    assert_eq!(code(&log, &[]), 2, "empty");
    assert_eq!(code(&log, &good[..good.len() - 1]), 2, "cut");
    assert_eq!(code(&log, &[&good[..], &good[..40]].concat()), 2, "second batch cut");
    let mut flipped = good.to_vec();
    flipped[good.len() - 1] ^= 1;
    assert_eq!(code(&log, &flipped), 2, "checksum");
    assert_eq!(code(&log, &[&good[..], &flipped[..]].concat()), 2, "all or none");
    for magic in [0, 1] {
        assert_eq!(code(&log, &altered(&good, 16, &[magic])), 43, "old format");
        assert_eq!(code(&log, &altered(&good, 16, &[magic])[..30]), 43, "short old format");
    }
    assert_eq!(code(&log, &altered(&good, 16, &[3])), 2, "unknown format");
    assert_eq!(code(&log, &altered(&good, 8, &i32::MAX.to_be_bytes())), 2, "hostile length");
    assert_eq!(code(&log, &altered(&good, 57, &3_i32.to_be_bytes())), 87, "count");
    assert_eq!(code(&log, &altered(&good, 57, &0_i32.to_be_bytes())), 87, "no records");
    assert_eq!(code(&log, &altered(&good, 57, &(-1_i32).to_be_bytes())), 87, "a negative count");
    assert_eq!(code(&log, &altered(&good, 23, &(-1_i32).to_be_bytes())), 87, "a negative last offset delta");
    let one_too_few = altered(&good, 57, &1_i32.to_be_bytes());
    assert_eq!(code(&log, &altered(&one_too_few, 23, &0_i32.to_be_bytes())), 87, "more records than it says");
    assert_eq!(code(&log, &altered(&good, 61, &[0xff; 5])), 87, "records that are none");
    let many = altered(&good, 57, &1_000_000_i32.to_be_bytes());
    assert_eq!(code(&log, &altered(&many, 23, &999_999_i32.to_be_bytes())), 87, "hostile count");
    for bits in [0x10, 0x20, 0x40, 0x80, 0x05] {
        assert_eq!(code(&log, &one(bits)), 87, "attribute bits {bits:#x}");
    }
    assert_eq!(code(&log, &one(0x08)), 32, "claims append time");
    let future = BatchSpec::values(&[b"x"], NOW + 3_600_001).bytes();
    assert_eq!(code(&log, &future), 32, "an hour ahead");
    assert_eq!(code(&log, &BatchSpec::values(&[&[0; 1000]], NOW).bytes()), 10, "too large");
    let sequence = BatchSpec::values(&[b"x"], NOW).producer(1, 0, -5).bytes();
    assert_eq!(code(&log, &sequence), 87, "negative sequence");

    assert_eq!((log.high_watermark(), log.size_bytes()), (0, 0));
    assert_eq!(append(&log, good).unwrap().base_offset, 0);
    store.set_config("t", &overrides(&[("segment.bytes", "1024")])).unwrap();
    let batches = vec![BatchSpec::values(&[&[0; 500]], NOW).bytes(); 2].concat();
    assert_eq!(code(&log, &batches), 18, "more than a segment");
}

#[test]
fn compacted_topics_take_no_record_without_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[("cleanup.policy", "compact")]);
    assert_eq!(code(&log, &BatchSpec::values(&[b"x"], NOW).bytes()), 87);
    let keyed = vec![(Some(b"k".to_vec()), Some(b"v".to_vec()))];
    append(&log, BatchSpec::records(keyed, NOW).bytes()).unwrap();
}

#[test]
fn several_batches_of_one_append_get_consecutive_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[]);
    append_values(&log, &[b"zero"]);
    let set: Vec<u8> = (0..3).flat_map(|i| BatchSpec::values(&[&value(i, 9), b"pair"], NOW).bytes()).collect();
    let appended = append(&log, set.into()).unwrap();
    assert_eq!((appended.base_offset, appended.last_offset), (1, 6));
    assert_eq!((appended.append_time_ms, appended.duplicate), (-1, false));
    let offsets: Vec<i64> = read_all(&log).iter().map(|record| record.offset).collect();
    assert_eq!(offsets, (0..7).collect::<Vec<_>>());
}

#[test]
fn append_time_topics_stamp_every_batch_with_a_right_checksum() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [("message.timestamp.type", "LogAppendTime")];
    let (_store, log) = with_topic(dir.path(), &settings);
    for (codec, len) in [(0, 10), (4, 1000), (0, 100_000), (2, 50_000)] {
        // A camera's clock may be a year ahead.
        let batch = BatchSpec::values(&[&value(0, len)], NOW + 31_536_000_000).compressed(codec);
        let appended = log.append(&batch.bytes(), NOW + 5, AppendOrigin::Client).unwrap();
        assert_eq!(appended.append_time_ms, NOW + 5);
    }
    let records = read_all(&log);
    assert_eq!(records.len(), 4);
    assert!(records.iter().all(|record| record.timestamp_ms == NOW + 5));
}

#[test]
fn appends_from_many_threads_each_get_their_own_offsets() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[("segment.bytes", "5000")]);
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for i in 0..200 {
                    let own = value(writer * 1000 + i, i % 50);
                    let appended = append_values(log, &[&own]);
                    let slice = log.read(appended.base_offset, 1, FirstBatch::Whole).unwrap();
                    assert_eq!(decode(&slice.records)[0].value.as_deref(), Some(&own[..]));
                }
            });
        }
    });
    let records = read_all(&log);
    assert_eq!(records.len(), 800);
    let distinct: std::collections::HashSet<_> = records.into_iter().map(|record| record.value).collect();
    assert_eq!(distinct.len(), 800);
}

#[test]
fn segments_close_by_bytes_by_age_and_by_a_full_index() {
    let dir = tempfile::tempdir().unwrap();
    let settings = [
        ("segment.bytes", "1024"),
        ("segment.ms", "1000"),
        ("segment.index.bytes", "60"),
        ("index.interval.bytes", "0"),
    ];
    let (store, log) = with_topic(dir.path(), &settings);
    append_values(&log, &[&[0; 400]]);
    append_values(&log, &[&[0; 400]]);
    assert_eq!(log.segment_count(), 1);
    append_values(&log, &[&[0; 400]]);
    assert_eq!(log.segment_count(), 2, "by bytes");
    let late = BatchSpec::values(&[b"x"], NOW).bytes();
    log.append(&late, NOW + 1000, AppendOrigin::Client).unwrap();
    assert_eq!(log.segment_count(), 3, "by age");
    for i in 0..8 {
        let batch = BatchSpec::values(&[b"x"], NOW + i).bytes();
        log.append(&batch, NOW + 1000, AppendOrigin::Client).unwrap();
    }
    assert_eq!(log.segment_count(), 4, "by index");
    assert_eq!(store.run_housekeeping(NOW + 2000).rolled, 1, "by age, without an append");
    assert_eq!(store.run_housekeeping(NOW + 9000).rolled, 0, "an empty segment stays");
    assert_eq!(read_all(&log).len(), 12);
}
