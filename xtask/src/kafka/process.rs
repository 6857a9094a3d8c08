//! Node processes: start, signal, observe.

use std::fs::OpenOptions;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::KafkaError;
use super::install::Installation;
use super::state::NodeState;
use crate::workspace;

/// Small and quick to start: the harness shares two cores with the tests.
pub(crate) const JAVA_FLAGS: [&str; 4] =
    ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djava.net.preferIPv4Stack=true"];

/// Heap and collector as in `kafka-server-start.sh` and `kafka-run-class.sh` of Kafka 4: what a broker is measured with.
const SHIPPED_FLAGS: [&str; 9] = [
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-XX:MaxInlineLevel=15",
    "-Djava.awt.headless=true",
];

/// The arguments that point both logging back ends (of 4.x and of 3.9) to our files.
pub(crate) fn logging_flags(prefix: &str) -> [String; 2] {
    let folder = workspace::root().join("deploy/kafka");
    [
        format!("-Dlog4j2.configurationFile={}", folder.join(format!("{prefix}log4j2.properties")).display()),
        format!("-Dlog4j.configuration=file:{}", folder.join(format!("{prefix}log4j.properties")).display()),
    ]
}

/// Starts the node in a process group of its own, so that Ctrl-C in a terminal does not reach it.
pub(crate) fn spawn_node(installation: &Installation, node: &NodeState, as_shipped: bool) -> Result<Child, KafkaError> {
    let path = node.log();
    let log = OpenOptions::new().create(true).append(true).open(&path).map_err(KafkaError::io("opening", &path))?;
    let errors = log.try_clone().map_err(KafkaError::io("opening", &path))?;
    Command::new("java")
        .args(if as_shipped { SHIPPED_FLAGS.as_slice() } else { &["-Xms128m", "-Xmx384m"] })
        .args(if as_shipped { &[] } else { JAVA_FLAGS.as_slice() })
        .args(logging_flags(""))
        .args(["-cp", &installation.broker_class_path(), "kafka.Kafka"])
        .arg(node.properties())
        .current_dir(&node.dir)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        .process_group(0)
        .spawn()
        .map_err(KafkaError::io("starting java for", &node.dir))
}

/// A signal of `kill(1)`.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Signal {
    Kill,
    Terminate,
    Stop,
    Continue,
}

impl Signal {
    fn name(self) -> &'static str {
        match self {
            Self::Kill => "KILL",
            Self::Terminate => "TERM",
            Self::Stop => "STOP",
            Self::Continue => "CONT",
        }
    }
}

/// Signals the node's process if it is still the one that was started.
pub(crate) fn signal(node: &NodeState, signal: Signal) -> Result<(), KafkaError> {
    let Some(pid) = node.pid.filter(|pid| is_running(*pid, &node.properties())) else {
        return Ok(());
    };
    let script = format!("kill -{} {pid}", signal.name());
    let status = Command::new("sh").args(["-c", &script]).stderr(Stdio::null()).status();
    // The process may have ended by itself in between, which is as good.
    status.map(drop).map_err(KafkaError::io("signalling the node in", &node.dir))
}

/// Whether `pid` runs and names `properties` on its command line; a process number may have been
/// given to somebody else meanwhile, whom nobody may touch.
pub(crate) fn is_running(pid: u32, properties: &Path) -> bool {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let Ok(command_line) = std::fs::read(process.join("cmdline")) else {
        return false;
    };
    // A zombie has an empty command line.
    let wanted = properties.to_string_lossy();
    String::from_utf8_lossy(&command_line).split('\0').any(|argument| argument == wanted)
}

/// Kills the nodes when the owner disappears without saying goodbye: it waits for the end of its
/// standard input, whose other end closes with the owner.
#[derive(Debug)]
pub(crate) struct Watchdog {
    child: Child,
    pids: PathBuf,
}

impl Watchdog {
    pub(crate) fn start(dir: &Path) -> Result<Self, KafkaError> {
        let pids = dir.join("pids");
        std::fs::write(&pids, "").map_err(KafkaError::io("writing", &pids))?;
        let script = r#"cat >/dev/null; for pid in $(cat "$0"); do kill -9 "$pid"; done"#;
        let child = Command::new("sh")
            .args(["-c", script])
            .arg(&pids)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(KafkaError::io("starting sh in", dir))?;
        Ok(Self { child, pids })
    }

    /// Replaces the list of processes to kill.
    pub(crate) fn watch(&self, nodes: &[NodeState]) -> Result<(), KafkaError> {
        let text: String = nodes.iter().filter_map(|node| node.pid).map(|pid| format!("{pid}\n")).collect();
        std::fs::write(&self.pids, text).map_err(KafkaError::io("writing", &self.pids))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // With an empty list the script kills nobody. Nothing can be done about a failure here.
        let _ = std::fs::write(&self.pids, "");
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
