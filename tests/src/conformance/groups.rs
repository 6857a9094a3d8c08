//! Consumer groups: growing, shrinking, handing over.

#![expect(clippy::unwrap_used, reason = "cases of tests, which may panic")]

use crate::backend::{PARTITIONS, Site};
use crate::cli::spawn_at;
use crate::load::{Camera, Content, Traffic, await_that};
use crate::stored::stored;
use crate::tally::Tally;
use lumenbus_bus::subscriber::{FrameRole, Subscriber};
use lumenbus_frame::{FrameId, StreamId};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const TOPIC: &str = "raw_video";

/// How often each frame was handed over in its turn, by any member.
type Deliveries = Arc<Mutex<BTreeMap<(StreamId, FrameId), u32>>>;

/// A member of the group on a thread of its own.
struct Member {
    stop: Arc<AtomicBool>,
    partitions: Arc<AtomicUsize>,
    frames: Arc<AtomicUsize>,
    thread: JoinHandle<Tally>,
}

impl Member {
    fn start(site: &Site, group: &str, deliveries: &Deliveries) -> Self {
        let mut subscriber = member(site, group);
        let (stop, partitions, frames) = <(Arc<AtomicBool>, Arc<AtomicUsize>, Arc<AtomicUsize>)>::default();
        let (stopped, held, count, deliveries) =
            (Arc::clone(&stop), Arc::clone(&partitions), Arc::clone(&frames), Arc::clone(deliveries));
        let thread = std::thread::spawn(move || {
            let mut tallies = Takeovers::default();
            while !stopped.load(Ordering::Acquire) {
                if let Some(event) = subscriber.recv(Duration::from_millis(50)).unwrap() {
                    tallies.note(&event, &deliveries);
                }
                count.store(tallies.frames, Ordering::Release);
                held.store(subscriber.assigned_partitions(), Ordering::Release);
            }
            subscriber.close();
            tallies.tally
        });
        Self { stop, partitions, frames, thread }
    }

    fn await_frames(&self, more: usize) {
        let until = self.frames.load(Ordering::Acquire) + more;
        await_that("the member gets frames", || self.frames.load(Ordering::Acquire) >= until);
    }

    fn holds(&self) -> usize {
        self.partitions.load(Ordering::Acquire)
    }

    fn leave(self) {
        self.stop.store(true, Ordering::Release);
        self.thread.join().unwrap().assert_explained();
    }
}

/// A member's order is checked per stream; a stream that went away and came back may repeat what others delivered.
#[derive(Default)]
struct Takeovers {
    tally: Tally,
    frames: usize,
}

impl Takeovers {
    fn note(&mut self, event: &lumenbus_bus::Event, deliveries: &Deliveries) {
        if let lumenbus_bus::Event::Frame(frame) = event {
            self.frames += 1;
            if frame.role != FrameRole::Preroll {
                let of = (frame.stream.as_ref().clone(), frame.id());
                *deliveries.lock().unwrap().entry(of).or_default() += 1;
                assert!(Content::of(&frame.payload).is_some());
            }
            let last = self.tally.streams.get(frame.stream.as_ref()).and_then(|s| s.roles.last().map(|(id, _)| *id));
            if last.is_some_and(|last| last >= frame.id()) {
                // It was another member's in between, and not all it did was committed.
                self.tally.streams.remove(frame.stream.as_ref());
            }
        }
        if self.tally.streams.is_empty() {
            self.tally = Tally::of_member();
        }
        self.tally.note(event);
    }
}

fn member(site: &Site, group: &str) -> Subscriber {
    site.subscriber_with(&[TOPIC], |config| {
        config.group = Some(group.to_owned());
        config.commit_interval = Duration::from_millis(200);
        config.bus.set_property("session.timeout.ms", "6000");
        config.bus.set_property("heartbeat.interval.ms", "500");
    })
}

/// Cameras in every partition.
fn cameras(publisher: &lumenbus_bus::Publisher) -> Vec<Camera> {
    let open = |n: u32| Camera::open_with(publisher, &format!("camera-{n}"), TOPIC, Some(n % PARTITIONS));
    (0..8).map(open).collect()
}

fn finish(cameras: Vec<Camera>) -> BTreeMap<(StreamId, FrameId), Content> {
    let frames = |camera: Camera| {
        let stream = camera.handle.id().clone();
        camera.finish().0.into_iter().map(move |(id, content)| ((stream.clone(), id), content)).collect::<Vec<_>>()
    };
    cameras.into_iter().flat_map(frames).collect()
}

/// One member, then three, then two, while the cameras go on: each frame at least once, under one identity.
pub fn one_three_and_two_members(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let traffic = Traffic::start(cameras(&publisher), 4_000, Duration::from_millis(10));
    let (group, deliveries) = (site.group("grows"), Deliveries::default());
    let first = Member::start(site, &group, &deliveries);
    first.await_frames(80);
    let others = [(); 2].map(|()| Member::start(site, &group, &deliveries));
    let all = PARTITIONS as usize;
    await_that("three members share the partitions", || {
        let shares = [&first, &others[0], &others[1]].map(Member::holds);
        shares.iter().all(|share| *share > 0) && shares.iter().sum::<usize>() == all
    });
    for member in [&first, &others[0], &others[1]] {
        member.await_frames(20);
    }
    first.leave();
    await_that("two members share the partitions", || others.iter().map(Member::holds).sum::<usize>() == all);
    for member in &others {
        member.await_frames(20);
    }
    let sent = finish(traffic.stop());
    await_that("every frame was handed over", || {
        let deliveries = deliveries.lock().unwrap();
        sent.keys().all(|frame| deliveries.contains_key(frame))
    });
    others.into_iter().for_each(Member::leave);
    let deliveries = deliveries.lock().unwrap();
    assert!(deliveries.keys().all(|frame| sent.contains_key(frame)), "frames that nobody sent");
    let again = deliveries.values().filter(|times| **times > 1).count();
    // A frame that a member had in hand when its partition went is the next one's as well.
    assert!(again <= 3 * 8, "{again} of {} frames came again", deliveries.len());
}

fn read_frames(subscriber: &mut Subscriber, tally: &mut Tally, frames: usize) {
    tally.read_until(subscriber, "frames come", |tally| tally.frames() >= frames);
}

/// A member that closes hands over exactly: marks drop what lies beyond the committed offset.
pub fn a_clean_handover_repeats_nothing(site: &Site) {
    hand_over(site, Subscriber::close, 0);
}

/// A member that goes without a word: only the frame it had in hand may come again.
pub fn a_member_that_is_dropped_loses_nothing(site: &Site) {
    hand_over(site, drop, 1);
}

fn hand_over(site: &Site, end: impl Fn(Subscriber), may_repeat: usize) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let mut cameras = cameras(&publisher);
    for _ in 0..40 {
        for camera in &mut cameras {
            // Some frames in chunks, so that streams overlap in the log.
            camera.send_many(1, if camera.queued.len() % 9 == 4 { 1_200_000 } else { 2_000 });
        }
    }
    let sent = finish(cameras);
    let group = site.group("hands-over");
    let mut delivered: BTreeMap<(StreamId, FrameId), usize> = BTreeMap::new();
    for part in [1, 2, 5] {
        let mut tally = Tally::of_member();
        let mut subscriber = member(site, &group);
        let goal = (sent.len() * part / 5).saturating_sub(delivered.len());
        read_frames(&mut subscriber, &mut tally, goal);
        end(subscriber);
        tally.assert_explained();
        for (stream, tally) in &tally.streams {
            for id in tally.delivered() {
                *delivered.entry((stream.clone(), id)).or_default() += 1;
            }
        }
    }
    let mut tally = Tally::of_member();
    let mut subscriber = member(site, &group);
    tally.read_until(&mut subscriber, "the rest comes", |tally| {
        let here = |stream, id| tally.streams.get(stream).is_some_and(|tally| tally.contents.contains_key(id));
        delivered.len() + tally.frames() >= sent.len()
            && sent.keys().all(|frame| delivered.contains_key(frame) || here(&frame.0, &frame.1))
    });
    for (stream, tally) in &tally.streams {
        for id in tally.delivered() {
            *delivered.entry((stream.clone(), id)).or_default() += 1;
        }
    }
    let again: usize = delivered.values().map(|times| times - 1).sum();
    assert!(again <= may_repeat * 3, "{again} frames came again");
}

/// SIGKILL of a member: the next one goes on where its commits ended, and no frame is missing from both.
pub fn a_member_that_is_killed_loses_nothing(site: &Site) {
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let traffic = Traffic::start(cameras(&publisher), 3_000, Duration::from_millis(10));
    let group = site.group("killed");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let line = format!(
        "subscribe --topic {TOPIC} --group {group} --from start --as coded --out {} --topic-prefix {} -X session.timeout.ms=2000",
        out.display(),
        site.bus.topic_prefix.as_str(),
    );
    let child = spawn_at(&site.bus.brokers, &line);
    await_that("the member stores frames", || stored(&out).len() > 200);
    child.signal(Signal::KILL);
    drop(child.finish());
    traffic.wait_for(20);
    let sent = finish(traffic.stop());
    let stored = stored(&out);
    let mut tally = Tally::of_member();
    let mut subscriber = member(site, &group);
    let has = |tally: &Tally, (stream, id): &(StreamId, FrameId)| {
        stored.contains(&(stream.camera.to_string(), *id))
            || tally.streams.get(stream).is_some_and(|tally| tally.contents.contains_key(id))
    };
    tally.read_until(&mut subscriber, "the next member gets the rest", |tally| {
        tally.frames() + stored.len() >= sent.len() && sent.keys().all(|frame| has(tally, frame))
    });
    tally.assert_explained();
}
