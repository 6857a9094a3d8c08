//! The demo's broker: this executable as a child process, so that killing it is a real SIGKILL.

use anyhow::{Context as _, bail};
use serde_json::Value;
use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Below the ports that outgoing connections get: nobody takes it while the broker is away.
const PORTS: Range<u16> = 19_092..19_192;
/// The data goes with the demo; a disk that is nearly full is no reason not to show anything.
const KEEP_FREE: &str = "300MB";
/// What the broker said last, for the message when it does not start.
const MAX_LINES: usize = 12;
const MAX_LINE_BYTES: u64 = 4_096;
/// After this a broker that was asked to stop is killed: its data goes anyway.
const STOP: Duration = Duration::from_secs(3);
/// The system has no event for a child's end without signal handlers.
const STOP_POLL: Duration = Duration::from_millis(5);

/// `lumenbus broker` of this executable, on a temporary folder.
///
/// It stops and removes its folder by itself when this process is gone, however that ended.
pub(crate) struct BrokerChild {
    folder: TempDir,
    address: SocketAddr,
    running: Option<Running>,
    lines: Arc<Mutex<VecDeque<String>>>,
    kills: u64,
}

struct Running {
    child: Child,
    /// Closing it stops the broker.
    leash: Option<ChildStdin>,
    listener: Option<JoinHandle<()>>,
}

impl BrokerChild {
    /// Starts one on the first free port and waits until it serves.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lumenbus-demo-").tempdir();
        let folder = folder.context("cannot make a temporary folder for the broker's data")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut broker = Self { folder, address, running: None, lines: Arc::default(), kills: 0 };
        for port in PORTS {
            broker.address.set_port(port);
            if TcpListener::bind(broker.address).is_err() {
                continue;
            }
            match broker.restart() {
                // Somebody was faster, perhaps a second demo.
                Err(_) if TcpListener::bind(broker.address).is_err() => {}
                started => return started.map(|()| broker),
            }
        }
        bail!("the ports {} to {} of this machine are all in use; the demo's broker needs one", PORTS.start, PORTS.end)
    }

    /// For `bootstrap.servers`.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its data is.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How often it was killed.
    pub(crate) fn kills(&self) -> u64 {
        self.kills
    }

    /// Whether it is there; a process that ended by itself is not.
    pub(crate) fn is_running(&mut self) -> bool {
        let is_there = |running: &mut Running| matches!(running.child.try_wait(), Ok(None));
        let is_running = self.running.as_mut().is_some_and(is_there);
        if !is_running {
            self.running = None;
        }
        is_running
    }

    /// SIGKILL; when this returns the process is gone.
    pub(crate) fn kill(&mut self) -> std::io::Result<()> {
        let Some(mut running) = self.running.take() else { return Ok(()) };
        running.child.kill()?;
        running.child.wait()?;
        self.kills += 1;
        Ok(())
    }

    /// Starts it on the same address and data, and waits until it serves.
    pub(crate) fn restart(&mut self) -> anyhow::Result<()> {
        if self.is_running() {
            return Ok(());
        }
        let executable = std::env::current_exe().context("cannot find this program's file, to start the broker")?;
        let mut command = Command::new(executable);
        command.args(["broker", "--json", "--leashed", "--keep-free", KEEP_FREE, "--data"]).arg(self.folder.path());
        command.args(["--listen", &self.address.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C in the terminal is for the demo, which still has frames to bring in.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().context("cannot start the broker")?;
        let listener = child.stderr.take().map(|stderr| listen(stderr, Arc::clone(&self.lines)));
        let (leash, stdout) = (child.stdin.take(), child.stdout.take());
        self.running = Some(Running { child, leash, listener });
        if stdout.is_some_and(is_ready) {
            return Ok(());
        }
        let Some(mut running) = self.running.take() else { return Ok(()) };
        running.leash = None;
        running.child.wait().context("cannot wait for the broker")?;
        if let Some(listener) = running.listener.take() {
            // It only collects lines.
            drop(listener.join());
        }
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        bail!("the broker did not start on {}: {}", self.address, Vec::from_iter(lines.iter().cloned()).join("; "))
    }

    /// Stops it and removes its data.
    pub(crate) fn stop(&mut self) {
        if let Some(running) = &mut self.running {
            running.leash = None;
            let deadline = Instant::now() + STOP;
            while matches!(running.child.try_wait(), Ok(None)) && Instant::now() < deadline {
                std::thread::sleep(STOP_POLL);
            }
        }
        self.end();
        // It removes its folder by itself, but not after it was killed.
        drop(std::fs::remove_dir_all(self.folder.path()));
    }

    fn end(&mut self) {
        if let Some(mut running) = self.running.take() {
            // Both fail when it has ended, which is as well.
            drop(running.child.kill());
            drop(running.child.wait());
        }
    }
}

impl Drop for BrokerChild {
    fn drop(&mut self) {
        self.end();
    }
}

/// Whether the first line says that it serves; `false` when it ended instead.
fn is_ready(stdout: ChildStdout) -> bool {
    let mut line = String::new();
    let read = BufReader::new(stdout.take(MAX_LINE_BYTES)).read_line(&mut line);
    read.is_ok() && serde_json::from_str::<Value>(&line).is_ok_and(|object| object["type"] == "ready")
}

/// Keeps the last lines of what it says.
fn listen(stderr: ChildStderr, lines: Arc<Mutex<VecDeque<String>>>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut stderr = BufReader::new(stderr);
        loop {
            let mut line = Vec::new();
            match stderr.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            tracing::debug!(target: "lumenbus::demo::broker", "{line}");
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == MAX_LINES {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    })
}
