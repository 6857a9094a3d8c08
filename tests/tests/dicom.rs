//! DICOM objects through Kafka: each file comes out byte for byte, once, or not at all, and said.

#![expect(clippy::unwrap_used, reason = "a test")]

use lumenbus_tests::backend::{Kind, Site};
use lumenbus_tests::cli::{Background, Ran, data, lumenbus, words};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All objects of this project's data, good and broken.
fn objects() -> Option<PathBuf> {
    data("dicom")
}

/// Every file below a folder but those without a name yet: SHA-256 by path, as `sha256sum` tells it.
fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    let listed = Command::new("sh")
        .args(["-c", "find . -type f -not -path './.lumenbus-receiving/*' -exec sha256sum -z {} +"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");
    let line = |line: &str| line.split_once("  ").map(|(hash, path)| (PathBuf::from(path), hash.to_owned()));
    String::from_utf8(listed.stdout).unwrap().split('\0').filter_map(line).collect()
}

fn contents(folder: &Path) -> Vec<String> {
    let mut hashes: Vec<_> = files(folder).into_values().collect();
    hashes.sort();
    hashes
}

/// One site's commands and its folder of received objects.
struct Dicom {
    site: Site,
    group: String,
    out: tempfile::TempDir,
}

impl Dicom {
    fn new(site: Site) -> Self {
        let group = site.group("dicom");
        Self { site, group, out: tempfile::tempdir().unwrap() }
    }

    fn out(&self) -> PathBuf {
        self.out.path().join("out")
    }

    fn command(&self, line: &str, paths: &[&Path]) -> Command {
        let mut command = lumenbus(words(&format!("dicom {line} --json")));
        command.args(["--brokers", &self.site.bus.brokers, "--topic-prefix", self.site.bus.topic_prefix.as_str()]);
        command.args(paths);
        command
    }

    fn start_sending(&self, paths: &[&Path]) -> Background {
        Background::start(self.command("send", paths))
    }

    fn send(&self, paths: &[&Path]) -> Ran {
        self.start_sending(paths).finish()
    }

    fn start_receiving(&self, more: &str) -> Background {
        Background::start(self.command(&format!("receive --group {} {more} --out", self.group), &[&self.out()]))
    }

    fn receive(&self, more: &str) -> Ran {
        self.start_receiving(&format!("--until-end {more}")).finish()
    }

    /// Nothing lies in the folder but files with names.
    fn assert_no_half_file(&self) {
        let names = std::fs::read_dir(self.out().join(".lumenbus-receiving")).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["lock"]);
    }
}

fn number(summary: &Value, name: &str) -> usize {
    usize::try_from(summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"))).unwrap()
}

fn everything_comes_back(kind: Kind) {
    let Some(from) = objects() else { return };
    let Some(site) = Site::together(kind) else { return };
    let dicom = Dicom::new(site);
    let sent = contents(&from);
    let mut distinct = sent.clone();
    distinct.dedup();
    assert!(sent.len() > 100, "the data set is there: {}", sent.len());

    let summary = dicom.send(&[&from]).code(0).summary();
    assert_eq!((number(&summary, "sent"), number(&summary, "refused")), (sent.len(), 0), "{summary}");
    let summary = dicom.receive("").code(0).summary();
    let counts = |summary: &Value| ["stored", "already_there", "failed"].map(|name| number(summary, name));
    assert_eq!(counts(&summary), [distinct.len(), sent.len() - distinct.len(), 0]);
    assert_eq!(contents(&dicom.out()), distinct);
    dicom.assert_no_half_file();

    // The same again from two senders at a time: their records lie between each other's.
    let senders = [(); 2].map(|()| dicom.start_sending(&[&from]));
    for sender in senders {
        drop(sender.finish().code(0));
    }
    let summary = dicom.receive("").code(0).summary();
    assert_eq!(counts(&summary), [0, 2 * sent.len(), 0]);
    // A replay of it all changes nothing.
    let summary = dicom.receive("--from start").code(0).summary();
    assert_eq!(counts(&summary), [0, 3 * sent.len(), 0]);
    assert_eq!(contents(&dicom.out()), distinct);
    dicom.assert_no_half_file();
}

#[test]
fn every_file_of_the_data_set_comes_back_through_the_embedded_broker() {
    everything_comes_back(Kind::Embedded);
}

#[test]
fn every_file_of_the_data_set_comes_back_through_apache_kafka() {
    everything_comes_back(Kind::Kafka1);
}
