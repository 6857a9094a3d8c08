//! Kafka's own programs and clients against any broker.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::KafkaError;
use super::error::tail;
use super::install::install_programs;
use super::process::{JAVA_FLAGS, logging_flags};

/// The jars of Kafka's tools, clients, Streams, Connect and MirrorMaker 2.
#[derive(Debug, Clone)]
pub struct KafkaPrograms {
    jars: PathBuf,
}

impl KafkaPrograms {
    /// Resolves the jars if the user's cache lacks them.
    ///
    /// # Errors
    /// [`KafkaError::is_missing_prerequisite`] holds where Java is missing or the jars cannot be had.
    pub fn install() -> Result<Self, KafkaError> {
        install_programs().map(|jars| Self { jars })
    }

    /// `java` with a small heap, Kafka's classes and those in `own`; main class and arguments are to follow.
    #[must_use]
    pub fn java(&self, own: &Path) -> Command {
        let mut java = Command::new("java");
        java.arg("-Xmx256m").args(JAVA_FLAGS).args(logging_flags("tools-"));
        java.arg("-cp").arg(format!("{}:{}/*", own.display(), self.jars.display()));
        java
    }

    /// Compiles a Java source against Kafka's classes.
    ///
    /// # Errors
    /// No compiler on this machine (a missing prerequisite), or it refuses the source.
    pub fn compile(&self, source: &Path, into: &Path) -> Result<(), KafkaError> {
        let mut javac = Command::new("javac");
        javac.args(["-J-XX:+UseSerialGC", "-J-XX:TieredStopAtLevel=1", "-proc:none", "-Werror", "-Xlint:all"]);
        // Jars name others in their manifests that are not there.
        javac.args(["-Xlint:-path", "-Xlint:-classfile"]);
        javac.arg("-cp").arg(format!("{}/*", self.jars.display())).arg("-d").arg(into).arg(source);
        let output = javac.stdin(Stdio::null()).output().map_err(|error| KafkaError::MissingProgram {
            program: "javac",
            detail: error.to_string(),
            install: "a Java development kit 17 or later (Debian: openjdk-17-jdk-headless)",
        })?;
        if output.status.success() {
            return Ok(());
        }
        let output = tail(&String::from_utf8_lossy(&output.stderr), 12);
        Err(KafkaError::Tool { program: format!("javac {}", source.display()), output })
    }
}
