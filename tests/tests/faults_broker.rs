//! A broker whose disk is full, and a publisher that is killed: what was acknowledged is there, what is missing is told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_bus::BusConfig;
use lumenbus_bus::subscriber::{Start, Subscriber, SubscriberConfig};
use lumenbus_frame::GapReason;
use lumenbus_tests::cli::{Background, BrokerProcess};
use lumenbus_tests::disk::SmallDisk;
use lumenbus_tests::http::get;
use lumenbus_tests::load::await_that;
use lumenbus_tests::tally::{EpochTally, Tally};
use rustix::process::Signal;

/// A publisher, and where its figures are.
struct Publishing {
    process: Background,
    figures: String,
}

impl Publishing {
    fn start(broker: &BrokerProcess, line: &str) -> Self {
        let process = broker.spawn(&format!("publish {line} --json --metrics 127.0.0.1:0"));
        let metrics = process.wait_for_objects(1, |object| object["type"] == "metrics");
        Self { figures: metrics["listen"].as_str().unwrap().to_owned(), process }
    }

    /// Frames that it knows to be in the log.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a count, which metrics write as a float"
    )]
    fn acknowledged(&self) -> u64 {
        let page = get(&self.figures, "/metrics").unwrap().body;
        let mut lines = page.lines().filter(|line| line.starts_with("lumenbus_published_frames_total{"));
        lines.next().map_or(0, |line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64)
    }

    /// Waits until so many more are.
    fn wait_for(&self, more: u64) -> u64 {
        let enough = self.acknowledged() + more;
        await_that("frames are acknowledged", || self.acknowledged() >= enough);
        enough
    }
}

fn reader(broker: &BrokerProcess) -> Subscriber {
    let bus = BusConfig::new(broker.address());
    let mut config = SubscriberConfig::new(bus.clone(), vec![bus.topic_prefix.topic("raw_video")]);
    config.start = Start::Earliest;
    Subscriber::open(config).unwrap()
}

/// The epochs of the one stream, in order.
fn epochs(tally: &Tally) -> Vec<EpochTally> {
    tally.streams.values().flat_map(|stream| stream.epochs.values().cloned()).collect()
}

#[test]
fn a_full_disk_is_told_and_outlived_and_costs_nothing_acknowledged() {
    let Some(disk) = SmallDisk::of_mebibytes(64) else { return };
    let broker = BrokerProcess::start_on_disk(&disk);
    let line = "test:160x120@50 --camera gate --codec h264 --keyframe-interval 200ms -X message.timeout.ms=1500 -v";
    let publisher = Publishing::start(&broker, line);
    publisher.wait_for(50);
    disk.fill();
    publisher.process.wait_for_word("records are lost");
    // Who reads is not held up by it.
    let so_far = publisher.acknowledged();
    let (mut subscriber, mut tally) = (reader(&broker), Tally::default());
    tally.read_until(&mut subscriber, "what is there is read", |tally| tally.frames() as u64 >= so_far);
    disk.free();
    publisher.process.wait_for_word("records get through again");
    publisher.wait_for(50);
    let summary = publisher.process.interrupt().code(3).summary();
    tally.read_to_end(&mut subscriber, 1);
    tally.assert_complete();
    let missing = tally.streams.values().next().unwrap().missing();
    assert!(missing.contains_key(&GapReason::DeliveryFailed), "{missing:?}");
    // Behind a lost frame the rest of its GOP is in the log and of no use.
    let there = tally.frames() as u64 + missing.get(&GapReason::Undecodable).unwrap_or(&0);
    assert!(there >= summary["acknowledged"].as_u64().unwrap(), "{there} of {summary} {missing:?}");
    let told = tally.frames() as u64 + missing.values().sum::<u64>();
    assert_eq!(summary["published"], told, "{summary} {missing:?}");
    let _ = broker.stop().code(0);
}

#[test]
fn what_a_killed_publisher_had_acknowledged_is_there() {
    const KILLS: usize = 3;
    let broker = BrokerProcess::start();
    let line = "test:160x120@50 --camera gate --codec h264";
    let (mut subscriber, mut tally, mut acknowledged) = (None, Tally::default(), Vec::new());
    for _ in 0..KILLS {
        let publisher = Publishing::start(&broker, line);
        acknowledged.push(publisher.wait_for(30));
        publisher.process.signal(Signal::KILL);
        drop(publisher.process.finish());
        // It has made the topics.
        subscriber.get_or_insert_with(|| reader(&broker));
    }
    let last = Publishing::start(&broker, line);
    last.wait_for(30);
    let summary = last.process.interrupt().code(0).summary();
    acknowledged.push(summary["acknowledged"].as_u64().unwrap());
    tally.read_to_end(subscriber.as_mut().unwrap(), 1);
    tally.assert_complete();
    let epochs = epochs(&tally);
    assert_eq!(epochs.len(), KILLS + 1);
    for (number, (epoch, acknowledged)) in epochs.iter().zip(acknowledged).enumerate() {
        let frames = epoch.delivered.len() as u64;
        assert!(frames >= acknowledged, "session {number}: {frames} of {acknowledged}");
        assert!(epoch.delivered.iter().copied().eq(0..frames), "session {number} has a hole");
        let aborted = [(frames, GapReason::Aborted)];
        assert_eq!(epoch.open_gaps, if number < KILLS { &aborted[..] } else { &[] }, "session {number}");
    }
}
