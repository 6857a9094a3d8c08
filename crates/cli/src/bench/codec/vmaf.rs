//! VMAF, where the system's ffmpeg has it: this program has no model of its own.

use anyhow::Context as _;
use lumenbus_frame::{Dimensions, FrameRate, RawFrame};
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::process::{Command, Stdio};
use tempfile::TempDir;

const FILTER: &str = "libvmaf";

/// An ffmpeg with the filter.
#[derive(Debug)]
pub(super) struct Vmaf {
    program: String,
}

/// Two files of I420 pictures that are to be compared.
#[derive(Debug)]
pub(super) struct Pixels<'a> {
    vmaf: &'a Vmaf,
    folder: TempDir,
    original: BufWriter<File>,
    decoded: BufWriter<File>,
}

impl Vmaf {
    /// `Err` says why there is none.
    pub(super) fn find(program: &str) -> Result<Self, String> {
        let filters = Command::new(program).args(["-hide_banner", "-filters"]).stderr(Stdio::null()).output();
        let Ok(filters) = filters else { return Err(format!("there is no {program} on this machine")) };
        // A line is flags, name, kinds of input and output, description.
        let text = String::from_utf8_lossy(&filters.stdout);
        let has_filter = text.lines().any(|line| line.split_whitespace().nth(1) == Some(FILTER));
        has_filter
            .then(|| Self { program: program.to_owned() })
            .ok_or(format!("this {program} was built without {FILTER}"))
    }

    pub(super) fn begin(&self) -> anyhow::Result<Pixels<'_>> {
        let folder = tempfile::tempdir().context("a folder for the pictures that VMAF compares")?;
        let file = |name: &str| File::create(folder.path().join(name)).map(BufWriter::new);
        let (original, decoded) = (file("original.yuv")?, file("decoded.yuv")?);
        Ok(Pixels { vmaf: self, folder, original, decoded })
    }
}

impl Pixels<'_> {
    pub(super) fn add(&mut self, original: &RawFrame, decoded: &RawFrame) -> anyhow::Result<()> {
        self.original.write_all(original.pixels())?;
        Ok(self.decoded.write_all(decoded.pixels())?)
    }

    /// The mean over the pictures, 0 to 100.
    pub(super) fn score(mut self, size: Dimensions, rate: FrameRate) -> anyhow::Result<f64> {
        self.original.flush()?;
        self.decoded.flush()?;
        let mut command = Command::new(&self.vmaf.program);
        command.current_dir(self.folder.path()).args(["-v", "error", "-nostdin"]);
        for name in ["decoded.yuv", "original.yuv"] {
            let rate = format!("{}/{}", rate.frames, rate.seconds);
            command.args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", &size.to_string(), "-r", &rate, "-i", name]);
        }
        command.args(["-lavfi", "[0:v][1:v]libvmaf=log_fmt=json:log_path=vmaf.json", "-f", "null", "-"]);
        let output = command.output().with_context(|| format!("starting {}", self.vmaf.program))?;
        let words = String::from_utf8_lossy(&output.stderr);
        anyhow::ensure!(output.status.success(), "{} could not compute VMAF: {}", self.vmaf.program, words.trim());
        let log = std::fs::read(self.folder.path().join("vmaf.json")).context("reading VMAF's log")?;
        mean(&log)
    }
}

fn mean(log: &[u8]) -> anyhow::Result<f64> {
    let log: serde_json::Value = serde_json::from_slice(log).context("VMAF's log is no JSON")?;
    log["pooled_metrics"]["vmaf"]["mean"].as_f64().context("VMAF's log has no pooled mean")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_without_it_is_told_why() {
        let error = Vmaf::find("lumenbus-no-such-ffmpeg").unwrap_err();
        assert!(error.contains("no lumenbus-no-such-ffmpeg"), "{error}");
    }

    #[test]
    fn the_mean_is_read_from_the_log() {
        let log =
            br#"{"frames":[],"pooled_metrics":{"vmaf":{"min":80.1,"max":99.0,"mean":93.25,"harmonic_mean":93.1}}}"#;
        assert!((mean(log).unwrap() - 93.25).abs() < 1e-9);
        assert!(mean(b"{}").is_err() && mean(b"no").is_err());
    }
}
