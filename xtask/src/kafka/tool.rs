//! Runs the Java programs that come with Kafka.

use std::process::{Command, Stdio};

use super::KafkaError;
use super::error::tail;
use super::process::{JAVA_FLAGS, logging_flags};
use super::state::ClusterState;

/// Where the tool for access rights is: in the broker's jars up to 3.9.
pub(crate) fn acl_command(version: &str) -> &'static str {
    if version.starts_with("3.") { "kafka.admin.AclCommand" } else { "org.apache.kafka.tools.AclCommand" }
}

/// Runs a main class to its end and returns what it printed.
pub(crate) fn run(class_path: &str, class: &str, arguments: &[String]) -> Result<String, KafkaError> {
    let output =
        java(class_path, class, arguments).stdin(Stdio::null()).output().map_err(|error| missing_java(&error))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let all = printed + &String::from_utf8_lossy(&output.stderr);
    Err(KafkaError::Tool { program: class.to_owned(), output: tail(&all, 12) })
}

/// Runs a main class on the caller's own terminal; returns whether it succeeded.
pub(crate) fn run_in_terminal(class_path: &str, class: &str, arguments: &[String]) -> Result<bool, KafkaError> {
    let status = java(class_path, class, arguments).status();
    status.map(|status| status.success()).map_err(|error| missing_java(&error))
}

fn java(class_path: &str, class: &str, arguments: &[String]) -> Command {
    let mut java = Command::new("java");
    java.arg("-Xmx256m").args(JAVA_FLAGS).args(logging_flags("tools-"));
    java.args(["-cp", class_path, class]).args(arguments);
    java
}

fn missing_java(error: &std::io::Error) -> KafkaError {
    KafkaError::MissingProgram {
        program: "java",
        detail: error.to_string(),
        install: "a Java runtime 17 or later (Debian: openjdk-17-jre-headless)",
    }
}

/// Adds the cluster's address and the administrator's credentials to a `…Command` class, unless the
/// caller gave them.
pub(crate) fn with_address(cluster: &ClusterState, class: &str, arguments: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = arguments.iter().map(|&argument| argument.to_owned()).collect();
    if !class.ends_with("Command") {
        return all;
    }
    if !arguments.iter().any(|argument| argument.starts_with("--bootstrap-")) {
        all.extend(["--bootstrap-server".to_owned(), cluster.bootstrap.clone()]);
    }
    let Some(credentials) = &cluster.credentials else {
        return all;
    };
    if !arguments.contains(&"--command-config") {
        let properties = credentials.admin.client_properties.display().to_string();
        all.extend(["--command-config".to_owned(), properties]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::KafkaOptions;
    use super::*;

    #[test]
    fn the_address_is_added_once() {
        let options = KafkaOptions::default();
        let cluster = ClusterState::plan("4.4.0", &options, std::path::Path::new("k")).unwrap();
        let check = |class: &str, arguments: &[&str], expected: usize| {
            let all = with_address(&cluster, class, arguments);
            assert_eq!(all.len(), expected, "{class} {all:?}");
        };
        check("org.apache.kafka.tools.TopicCommand", &["--list"], 3);
        check("org.apache.kafka.tools.TopicCommand", &["--bootstrap-server", "x:1"], 2);
        check("org.apache.kafka.tools.ProducerPerformance", &["--topic", "x"], 2);
    }
}
