//! `cargo xtask soak`: the runs that are too long for every change.
//!
//! `fuzz` runs every fuzz target for minutes. `kill` runs the tests of the broker and of
//! the whole whose names contain `soak` in a release build; they read how often to kill from `LUMENBUS_SOAK_KILLS` and how long to
//! load from `LUMENBUS_SOAK_MINUTES`, and use small values of their own where these are not set.
//! `detect` is `kill` for the analysis workers alone, `dicom` for what sends and receives DICOM objects.
//! `model` runs the model test of the broker's log on many more histories, a number it reads from
//! `LUMENBUS_MODEL_CASES`; `LUMENBUS_MODEL_SEED` repeats those of a failure.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::fuzz::{self, FuzzPlan};

/// How many times the soak tests kill a process.
pub const KILLS_VARIABLE: &str = "LUMENBUS_SOAK_KILLS";
/// For how many minutes the soak tests keep the load up.
pub const MINUTES_VARIABLE: &str = "LUMENBUS_SOAK_MINUTES";

/// How many histories the model test of the broker's log runs.
const HISTORIES_VARIABLE: &str = "LUMENBUS_MODEL_CASES";

/// Fuzzes every target for `minutes`; one line per target.
///
/// # Errors
/// As [`fuzz::run`].
pub fn fuzz(root: &Path, minutes: u32) -> Result<Vec<String>> {
    let each = Duration::from_secs(u64::from(minutes) * 60);
    fuzz::run(root, &FuzzPlan { targets: Vec::new(), each, jobs: 2 })
}

/// Runs the kill loops; the sentence returned says how many tests passed.
///
/// # Errors
/// A failed test, or none to run.
pub fn kill(root: &Path, minutes: u32, kills: u32) -> Result<String> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["test", "--release", "-p", "lumenbus-broker", "-p", "lumenbus-tests", "--", "soak"])
        .args(["--nocapture", "--test-threads=1"])
        .env(KILLS_VARIABLE, kills.to_string())
        .env(MINUTES_VARIABLE, minutes.to_string());
    let tests = run_tests(root, &mut cargo)?;
    ensure!(tests > 0, "there is no test with `soak` in its name");
    Ok(format!("{tests} soak test(s) passed with {kills} kills"))
}

/// Runs the kill loops of the analysis workers only, with a release build of the program.
///
/// # Errors
/// A failed build or test, or none to run.
pub fn detect(root: &Path, kills: u32) -> Result<String> {
    let tests = kill_program(root, kills, ["detect", "kills_of_workers"])?;
    Ok(format!("{tests} kill loop(s) of analysis workers passed with {kills} kills"))
}

/// Runs the kill loops of senders and receivers of DICOM objects only, with a release build of the program.
///
/// # Errors
/// A failed build or test, or none to run.
pub fn dicom(root: &Path, kills: u32) -> Result<String> {
    let tests = kill_program(root, kills, ["dicom", "soak_dicom"])?;
    Ok(format!("{tests} kill loop(s) of DICOM objects passed with {kills} kills"))
}

fn kill_program(root: &Path, kills: u32, [test, name]: [&str; 2]) -> Result<u32> {
    let built = Command::new("cargo")
        .current_dir(root)
        .args(["build", "--release", "-p", "lumenbus-cli"])
        .status()
        .context("starting cargo")?;
    ensure!(built.success(), "the program does not build");
    let mut cargo = Command::new("cargo");
    cargo
        .args(["test", "--release", "-p", "lumenbus-tests", "--test", test, "--", name])
        .args(["--nocapture", "--test-threads=1"])
        .env(KILLS_VARIABLE, kills.to_string());
    let tests = run_tests(root, &mut cargo)?;
    ensure!(tests > 0, "there is no test whose name begins with {name}");
    Ok(tests)
}

/// Compares random histories of the broker's log with its model.
///
/// # Errors
/// A history at which they differ, with the seed that repeats it.
pub fn model(root: &Path, histories: u32) -> Result<String> {
    let mut cargo = Command::new("cargo");
    cargo
        .args(["test", "--release", "-p", "lumenbus-broker", "--lib", "log::tests::model", "--", "--nocapture"])
        .env(HISTORIES_VARIABLE, histories.to_string());
    let tests = run_tests(root, &mut cargo)?;
    ensure!(tests > 0, "the model test of the broker's log is gone");
    Ok(format!("{histories} histories of a log agree with its model"))
}

/// Runs tests and shows what they say; how many there were.
fn run_tests(root: &Path, cargo: &mut Command) -> Result<u32> {
    let mut cargo =
        cargo.current_dir(root).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("starting cargo")?;
    let stdout = cargo.stdout.take().context("cargo has no stdout")?;
    let mut tests = 0;
    for line in BufReader::new(stdout).lines() {
        let line = line?;
        eprintln!("{line}");
        tests += tests_announced(&line);
    }
    ensure!(cargo.wait()?.success(), "a soak test failed");
    Ok(tests)
}

/// The number in `running 3 tests`.
fn tests_announced(line: &str) -> u32 {
    let rest = line.strip_prefix("running ");
    rest.and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_are_counted() {
        let check = |line, expected| assert_eq!(tests_announced(line), expected, "{line}");
        check("running 3 tests", 3);
        check("running 1 test", 1);
        check("test soak ... ok", 0);
        check("running late", 0);
    }
}
