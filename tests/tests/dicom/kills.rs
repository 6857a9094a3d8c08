//! SIGKILL of sender, receiver and broker at random moments: nothing acknowledged is lost, nothing is twice in the
//! folder, no file is half. `LUMENBUS_SOAK_KILLS` says how often, `LUMENBUS_SOAK_SEED` when.

use crate::site::{Dicom, contents, named, numbered};
use lumenbus_tests::backend::{Kind, Site};
use lumenbus_tests::cli::Background;
use lumenbus_tests::load::await_that;
use lumenbus_tests::soak::{Dice, number};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Objects of a round, most of them of several chunks.
const OBJECTS: u64 = 8;
/// The exit code when no broker is where one should be.
const NO_BROKER: i32 = 4;
/// So that a member that was killed is not waited for for long.
const QUICK: &str = "-X session.timeout.ms=6000 -X heartbeat.interval.ms=1000";

struct Victims {
    dicom: Dicom,
    from: tempfile::TempDir,
    sender: Option<Background>,
    receiver: Option<Background>,
    /// SHA-256 of what was ever to be sent, and of what was called sent.
    offered: BTreeSet<String>,
    acknowledged: BTreeSet<String>,
    rounds: u64,
}

fn kill(process: Background) -> String {
    process.signal(Signal::KILL);
    process.finish().stdout
}

impl Victims {
    fn new(site: Site) -> Self {
        let (dicom, from) = (Dicom::new(site), tempfile::tempdir().unwrap());
        let (offered, acknowledged) = (BTreeSet::new(), BTreeSet::new());
        let mut victims = Self { dicom, from, sender: None, receiver: None, offered, acknowledged, rounds: 0 };
        victims.next_round();
        victims.start_receiver();
        victims
    }

    /// Everything of the folder is sent: other objects.
    fn next_round(&mut self) {
        self.from = tempfile::tempdir().unwrap();
        for object in 0..OBJECTS {
            let bytes = if object % 4 == 0 { 1_000 } else { 2_000_000 };
            let file = numbered(self.rounds * OBJECTS + object, bytes);
            std::fs::write(self.from.path().join(format!("{object}.dcm")), file).unwrap();
        }
        self.offered.extend(contents(self.from.path()));
        self.rounds += 1;
        self.start_sender();
    }

    fn start_sender(&mut self) {
        self.sender = Some(self.dicom.start_sending(&[self.from.path()]));
    }

    fn start_receiver(&mut self) {
        self.receiver = Some(self.dicom.start_receiving(QUICK));
    }

    /// What a sender has said before it ended or was killed; a line that was cut off was not said.
    fn note(&mut self, stdout: &str) -> usize {
        let lines = stdout.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let objects = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let sent =
            objects.filter(|object| object["type"] == "sent").map(|sent| sent["sha256"].as_str().unwrap().to_owned());
        let before = self.acknowledged.len();
        self.acknowledged.extend(sent);
        self.acknowledged.len() - before
    }

    /// Waits until all of the round is sent. A sender that finds no broker when it starts says so and ends.
    fn finish_sending(&mut self) {
        loop {
            let ran = self.sender.take().unwrap().finish();
            self.note(&ran.stdout);
            if ran.status.code() == Some(NO_BROKER) {
                self.start_sender();
            } else {
                drop(ran.code(0));
                return;
            }
        }
    }

    /// Somewhere in the middle of things.
    fn await_moment(&mut self, dice: &mut Dice) {
        let wanted = named(&self.dicom.out()) + usize::try_from(dice.below(4)).unwrap();
        await_that("objects come between kills", || {
            let is_done = self.sender.as_ref().is_some_and(|sender| sender.stdout_so_far().contains("\"summary\""));
            if is_done {
                self.finish_sending();
                self.next_round();
            }
            named(&self.dicom.out()) >= wanted
        });
        // The moment is the subject: between any two steps of any of them.
        std::thread::sleep(Duration::from_millis(dice.below(300)));
    }

    fn kill_one(&mut self, dice: &mut Dice) -> &'static str {
        match dice.below(3) {
            0 => {
                let said = kill(self.sender.take().unwrap());
                self.note(&said);
                self.start_sender();
                "sender"
            }
            1 => {
                drop(kill(self.receiver.take().unwrap()));
                self.assert_whole_files();
                self.start_receiver();
                "receiver"
            }
            _ => {
                // One that starts without a broker ends.
                drop(self.receiver.as_ref().unwrap().wait_for_line("joined"));
                self.dicom.site.cluster().kill(1);
                self.dicom.site.cluster().restart(1);
                "broker"
            }
        }
    }

    /// A receiver that gave up would be waited for in vain; it said why.
    fn assert_receiver_works(&self) {
        let said = self.receiver.as_ref().unwrap().stdout_so_far();
        assert!(!said.contains("\"summary\""), "the receiver ended: {}", said.lines().last().unwrap_or_default());
    }

    /// What has a name is whole, and once there.
    fn assert_whole_files(&self) {
        let there = contents(&self.dicom.out());
        assert!(there.iter().all(|hash| self.offered.contains(hash)), "a file that nobody sent");
        assert!(there.is_sorted_by(|a, b| a < b), "a file is there twice");
    }
}

fn kill_loop(kind: Kind, default_kills: u64) {
    let Some(site) = Site::alone(kind) else { return };
    let (kills, seed) = (number("LUMENBUS_SOAK_KILLS", default_kills), number("LUMENBUS_SOAK_SEED", 0x5eed));
    let mut dice = Dice(seed | 1);
    let mut victims = Victims::new(site);
    for round in 0..kills {
        victims.await_moment(&mut dice);
        let what = victims.kill_one(&mut dice);
        let there = named(&victims.dicom.out());
        eprintln!("kill {} of {kills} (seed {seed}): {what}, {there} objects so far", round + 1);
    }
    victims.finish_sending();
    let all: Vec<_> = victims.offered.iter().cloned().collect();
    assert_eq!(victims.acknowledged.iter().cloned().collect::<Vec<_>>(), all, "all rounds were sent to their end");
    await_that("the receiver has every object", || {
        victims.assert_receiver_works();
        named(&victims.dicom.out()) >= all.len()
    });
    drop(victims.receiver.take().unwrap().interrupt().code(0));
    assert_eq!(contents(&victims.dicom.out()), all);
    // What was committed is true: nothing is waiting, and a replay finds everything done.
    let summary = victims.dicom.receive(QUICK).code(0).summary();
    assert_eq!(crate::site::received(&summary)[0], 0, "{summary}");
    let summary = victims.dicom.receive(&format!("--from start {QUICK}")).code(0).summary();
    assert_eq!(crate::site::received(&summary)[0], 0, "{summary}");
    assert_eq!(contents(&victims.dicom.out()), all);
    victims.dicom.assert_no_half_file();
    eprintln!("{kills} kills, {} objects acknowledged: none lost, none twice, none half", all.len());
}

#[test]
fn soak_dicom_on_the_embedded_broker() {
    kill_loop(Kind::Embedded, 10);
}

/// Only when kills are asked for, as `cargo xtask soak dicom` does: one of ten short runs saw the receiver
/// deliver nothing for three minutes after a broker's kill, for a reason that is not known yet.
#[test]
fn soak_dicom_on_apache_kafka() {
    if std::env::var_os("LUMENBUS_SOAK_KILLS").is_none() {
        eprintln!("not run: LUMENBUS_SOAK_KILLS is not set");
        return;
    }
    kill_loop(Kind::Kafka1, 3);
}
