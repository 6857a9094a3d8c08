//! The viewer's page in Chromium: `node` runs the scripts of `tests/browser` against the real binary.
//!
//! They need `node` 20, Chromium and `npm ci` in `tests/browser`; `network` needs root as well.

use lumenbus_tests::cli::{binary, skip};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// One browser at a time: each is content with the machine it is given, several are not.
static TURN: Mutex<()> = Mutex::new(());

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("browser")
}

fn can_run(program: &str, argument: &str) -> bool {
    let mut command = Command::new(program);
    command.arg(argument).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// What is missing for a script, if anything.
fn obstacle(needs_browser: bool) -> Option<&'static str> {
    let chromium = std::env::var("LUMENBUS_CHROMIUM").unwrap_or_else(|_| "/usr/bin/chromium".to_owned());
    if !can_run("node", "--version") {
        return Some("there is no node");
    }
    if !needs_browser {
        return None;
    }
    if !Path::new(&chromium).exists() {
        return Some("there is no Chromium");
    }
    let is_installed = folder().join("node_modules/playwright-core").exists();
    (!is_installed).then_some("playwright-core is missing: run `npm ci` in tests/browser")
}

#[track_caller]
fn script(name: &str, needs_browser: bool) {
    if let Some(why) = obstacle(needs_browser) {
        skip(why);
        return;
    }
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    let output = Command::new("node")
        .arg(format!("{name}.test.js"))
        .current_dir(folder())
        .env("LUMENBUS_BIN", binary())
        .stdin(Stdio::null())
        .output()
        .expect("node was there a moment ago");
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    for line in stderr.lines().filter(|line| line.starts_with("SKIPPED")) {
        eprintln!("{line}");
    }
    for line in stdout.lines().filter(|line| line.contains("FIGURE: ")) {
        eprintln!("{name}: {line}");
    }
    assert!(output.status.success(), "{name}.test.js: {}\n{stdout}\n{stderr}", output.status);
}

#[test]
fn files_of_the_page() {
    script("assets", false);
}

#[test]
fn parts_of_the_page() {
    script("units", false);
}

#[test]
fn page_alone() {
    script("page", true);
}

#[test]
fn timeline_alone() {
    script("timeline", true);
}

#[test]
fn events_alone() {
    script("events", true);
}

#[test]
fn events_of_a_foreign_producer() {
    script("happened", true);
}

#[test]
fn studies() {
    script("studies", true);
}

#[test]
fn live_pictures() {
    script("live", true);
}

#[test]
fn recorded_pictures() {
    script("recorded", true);
}

#[test]
fn from_another_machine() {
    script("network", true);
}

#[test]
fn sixteen_tiles() {
    script("load", true);
}
