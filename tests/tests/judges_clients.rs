//! Clients in other languages, held against the embedded broker and against Apache Kafka with the same expectations.

use lumenbus_tests::cli::{skip, spawn_at};
use lumenbus_tests::judges::clients::{go, hold_prepared_to_lines, hold_to_lines, js};
use lumenbus_tests::python::{in_repository, python};
use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

fn with_address(mut command: Command, bootstrap: &str) -> Command {
    command.arg(bootstrap);
    command
}

fn script(interpreter: impl AsRef<OsStr>, path: &Path, bootstrap: &str) -> Command {
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

#[track_caller]
fn python_judge(judge: &str, name: &str) {
    let Some(python) = python() else { return };
    let path = in_repository("tests/judges/python").join(format!("judge_{name}.py"));
    hold_to_lines(judge, &format!("python/expected_{name}.jsonl"), |bootstrap| script(&python, &path, bootstrap));
}

#[test]
fn kafka_python() {
    python_judge("kafka-python", "kafka_python");
}

#[test]
fn confluent_kafka() {
    python_judge("confluent-kafka", "confluent");
}

/// It makes no topics, so it is given one.
#[test]
fn kcat() {
    if Command::new("kcat").arg("-V").output().is_err() {
        return skip("there is no kcat");
    }
    let judge = in_repository("tests/judges/kcat/judge.sh");
    let prepare = |bootstrap: &str| {
        let _ =
            spawn_at(bootstrap, "topics apply --partitions 1 --replication 1 --topic-prefix kcat.").finish().code(0);
    };
    hold_prepared_to_lines("kcat", "kcat/expected.txt", prepare, |bootstrap| {
        let mut command = script("bash", &judge, bootstrap);
        command.arg("kcat.raw_images");
        command
    });
}
