//! What the source tests share.

#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses its own part")]

use lumenbus_frame::{EncodedFrame, ManualClock};
use lumenbus_source::{Source, SourceError, SourceItem, SourceOptions};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub(crate) fn options() -> SourceOptions {
    SourceOptions { clock: Arc::new(ManualClock::at(1_700_000_000_000_000_000)), ..SourceOptions::default() }
}

/// A file committed beside the tests.
pub(crate) fn data(name: &str) -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data")).join(name)
}

/// A shared clip, or `None` with a loud notice where the shared data are absent.
pub(crate) fn shared_clip(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LUMENBUS_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let path = root.join("video").join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is absent; set LUMENBUS_DATA to the folder with the shared data", path.display());
    None
}

/// Everything a source gives, taken apart.
#[derive(Default)]
pub(crate) struct Given {
    pub(crate) frames: Vec<EncodedFrame>,
    pub(crate) times: Vec<Duration>,
    pub(crate) damage: Vec<(SourceError, Option<u64>)>,
}

impl Given {
    pub(crate) fn lost(&self) -> u64 {
        self.damage.iter().map(|(_, frames)| frames.unwrap_or(0)).sum()
    }
}

/// Reads a source of coded frames to its end, at most `limit` items.
pub(crate) fn drain(source: &mut dyn Source, limit: usize) -> Result<Given, SourceError> {
    let mut given = Given::default();
    for _ in 0..limit {
        match source.next_frame()? {
            None => break,
            Some(SourceItem::Encoded { frame, media_time }) => {
                given.frames.push(frame);
                given.times.push(media_time);
            }
            Some(SourceItem::Damaged { error, frames }) => given.damage.push((error, frames)),
            Some(other) => panic!("not coded: {other:?}"),
        }
    }
    assert!(given.times.is_sorted(), "media time never decreases");
    Ok(given)
}

/// What a decoder found in a clip: see `tests/data/README.md`.
pub(crate) struct Expected(String);

impl Expected {
    pub(crate) fn of(name: &str) -> Self {
        Self(std::fs::read_to_string(data(name)).expect("the expectation is committed"))
    }

    fn line(&self, name: &str) -> impl Iterator<Item = &str> {
        let line = self.0.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no line {name}")).split_whitespace()
    }

    pub(crate) fn numbers(&self, name: &str) -> Vec<i64> {
        self.line(name).map(|number| number.parse().expect("a number")).collect()
    }

    /// Number and hash of the NAL units.
    pub(crate) fn nals(&self) -> (usize, String) {
        let mut line = self.line("nals");
        (line.next().expect("a count").parse().expect("a number"), line.next().expect("a hash").to_owned())
    }
}

/// FNV-1a over units, each with its length as four big-endian bytes.
pub(crate) fn hash_nals<'a>(nals: impl Iterator<Item = &'a [u8]>) -> (usize, String) {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut count = 0;
    for nal in nals {
        count += 1;
        let length = u32::try_from(nal.len()).expect("small").to_be_bytes();
        for byte in length.iter().chain(nal) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }
    (count, format!("{hash:016x}"))
}
