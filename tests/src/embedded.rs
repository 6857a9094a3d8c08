//! The embedded broker as a process that can be killed.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use crate::cli::lumenbus;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

/// Ends the broker that was named last and removes its data, when the tests end in whatever way.
const WATCHDOG: &str =
    r#"pid=; while read -r line; do pid=$line; done; [ -n "$pid" ] && kill -9 "$pid"; rm -rf -- "$0""#;

/// `lumenbus broker` on a folder of its own.
#[derive(Debug)]
pub struct EmbeddedProcess {
    data: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
    watchdog: Child,
    watched: Option<ChildStdin>,
}

impl Default for EmbeddedProcess {
    fn default() -> Self {
        Self::new()
    }
}

impl EmbeddedProcess {
    /// Starts one on a port that the system chooses.
    ///
    /// # Panics
    /// When it does not start.
    pub fn new() -> Self {
        let data = tempfile::Builder::new().prefix("lumenbus-broker-").tempdir().unwrap().keep();
        let mut watchdog = Command::new("sh").args(["-c", WATCHDOG]).arg(&data).stdin(Stdio::piped()).spawn().unwrap();
        let watched = watchdog.stdin.take();
        let address = ([127, 0, 0, 1], 0).into();
        let mut broker = Self { data, address, child: None, watchdog, watched };
        broker.start();
        broker
    }

    /// Starts it again on the same data and port, and waits until it is ready.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(&mut self) {
        assert!(!self.is_running());
        let address = self.address.to_string();
        let mut command = lumenbus(["broker", "--json", "--keep-free", "0%", "--listen", &address, "--data"]);
        let mut child = command.arg(&self.data).stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        writeln!(self.watched.as_mut().unwrap(), "{}", child.id()).unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
        self.address = ready["brokers"].as_str().unwrap().parse().unwrap();
        self.child = Some(child);
    }

    /// `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.address.to_string()
    }

    /// Where its data is.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// SIGKILL, and waits for the end.
    ///
    /// # Panics
    /// When there is nothing to kill.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        writeln!(self.watched.as_mut().unwrap()).unwrap();
    }

    /// Whether the process is there.
    pub fn is_running(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }
}

impl Drop for EmbeddedProcess {
    fn drop(&mut self) {
        self.watched = None;
        let _ = self.watchdog.wait();
        if let Some(mut child) = self.child.take() {
            let _ = child.wait();
        }
    }
}
