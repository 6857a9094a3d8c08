//! The cluster itself: prepare, start, wait, kill, restart, stop.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use super::error::tail;
use super::install::{Installation, absent_is_fine, install};
use super::process::{self, Signal, Watchdog};
use super::properties::server_properties;
use super::secure::Credentials;
use super::state::{ClusterState, NodeState};
use super::{KafkaError, KafkaOptions, probe, tool};
use crate::workspace;

const POLL_INTERVAL: Duration = Duration::from_millis(100);
const STOP_TIMEOUT: Duration = Duration::from_secs(30);
/// How often other ports are tried when somebody took one between choice and use.
const PORT_ATTEMPTS: u32 = 3;

/// A running cluster. Dropping it stops the processes, unless it was attached to or detached from.
#[derive(Debug)]
pub struct KafkaCluster {
    dir: PathBuf,
    state: ClusterState,
    installation: Installation,
    ready_timeout: Duration,
    children: BTreeMap<u16, Child>,
    ownership: Ownership,
}

#[derive(Debug)]
enum Ownership {
    /// Drop stops the nodes; the folder goes too when it was made for this cluster.
    Owned { watchdog: Watchdog, remove_dir: bool },
    /// The nodes live on.
    Lent,
}

/// Nodes started in this call, with the length of their logs before.
type Launch = BTreeMap<u16, u64>;

impl KafkaCluster {
    /// Starts a cluster and returns when every broker answers and knows all the others.
    ///
    /// # Errors
    /// [`KafkaError::is_missing_prerequisite`] holds when this machine cannot run Kafka; anything
    /// else is a failure, with the end of the log in it.
    pub fn start(options: &KafkaOptions) -> Result<Self, KafkaError> {
        options.check()?;
        let installation = install(&options.release)?;
        let mut attempt = 1;
        loop {
            match Self::start_once(options, installation.clone()) {
                Err(KafkaError::NodeEnded { tail, .. })
                    if options.base_port.is_none()
                        && attempt < PORT_ATTEMPTS
                        && tail.contains("Address already in use") =>
                {
                    attempt += 1;
                }
                other => return other,
            }
        }
    }

    fn start_once(options: &KafkaOptions, installation: Installation) -> Result<Self, KafkaError> {
        let dir = prepare_dir(options.dir.as_deref())?;
        let mut state = ClusterState::plan(&installation.version, options, &dir)?;
        if options.secure {
            state.credentials = Some(Credentials::create(&dir)?);
        }
        let watchdog = Watchdog::start(&dir)?;
        let ownership = Ownership::Owned { watchdog, remove_dir: options.dir.is_none() };
        let ready_timeout = options.ready_timeout;
        let children = BTreeMap::new();
        let mut cluster = Self { dir, state, installation, ready_timeout, children, ownership };
        cluster.format(&options.properties)?;
        let everyone: Vec<u16> = (1..=options.nodes).collect();
        cluster.launch_and_wait(&everyone)?;
        cluster.grant()?;
        Ok(cluster)
    }

    /// Takes a view of the cluster in `dir` that another process started; dropping it stops nothing.
    ///
    /// # Errors
    /// No cluster there.
    pub fn attach(dir: &Path) -> Result<Self, KafkaError> {
        let dir = std::path::absolute(dir).map_err(KafkaError::io("resolving", dir))?;
        let state = ClusterState::read(&dir)?;
        let installation = Installation::open(&state.version);
        let ready_timeout = KafkaOptions::default().ready_timeout;
        let (children, ownership) = (BTreeMap::new(), Ownership::Lent);
        Ok(Self { dir, state, installation, ready_timeout, children, ownership })
    }

    /// Lets the processes outlive this value and this process.
    pub fn detach(mut self) {
        // The watchdog ends here, with an empty list.
        self.ownership = Ownership::Lent;
    }

    /// `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.state.bootstrap
    }

    /// Users and certificates; `None` when the cluster is not secured.
    #[must_use]
    pub fn credentials(&self) -> Option<&Credentials> {
        self.state.credentials.as_ref()
    }

    /// What `state.json` says.
    #[must_use]
    pub fn state(&self) -> &ClusterState {
        &self.state
    }

    /// The node ids whose processes run.
    #[must_use]
    pub fn running(&self) -> Vec<u16> {
        self.state.nodes.iter().filter(|node| is_alive(node)).map(|node| node.id).collect()
    }

    /// The log of a node.
    ///
    /// # Errors
    /// No such node.
    pub fn log(&self, id: u16) -> Result<PathBuf, KafkaError> {
        Ok(self.node(id)?.log())
    }

    /// Kills a node at once (SIGKILL) and waits for its end.
    ///
    /// # Errors
    /// No such node, or the process does not end.
    pub fn kill(&mut self, id: u16) -> Result<(), KafkaError> {
        self.end(id, Signal::Kill)
    }

    /// Stops a node in order (SIGTERM: it hands over its partitions) and waits for its end.
    ///
    /// # Errors
    /// No such node, or the process does not end.
    pub fn stop(&mut self, id: u16) -> Result<(), KafkaError> {
        self.end(id, Signal::Terminate)
    }

    /// Freezes a node (SIGSTOP): its connections stay open and silent.
    ///
    /// # Errors
    /// No such node.
    pub fn freeze(&mut self, id: u16) -> Result<(), KafkaError> {
        process::signal(self.node(id)?, Signal::Stop)
    }

    /// Lets a frozen node go on.
    ///
    /// # Errors
    /// No such node.
    pub fn thaw(&mut self, id: u16) -> Result<(), KafkaError> {
        process::signal(self.node(id)?, Signal::Continue)
    }

    /// Starts a node again, killing it first if it runs, and waits until it serves.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart(&mut self, id: u16) -> Result<(), KafkaError> {
        self.restart_many(&[id])
    }

    /// Restarts several nodes at once: a majority must run before any of them can serve.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn restart_many(&mut self, ids: &[u16]) -> Result<(), KafkaError> {
        for &id in ids {
            self.kill(id)?;
        }
        self.launch_and_wait(ids)
    }

    /// Runs one of Kafka's own programs, for example `org.apache.kafka.tools.TopicCommand`, and
    /// returns its output. Address and credentials are added to `…Command` classes.
    ///
    /// # Errors
    /// The program failed; the end of its output is in the error.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> Result<String, KafkaError> {
        let arguments = tool::with_address(&self.state, class, arguments);
        tool::run(&self.installation.tools_class_path(), class, &arguments)
    }

    /// As [`Self::tool`], on this process's terminal; returns whether the program succeeded.
    ///
    /// # Errors
    /// Java could not be started.
    pub fn tool_in_terminal(&self, class: &str, arguments: &[&str]) -> Result<bool, KafkaError> {
        let arguments = tool::with_address(&self.state, class, arguments);
        tool::run_in_terminal(&self.installation.tools_class_path(), class, &arguments)
    }

    /// Kills all nodes and removes the cluster's folder.
    ///
    /// # Errors
    /// A process that does not end, or a folder that cannot be removed.
    pub fn down(mut self) -> Result<(), KafkaError> {
        self.kill_all()?;
        std::fs::remove_dir_all(&self.dir).or_else(absent_is_fine("removing", &self.dir))
    }

    fn node(&self, id: u16) -> Result<&NodeState, KafkaError> {
        let nodes = u16::try_from(self.state.nodes.len()).unwrap_or(u16::MAX);
        let unknown = || KafkaError::UnknownNode { node: id, nodes, dir: self.dir.clone() };
        self.state.nodes.iter().find(|node| node.id == id).ok_or_else(unknown)
    }

    /// Writes the properties and formats the data folders, all nodes at the same time.
    fn format(&self, extra: &[(String, String)]) -> Result<(), KafkaError> {
        let quorum: Vec<String> = self
            .state
            .nodes
            .iter()
            .map(|node| format!("{}@127.0.0.1:{}:{}", node.id, node.controller_port, node.directory_id))
            .collect();
        let quorum = quorum.join(",");
        std::thread::scope(|scope| {
            let nodes = self.state.nodes.iter();
            let workers: Vec<_> = nodes.map(|node| scope.spawn(|| self.format_node(node, &quorum, extra))).collect();
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    fn format_node(&self, node: &NodeState, quorum: &str, extra: &[(String, String)]) -> Result<(), KafkaError> {
        std::fs::create_dir_all(&node.dir).map_err(KafkaError::io("creating", &node.dir))?;
        let path = node.properties();
        std::fs::write(&path, server_properties(&self.state, node, extra)).map_err(KafkaError::io("writing", &path))?;
        let properties = path.display().to_string();
        let mut arguments: Vec<String> = [
            "format",
            "--cluster-id",
            &self.state.cluster_id,
            "--config",
            &properties,
            "--initial-controllers",
            quorum,
        ]
        .map(str::to_owned)
        .into();
        if let Some(credentials) = &self.state.credentials {
            arguments.extend(credentials.format_arguments());
        }
        let class_path = self.installation.broker_class_path();
        tool::run(&class_path, "kafka.tools.StorageTool", &arguments).map(drop)
    }

    fn launch_and_wait(&mut self, ids: &[u16]) -> Result<(), KafkaError> {
        let mut launch = Launch::new();
        for &id in ids {
            let node = self.node(id)?;
            let log_bytes = std::fs::metadata(node.log()).map_or(0, |metadata| metadata.len());
            let child = process::spawn_node(&self.installation, node, self.state.as_shipped)?;
            let pid = child.id();
            self.children.insert(id, child);
            self.set_pid(id, Some(pid))?;
            launch.insert(id, log_bytes);
        }
        self.wait_until_ready(&launch)
    }

    fn wait_until_ready(&mut self, launch: &Launch) -> Result<(), KafkaError> {
        let started = Instant::now();
        loop {
            self.notice_ended(launch)?;
            let Some(missing) = self.missing(launch) else {
                return Ok(());
            };
            let waited = started.elapsed();
            if waited > self.ready_timeout {
                return Err(KafkaError::NotReady { waited, missing, dir: self.dir.clone() });
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }

    fn notice_ended(&mut self, launch: &Launch) -> Result<(), KafkaError> {
        for &node in launch.keys() {
            let child = self.children.get_mut(&node);
            if child.is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_some())) {
                let log = self.log(node)?;
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(KafkaError::NodeEnded { node, log, tail: tail(&text, 15) });
            }
        }
        Ok(())
    }

    /// What is still to come: a started node that does not report readiness, or (where a probe
    /// needs no login) a running broker that does not know all running ones.
    fn missing(&self, launch: &Launch) -> Option<String> {
        for (&id, &log_bytes) in launch {
            let node = self.node(id).ok()?;
            if !log_says_started(node, log_bytes) {
                return Some(format!("node {id} has not reported its start"));
            }
        }
        if self.state.credentials.is_some() {
            return None;
        }
        let running = self.running();
        let expected: BTreeSet<i32> = running.iter().copied().map(i32::from).collect();
        running.iter().find_map(|&id| match probe::known_brokers(self.node(id).ok()?.client_port) {
            Ok(known) if known.is_superset(&expected) => None,
            Ok(known) => Some(format!("node {id} knows the brokers {known:?} only")),
            Err(error) => Some(format!("node {id} does not answer: {error}")),
        })
    }

    /// Gives alice her rights; the login this takes also proves that the secured path works.
    fn grant(&self) -> Result<(), KafkaError> {
        let Some(credentials) = &self.state.credentials else {
            return Ok(());
        };
        let lists = credentials.acl_arguments();
        std::thread::scope(|scope| {
            let workers = lists.map(|list| {
                scope.spawn(move || {
                    let list: Vec<&str> = list.iter().map(String::as_str).collect();
                    self.tool(tool::acl_command(&self.state.version), &list).map(drop)
                })
            });
            workers
                .into_iter()
                .try_for_each(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        })
    }

    fn set_pid(&mut self, id: u16, pid: Option<u32>) -> Result<(), KafkaError> {
        if let Some(node) = self.state.nodes.iter_mut().find(|node| node.id == id) {
            node.pid = pid;
        }
        if let Ownership::Owned { watchdog, .. } = &self.ownership {
            watchdog.watch(&self.state.nodes)?;
        }
        self.state.write(&self.dir)
    }

    fn end(&mut self, id: u16, signal: Signal) -> Result<(), KafkaError> {
        process::signal(self.node(id)?, signal)?;
        let started = Instant::now();
        while self.is_up(id)? {
            let waited = started.elapsed();
            if waited > STOP_TIMEOUT {
                let missing = format!("node {id} still runs");
                return Err(KafkaError::NotReady { waited, missing, dir: self.dir.clone() });
            }
            std::thread::sleep(POLL_INTERVAL / 5);
        }
        self.children.remove(&id);
        self.set_pid(id, None)
    }

    /// Whether the process runs or the kernel has not yet closed its sockets.
    fn is_up(&mut self, id: u16) -> Result<bool, KafkaError> {
        Ok(self.process_runs(id)? || probe::is_open(self.node(id)?.client_port))
    }

    fn process_runs(&mut self, id: u16) -> Result<bool, KafkaError> {
        if let Some(child) = self.children.get_mut(&id) {
            // Also takes the exit status, without which a killed child stays a zombie.
            return child
                .try_wait()
                .map(|status| status.is_none())
                .map_err(KafkaError::io("waiting for the node in", &self.dir));
        }
        Ok(is_alive(self.node(id)?))
    }

    fn kill_all(&mut self) -> Result<(), KafkaError> {
        let ids: Vec<u16> = self.state.nodes.iter().map(|node| node.id).collect();
        ids.into_iter().try_for_each(|id| self.kill(id))
    }
}

impl Drop for KafkaCluster {
    fn drop(&mut self) {
        let Ownership::Owned { remove_dir, .. } = self.ownership else {
            return;
        };
        if let Err(error) = self.kill_all() {
            eprintln!("stopping the cluster in {:?}: {error}", self.dir);
        }
        // The logs of a failed test are worth keeping.
        if remove_dir && !std::thread::panicking() {
            let _ = std::fs::remove_dir_all(&self.dir);
        }
    }
}

fn is_alive(node: &NodeState) -> bool {
    node.pid.is_some_and(|pid| process::is_running(pid, &node.properties()))
}

fn log_says_started(node: &NodeState, from_byte: u64) -> bool {
    let log = std::fs::read(node.log()).unwrap_or_default();
    let from = usize::try_from(from_byte).unwrap_or(usize::MAX);
    let fresh = String::from_utf8_lossy(log.get(from..).unwrap_or_default());
    fresh.contains("Kafka Server started")
}

/// An empty folder for the cluster; what an earlier, stopped one left there is removed.
fn prepare_dir(wanted: Option<&Path>) -> Result<PathBuf, KafkaError> {
    let harness = workspace::root().join(".harness");
    let Some(wanted) = wanted else {
        std::fs::create_dir_all(&harness).map_err(KafkaError::io("creating", &harness))?;
        let temporary = tempfile::Builder::new().prefix("kafka-").tempdir_in(&harness);
        return temporary.map(tempfile::TempDir::keep).map_err(KafkaError::io("creating", harness));
    };
    let dir = std::path::absolute(wanted).map_err(KafkaError::io("resolving", wanted))?;
    match KafkaCluster::attach(&dir) {
        Ok(present) if !present.running().is_empty() => {
            return Err(KafkaError::AlreadyRunning { dir });
        }
        Ok(_) => std::fs::remove_dir_all(&dir).map_err(KafkaError::io("removing", &dir))?,
        Err(KafkaError::NoCluster { .. }) => {}
        Err(other) => return Err(other),
    }
    std::fs::create_dir_all(&dir).map_err(KafkaError::io("creating", &dir))?;
    Ok(dir)
}
