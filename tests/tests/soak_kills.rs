//! Kill loops: SIGKILL of publisher, subscriber and broker in random order, with the books kept all the while.
//!
//! `LUMENBUS_SOAK_KILLS` says how often, `LUMENBUS_SOAK_SEED` in which order.

#![expect(clippy::unwrap_used, reason = "a test")]

use lumenbus_bus::Subscriber;
use lumenbus_frame::GapReason;
use lumenbus_tests::backend::{Kind, PARTITIONS, Site};
use lumenbus_tests::cli::{Background, spawn_at};
use lumenbus_tests::load::{Camera, Traffic, await_that};
use lumenbus_tests::soak::{Dice, number};
use lumenbus_tests::stored::stored;
use lumenbus_tests::tally::Tally;
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

const TOPIC: &str = "raw_video";
const DEFAULT_KILLS: u64 = 3;

fn kill(process: Background) {
    process.signal(Signal::KILL);
    drop(process.finish());
}

/// What is killed, and how it is started.
struct Victims {
    site: Site,
    out: tempfile::TempDir,
    publisher: Option<Background>,
    subscriber: Option<Background>,
    /// Sessions of the publisher so far.
    sessions: usize,
}

impl Victims {
    fn new(site: Site) -> Self {
        let out = tempfile::tempdir().unwrap();
        let mut victims = Self { site, out, publisher: None, subscriber: None, sessions: 0 };
        victims.start_publisher();
        victims.start_subscriber();
        victims
    }

    fn spawn(&self, line: &str) -> Background {
        let prefix = self.site.bus.topic_prefix.as_str();
        spawn_at(&self.site.bus.brokers, &format!("{line} --topic {TOPIC} --topic-prefix {prefix}"))
    }

    /// Everything that was started again does its work; until then a kill would only meet a beginning.
    fn await_work(&self, witness: &mut Subscriber, tally: &mut Tally) {
        tally.read_until(witness, "the publisher's session begins", |tally| {
            let victim = tally.streams.iter().find(|(stream, _)| stream.camera.as_str() == "victim");
            victim.is_some_and(|(_, of)| of.epochs.len() == self.sessions)
        });
        let before = stored(&self.stored_in()).len();
        await_that("the subscriber stores frames", || stored(&self.stored_in()).len() > before);
    }

    fn stored_in(&self) -> PathBuf {
        self.out.path().join("out")
    }

    fn start_publisher(&mut self) {
        self.sessions += 1;
        self.publisher = Some(self.spawn("publish test:160x120@50 --camera victim --codec h264"));
    }

    fn start_subscriber(&mut self) {
        let (group, out) = (self.site.group("soak"), self.stored_in());
        let line = format!(
            "subscribe --group {group} --from start --as coded --overwrite --out {} -X session.timeout.ms=2000",
            out.display()
        );
        self.subscriber = Some(self.spawn(&line));
    }

    fn kill_one(&mut self, dice: &mut Dice) -> &'static str {
        match dice.below(3) {
            0 => {
                kill(self.publisher.take().unwrap());
                self.start_publisher();
                "publisher"
            }
            1 => {
                kill(self.subscriber.take().unwrap());
                self.start_subscriber();
                "subscriber"
            }
            _ => {
                let node = 1 + u16::try_from(dice.below(self.site.kind.nodes().into())).unwrap();
                self.site.cluster().kill(node);
                self.site.cluster().restart(node);
                "broker"
            }
        }
    }
}

fn kill_loop(kind: Kind) {
    let Some(site) = Site::alone(kind) else { return };
    let (kills, seed) = (number("LUMENBUS_SOAK_KILLS", DEFAULT_KILLS), number("LUMENBUS_SOAK_SEED", 0x5eed));
    site.create_topics(&[TOPIC]);
    let publisher = site.publisher();
    let open = |n: u32| Camera::open_with(&publisher, &format!("camera-{n}"), TOPIC, Some(n % PARTITIONS));
    let traffic = Traffic::start((0..PARTITIONS).map(open).collect(), 5_000, Duration::from_millis(20));
    let mut witness = site.subscriber(&[TOPIC]);
    let mut tally = Tally::default();
    let mut victims = Victims::new(site);
    let mut dice = Dice(seed | 1);
    for round in 0..kills {
        victims.await_work(&mut witness, &mut tally);
        // Somewhere in the middle of things.
        let frames = tally.frames() + 20 + usize::try_from(dice.below(200)).unwrap();
        tally.read_until(&mut witness, "frames come", |tally| tally.frames() >= frames);
        let what = victims.kill_one(&mut dice);
        eprintln!("kill {} of {kills} (seed {seed}): {what}, {} frames so far", round + 1, tally.frames());
    }
    victims.await_work(&mut witness, &mut tally);
    let frames = tally.frames() + 300;
    tally.read_until(&mut witness, "frames come after the last kill", |tally| tally.frames() >= frames);
    victims.publisher.take().unwrap().interrupt().code(0);
    let sent: Vec<_> = traffic.stop().into_iter().map(|c| (c.handle.id().clone(), c.finish())).collect();
    tally.read_to_end(&mut witness, sent.len() + 1);
    tally.assert_complete();
    for (stream, (_, summary)) in &sent {
        let of = &tally.streams[stream];
        assert!(of.contents.values().is_sorted_by_key(|content| content.number), "{stream}");
        assert!(of.contents.len() as u64 >= summary.stats.acknowledged_frames, "{stream}: {summary:?}");
    }
    let victim = tally.streams.iter().find(|(stream, _)| stream.camera.as_str() == "victim").unwrap().1;
    for (epoch, of) in victim.epochs.iter().rev().skip(1) {
        assert!(of.end.is_some() || of.open_gaps.iter().any(|gap| gap.1 == GapReason::Aborted), "{epoch}: {of:?}");
    }
    let out = victims.stored_in();
    let all: BTreeSet<_> = tally
        .streams
        .iter()
        .flat_map(|(stream, of)| of.delivered().into_iter().map(|id| (stream.camera.to_string(), id)))
        .collect();
    await_that("the group has stored every frame", || stored(&out).is_superset(&all));
    kill(victims.subscriber.take().unwrap());
}

#[test]
fn soak_kills_on_the_embedded_broker() {
    kill_loop(Kind::Embedded);
}

#[test]
fn soak_kills_on_apache_kafka() {
    kill_loop(Kind::Kafka1);
}
