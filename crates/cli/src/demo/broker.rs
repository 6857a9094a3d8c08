//! The demo's broker: this executable as a child process, so that killing it is a real SIGKILL.

use super::folder;
use anyhow::{Context as _, bail};
use serde_json::Value;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::Range;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, sync_channel};
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

/// `lumenbus broker` of this executable, on a temporary folder.
///
/// It stops and removes its folder by itself when this process is gone, however that ended.
pub(crate) struct BrokerChild {
    folder: TempDir,
    /// Says that the folder is in use.
    _in_use: File,
    address: SocketAddr,
    running: Option<Running>,
    lines: Arc<Mutex<VecDeque<String>>>,
    kills: u64,
    /// The longest time from its process's start until it served, after it was killed.
    slowest_recovery: Option<Duration>,
    on_end: SyncSender<()>,
}

struct Running {
    child: Child,
    /// Closing it stops the broker.
    leash: Option<ChildStdin>,
    listener: Option<JoinHandle<()>>,
    /// Disconnected when all of the broker's output has been read: it is gone, or about to be.
    ended: Receiver<()>,
}

impl Running {
    fn has_ended(&self) -> bool {
        self.ended.try_recv() == Err(TryRecvError::Disconnected)
    }

    /// Asks the broker to stop; whether it did within this time.
    fn let_go(&mut self, wait: Duration) -> bool {
        self.leash = None;
        self.ended.recv_timeout(wait) == Err(RecvTimeoutError::Disconnected)
    }

    /// SIGKILL, which what has ended does not mind; when this returns the process is gone.
    fn end(mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        if self.listener.take().is_some_and(|listener| listener.join().is_err()) {
            tracing::error!("the thread that listens to the broker panicked");
        }
        Ok(())
    }
}

impl BrokerChild {
    /// Starts one on the first free port and waits until it serves; `on_end` hears each time that one has ended.
    pub(crate) fn start(on_end: SyncSender<()>) -> anyhow::Result<Self> {
        let base = std::env::temp_dir();
        folder::clear_up(&base);
        let (folder, in_use) = folder::claim(&base).context("cannot make a temporary folder for the broker's data")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let lines = Arc::default();
        let mut broker =
            Self { folder, _in_use: in_use, address, running: None, lines, kills: 0, slowest_recovery: None, on_end };
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

    /// How long it took at most from the start of its process until it served, of those starts that followed a kill.
    pub(crate) fn slowest_recovery(&self) -> Option<Duration> {
        self.slowest_recovery
    }

    /// Whether it is there; a process that ended by itself is not.
    pub(crate) fn is_running(&mut self) -> bool {
        if self.running.as_ref().is_some_and(Running::has_ended) {
            self.end();
        }
        self.running.is_some()
    }

    /// SIGKILL; when this returns the process is gone.
    pub(crate) fn kill(&mut self) -> std::io::Result<()> {
        let Some(running) = self.running.take() else { return Ok(()) };
        running.end()?;
        self.kills += 1;
        Ok(())
    }

    /// Starts it again on the same address and data, and waits until it serves.
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
        let began = Instant::now();
        let mut child = command.spawn().context("cannot start the broker")?;
        let (alive, ended) = sync_channel(0);
        let output = Output { lines: Arc::clone(&self.lines), alive, on_end: self.on_end.clone() };
        let listener = child.stderr.take().map(|stderr| output.listen(stderr));
        let (leash, stdout) = (child.stdin.take(), child.stdout.take());
        self.running = Some(Running { child, leash, listener, ended });
        if stdout.is_some_and(is_ready) {
            if self.kills > 0 {
                self.slowest_recovery = self.slowest_recovery.max(Some(began.elapsed()));
            }
            return Ok(());
        }
        self.let_go();
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        bail!("the broker did not start on {}: {}", self.address, Vec::from_iter(lines.iter().cloned()).join("; "))
    }

    /// Stops it and removes its data.
    pub(crate) fn stop(&mut self) {
        self.let_go();
        // It removes its folder by itself, but not after it was killed.
        drop(std::fs::remove_dir_all(self.folder.path()));
    }

    fn let_go(&mut self) {
        if self.running.as_mut().is_some_and(|running| !running.let_go(STOP)) {
            tracing::debug!("the broker does not stop within {STOP:?} and is killed");
        }
        self.end();
    }

    fn end(&mut self) {
        if let Some(Err(error)) = self.running.take().map(Running::end) {
            tracing::debug!(%error, "the broker cannot be waited for");
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

/// What it says on standard error.
struct Output {
    lines: Arc<Mutex<VecDeque<String>>>,
    /// Dropped at the end.
    alive: SyncSender<()>,
    on_end: SyncSender<()>,
}

impl Output {
    /// Keeps the last lines, on a thread of its own.
    fn listen(self, stderr: ChildStderr) -> JoinHandle<()> {
        std::thread::spawn(move || {
            let mut stderr = BufReader::new(stderr);
            while let Some(line) = next_line(&mut stderr) {
                tracing::debug!(target: "lumenbus::demo::broker", "{line}");
                let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == MAX_LINES {
                    lines.pop_front();
                }
                lines.push_back(line);
            }
            drop(self.alive);
            // Full: whoever listens has not yet looked, and will see this too.
            let _ = self.on_end.try_send(());
        })
    }
}

fn next_line(stderr: &mut BufReader<ChildStderr>) -> Option<String> {
    let mut line = Vec::new();
    let bytes = stderr.take(MAX_LINE_BYTES).read_until(b'\n', &mut line).ok()?;
    (bytes > 0).then(|| String::from_utf8_lossy(&line).trim_end().to_owned())
}
