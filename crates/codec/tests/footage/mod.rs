//! Real footage for tests: access units of the shared clips, and ffmpeg's decode of them to compare with.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its clip fails")]

use bytes::Bytes;
use lumenbus_frame::{CaptureTime, Codec, EncodedFrame};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Every clip that the default build decodes: name, frames.
pub(crate) const CLIPS: [(&str, usize); 4] =
    [("street1080.264", 54), ("flower720.264", 300), ("vtest_768x576.mp4", 795), ("indoor_onebyone_768x432.mp4", 1394)];

/// The clip's path; says so loudly when it, or ffmpeg, is missing.
pub(crate) fn clip(name: &str) -> Option<PathBuf> {
    let shared = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");
    let data = std::env::var("LUMENBUS_DATA").unwrap_or_else(|_| shared.to_owned());
    let path = Path::new(&data).join("video").join(name);
    let present = path.is_file();
    let ffmpeg = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !present || !ffmpeg {
        eprintln!("SKIPPED: {} with {name} (file: {present}, ffmpeg: {ffmpeg})", env!("CARGO_PKG_NAME"));
        return None;
    }
    Some(path)
}

/// Runs ffmpeg or ffprobe and returns what it prints.
pub(crate) fn run(tool: &str, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(tool).args(["-v", "error"]).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// The clip as one Annex B stream.
pub(crate) fn annex_b(path: &Path) -> Vec<u8> {
    let path = path.to_str().unwrap();
    run("ffmpeg", &["-i", path, "-map", "0:v:0", "-c", "copy", "-bsf:v", "h264_mp4toannexb", "-f", "h264", "-"])
}

/// Where each access unit begins; one slice per picture may have several, the first with `first_mb_in_slice` 0.
pub(crate) fn unit_starts(stream: &[u8]) -> Vec<usize> {
    let mut starts = vec![0];
    let mut picture_seen = false;
    for at in 0..stream.len().saturating_sub(4) {
        if stream[at..at + 3] != [0, 0, 1] {
            continue;
        }
        let (kind, first) = (stream[at + 3] & 0x1F, stream[at + 4] & 0x80 != 0);
        let is_slice = matches!(kind, 1 | 5);
        if picture_seen && (matches!(kind, 6..=9) || is_slice && first) {
            starts.push(if stream[at - 1] == 0 { at - 1 } else { at });
            picture_seen = false;
        }
        picture_seen |= is_slice;
    }
    starts
}

/// The stream's frames in decode order; pts and capture time tell each apart.
pub(crate) fn frames(stream: Vec<u8>) -> Vec<EncodedFrame> {
    let stream = Bytes::from(stream);
    let starts = unit_starts(&stream);
    let ends = starts[1..].iter().copied().chain([stream.len()]);
    let units = starts.iter().zip(ends).map(|(&start, end)| stream.slice(start..end));
    units.enumerate().map(|(index, payload)| frame(index, payload)).collect()
}

fn frame(index: usize, payload: Bytes) -> EncodedFrame {
    let index = i64::try_from(index).unwrap();
    let idr = payload.windows(4).any(|w| w[..3] == [0, 0, 1] && w[3] & 0x1F == 5);
    let frame = EncodedFrame::new(Codec::H264, CaptureTime::sensor(1_000 + index), payload).with_pts(index * 3000);
    if idr { frame.keyframe() } else { frame }
}

/// ffmpeg's decode, one I420 picture at a time.
pub(crate) struct Reference {
    child: std::process::Child,
}

impl Reference {
    pub(crate) fn open(path: &Path) -> Self {
        Self::open_as(path, &[])
    }

    pub(crate) fn open_as(path: &Path, arguments: &[&str]) -> Self {
        let child = Command::new("ffmpeg")
            .args(["-v", "error", "-i", path.to_str().unwrap(), "-map", "0:v:0", "-fps_mode", "passthrough"])
            .args(arguments)
            .args(["-f", "rawvideo", "-"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self { child }
    }

    /// The next picture; `None` at the end.
    pub(crate) fn next(&mut self, bytes: usize) -> Option<Vec<u8>> {
        let mut picture = Vec::with_capacity(bytes);
        let stdout = self.child.stdout.as_mut().unwrap();
        stdout.take(bytes as u64).read_to_end(&mut picture).unwrap();
        assert!(picture.is_empty() || picture.len() == bytes);
        (!picture.is_empty()).then_some(picture)
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// Peak signal-to-noise ratio in dB, infinite for equal pictures.
pub(crate) fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let squares: u64 = a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b)).pow(2)).sum();
    10.0 * (255.0 * 255.0 * a.len() as f64 / squares as f64).log10()
}
