//! What librdkafka counts of a publisher and a subscriber on the embedded broker.

use bytes::Bytes;
use lumenbus_broker::{Broker, BrokerConfig};
use lumenbus_bus::subscriber::{Event, Start};
use lumenbus_bus::{
    BusConfig, ClientStatistics, ClientType, Publisher, PublisherConfig, StreamOptions, Subscriber, SubscriberConfig,
    SystemClock,
};
use lumenbus_frame::{CaptureTime, Clock as _, Codec, EncodedFrame};
use std::sync::Arc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(30);

fn wait_for(mut found: impl FnMut() -> Option<Arc<ClientStatistics>>) -> Arc<ClientStatistics> {
    let start = Instant::now();
    loop {
        if let Some(statistics) = found() {
            return statistics;
        }
        assert!(start.elapsed() < PATIENCE, "no statistics came");
        std::thread::yield_now();
    }
}

#[test]
fn a_publisher_and_a_subscriber_tell_what_their_clients_count() {
    let folder = tempfile::tempdir().unwrap();
    let listen = ([127, 0, 0, 1], 0).into();
    let broker = Broker::start_blocking(BrokerConfig::new(folder.path()).listen(listen)).unwrap();
    let mut bus = BusConfig::new(broker.bootstrap_servers());
    bus.statistics_interval = Some(Duration::from_millis(50));
    let publisher = Publisher::open(PublisherConfig::new(bus.clone())).unwrap();
    let stream = publisher.main_stream("gate".parse().unwrap(), "raw_video", StreamOptions::new(Codec::H264)).unwrap();
    for _ in 0..50 {
        let capture = CaptureTime::arrival(SystemClock.unix_nanos());
        stream.submit(EncodedFrame::new(Codec::H264, capture, Bytes::from(vec![7; 5_000])).keyframe()).unwrap();
    }
    assert!(stream.flush(PATIENCE));
    let sent = wait_for(|| publisher.client_statistics().filter(|found| found.tx_messages >= 50));
    assert_eq!((sent.client_type, sent.request_errors, sent.queued_messages), (ClientType::Producer, 0, 0));
    assert!(sent.tx_message_bytes > 250_000 && sent.request_latency_avg_seconds.is_some(), "{sent:?}");
    assert!(sent.partitions.iter().any(|partition| partition.topic == "raw_video" && partition.tx_messages == 50));
    assert!(sent.brokers.iter().any(|broker| broker.state == "UP"), "{sent:?}");

    let mut config = SubscriberConfig::new(bus, vec!["raw_video".parse().unwrap()]);
    config.start = Start::Earliest;
    let mut subscriber = Subscriber::open(config).unwrap();
    let mut frames = 0;
    let read = wait_for(|| {
        if let Some(Event::Frame(_)) = subscriber.recv(Duration::from_millis(10)).unwrap() {
            frames += 1;
        }
        subscriber.client_statistics().into_iter().find(|found| frames == 50 && found.lag_max() == Some(0))
    });
    assert_eq!((read.client_type, read.rx_messages, read.partitions.len()), (ClientType::Consumer, 50, 12));
    assert!(read.polls > 0 && read.fetches > 0, "{read:?}");
    drop(publisher.close(PATIENCE));
}

#[test]
fn nothing_is_counted_unless_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let listen = ([127, 0, 0, 1], 0).into();
    let broker = Broker::start_blocking(BrokerConfig::new(folder.path()).listen(listen)).unwrap();
    let publisher = Publisher::open(PublisherConfig::new(BusConfig::new(broker.bootstrap_servers()))).unwrap();
    let stream = publisher.main_stream("gate".parse().unwrap(), "raw_images", StreamOptions::new(Codec::Jpeg)).unwrap();
    stream.submit(EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(0), Bytes::from_static(b"picture"))).unwrap();
    assert!(stream.flush(PATIENCE));
    assert_eq!(publisher.client_statistics(), None);
}
