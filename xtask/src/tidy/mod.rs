//! `cargo xtask tidy`: the habits of this project that a compiler does not check.
//!
//! A [`Problem`] is an error, which fails the run, or a warning, which is printed only.

mod edges;
mod lexer;
mod manifests;
mod sizes;
mod text;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::workspace::{files_below_except, relative};

/// Build output, downloads and fuzzer findings are nobody's text.
const SKIPPED_FOLDERS: [&str; 8] =
    [".git", ".harness", "artifacts", "corpus", "corpus-run", "node_modules", "__pycache__", ".venv"];

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether it fails the run.
    pub severity: Severity,
    /// The file, relative to the workspace root.
    pub path: PathBuf,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// What is wrong and what to do.
    pub message: String,
}

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// Printed only.
    Warning,
    /// Fails the run.
    Error,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Warning => "warning",
            Severity::Error => "error",
        };
        write!(f, "{severity}: {}", self.path.display())?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl Problem {
    fn error(path: &Path, line: usize, message: impl Into<String>) -> Self {
        let (severity, path) = (Severity::Error, path.to_owned());
        Self { severity, path, line, message: message.into() }
    }

    fn warning(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, line, message) }
    }
}

/// A text file of the project.
struct SourceFile {
    /// Relative to the workspace root.
    path: PathBuf,
    text: String,
}

/// Checks the workspace at `root`.
///
/// # Errors
/// A file or `cargo metadata` that cannot be read; findings are in the result.
pub fn run(root: &Path) -> Result<Vec<Problem>> {
    let files = text_files(root)?;
    let mut problems = check_files(&files);
    problems.extend(edges::check(root, &edges::packages(root)?));
    problems.sort_by(|a, b| (&a.path, a.line).cmp(&(&b.path, b.line)));
    Ok(problems)
}

fn check_files(files: &[SourceFile]) -> Vec<Problem> {
    let checks: [fn(&SourceFile) -> Vec<Problem>; 3] = [text::check, sizes::check, manifests::check];
    files.iter().flat_map(|file| checks.iter().flat_map(|check| check(file))).collect()
}

fn text_files(root: &Path) -> Result<Vec<SourceFile>> {
    let skip = |name: &str| name.starts_with("target") || SKIPPED_FOLDERS.contains(&name);
    let mut files = Vec::new();
    for path in files_below_except(root, skip)? {
        // A file may vanish while others work in the tree, and a binary one is not text.
        let Some(text) = std::fs::read(&path).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
            continue;
        };
        let generated = text.lines().next().is_some_and(|line| line.contains("@generated"));
        if !text.contains('\0') && !generated {
            files.push(SourceFile { path: relative(root, &path), text });
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_tree_is_reported_and_a_good_one_is_not() {
        let root = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("crates/good/src/lib.rs", "//! Purpose.\n\nfn short() {}\n");
        write("crates/good/Cargo.toml", "[dependencies]\nbytes.workspace = true\n");
        write("target-x/debug/out.rs", "bad   \n");
        write("fixtures/frame.bin", "\0   \n");
        let good = check_files(&text_files(root.path()).unwrap());
        assert_eq!(good, []);

        write("crates/bad/src/lib.rs", "fn undocumented() {}  \n");
        write("crates/bad/src/utils.rs", "//! Everything.\n");
        write("crates/bad/Cargo.toml", "[dependencies]\nbytes = \"1\"\n");
        let bad = check_files(&text_files(root.path()).unwrap());
        let found: Vec<String> = bad.iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), 4, "{found:#?}");
    }
}
