//! Footage, and FFmpeg as the judge of what is written.

mod ffmpeg;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) fn footage(name: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LUMENBUS_DATA")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data")), PathBuf::from);
    let path = root.join("video").join(name);
    if !path.exists() {
        eprintln!("SKIPPED: {} is absent; set LUMENBUS_DATA to the folder with the shared data", path.display());
        return None;
    }
    Some(path)
}

/// A hash per decoded picture, in presentation order, of a file without a fault.
pub(crate) fn pictures(file: &Path) -> Vec<String> {
    let (pictures, complaints) = ffmpeg::decoded(file);
    assert!(complaints.is_empty(), "{}: {complaints}", file.display());
    pictures
}

pub(crate) fn probe(file: &Path, entries: &str) -> String {
    let (found, complaints) = ffmpeg::probed(file, entries);
    assert!(complaints.is_empty(), "{}: {complaints}", file.display());
    found
}

/// 60 test pictures at 25 a second, made on the spot: no footage in this codec is at hand.
pub(crate) fn encoded(folder: &Path, name: &str, arguments: &[&str]) -> PathBuf {
    let path = folder.join(name);
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-f", "lavfi", "-i", "testsrc2=size=320x180:rate=25", "-frames:v", "60"]);
    command.args(arguments).arg(&path);
    assert!(command.stdin(Stdio::null()).status().expect("ffmpeg is installed").success());
    path
}
