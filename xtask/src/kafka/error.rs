//! What can go wrong with the harness.

use std::path::PathBuf;
use std::time::Duration;

/// An error of the Kafka harness.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KafkaError {
    /// A program the harness needs is not on this machine, or too old.
    #[error("Apache Kafka needs `{program}`, which this machine lacks: {detail}; install {install}")]
    MissingProgram {
        /// The program as typed in a shell.
        program: &'static str,
        /// What happened on the attempt to run it.
        detail: String,
        /// What to install.
        install: &'static str,
    },
    /// Maven could not bring the jars (no network and an empty cache, or an unknown version).
    #[error("resolving Apache Kafka {version} with Maven failed: {output}")]
    Unresolved {
        /// The release asked for.
        version: String,
        /// The end of what Maven printed.
        output: String,
    },
    /// A Java program that prepares or administers the cluster failed.
    #[error("{program} failed: {output}")]
    Tool {
        /// The main class or program.
        program: String,
        /// The end of what it printed.
        output: String,
    },
    /// A node's process ended while it was awaited.
    #[error("Kafka node {node} ended during its start; the end of {log:?} says:\n{tail}")]
    NodeEnded {
        /// The node id.
        node: u16,
        /// Its log.
        log: PathBuf,
        /// The last lines of the log.
        tail: String,
    },
    /// The cluster did not become ready in time.
    #[error("Kafka was not ready within {waited:?}: {missing}; see the logs below {dir:?}")]
    NotReady {
        /// How long it was awaited.
        waited: Duration,
        /// What was still missing at the last probe.
        missing: String,
        /// The cluster's folder.
        dir: PathBuf,
    },
    /// No such node in this cluster.
    #[error("the cluster in {dir:?} has no node {node}; its nodes are 1 to {nodes}")]
    UnknownNode {
        /// The id asked for.
        node: u16,
        /// How many nodes there are.
        nodes: u16,
        /// The cluster's folder.
        dir: PathBuf,
    },
    /// There is no cluster in the folder.
    #[error("no cluster in {dir:?}; start one with `cargo xtask kafka up --dir {}`", dir.display())]
    NoCluster {
        /// The folder looked into.
        dir: PathBuf,
    },
    /// The folder already holds a running cluster.
    #[error("a cluster already runs in {dir:?}; stop it with `cargo xtask kafka down --dir {}` or choose another --dir", dir.display())]
    AlreadyRunning {
        /// The cluster's folder.
        dir: PathBuf,
    },
    /// The options contradict each other or are out of range.
    #[error("{reason}")]
    BadOptions {
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// The state file is not one of ours.
    #[error("{path:?} is not a readable state file; remove the folder it is in")]
    BadState {
        /// The file.
        path: PathBuf,
        /// Why it could not be read.
        #[source]
        source: serde_json::Error,
    },
    /// The operating system refused something.
    #[error("{action} {path:?} failed")]
    Io {
        /// What was attempted, as a verb ("writing").
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

impl KafkaError {
    /// True when this machine cannot run Kafka at all (no Java, no Maven, jars not to be had):
    /// a test skips loudly then instead of failing.
    #[must_use]
    pub fn is_missing_prerequisite(&self) -> bool {
        matches!(self, Self::MissingProgram { .. } | Self::Unresolved { .. })
    }

    pub(crate) fn io<P: Into<PathBuf>>(action: &'static str, path: P) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.trim_end().lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
