//! `cargo xtask fuzz`: builds and runs the targets of `fuzz/` with the stable compiler.
//!
//! libFuzzer comes with `libfuzzer-sys` and is built by g++; coverage instrumentation is a pass of
//! LLVM that stable rustc can run. Only the address sanitizer is an unstable flag, which
//! `RUSTC_BOOTSTRAP` admits for this one build; its results are used for nothing else.
//!
//! Seeds are in `fuzz/corpus/TARGET` and committed; what a run adds goes to `fuzz/corpus-run/TARGET`,
//! reproducers go to `fuzz/artifacts/TARGET`.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::workspace::host_triple;

const RUSTFLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Zsanitizer=address -Ccodegen-units=1";
const MAX_INPUT_BYTES: u32 = 1 << 16;
const MAX_RESIDENT_MIB: u32 = 2048;
const MAX_SECONDS_PER_INPUT: u32 = 10;

/// What to fuzz and for how long.
#[derive(Debug, Clone)]
pub struct FuzzPlan {
    /// Names of targets; empty means all.
    pub targets: Vec<String>,
    /// Running time of each target.
    pub each: Duration,
    /// How many run at the same time.
    pub jobs: usize,
}

/// Builds all targets, runs the planned ones, and returns one line per target.
///
/// # Errors
/// A build failure, an unknown target, or a finding: the error names the reproducers.
pub fn run(root: &Path, plan: &FuzzPlan) -> Result<Vec<String>> {
    let known = targets(root)?;
    let chosen = choose(&known, &plan.targets)?;
    let binaries = build(root)?;
    let queue = Mutex::new(VecDeque::from(chosen));
    let results = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                while let Some(target) = take(&queue) {
                    let result = run_target(root, &binaries, &target, plan.each);
                    report(&results, result);
                }
            });
        }
    });
    let results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (lines, findings): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    let findings: Vec<String> =
        findings.into_iter().filter_map(Result::err).map(|error| format!("{error:#}")).collect();
    ensure!(findings.is_empty(), "{}", findings.join("\n"));
    Ok(lines.into_iter().filter_map(Result::ok).collect())
}

fn take(queue: &Mutex<VecDeque<String>>) -> Option<String> {
    queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner).pop_front()
}

fn report(results: &Mutex<Vec<Result<String>>>, result: Result<String>) {
    results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(result);
}

/// The targets are the files of `fuzz/fuzz_targets`.
fn targets(root: &Path) -> Result<Vec<String>> {
    let folder = root.join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).with_context(|| format!("listing {folder:?}"))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "rs") {
            names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

fn choose(known: &[String], wanted: &[String]) -> Result<Vec<String>> {
    if let Some(unknown) = wanted.iter().find(|name| !known.contains(name)) {
        bail!("no fuzz target `{unknown}`; there are: {}", known.join(", "));
    }
    Ok(if wanted.is_empty() { known.to_vec() } else { wanted.to_vec() })
}

/// Builds all targets; returns the folder of their binaries.
///
/// # Errors
/// A build failure.
pub fn build(root: &Path) -> Result<PathBuf> {
    let folder = root.join("fuzz");
    let triple = host_triple()?;
    let target_dir = match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => root.join(dir).join("fuzz"),
        None => folder.join("target"),
    };
    // With an explicit target, build scripts and macros are built without the sanitizer.
    let status = Command::new("cargo")
        .args(["build", "--quiet", "--release", "--target", &triple])
        .arg("--target-dir")
        .arg(&target_dir)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", RUSTFLAGS)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .current_dir(&folder)
        .status()
        .context("starting cargo")?;
    ensure!(status.success(), "the fuzz targets do not build");
    Ok(target_dir.join(triple).join("release"))
}

fn run_target(root: &Path, binaries: &Path, target: &str, each: Duration) -> Result<String> {
    let fuzz = root.join("fuzz");
    let [found, seeds, artifacts] = ["corpus-run", "corpus", "artifacts"].map(|folder| fuzz.join(folder).join(target));
    for folder in [&found, &seeds, &artifacts] {
        std::fs::create_dir_all(folder).with_context(|| format!("creating {folder:?}"))?;
    }
    let scratch = scratch()?;
    eprintln!("fuzzing {target} for {} s", each.as_secs());
    let output = Command::new(binaries.join(target))
        .arg(format!("-max_total_time={}", each.as_secs()))
        .arg(format!("-max_len={MAX_INPUT_BYTES}"))
        .arg(format!("-rss_limit_mb={MAX_RESIDENT_MIB}"))
        .arg(format!("-timeout={MAX_SECONDS_PER_INPUT}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .args([&found, &seeds])
        .env("TMPDIR", scratch.path())
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("starting the target {target}"))?;
    let log = String::from_utf8_lossy(&output.stderr);
    if output.status.success() {
        return Ok(format!("{target}: {}", summary(&log)));
    }
    bail!("{target} found something:\n{}\n{}", excerpt(&log), reproducer(&log))
}

/// Where a target may write files: in memory where that is to be had, gone when the run ends.
fn scratch() -> Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
    tempfile::tempdir_in(&base).with_context(|| format!("creating a folder in {base:?}"))
}

/// libFuzzer's last line of statistics, such as `#603116 DONE cov: 2971 …`.
fn summary(log: &str) -> String {
    let line = log.lines().rev().find(|line| line.contains("DONE"));
    line.unwrap_or("ran").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// From the panic or the sanitizer's report on.
fn excerpt(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    let starts = |line: &&str| line.contains("panicked at") || line.contains("ERROR:");
    let start = lines.iter().position(starts).unwrap_or(lines.len().saturating_sub(20));
    lines[start..].iter().take(20).copied().collect::<Vec<_>>().join("\n")
}

fn reproducer(log: &str) -> String {
    let path = log.lines().find_map(|line| line.split_once("Test unit written to "));
    path.map_or_else(String::new, |(_, path)| format!("reproducer: {path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_chosen_by_name() {
        let known = ["a".to_owned(), "b".to_owned()];
        assert_eq!(choose(&known, &[]).unwrap(), known);
        assert_eq!(choose(&known, &known[1..]).unwrap(), known[1..]);
        let error = choose(&known, &["c".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("a, b"), "{error}");
    }

    #[test]
    fn every_target_has_its_binary_and_seeds() {
        let root = crate::workspace::root();
        let manifest = std::fs::read_to_string(root.join("fuzz/Cargo.toml")).unwrap();
        for target in targets(&root).unwrap() {
            assert!(manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")), "{target}");
            let seeds = std::fs::read_dir(root.join("fuzz/corpus").join(&target)).unwrap();
            assert!(seeds.count() > 0, "{target} has no seeds");
        }
    }

    #[test]
    fn a_finding_names_its_reproducer() {
        let log = "INFO: x\nthread '<unnamed>' panicked at a.rs:1:2:\nboom\n\
                   artifact_prefix='x/'; Test unit written to x/crash-1\n";
        assert!(excerpt(log).starts_with("thread"), "{}", excerpt(log));
        assert_eq!(reproducer(log), "reproducer: x/crash-1");
        assert_eq!(summary("#1\tINITED\n#9\tDONE   cov: 3\nbye"), "#9 DONE cov: 3");
    }
}
