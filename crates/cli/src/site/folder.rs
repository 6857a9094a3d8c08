//! A folder whose video files are cameras: what is in it, and what the cameras are called.

use lumenbus_frame::CameraId;
use lumenbus_pipeline::fleet::MAX_FLEET_CAMERAS;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Files by these names are videos; anything else in the folder is none of ours.
const ENDINGS: [&str; 12] = ["mp4", "m4v", "mov", "avi", "mjpeg", "mjpg", "h264", "264", "h265", "265", "hevc", "y4m"];
/// Longest camera id.
const MAX_ID_BYTES: usize = 64;

/// The folder's video files by name; hidden ones, which others may be writing yet, are left out.
///
/// # Errors
/// A folder that cannot be read.
pub(super) fn videos(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
        let is_hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str())) && !is_hidden && path.is_file() {
            files.push(path);
        }
        if files.len() > MAX_FLEET_CAMERAS {
            return Err(io::Error::other(format!("more than {MAX_FLEET_CAMERAS} videos; a fleet has no more cameras")));
        }
    }
    files.sort();
    Ok(files)
}

/// A camera for each file: called as the file is, with its ending where two differ in nothing else.
pub(super) fn cameras(files: &[PathBuf]) -> Vec<(CameraId, &Path)> {
    let name = |file: &Path, part: fn(&Path) -> Option<&std::ffi::OsStr>| {
        part(file).map(|name| id_text(&name.to_string_lossy())).unwrap_or_default()
    };
    let mut stems: BTreeMap<String, usize> = BTreeMap::new();
    for file in files {
        *stems.entry(name(file, Path::file_stem)).or_default() += 1;
    }
    let id = |file: &Path| {
        let stem = name(file, Path::file_stem);
        let is_alone = stems.get(&stem) == Some(&1);
        if is_alone { stem } else { name(file, Path::file_name) }
    };
    files.iter().filter_map(|file| Some((id(file).parse().ok()?, file.as_path()))).collect()
}

/// What an id cannot hold becomes `-`; the end of a long name is left out.
fn id_text(name: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    name.chars().map(allowed).take(MAX_ID_BYTES).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn videos_are_cameras_by_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["gate.mp4", "gate.264", "Hall 2.AVI", "notes.txt", ".gate.mp4.part", ".half.mp4", "b\u{e4}r.mov"];
        for name in names {
            std::fs::write(folder.path().join(name), b"x").unwrap();
        }
        std::fs::create_dir(folder.path().join("folder.mp4")).unwrap();
        std::fs::write(folder.path().join(format!("{}.mp4", "l".repeat(80))), b"x").unwrap();
        let files = videos(folder.path()).unwrap();
        let ids: Vec<_> = cameras(&files).into_iter().map(|(id, _)| id.to_string()).collect();
        assert_eq!(ids, ["Hall-2", "b-r", "gate.264", "gate.mp4", &"l".repeat(64)]);
        assert!(videos(&folder.path().join("nothing")).is_err());
    }
}
