//! What users install: packages, container files, unit. Nothing here needs a container engine.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::backend::start_kafka;
use lumenbus_tests::cli::{Background, binary, lumenbus};
use lumenbus_tests::python::{in_repository, python};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use xtask::dist::{DistPlan, check, pack, source_date_epoch};
use xtask::kafka::KafkaOptions;

const COMPOSE: &str = "deploy/docker/compose.yaml";
const DOCKERFILE: &str = "deploy/docker/Dockerfile";

/// The program as the tests were built, packed as the release build would be: unpacked and used outside the repository.
#[test]
fn packages_can_be_used() {
    let out = tempfile::tempdir().unwrap();
    let root = in_repository("").canonicalize().unwrap();
    let epoch = source_date_epoch(&root).unwrap();
    let plan = DistPlan { root, binary: binary(), out: out.path().to_owned(), epoch };
    let packed = pack(&plan).unwrap();
    for line in check(&plan, &packed).unwrap() {
        eprintln!("{line}");
    }
}

/// The Compose file as JSON; `None`, said loudly, without a YAML reader.
fn compose() -> Option<Value> {
    let script = "import json, sys, yaml; json.dump(yaml.safe_load(open(sys.argv[1])), sys.stdout)";
    let mut command = Command::new(python()?);
    command.args(["-c", script]).arg(in_repository(COMPOSE));
    let read = Background::start(command).finish().code(0);
    Some(serde_json::from_str(&read.stdout).unwrap())
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn the_compose_file_is_sound() {
    let Some(compose) = compose() else { return };
    let services = &compose["services"];
    assert_eq!(keys(services), ["kafka", "lumenbus"]);
    let folder = in_repository("deploy/docker");
    let service = &services["lumenbus"];
    let context = folder.join(service["build"]["context"].as_str().unwrap());
    assert!(context.join(service["build"]["dockerfile"].as_str().unwrap()).exists());
    assert_eq!(service["depends_on"]["kafka"]["condition"], "service_healthy");
    assert!(services["kafka"]["healthcheck"]["test"].is_array());
    let settings = service["volumes"][0].as_str().unwrap().split(':').next().unwrap();
    assert!(folder.join(settings).exists(), "{settings}");
    let volume = services["kafka"]["volumes"][0].as_str().unwrap().split(':').next().unwrap();
    assert_eq!(keys(&compose["volumes"]), [volume]);
    assert_eq!(keys(&compose["secrets"]), [service["secrets"][0].as_str().unwrap()]);
    for name in ["kafka", "lumenbus"] {
        for port in services[name]["ports"].as_array().unwrap() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{name} is open to the network: {port}");
        }
    }
    let has_compose =
        Command::new("docker").args(["compose", "version"]).output().is_ok_and(|ran| ran.status.success());
    if has_compose {
        let mut command = Command::new("docker");
        command.args(["compose", "-f"]).arg(in_repository(COMPOSE)).args(["config", "--quiet"]);
        let _ = Background::start(command).finish().code(0);
    }
}

/// The image makes `group.initial.rebalance.delay.ms` of `KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS`.
#[test]
fn kafka_takes_the_settings_of_the_compose_file() {
    let Some(compose) = compose() else { return };
    let kafka = &compose["services"]["kafka"];
    let pom = std::fs::read_to_string(in_repository("deploy/kafka/pom.xml")).unwrap();
    let version = kafka["image"].as_str().unwrap().strip_prefix("apache/kafka:").unwrap();
    assert!(pom.contains(&format!(">{version}<")), "the suites do not run against Kafka {version}");
    let environment = kafka["environment"].as_object().unwrap();
    let all = environment.iter().map(|(name, value)| {
        let name = name.strip_prefix("KAFKA_").unwrap().to_lowercase().replace('_', ".");
        (name, value.as_str().unwrap().to_owned())
    });
    // Addresses and folders are the test's own.
    let own = ["listener", "controller.quorum", "log.dirs", "node.id"];
    let properties = all.filter(|(name, _)| !own.iter().any(|part| name.contains(part))).collect::<Vec<_>>();
    assert_eq!(properties.len(), 6, "{properties:?}");
    let options = KafkaOptions { properties, ..KafkaOptions::default() };
    let Some(cluster) = start_kafka("Apache Kafka", &options) else { return };
    let arguments = ["topics", "apply", "--brokers", cluster.bootstrap()];
    let _ = Background::start(lumenbus(arguments)).finish().code(0);
}

#[test]
fn the_settings_of_the_container_are_right() {
    let settings = in_repository("deploy/docker/lumenbus.toml");
    let listed = Background::start(lumenbus(["cameras", "list", "--config", settings.to_str().unwrap()])).finish();
    assert!(listed.code(0).stdout.contains("pattern"));
}

/// Instructions with their arguments; continued lines joined, comments left out.
fn instructions(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let joined = lines.collect::<Vec<_>>().join("\n").replace("\\\n", " ");
    let split = |line: &str| line.split_once(' ').map(|(name, rest)| (name.to_owned(), rest.trim().to_owned()));
    joined.lines().filter(|line| !line.is_empty()).map(|line| split(line).expect(line)).collect()
}

#[test]
fn the_dockerfile_is_sound() {
    const KNOWN: [&str; 12] = [
        "FROM",
        "RUN",
        "WORKDIR",
        "COPY",
        "ARG",
        "USER",
        "VOLUME",
        "EXPOSE",
        "HEALTHCHECK",
        "ENTRYPOINT",
        "CMD",
        "ENV",
    ];
    let text = std::fs::read_to_string(in_repository(DOCKERFILE)).unwrap();
    let instructions = instructions(&text);
    let all = |name: &str| -> Vec<&str> {
        instructions.iter().filter(|(own, _)| own == name).map(|(_, rest)| rest.as_str()).collect()
    };
    for (name, rest) in &instructions {
        assert!(KNOWN.contains(&name.as_str()), "{name} {rest}");
    }
    let stages = all("FROM");
    assert_eq!(stages.len(), 2);
    let manifest = std::fs::read_to_string(in_repository("Cargo.toml")).unwrap();
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap().trim_end_matches('"');
    assert_eq!(stages[0], format!("rust:{rust}-bookworm AS build"));
    for copied in all("COPY").iter().filter_map(|rest| rest.strip_prefix("--from=")) {
        assert!(copied.starts_with("build "), "{copied}");
    }
    for command in all("RUN") {
        let mut shell = Command::new("sh");
        shell.args(["-n", "-c", command]);
        let _ = Background::start(shell).finish().code(0);
    }
    assert_eq!(all("USER"), ["lumenbus"], "not root");
    assert!(all("HEALTHCHECK")[0].contains("/readyz"));
    for json in all("ENTRYPOINT").into_iter().chain(all("CMD")) {
        let _: Vec<String> = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    }
    assert!(Path::new(&in_repository(".dockerignore")).exists());
}
