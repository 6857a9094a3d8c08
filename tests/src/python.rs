//! Python clients of others, run as a reader of the guide would.

use crate::cli::{Background, skip};
use serde_json::Value;
use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const NEEDED: &str = "import av, confluent_kafka, cv2, kafka, lz4, numpy, snappy, yaml, zstandard";

/// What reads MCAP files.
const NEEDED_FOR_MCAP: &str = "import mcap, mcap_protobuf, foxglove_schemas_protobuf";

/// `LUMENBUS_PYTHON`, or else `python3`; `None`, said loudly, where what the examples need is not installed.
///
/// # Panics
/// When it is missing and must not be.
#[must_use]
pub fn python() -> Option<OsString> {
    static FOUND: OnceLock<Result<OsString, String>> = OnceLock::new();
    told(FOUND.get_or_init(|| find(NEEDED)))
}

/// The same with what reads MCAP files.
///
/// # Panics
/// When it is missing and must not be.
#[must_use]
pub fn mcap_python() -> Option<OsString> {
    static FOUND: OnceLock<Result<OsString, String>> = OnceLock::new();
    told(FOUND.get_or_init(|| find(NEEDED_FOR_MCAP)))
}

/// The same with what announces devices of ONVIF.
///
/// # Panics
/// When it is missing and must not be.
#[must_use]
pub fn wsdiscovery_python() -> Option<OsString> {
    static FOUND: OnceLock<Result<OsString, String>> = OnceLock::new();
    told(FOUND.get_or_init(|| find("import wsdiscovery")))
}

fn find(needed: &str) -> Result<OsString, String> {
    let python = std::env::var_os("LUMENBUS_PYTHON").unwrap_or_else(|| "python3".into());
    match Command::new(&python).args(["-c", needed]).output() {
        Ok(output) if output.status.success() => Ok(python),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("{}: {error}", python.display())),
    }
}

fn told(found: &Result<OsString, String>) -> Option<OsString> {
    match found {
        Ok(python) => Some(python.clone()),
        Err(why) => {
            skip(&format!("tests/python/requirements.txt is not installed ({why})"));
            None
        }
    }
}

/// A file of the repository.
#[must_use]
pub fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn script(python: &OsString, name: &str) -> Command {
    let mut command = Command::new(python);
    command.arg("-u").arg(in_repository("tests/python").join(name));
    command
}

/// What an example saw of one picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What it printed.
    pub said: String,
    /// The counter burnt into a test picture.
    pub marker: Option<u64>,
    /// Of the pixels.
    pub sha256: String,
}

/// Runs an example until it has shown so many pictures; `brokers` where they are not those that it names.
#[must_use]
pub fn observing(python: &OsString, example: &Path, pictures: usize, brokers: Option<&str>) -> Command {
    let mut command = script(python, "observe.py");
    command.arg(example).arg(pictures.to_string()).args(brokers);
    command
}

/// Runs an example to its end and hands back what it saw.
///
/// # Panics
/// When it fails or sees fewer pictures.
#[must_use]
#[track_caller]
pub fn observe(python: &OsString, example: &Path, pictures: usize, brokers: Option<&str>) -> Vec<Seen> {
    let ran = Background::start(observing(python, example, pictures, brokers)).finish().code(0);
    let seen: Vec<Seen> = ran.stdout.lines().map(seen).collect();
    assert_eq!(seen.len(), pictures, "{}\n{}", ran.stdout, ran.stderr);
    seen
}

fn seen(line: &str) -> Seen {
    let told: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    let text = |name: &str| told[name].as_str().unwrap_or_default().to_owned();
    Seen { said: text("said"), marker: told["marker"].as_u64(), sha256: text("sha256") }
}

/// Hashes of the pictures in a folder or a video file, as OpenCV and FFmpeg decode them.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn reference(python: &OsString, path: &Path) -> HashSet<String> {
    let mut command = script(python, "reference.py");
    command.arg(path);
    Background::start(command).finish().code(0).stdout.lines().map(str::to_owned).collect()
}
