//! Clients of others: each a program that is told an address and prints one line a step.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use super::record;
use crate::backend::{self, Kind};
use crate::cli::{Background, skip};
use crate::python::in_repository;
use lumenbus_broker::{Broker, BrokerConfig};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Lets a client judge Apache Kafka first, which proves its expectations, and then an embedded broker of its own; what it
/// asked the latter for is held to the record. What it cannot make for itself is prepared before. `LUMENBUS_JUDGED` leaves one of them out, as for [`super::on_both`].
///
/// # Panics
/// When the judge does, or the record is another.
pub fn at_both(judge: &str, prepare: impl Fn(&str), hear: impl Fn(Kind, &str)) {
    let only = std::env::var("LUMENBUS_JUDGED").unwrap_or_default();
    if only != "embedded" {
        let Some(kafka) = backend::Site::together(Kind::Kafka1) else { return };
        prepare(&kafka.bus.brokers);
        hear(Kind::Kafka1, &kafka.bus.brokers);
    }
    if only != "kafka" {
        let data = tempfile::tempdir().unwrap();
        let start =
            || Broker::start_blocking(BrokerConfig::new(data.path()).listen(([127, 0, 0, 1], 0).into())).unwrap();
        // What is asked for in preparation is not the judge's.
        let broker = start();
        prepare(&broker.bootstrap_servers());
        broker.shutdown_blocking().unwrap();
        let broker = start();
        hear(Kind::Embedded, &broker.bootstrap_servers());
        record::hold_to(judge, &broker.requests());
        broker.shutdown_blocking().unwrap();
    }
}

/// Holds what a client's program prints, on either broker, to the lines in a file of `tests/judges`.
///
/// # Panics
/// When it prints others or fails.
pub fn hold_to_lines(judge: &str, expected: &str, program: impl Fn(&str) -> Command) {
    hold_prepared_to_lines(judge, expected, |_| {}, program);
}

/// As [`hold_to_lines`], where something must be prepared at an address.
///
/// # Panics
/// When it prints others or fails.
pub fn hold_prepared_to_lines(judge: &str, expected: &str, prepare: impl Fn(&str), program: impl Fn(&str) -> Command) {
    let path = in_repository("tests/judges").join(expected);
    let expected = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    at_both(judge, prepare, |kind, bootstrap| {
        let ran = Background::start(program(bootstrap)).finish();
        let differing: Vec<String> = differences(&expected, &ran.stdout);
        let told = || format!("{judge}, {kind:?}, {}:\n{}\n{}", path.display(), differing.join("\n"), ran.stderr);
        assert!(differing.is_empty() && ran.status.success(), "{}", told());
    });
}

/// Lines that differ, of both.
fn differences(expected: &str, seen: &str) -> Vec<String> {
    let count = expected.lines().count().max(seen.lines().count());
    let line = |text: &str, index: usize| text.lines().nth(index).unwrap_or("(nothing)").to_owned();
    let pairs = (0..count).map(|index| (line(expected, index), line(seen, index)));
    pairs.filter(|(is, was)| is != was).map(|(is, was)| format!("  expected {is}\n  seen     {was}")).collect()
}

/// The judge in Go, built offline; `None`, said loudly, where Go or the modules are missing.
///
/// # Panics
/// When it does not build.
#[must_use]
pub fn go() -> Option<PathBuf> {
    let system = Path::new("/usr/local/go/bin/go");
    let go = if system.exists() { system } else { Path::new("go") };
    let program = std::env::current_exe().unwrap().with_file_name("judge-go");
    let mut command = Command::new(go);
    command.current_dir(in_repository("tests/judges/go")).args(["build", "-mod=readonly", "-o"]).arg(&program).arg(".");
    command.env("GOPROXY", "off").env("GOTOOLCHAIN", "local").env("GOFLAGS", "").env("CGO_ENABLED", "0");
    let Ok(output) = command.stdin(Stdio::null()).output() else {
        skip("there is no Go");
        return None;
    };
    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("GOPROXY=off") {
        skip(&format!("modules are missing; run `go mod download` in tests/judges/go ({said})"));
        return None;
    }
    assert!(output.status.success(), "tests/judges/go does not build:\n{said}");
    Some(program)
}

/// The judge in JavaScript; `None`, said loudly, where Node or its packages are missing.
#[must_use]
pub fn js() -> Option<PathBuf> {
    let script = in_repository("tests/judges/js/judge.js");
    if Command::new("node").arg("--version").stdout(Stdio::null()).status().is_err() {
        skip("there is no node");
        return None;
    }
    if !script.with_file_name("node_modules").join("kafkajs").exists() {
        skip("kafkajs is missing; run `npm ci` in tests/judges/js");
        return None;
    }
    Some(script)
}
