//! The promises of the bus on the embedded broker as a process of its own.

use lumenbus_tests::backend::Kind;

lumenbus_tests::conformance_suite!(Kind::Embedded);

/// How the broker serves fetches, as a plain librdkafka consumer sees it.
mod fetching {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use lumenbus_bus::Role;
    use lumenbus_tests::backend::{Kind, Site};
    use lumenbus_tests::foreign::ForeignProducer;
    use lumenbus_tests::load::PATIENCE;
    use rdkafka::consumer::{BaseConsumer, Consumer as _};
    use rdkafka::error::KafkaError;
    use rdkafka::message::Message as _;
    use rdkafka::{Offset, TopicPartitionList};
    use std::time::{Duration, Instant};

    const TOPIC: &str = "raw_images";
    /// `fetch.wait.max.ms` of a consumer that must be woken, beyond what the test waits.
    const LONG_WAIT_MILLIS: u64 = 280_000;

    fn site(settings: &[(&'static str, &str)]) -> Site {
        let site = Site::together(Kind::Embedded).unwrap();
        site.create_topics_with(&[TOPIC], settings);
        site
    }

    fn consumer(site: &Site, offset: Offset, properties: &[(&str, &str)]) -> BaseConsumer {
        let mut config = site.bus.client_config(Role::Consumer);
        config.set("group.id", site.group("plain")).set("enable.partition.eof", "true");
        for (name, value) in properties {
            config.set(*name, *value);
        }
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(site.topic(TOPIC).as_str(), 1, offset).unwrap();
        consumer.assign(&list).unwrap();
        consumer
    }

    /// The next record's offset and value; `None` at the end of the partition.
    fn next(consumer: &BaseConsumer) -> Option<(i64, Vec<u8>)> {
        match consumer.poll(PATIENCE).expect("a record or the end") {
            Ok(message) => Some((message.offset(), message.payload().unwrap().to_vec())),
            Err(KafkaError::PartitionEOF(_)) => None,
            Err(error) => panic!("{error}"),
        }
    }

    fn value(offset: i64) -> Vec<u8> {
        let bytes = 500 + usize::try_from(offset * 37 % 900).unwrap();
        offset.to_be_bytes().into_iter().cycle().take(bytes).collect()
    }

    fn segments(site: &Site) -> usize {
        let data = site.embedded_data().join(format!("{}-1", site.topic(TOPIC)));
        let files = std::fs::read_dir(data).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| path.extension().is_some_and(|end| end == "log")).count()
    }

    #[test]
    fn fifty_segments_from_start_to_end_with_every_fetch_size() {
        const RECORDS: i64 = 4_000;
        let site = site(&[("segment.bytes", "65536")]);
        let producer = ForeignProducer::new(&site, TOPIC, 1);
        for offset in 0..RECORDS {
            producer.send(Some(b"key"), None, None, Some(&value(offset)));
            if offset % 20 == 19 {
                producer.flush();
            }
        }
        assert!(segments(&site) >= 50, "{} segments", segments(&site));
        for fetch_bytes in ["600", "4096", "65536", "70000", "1000000", "50000000"] {
            let sizes = [("max.partition.fetch.bytes", fetch_bytes), ("fetch.max.bytes", "50000000")];
            let consumer = consumer(&site, Offset::Beginning, &sizes);
            for offset in 0..RECORDS {
                let (found, bytes) = next(&consumer).expect("not at the end");
                assert_eq!(found, offset, "with fetches of {fetch_bytes} bytes");
                assert!(bytes == value(offset), "record {offset} is another one");
            }
            assert_eq!(next(&consumer), None, "with fetches of {fetch_bytes} bytes");
        }
    }

    #[test]
    fn an_idle_long_poll_wakes() {
        let site = site(&[]);
        let wait = LONG_WAIT_MILLIS.to_string();
        let properties = [("fetch.wait.max.ms", wait.as_str()), ("socket.timeout.ms", "290000")];
        let consumer = consumer(&site, Offset::Beginning, &properties);
        let producer = ForeignProducer::new(&site, TOPIC, 1);
        // From the second one on the consumer waits at the end before the record comes.
        for offset in 0..10 {
            producer.send(Some(b"key"), None, None, Some(&value(offset)));
            producer.flush();
            assert_eq!(next(&consumer), Some((offset, value(offset))));
        }
    }

    #[test]
    fn fetch_min_bytes_and_the_longest_wait_are_honoured() {
        let site = site(&[]);
        let producer = ForeignProducer::new(&site, TOPIC, 1);
        producer.send(Some(b"key"), None, None, Some(&value(0)));
        producer.flush();
        // Too few bytes: the answer comes when the wait is over, and not before.
        let few = [("fetch.min.bytes", "100000"), ("fetch.wait.max.ms", "1000"), ("socket.timeout.ms", "20000")];
        let start = Instant::now();
        let waiting = consumer(&site, Offset::Beginning, &few);
        assert_eq!(next(&waiting), Some((0, value(0))));
        assert!(start.elapsed() >= Duration::from_millis(1000), "answered after {:?}", start.elapsed());
        // Enough bytes: the answer comes long before the wait is over.
        let wait = LONG_WAIT_MILLIS.to_string();
        let enough =
            [("fetch.min.bytes", "100000"), ("fetch.wait.max.ms", wait.as_str()), ("socket.timeout.ms", "290000")];
        let woken = consumer(&site, Offset::Beginning, &enough);
        for offset in 1..200 {
            producer.send(Some(b"key"), None, None, Some(&value(offset)));
        }
        producer.flush();
        for offset in 0..100 {
            assert_eq!(next(&woken), Some((offset, value(offset))));
        }
    }
}
