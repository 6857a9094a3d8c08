//! What librdkafka counts of a publisher and a subscriber on the embedded broker.

mod support;

use lumenbus_bus::subscriber::{Event, Start};
use lumenbus_bus::{ClientType, Subscriber, SubscriberConfig};
use std::time::Duration;
use support::{PATIENCE, Site, keyframe, video, wait_for};

#[test]
fn a_publisher_and_a_subscriber_tell_what_their_clients_count() {
    let mut site = Site::embedded();
    site.config.statistics_interval = Some(Duration::from_millis(50));
    let publisher = site.publisher();
    let stream = video(&publisher);
    for _ in 0..50 {
        stream.submit(keyframe(5_000)).unwrap();
    }
    assert!(stream.flush(PATIENCE));
    let sent =
        wait_for("the publisher's count", || publisher.client_statistics().filter(|found| found.tx_messages >= 50));
    assert_eq!((sent.client_type, sent.request_errors, sent.queued_messages), (ClientType::Producer, 0, 0));
    assert!(sent.tx_message_bytes > 250_000 && sent.request_latency_avg_seconds.is_some(), "{sent:?}");
    assert!(sent.partitions.iter().any(|partition| partition.topic == "raw_video" && partition.tx_messages == 50));
    assert!(sent.brokers.iter().any(|broker| broker.state == "UP"), "{sent:?}");

    let mut config = SubscriberConfig::new(site.config.clone(), vec!["raw_video".parse().unwrap()]);
    config.start = Start::Earliest;
    let mut subscriber = Subscriber::open(config).unwrap();
    let mut frames = 0;
    let read = wait_for("the subscriber's count", || {
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
    let site = Site::embedded();
    let publisher = site.publisher();
    let stream = video(&publisher);
    stream.submit(keyframe(1_000)).unwrap();
    assert!(stream.flush(PATIENCE));
    assert_eq!(publisher.client_statistics(), None);
}
