//! Against the embedded broker.

use super::*;
use lumenbus_broker::{Broker, BrokerConfig};
use lumenbus_bus::publisher::{Publisher, PublisherConfig, StreamOptions};
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame};

const LONG: Duration = Duration::from_secs(60);

fn publish(bus: &BusConfig, frames: usize) {
    let publisher = Publisher::open(PublisherConfig::new(bus.clone())).unwrap();
    let stream = publisher.main_stream("gate".parse().unwrap(), "raw_images", StreamOptions::new(Codec::Jpeg)).unwrap();
    for _ in 0..frames {
        let picture = vec![7_u8; 20_000];
        let frame = EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(SystemClock.unix_nanos()), picture.into());
        stream.submit(frame.keyframe()).unwrap();
    }
    assert!(stream.finish(LONG).unwrap().is_end_written);
    drop(publisher.close(LONG));
}

#[test]
fn the_broker_is_seen_comes_into_the_metrics_and_goes() {
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::start_blocking(BrokerConfig::new(data.path()).listen("127.0.0.1:0".parse().unwrap())).unwrap();
    let bus = BusConfig::new(broker.bootstrap_servers());
    publish(&bus, 25);
    let metrics = Metrics::new();
    let folder = data.path().to_owned();
    let own: OwnDiskSource = Arc::new(move || OwnDisk::of(&folder));
    let watch = ClusterWatch::start(bus, Duration::from_millis(20), Some(own), &metrics).unwrap();
    assert!(watch.wait_for_looks(3, LONG));
    let overview = watch.overview();
    assert!(overview.is_reachable && overview.is_embedded, "{overview:?}");
    let pictures = overview.topics.iter().find(|topic| topic.name == "raw_images").unwrap();
    assert_eq!((pictures.partitions, pictures.replication, pictures.records), (12, 1, 25));
    assert!(pictures.bytes >= 500_000 && !pictures.is_estimate, "{pictures:?}");
    assert_eq!(overview.problems, []);
    assert!(overview.disk.free_bytes.is_some() && overview.disk.fits == Some(true), "{:?}", overview.disk);
    let text = metrics.encode();
    for part in ["lumenbus_cluster_up 1.0", "lumenbus_topic_records{topic=\"raw_images\"} 25.0", "estimate=\"false\"} "]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    broker.shutdown_blocking().unwrap();
    let seen = watch.looks();
    assert!(watch.wait_for_looks(seen + 2, LONG));
    let overview = watch.overview();
    assert!(!overview.is_reachable && overview.problems[0].code == "unreachable", "{overview:?}");
    assert!(overview.reason.as_deref().unwrap().contains("no broker at"), "{:?}", overview.reason);
    assert!(metrics.encode().contains("lumenbus_cluster_up 0.0"));
}

#[test]
fn the_overview_is_the_agreed_json() {
    let json = serde_json::to_value(Overview::default()).unwrap();
    let keys: Vec<_> = json.as_object().unwrap().keys().map(String::as_str).collect();
    let expected = [
        "at_ms",
        "brokers",
        "cluster_id",
        "disk",
        "groups",
        "is_embedded",
        "is_reachable",
        "problems",
        "reason",
        "topics",
    ];
    assert_eq!(keys, expected);
    for key in ["is_estimate", "used_bytes", "free_bytes", "bytes_per_second", "days_left"] {
        assert!(json["disk"].get(key).is_some(), "{key}");
    }
}
