//! The commands on one site's brokers, its folder of received objects, and objects made for the purpose.

use lumenbus_tests::backend::{Kind, Site};
use lumenbus_tests::cli::{Background, Ran, data, lumenbus, words};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

/// All objects of this project's data, good and broken.
pub(crate) fn objects() -> Option<PathBuf> {
    data("dicom")
}

/// Every file below a folder but those without a name yet: SHA-256 by path, as `sha256sum` tells it.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, String> {
    if !folder.exists() {
        return BTreeMap::new();
    }
    let listed = Command::new("sh")
        .args(["-c", "find . -type f -not -path './.lumenbus-receiving/*' -exec sha256sum -z {} +"])
        .current_dir(folder)
        .output()
        .unwrap();
    let line = |line: &str| line.split_once("  ").map(|(hash, path)| (PathBuf::from(path), hash.to_owned()));
    String::from_utf8(listed.stdout).unwrap().split('\0').filter_map(line).collect()
}

/// Their SHA-256, in order.
pub(crate) fn contents(folder: &Path) -> Vec<String> {
    let mut hashes: Vec<_> = files(folder).into_values().collect();
    hashes.sort();
    hashes
}

/// How many files there are with names.
pub(crate) fn named(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let visible = entries.filter(|entry| entry.file_name() != ".lumenbus-receiving");
    visible.map(|entry| if entry.path().is_dir() { named(&entry.path()) } else { 1 }).sum()
}

/// One site's commands and its folder of received objects.
pub(crate) struct Dicom {
    pub(crate) site: Site,
    pub(crate) group: String,
    pub(crate) out: tempfile::TempDir,
    /// Of the audit trail.
    keys: tempfile::TempDir,
}

impl Dicom {
    pub(crate) fn new(site: Site) -> Self {
        let group = site.group("dicom");
        Self { site, group, out: tempfile::tempdir().unwrap(), keys: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn together(kind: Kind) -> Option<Self> {
        Site::together(kind).map(Self::new)
    }

    pub(crate) fn out(&self) -> PathBuf {
        self.out.path().join("out")
    }

    pub(crate) fn command(&self, line: &str, paths: &[&Path]) -> Command {
        let mut command = lumenbus(["dicom", "--json"]);
        command.args(["--brokers", &self.site.bus.brokers, "--topic-prefix", self.site.bus.topic_prefix.as_str()]);
        command.args(words(line));
        command.args(paths);
        command.env("LUMENBUS_AUDIT_KEYS", self.keys.path());
        command
    }

    pub(crate) fn run(&self, line: &str, paths: &[&Path]) -> Ran {
        Background::start(self.command(line, paths)).finish()
    }

    pub(crate) fn start_sending(&self, paths: &[&Path]) -> Background {
        Background::start(self.command("send", paths))
    }

    pub(crate) fn send(&self, paths: &[&Path]) -> Ran {
        self.start_sending(paths).finish()
    }

    pub(crate) fn start_receiving(&self, more: &str) -> Background {
        Background::start(self.command(&format!("receive --group {} {more} --out", self.group), &[&self.out()]))
    }

    pub(crate) fn receive(&self, more: &str) -> Ran {
        self.start_receiving(&format!("--until-end {more}")).finish()
    }

    /// Nothing lies in the folder but files with names.
    pub(crate) fn assert_no_half_file(&self) {
        let names = std::fs::read_dir(self.out().join(".lumenbus-receiving")).unwrap();
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["lock"]);
    }
}

pub(crate) fn number(summary: &Value, name: &str) -> usize {
    usize::try_from(summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"))).unwrap()
}

/// Stored, there already, and not delivered, of a summary of `receive`.
pub(crate) fn received(summary: &Value) -> [usize; 3] {
    ["stored", "already_there", "failed"].map(|name| number(summary, name))
}

/// An element with explicit VR, little endian.
fn element(tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
    let (group, number) = (((tag >> 16) as u16).to_le_bytes(), ((tag & 0xFFFF) as u16).to_le_bytes());
    let padding: &[u8] = if value.len().is_multiple_of(2) { b"" } else { b" " };
    let length = u32::try_from(value.len() + padding.len()).unwrap();
    let length = match vr {
        "OW" | "OB" | "UT" => [&[0, 0][..], &length.to_le_bytes()].concat(),
        _ => u16::try_from(length).unwrap().to_le_bytes().to_vec(),
    };
    [&group[..], &number, vr.as_bytes(), &length, value, padding].concat()
}

/// An object of native pixels with these elements in front of them, which are in order.
pub(crate) fn object(elements: &[(u32, &str, &[u8])], pixels: &[u8]) -> Vec<u8> {
    let syntax = element(0x0002_0010, "UI", b"1.2.840.10008.1.2.1\0");
    let length = u32::try_from(syntax.len()).unwrap().to_le_bytes();
    let mut file = [&[0; 128][..], b"DICM", &element(0x0002_0000, "UL", &length), &syntax].concat();
    for (tag, vr, value) in elements {
        file.extend(element(*tag, vr, value));
    }
    file.extend(element(0x7FE0_0010, "OW", pixels));
    file
}

/// One whose instance is of this number, with pixels that no other has and no compression shortens.
pub(crate) fn numbered(number: u64, pixel_bytes: usize) -> Vec<u8> {
    let instance = format!("1.2.826.0.1.3680043.8.498.77.{number}");
    let mut dice = lumenbus_tests::soak::Dice(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let pixels: Vec<u8> = (0..pixel_bytes.div_ceil(8)).flat_map(|_| dice.below(u64::MAX).to_le_bytes()).collect();
    object(
        &[
            (0x0008_0018, "UI", instance.as_bytes()),
            (0x0010_0020, "LO", b"SOAK"),
            (0x0020_000D, "UI", b"1.2.826.0.1.3680043.8.498.7"),
        ],
        &pixels,
    )
}
