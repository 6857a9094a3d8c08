//! Every command explains itself. Being an integration test, this also makes `cargo test --workspace` build the
//! binary that the end-to-end suites start.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Command, Output};

fn lumenbus(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_lumenbus")).args(arguments).output().unwrap()
}

/// The help of a command names every one of these.
fn check(command: &[&str], parts: &[&str]) {
    let output = lumenbus(&[command, &["--help"]].concat());
    assert!(output.status.success(), "{command:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in the help of {command:?}:\n{text}");
    }
}

#[test]
fn help_has_examples_and_units() {
    check(&[], &["Examples:", "Exit codes:", "publish", "subscribe", "broker", "topics", "bench"]);
    check(&["publish"], &["Examples:", "SOURCE is", "test:1280x720@30", "--camera <ID>", "--bitrate <BITS/S>"]);
    check(&["subscribe"], &["Examples:", "TIME is", "-10m", "live:300ms", "--until-end"]);
    check(&["broker"], &["Examples:", "--keep-free <AMOUNT>", "127.0.0.1:9092"]);
    check(&["topics"], &["Examples:", "kafka-topics", "strimzi", "exit code 3"]);
    check(&["bench"], &["Examples:", "latency", "throughput", "scaling", "memory"]);
}

#[test]
fn the_version_is_the_packages() {
    let output = lumenbus(&["--version"]);
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), concat!("lumenbus ", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_slip_of_the_pen_is_wrong_usage_and_told_where() {
    for (arguments, says) in [
        (&["publich"][..], "publish"),
        (&["publish", "a.mp4"][..], "--camera"),
        (&["publish", "a.mp4", "--camera", "gate 7"][..], "gate 7"),
        (&["publish", "a.mp4", "--camera", "g", "--quality", "0"][..], "1..=100"),
        (&["publish", "a.mp4", "--camera", "g", "--for", "soon"][..], "10s"),
        (&["subscribe", "--policy"][..], "--policy"),
        (&["topics", "drop"][..], "plan"),
    ] {
        let output = lumenbus(arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {text}");
        assert!(text.contains(says), "{arguments:?}: {text}");
    }
}
