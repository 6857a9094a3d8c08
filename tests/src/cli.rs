//! Runs the real binary: to its end, or in the background with signals.
//!
//! The binary is taken from the folder of the test's own executable; `cargo test --workspace` builds it because
//! `lumenbus-cli` has integration tests. `LUMENBUS_BIN` names another one.

use crate::disk::SmallDisk;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Ends only what hangs; nothing is expected to come near it.
const PATIENCE: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(10);

/// The binary under test.
///
/// # Panics
/// When it has not been built.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("LUMENBUS_BIN") {
        return PathBuf::from(path);
    }
    let test = std::env::current_exe().expect("a test knows its executable");
    let profile = test.parent().and_then(Path::parent).expect("tests are in PROFILE/deps");
    let path = profile.join(format!("lumenbus{}", std::env::consts::EXE_SUFFIX));
    assert!(path.exists(), "{} is missing; build it with `cargo build -p lumenbus-cli`", path.display());
    path
}

/// The binary with these arguments, without settings of the surroundings.
pub fn lumenbus<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("LUMENBUS_") {
            command.env_remove(name);
        }
    }
    command.args(arguments);
    command
}

/// Splits at blanks; for arguments that hold none.
#[must_use]
pub fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Runs the binary to its end, with the arguments of one line.
#[must_use]
pub fn run(line: &str) -> Ran {
    Background::start(lumenbus(words(line))).finish()
}

/// How a run ended.
#[derive(Debug)]
pub struct Ran {
    /// As the system tells.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

impl Ran {
    /// Holds the run to its exit code.
    ///
    /// # Panics
    /// When it ended otherwise.
    #[track_caller]
    pub fn code(self, expected: i32) -> Self {
        assert_eq!(self.status.code(), Some(expected), "{}\n{}", self.stdout, self.stderr);
        self
    }

    /// Holds standard error to a part.
    ///
    /// # Panics
    /// When it is not in there.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.stderr.contains(part), "{part:?} is not in:\n{}", self.stderr);
        self
    }

    /// The NDJSON objects of one type.
    ///
    /// # Panics
    /// When a line is no object.
    #[must_use]
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        objects(&self.stdout).into_iter().filter(|object| object["type"] == kind).collect()
    }

    /// The summary: the last line, and the only one of its type.
    ///
    /// # Panics
    /// When the output does not end so.
    #[track_caller]
    pub fn summary(&self) -> Value {
        let all = objects(&self.stdout);
        let summaries = all.iter().filter(|object| object["type"] == "summary").count();
        assert_eq!(summaries, 1, "{}\n{}", self.stdout, self.stderr);
        let last = all.last().cloned().unwrap_or_default();
        assert_eq!((&last["type"], &last["version"]), (&Value::from("summary"), &Value::from(1)), "{}", self.stdout);
        last
    }
}

fn objects(text: &str) -> Vec<Value> {
    let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(object).collect()
}

/// Text that a thread collects and others wait for.
#[derive(Debug, Default)]
struct Collected {
    text: Mutex<(Vec<u8>, bool)>,
    grown: Condvar,
}

impl Collected {
    fn gather(self: Arc<Self>, from: impl Read + Send + 'static) -> JoinHandle<()> {
        std::thread::spawn(move || {
            let mut from = BufReader::new(from);
            loop {
                let mut line = Vec::new();
                let is_over = from.read_until(b'\n', &mut line).unwrap_or(0) == 0;
                let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
                text.0.extend(line);
                text.1 = is_over;
                self.grown.notify_all();
                if is_over {
                    return;
                }
            }
        })
    }

    /// Waits until the text has what is looked for, has ended, or the time is up.
    fn wait<T>(&self, find: impl Fn(&str) -> Option<T>) -> Result<T, String> {
        let deadline = Instant::now() + PATIENCE;
        let mut text = self.text.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let so_far = String::from_utf8_lossy(&text.0).into_owned();
            if let Some(found) = find(&so_far) {
                return Ok(found);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if text.1 || left.is_zero() {
                return Err(so_far);
            }
            text = self.grown.wait_timeout(text, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn bytes(&self) -> Vec<u8> {
        self.text.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }
}

/// A running binary; it is killed when dropped.
#[derive(Debug)]
pub struct Background {
    child: Child,
    stdout: Arc<Collected>,
    stderr: Arc<Collected>,
    gatherers: Vec<JoinHandle<()>>,
}

impl Background {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    #[must_use]
    pub fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let (stdout, stderr) = (Arc::<Collected>::default(), Arc::<Collected>::default());
        let mut gatherers = Vec::new();
        gatherers.extend(child.stdout.take().map(|pipe| Arc::clone(&stdout).gather(pipe)));
        gatherers.extend(child.stderr.take().map(|pipe| Arc::clone(&stderr).gather(pipe)));
        Self { child, stdout, stderr, gatherers }
    }

    /// Waits for a line on standard output that holds `part`.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn wait_for_line(&self, part: &str) -> String {
        let found = self.stdout.wait(|text| {
            let mut complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            complete.find(|line| line.contains(part)).map(str::to_owned)
        });
        found.unwrap_or_else(|text| panic!("no line with {part:?} in:\n{text}\n{}", self.stderr_so_far()))
    }

    /// Waits until standard output has this many lines with `part`.
    ///
    /// # Panics
    /// When they don't come.
    #[track_caller]
    pub fn wait_for_lines(&self, part: &str, count: usize) {
        let found = self.stdout.wait(|text| (text.matches(part).count() >= count).then_some(()));
        found.unwrap_or_else(|text| panic!("not {count} of {part:?} in:\n{text}\n{}", self.stderr_so_far()));
    }

    /// Waits until so many NDJSON objects are as asked for; the last of them.
    ///
    /// # Panics
    /// When they don't come.
    #[track_caller]
    pub fn wait_for_objects(&self, count: usize, is_meant: impl Fn(&Value) -> bool) -> Value {
        let found = self.stdout.wait(|text| {
            let complete = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            let objects = complete.filter_map(|line| serde_json::from_str::<Value>(line).ok());
            objects.filter(|object| is_meant(object)).nth(count - 1)
        });
        found.unwrap_or_else(|text| panic!("not {count} such objects in:\n{text}\n{}", self.stderr_so_far()))
    }

    /// Waits until standard error holds `part`.
    ///
    /// # Panics
    /// When it does not come.
    #[track_caller]
    pub fn wait_for_word(&self, part: &str) {
        let found = self.stderr.wait(|text| text.contains(part).then_some(()));
        found.unwrap_or_else(|text| panic!("no {part:?} in:\n{text}"));
    }

    /// Standard output until now.
    #[must_use]
    pub fn stdout_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stdout.bytes()).into_owned()
    }

    fn stderr_so_far(&self) -> String {
        String::from_utf8_lossy(&self.stderr.bytes()).into_owned()
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    /// When it has ended and was waited for.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a child has a pid");
        // It may just have ended by itself.
        kill_process(pid, signal).ok();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    #[track_caller]
    pub fn finish(self) -> Ran {
        let (ran, stdout) = self.finish_bytes();
        Ran { stdout: String::from_utf8_lossy(&stdout).into_owned(), ..ran }
    }

    /// As [`Self::finish`]; standard output as it came, beside an empty one in [`Ran`].
    ///
    /// # Panics
    /// When it does not end.
    #[must_use]
    #[track_caller]
    pub fn finish_bytes(mut self) -> (Ran, Vec<u8>) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                break status;
            }
            if Instant::now() >= deadline {
                panic!("it does not end:\n{}\n{}", self.stdout_so_far(), self.stderr_so_far());
            }
            std::thread::sleep(POLL);
        };
        for gatherer in self.gatherers.drain(..) {
            gatherer.join().expect("gathering does not panic");
        }
        let stderr = self.stderr_so_far();
        (Ran { status, stdout: String::new(), stderr }, self.stdout.bytes())
    }

    /// Waits for its end until `limit` and kills it then: for programs of others that may hang when they end.
    #[must_use]
    pub fn finish_or_kill(mut self, limit: Duration) -> Ran {
        let deadline = Instant::now() + limit;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            std::thread::sleep(POLL);
        }
        // Fails when it has ended, which is as well.
        self.child.kill().ok();
        self.finish()
    }

    /// Asks it to stop, as Ctrl-C would, and waits for its end.
    #[must_use]
    #[track_caller]
    pub fn interrupt(self) -> Ran {
        self.signal(Signal::INT);
        self.finish()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // Fails when it has ended, which is as well.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// `lumenbus broker` as a process of its own, on a port that the system chose.
#[derive(Debug)]
pub struct BrokerProcess {
    process: Background,
    address: String,
    data: PathBuf,
    /// Removed when dropped.
    _own: Option<TempDir>,
}

impl BrokerProcess {
    /// Starts one on an empty folder.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start() -> Self {
        let own = tempfile::tempdir().expect("a temporary folder");
        let started = Self::start_on(own.path(), "127.0.0.1:0", &[]);
        Self { _own: Some(own), ..started }
    }

    /// Starts one that can be restarted: its port is none that the system gives to somebody else in between.
    ///
    /// # Panics
    /// When it does not become ready.
    #[must_use]
    pub fn start_restartable() -> Self {
        let own = tempfile::tempdir().expect("a temporary folder");
        let started = Self::start_on(own.path(), &format!("127.0.0.1:{}", quiet_port()), &[]);
        Self { _own: Some(own), ..started }
    }

    /// Starts one on this folder.
    #[must_use]
    pub fn start_in(data: &Path, more: &[&str]) -> Self {
        Self::start_on(data, "127.0.0.1:0", more)
    }

    fn start_on(data: &Path, listen: &str, more: &[&str]) -> Self {
        Self::start_as(data, listen, more, |command| command)
    }

    /// Starts one on a disk of its own, which it does not keep free.
    #[must_use]
    pub fn start_on_disk(disk: &SmallDisk) -> Self {
        Self::start_as(&disk.path().join("data"), "127.0.0.1:0", &["--keep-free", "0%"], |command| {
            disk.command(&command)
        })
    }

    fn start_as(data: &Path, listen: &str, more: &[&str], run: impl FnOnce(Command) -> Command) -> Self {
        let folder = data.to_str().expect("temporary folders have plain names");
        let arguments = ["broker", "--json", "--data", folder, "--listen", listen];
        let process = Background::start(run(lumenbus(arguments.iter().chain(more))));
        let ready: Value = serde_json::from_str(&process.wait_for_line("ready")).expect("the first line is an object");
        let address = ready["brokers"].as_str().expect("it says where").to_owned();
        Self { process, address, data: data.to_owned(), _own: None }
    }

    /// `--brokers`
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where its topics are.
    #[must_use]
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Kills it (SIGKILL) and starts it again on the same folder and address.
    #[must_use]
    pub fn kill_and_restart(self) -> Self {
        let Self { process, address, data, _own } = self;
        drop(process);
        let started = Self::start_on(&data, &address, &[]);
        Self { _own, ..started }
    }

    /// Runs the binary against this broker to its end, with the arguments of one line.
    #[must_use]
    pub fn run(&self, line: &str) -> Ran {
        self.spawn(line).finish()
    }

    /// Runs the binary against this broker in the background.
    #[must_use]
    pub fn spawn(&self, line: &str) -> Background {
        spawn_at(&self.address, line)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Stops it in order.
    #[must_use]
    pub fn stop(self) -> Ran {
        self.process.interrupt()
    }
}

/// A free port below those that outgoing connections get.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn quiet_port() -> u16 {
    const PORTS: Range<u16> = 12_000..32_000;
    // No port twice: who got one may not listen on it yet.
    static STEP: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    // Tests that run side by side begin at different places.
    let begin = std::process::id().wrapping_mul(7_919) % count;
    let candidates = std::iter::repeat_with(|| (begin + STEP.fetch_add(1, Ordering::Relaxed)) % count);
    let candidates = candidates.take(usize::from(PORTS.end - PORTS.start)).filter_map(|port| u16::try_from(port).ok());
    let mut ports = candidates.map(|port| PORTS.start + port);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("one of twenty thousand ports is free")
}

/// Runs the binary against these brokers in the background.
#[must_use]
pub fn spawn_at(brokers: &str, line: &str) -> Background {
    Background::start(lumenbus(words(line).into_iter().chain(["--brokers", brokers])))
}

/// Shared footage; `None`, said loudly, where it is absent.
///
/// # Panics
/// When it is absent and must not be.
#[must_use]
pub fn footage(file: &str) -> Option<PathBuf> {
    data(&format!("video/{file}"))
}

/// Shared data, by its path; `None`, said loudly, where it is absent.
///
/// # Panics
/// When it is absent and must not be.
#[must_use]
pub fn data(path: &str) -> Option<PathBuf> {
    let data = std::env::var_os("LUMENBUS_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"), PathBuf::from);
    let path = data.join(path);
    if path.exists() {
        return Some(path);
    }
    skip(&format!("{} is not there", path.display()));
    None
}

/// Says loudly that a test is left out.
///
/// # Panics
/// Where nothing may be left out (`LUMENBUS_REQUIRE_ALL=1`).
pub fn skip(why: &str) {
    let must_run = std::env::var_os("LUMENBUS_REQUIRE_ALL").is_some_and(|all| all == "1");
    assert!(!must_run, "{why}, and LUMENBUS_REQUIRE_ALL=1");
    eprintln!("SKIPPED: {why}");
}
