//! What `lumenbus subscribe --as coded --out FOLDER` has stored.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use lumenbus_frame::{Epoch, FrameId, Seq};
use std::collections::BTreeSet;
use std::path::Path;

/// (camera, frame) of every file that `lumenbus subscribe --as coded` wrote.
pub fn stored(out: &Path) -> BTreeSet<(String, FrameId)> {
    let Ok(cameras) = std::fs::read_dir(out) else { return BTreeSet::new() };
    let mut found = BTreeSet::new();
    for camera in cameras.map(Result::unwrap) {
        let name = camera.file_name().into_string().unwrap();
        for file in std::fs::read_dir(camera.path()).unwrap().map(Result::unwrap) {
            let file = file.file_name().into_string().unwrap();
            let parts = file.split('.').next().and_then(|stem| stem.split_once('-'));
            let Some((Ok(epoch), Ok(seq))) = parts.map(|(epoch, seq)| (epoch.parse(), seq.parse())) else { continue };
            found.insert((name.clone(), FrameId { epoch: Epoch(epoch), seq: Seq(seq) }));
        }
    }
    found
}
