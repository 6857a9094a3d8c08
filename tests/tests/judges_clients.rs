//! Clients in other languages, held against the embedded broker and against Apache Kafka with the same expectations.

use lumenbus_tests::judges::clients::{go, hold_to_lines, js};
use std::path::Path;
use std::process::Command;

fn with_address(mut command: Command, bootstrap: &str) -> Command {
    command.arg(bootstrap);
    command
}

fn script(interpreter: &str, path: &Path, bootstrap: &str) -> Command {
    let mut command = Command::new(interpreter);
    command.arg(path);
    with_address(command, bootstrap)
}

#[test]
fn franz_go() {
    let Some(program) = go() else { return };
    hold_to_lines("franz-go", "go/expected.jsonl", |bootstrap| with_address(Command::new(&program), bootstrap));
}

#[test]
fn kafkajs() {
    let Some(judge) = js() else { return };
    hold_to_lines("kafkajs", "js/expected.jsonl", |bootstrap| script("node", &judge, bootstrap));
}
