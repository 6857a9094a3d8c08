//! Where the workspace is and which files belong to it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// The workspace root: the parent of this crate.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// `path` as seen from `root`; unchanged when it lies elsewhere.
#[must_use]
pub fn relative(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}

/// The platform of the compiler, such as `x86_64-unknown-linux-gnu`.
///
/// # Errors
/// rustc cannot be run.
pub fn host_triple() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("starting rustc")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).context("rustc -vV names no host")
}

/// All files below `folder`, sorted; symbolic links are not followed.
///
/// # Errors
/// A folder that cannot be read.
pub fn files_below(folder: &Path) -> Result<Vec<PathBuf>> {
    files_below_except(folder, |_| false)
}

/// As [`files_below`], without the folders whose name `skip` accepts.
///
/// # Errors
/// A folder that cannot be read.
pub fn files_below_except(folder: &Path, skip: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(&next).with_context(|| format!("listing {next:?}"))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && !skip(&entry.file_name().to_string_lossy()) {
                open.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}
