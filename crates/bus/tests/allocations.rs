//! What a frame costs in allocations on the threads that handle it, in steady state.
//!
//! Counted per thread by the counting allocator; what librdkafka allocates in C is its own and not seen here.

use bytes::Bytes;
use lumenbus_broker::{Broker, BrokerConfig};
use lumenbus_bus::subscriber::{Event, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::{BusConfig, Publisher, PublisherConfig, StreamOptions, SystemClock};
use lumenbus_frame::{CaptureTime, Clock as _, Codec, EncodedFrame};
use std::time::Duration;

const WARM_UP: usize = 200;
const FRAMES: usize = 400;
/// On the submitting thread, beyond the payload made by the caller: the binding's C strings (topic, two header
/// names), its header list and its record, and the shared handle of the payload.
const SUBMIT_BUDGET: f64 = 6.0;
/// On the caller's side of a subscription: nothing, events are moved.
const RECEIVE_BUDGET: f64 = 0.1;

fn frame(number: usize) -> EncodedFrame {
    let payload = Bytes::from(vec![7; 5_000]);
    let frame = EncodedFrame::new(Codec::H264, CaptureTime::arrival(SystemClock.unix_nanos()), payload);
    if number.is_multiple_of(60) { frame.keyframe() } else { frame }
}

#[expect(clippy::cast_precision_loss, reason = "hundreds of frames")]
fn per_frame(count: u64) -> f64 {
    count as f64 / FRAMES as f64
}

#[test]
fn a_frame_costs_its_payload_and_the_bindings_own() {
    let data = tempfile::tempdir().unwrap();
    let config = BrokerConfig::new(data.path()).listen(([127, 0, 0, 1], 0).into());
    let broker = Broker::start_blocking(config).unwrap();
    let bus = BusConfig::new(broker.bootstrap_servers());
    let publisher = Publisher::open(PublisherConfig::new(bus.clone())).unwrap();
    let stream = publisher.main_stream("cam".parse().unwrap(), "raw_video", StreamOptions::new(Codec::H264)).unwrap();
    let mut config = SubscriberConfig::new(bus, vec!["raw_video".parse().unwrap()]);
    config.start = Start::Earliest;
    let mut subscriber = Subscriber::open(config).unwrap();
    let mut receive = |count: usize| {
        let mut got = 0;
        while got < count {
            got += usize::from(matches!(subscriber.recv(Duration::from_secs(20)).unwrap(), Some(Event::Frame(_))));
        }
    };

    for number in 0..WARM_UP {
        stream.submit(frame(number)).unwrap();
    }
    receive(WARM_UP);
    assert!(stream.flush(Duration::from_secs(20)));

    let frames: Vec<_> = (0..FRAMES).map(frame).collect();
    let submitted = allocation_counter::measure(|| {
        for frame in frames {
            stream.submit(frame).unwrap();
        }
    });
    let received = allocation_counter::measure(|| receive(FRAMES));
    let (submit, receive) = (per_frame(submitted.count_total), per_frame(received.count_total));
    println!("allocations per frame: submit {submit:.2}, receive {receive:.2}");
    assert!(submit <= SUBMIT_BUDGET, "submit {submit:.2}");
    assert!(receive <= RECEIVE_BUDGET, "receive {receive:.2}");

    stream.finish(Duration::from_secs(20)).unwrap();
    drop(publisher.close(Duration::from_secs(5)));
    broker.shutdown_blocking().unwrap();
}
