//! FFmpeg as the judge of what is written; also for the tests of the whole program.

use std::path::Path;
use std::process::{Command, Stdio};

/// A hash per decoded picture, in presentation order; then what FFmpeg complains of.
pub(crate) fn decoded(file: &Path) -> (Vec<String>, String) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-i"]).arg(file);
    command.args(["-map", "0:v", "-fps_mode", "passthrough", "-f", "framemd5", "-"]);
    let (text, complaints) = said(file, &mut command);
    let hash = |line: &str| line.rsplit(',').next().unwrap().trim().to_owned();
    (text.lines().filter(|line| !line.starts_with('#')).map(hash).collect(), complaints)
}

/// These entries of the video stream as lines of values; then what FFmpeg complains of.
pub(crate) fn probed(file: &Path, entries: &str) -> (String, String) {
    let mut command = Command::new("ffprobe");
    command.args(["-v", "error", "-select_streams", "v:0", "-of", "csv=p=0", "-show_entries", entries]).arg(file);
    said(file, &mut command)
}

fn said(file: &Path, command: &mut Command) -> (String, String) {
    let output = command.stdin(Stdio::null()).output().expect("FFmpeg is installed");
    let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{}: {complaints}", file.display());
    (String::from_utf8(output.stdout).unwrap(), complaints)
}
