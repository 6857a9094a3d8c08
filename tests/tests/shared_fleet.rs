//! Shared fleets: several `lumenbus up` run one list of cameras, and are killed, stopped, continued and drained.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_bus::control::BeatPort;
use lumenbus_bus::{BusConfig, Policy, Start, Subscriber, SubscriberConfig};
use lumenbus_frame::{GapReason, StreamId};
use lumenbus_tests::cli::{Background, BrokerProcess, lumenbus};
use lumenbus_tests::load::await_that;
use lumenbus_tests::tally::{StreamTally, Tally};
use lumenbus_wire::{FleetBeat, FleetStanding};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Enough that each of two nodes has some, unless their numbers, which are random, are very unlike.
const CAMERAS: usize = 8;
/// A keyframe each second.
const GOP: &str = "1s";

/// A broker as a process of its own, a settings file on it, and a reader of everything.
/// One fleet at a time: who gets no processor for two seconds and a half is given up, as it should be.
static TURN: Mutex<()> = Mutex::new(());

struct Yard {
    broker: BrokerProcess,
    _folder: TempDir,
    file: PathBuf,
    subscriber: Subscriber,
    tally: Tally,
    // The last: what it guards has ended by then.
    _turn: MutexGuard<'static, ()>,
}

fn cameras(count: usize) -> String {
    let camera = |number| {
        format!("[[camera]]\nid = \"cam-{number}\"\nsource = \"test:128x64@10\"\ncodec = \"h264\"\ngop = \"{GOP}\"\n")
    };
    (0..count).map(camera).collect()
}

impl Yard {
    fn new() -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let broker = BrokerProcess::start();
        drop(broker.run("topics apply").code(0));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lumenbus.toml");
        let head = format!("brokers = \"{}\"\n[viewer]\nenabled = false\n", broker.address());
        fs::write(&file, format!("{head}[fleet]\nshared = \"yard\"\n{}", cameras(CAMERAS))).unwrap();
        let mut reader = SubscriberConfig::new(BusConfig::new(broker.address()), vec!["raw_video".parse().unwrap()]);
        reader.start = Start::Earliest;
        reader.policy = Policy::Lossless;
        let subscriber = Subscriber::open(reader).unwrap();
        Self { broker, _folder: folder, file, subscriber, tally: Tally::default(), _turn: turn }
    }

    fn up(&self, name: &str) -> Background {
        let text = fs::read_to_string(&self.file).unwrap();
        let own = self.file.with_file_name(format!("{name}.toml"));
        fs::write(&own, text.replace("[fleet]\n", &format!("[fleet]\nnode = \"{name}\"\n"))).unwrap();
        Background::start(lumenbus(["up", "--json", "--config", own.to_str().unwrap()]))
    }

    /// Reads until every camera delivers frames of the epoch under which one of these nodes runs it; those epochs.
    fn read_shared(&mut self, nodes: &[&Background]) -> BTreeMap<StreamId, u64> {
        await_shared(nodes);
        let told: BTreeMap<String, u64> = nodes.iter().flat_map(|up| live(up)).collect();
        let epoch = |stream: &StreamId| told[stream.camera.as_str()];
        let is_read = |of: &StreamTally, epoch| of.epochs.get(&epoch).is_some_and(|epoch| !epoch.delivered.is_empty());
        self.tally.read_until(&mut self.subscriber, "every camera is live", |tally| {
            tally.streams.iter().filter(|(stream, of)| is_read(of, epoch(stream))).count() == CAMERAS
        });
        self.tally.streams.keys().map(|stream| (stream.clone(), epoch(stream))).collect()
    }

    /// Kills the node and reads on: from then to the first frames of its first and of its last camera elsewhere.
    fn kill(&mut self, node: Background, before: &BTreeMap<StreamId, u64>) -> [Duration; 2] {
        let lost = live(&node);
        node.signal(Signal::KILL);
        let killed = Instant::now();
        drop(node.finish());
        [1, lost.len()].map(|count| {
            self.tally.read_until(&mut self.subscriber, "cameras are taken over", |tally| {
                let is_new = |(stream, before): &(&StreamId, &u64)| {
                    let mut newer = tally.streams[*stream].epochs.range(*before + 1..);
                    newer.any(|(_, epoch)| !epoch.delivered.is_empty())
                };
                before.iter().filter(is_new).count() >= count.min(lost.len())
            });
            killed.elapsed()
        })
    }

    /// Reads a while longer: until every stream has so many further frames.
    fn read_on(&mut self, frames: usize) {
        let before: BTreeMap<_, _> = delivered(&self.tally);
        self.tally.read_until(&mut self.subscriber, "frames go on", |tally| {
            delivered(tally).iter().all(|(stream, count)| *count >= before.get(stream).unwrap_or(&0) + frames)
        });
    }
}

fn delivered(tally: &Tally) -> BTreeMap<StreamId, usize> {
    tally.streams.iter().map(|(stream, of)| (stream.clone(), of.delivered().len())).collect()
}

/// What a node says of a camera.
#[derive(Debug)]
struct Said {
    state: String,
    reason: String,
    epoch: u64,
}

/// What the node says of its cameras at last.
fn states(up: &Background) -> BTreeMap<String, Said> {
    let mut states = BTreeMap::new();
    for line in up.stdout_so_far().split_inclusive('\n').filter(|line| line.ends_with('\n')) {
        let object: Value = serde_json::from_str(line).unwrap();
        if object["type"] == "camera" {
            let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
            let epoch = text("epoch").parse().unwrap_or_default();
            states.insert(text("camera"), Said { state: text("state"), reason: text("reason"), epoch });
        }
    }
    states
}

/// The cameras that it runs, and under which epochs.
fn live(up: &Background) -> BTreeMap<String, u64> {
    let live = states(up).into_iter().filter(|(_, said)| said.state == "live");
    live.map(|(camera, said)| (camera, said.epoch)).collect()
}

/// Waits until the nodes run all cameras, none twice, and agree about it.
fn await_shared(nodes: &[&Background]) {
    await_that("the nodes share the cameras", || {
        let all: Vec<_> = nodes.iter().map(|up| states(up)).collect();
        let is_settled = |said: &Said| said.state == "live" || said.reason.starts_with("owned elsewhere: ");
        let lives = all.iter().flatten().filter(|(_, said)| said.state == "live").count();
        lives == CAMERAS && all.iter().all(|own| own.len() == CAMERAS && own.values().all(is_settled))
    });
}

/// Both have joined and hear each other.
fn await_members(up: &Background, count: usize) {
    up.wait_for_objects(1, |object| {
        let members = object["nodes"].as_array().into_iter().flatten().filter(|node| node["is_counted"] == true);
        object["type"] == "fleet" && members.count() == count
    });
}

#[test]
fn cameras_of_a_killed_node_go_on_elsewhere_and_come_back() {
    let mut yard = Yard::new();
    let first = yard.up("first");
    await_members(&first, 1);
    let second = yard.up("second");
    await_members(&first, 2);
    let before = yard.read_shared(&[&first, &second]);
    let (kept, lost) = (live(&second), live(&first));
    let said = states(&second);
    assert!(lost.keys().all(|camera| said[camera].reason == "owned elsewhere: first"), "{said:?}");

    let took = yard.kill(first, &before);
    println!("from the kill to the first frames of the first and the last camera: {took:?}");
    let after = yard.read_shared(&[&second]);
    for (stream, epoch) in &before {
        let is_kept = kept.contains_key(stream.camera.as_str());
        assert_eq!(after[stream] == *epoch, is_kept, "{stream}: only cameras of the lost node move");
        let gaps = &yard.tally.streams[stream].epochs[epoch].open_gaps;
        assert!(is_kept || gaps.iter().any(|(_, reason)| *reason == GapReason::Aborted), "{stream}: {gaps:?}");
    }

    let third = yard.up("third");
    yard.read_shared(&[&second, &third]);
    // What moves in order ends in order.
    for (stream, of) in &yard.tally.streams {
        let broken = of.epochs.iter().rev().skip(1).filter(|(epoch, of)| of.end.is_none() && before[stream] != **epoch);
        assert_eq!(broken.count(), 0, "{stream}: {:?}", of.epochs.keys());
    }
    yard.tally.assert_complete();
    for up in [second, third] {
        let ran = up.interrupt().code(0);
        assert_eq!(ran.summary()["clean"], true);
    }
    drop(yard.broker.stop().code(0));
}

#[test]
fn a_node_that_stood_still_yields_and_is_given_its_cameras_back() {
    let mut yard = Yard::new();
    let (first, second) = (yard.up("first"), yard.up("second"));
    await_members(&first, 2);
    yard.read_shared(&[&first, &second]);
    let own = live(&first);

    first.signal(Signal::STOP);
    await_that("the other has all", || live(&second).len() == CAMERAS);
    yard.read_on(10);
    first.signal(Signal::CONT);
    // It still believes to own them, is superseded, and waits for its turn.
    for camera in own.keys() {
        first.wait_for_objects(2, |object| object["camera"] == camera.as_str() && object["state"] == "live");
    }
    await_shared(&[&first, &second]);
    assert!(live(&first).keys().eq(own.keys()));
    yard.read_shared(&[&first, &second]);
    yard.tally.assert_complete();
    drop(first.interrupt());
    drop(second.interrupt().code(0));
}

#[test]
fn a_node_that_stops_hands_over_in_order_and_hostile_beats_change_nothing() {
    let mut yard = Yard::new();
    let (first, second) = (yard.up("first"), yard.up("second"));
    await_members(&first, 2);
    yard.read_shared(&[&first, &second]);
    let mut port = BeatPort::open(&BusConfig::new(yard.broker.address()), "yard".parse().unwrap()).unwrap();
    let mut heard = None;
    await_that("a beat comes", || {
        heard = port.receive(Duration::from_secs(1)).ok().flatten();
        heard.is_some()
    });
    let heard = heard.unwrap();
    // A beat that comes again, and more nodes than a fleet has.
    port.send(&FleetBeat { standing: FleetStanding::Draining, ..heard });
    for node in 0..200 {
        let standing = FleetStanding::Joining;
        let by = "\u{7}nobody".to_owned();
        port.send(&FleetBeat { node, sequence: 1, standing, revision: 0, started_unix_nanos: 0, by });
    }
    yard.read_on(10);
    await_shared(&[&first, &second]);

    first.signal(Signal::TERM);
    let ran = first.finish().code(0);
    assert_eq!(ran.summary()["clean"], true);
    await_that("the other has all", || live(&second).len() == CAMERAS);
    yard.read_on(10);
    yard.tally.assert_complete();
    for (stream, of) in &yard.tally.streams {
        let open = of.epochs.values().filter(|epoch| epoch.end.is_none()).count();
        assert_eq!(open, 1, "{stream}: what moved has ended");
    }
    let ran = second.interrupt().code(0);
    assert_eq!(ran.summary()["clean"], true);
}

/// One node after the other is killed, and another comes. Measured over more of them with
/// `LUMENBUS_TAKEOVERS=20 cargo test -p lumenbus-tests --test shared_fleet takeovers -- --nocapture`.
#[test]
fn takeovers_one_after_the_other() {
    let kills = std::env::var("LUMENBUS_TAKEOVERS").ok().and_then(|text| text.parse().ok()).unwrap_or(2);
    let mut yard = Yard::new();
    let mut nodes = vec![yard.up("node-0"), yard.up("node-1")];
    let (mut first_times, mut last_times) = (Vec::new(), Vec::new());
    for kill in 0..kills {
        await_members(&nodes[1], 2);
        let before = yard.read_shared(&[&nodes[0], &nodes[1]]);
        let victim = nodes.remove(0);
        let lost = live(&victim).len();
        let [first, last] = yard.kill(victim, &before);
        println!("kill {kill}: {lost} cameras; first frames after {first:?} to {last:?}");
        if lost > 0 {
            first_times.push(first);
            last_times.push(last);
        }
        yard.read_shared(&[&nodes[0]]);
        nodes.push(yard.up(&format!("node-{}", kill + 2)));
    }
    for (what, mut times) in [("first", first_times), ("last", last_times)] {
        times.sort_unstable();
        if times.is_empty() {
            continue;
        }
        let (median, longest) = (times[times.len() / 2], times[times.len() - 1]);
        println!("{what} camera: median {median:?}, longest {longest:?} of {} kills", times.len());
    }
    yard.tally.assert_complete();
}
