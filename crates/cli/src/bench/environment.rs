//! The broker that is measured: the caller's, or an embedded one as a process of its own.

use crate::settings::Settings;
use anyhow::Context as _;
use lumenbus_bus::{BusConfig, Role, TopicPrefix};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A broker, and names that no other measurement uses.
pub(super) struct Environment {
    pub(super) bus: BusConfig,
    broker: Option<EmbeddedBroker>,
    admin: AdminClient<DefaultClientContext>,
    topics: Vec<String>,
    counter: u32,
}

/// A broker process with its data in memory where that is possible.
pub(super) struct EmbeddedBroker {
    child: Child,
    pub(super) address: String,
    data: tempfile::TempDir,
}

impl EmbeddedBroker {
    pub(super) fn start() -> anyhow::Result<Self> {
        Self::start_in(data_dir())
    }

    fn start_in(data: std::io::Result<tempfile::TempDir>) -> anyhow::Result<Self> {
        let data = data.context("cannot make a folder for the broker's data")?;
        let mut broker = Self { child: spawn(data.path(), "127.0.0.1:0")?, address: String::new(), data };
        broker.address = broker.wait_ready()?;
        Ok(broker)
    }

    fn wait_ready(&mut self) -> anyhow::Result<String> {
        let stdout = self.child.stdout.take().context("the broker has an output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        let ready: serde_json::Value = serde_json::from_str(&line).context("the embedded broker did not start")?;
        Ok(ready["brokers"].as_str().context("the broker says where it is")?.to_owned())
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// As `kill -9`.
    pub(super) fn kill(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// Again on the same data and address.
    pub(super) fn restart(&mut self) -> anyhow::Result<()> {
        self.child = spawn(self.data.path(), &self.address)?;
        self.wait_ready().map(drop)
    }
}

impl Drop for EmbeddedBroker {
    fn drop(&mut self) {
        self.kill();
    }
}

fn spawn(data: &Path, listen: &str) -> anyhow::Result<Child> {
    let binary = std::env::current_exe().context("cannot find this program's file")?;
    let mut command = Command::new(binary);
    command.args(["broker", "--json", "--keep-free", "0%", "--listen", listen, "--data"]).arg(data);
    command.stdout(Stdio::piped()).spawn().context("cannot start an embedded broker")
}

/// Memory rather than a disk whose write-back would be measured too.
fn data_dir() -> std::io::Result<tempfile::TempDir> {
    let memory = Path::new("/dev/shm");
    let builder = || tempfile::Builder::new().prefix("lumenbus-bench-").to_owned();
    if memory.is_dir()
        && let Ok(folder) = builder().tempdir_in(memory)
    {
        return Ok(folder);
    }
    builder().tempdir()
}

impl Environment {
    pub(super) fn open(settings: &Settings) -> anyhow::Result<Self> {
        let broker = if settings.has_brokers { None } else { Some(EmbeddedBroker::start()?) };
        Self::with(settings.bus.clone(), broker)
    }

    /// An embedded broker whose data lies where temporary files do, as another broker's would.
    pub(super) fn on_disk(settings: &Settings) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("lumenbus-bench-").tempdir();
        Self::with(settings.bus.clone(), Some(EmbeddedBroker::start_in(folder)?))
    }

    /// The broker at this address.
    pub(super) fn of(settings: &Settings, address: &str) -> anyhow::Result<Self> {
        Self::with(BusConfig { brokers: address.to_owned(), ..settings.bus.clone() }, None)
    }

    fn with(mut bus: BusConfig, broker: Option<EmbeddedBroker>) -> anyhow::Result<Self> {
        if let Some(broker) = &broker {
            bus.brokers.clone_from(&broker.address);
        } else {
            lumenbus_bus::probe(&bus).map_err(lumenbus_bus::BusError::from)?;
        }
        bus.topic_prefix = TopicPrefix::new(&format!("{}bench-{}.", bus.topic_prefix.as_str(), std::process::id()))?;
        let admin = bus.client_config(Role::Admin).create()?;
        Ok(Self { bus, broker, admin, topics: Vec::new(), counter: 0 })
    }

    pub(super) fn what(&self) -> String {
        let kind = if self.broker.is_some() { "embedded broker" } else { "broker" };
        format!("{kind} at {}, profile {}", self.bus.brokers, self.bus.profile)
    }

    pub(super) fn broker_pid(&self) -> Option<u32> {
        self.broker.as_ref().map(EmbeddedBroker::pid)
    }

    /// A new topic; the ones before it are deleted, so that data stays in memory.
    pub(super) fn topic(&mut self, partitions: i32) -> anyhow::Result<String> {
        self.delete_topics();
        self.counter += 1;
        let name = self.bus.topic_prefix.topic(&format!("run-{}", self.counter)).as_str().to_owned();
        let topic = NewTopic::new(&name, partitions, TopicReplication::Fixed(1))
            .set("message.timestamp.type", "LogAppendTime")
            .set("retention.ms", "600000");
        let made = block_on(self.admin.create_topics([&topic], &admin_options()))?;
        for result in made {
            result.map_err(|(name, error)| anyhow::anyhow!("cannot create the topic {name}: {error}"))?;
        }
        self.topics.push(name.clone());
        Ok(name)
    }

    /// Topics that others make, to be deleted with the rest.
    pub(super) fn adopt(&mut self, topics: impl IntoIterator<Item = String>) {
        self.topics.extend(topics);
    }

    fn delete_topics(&mut self) {
        let names: Vec<_> = self.topics.drain(..).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        if !names.is_empty() {
            // A broker that deletes no topics keeps them for their retention of ten minutes.
            drop(block_on(self.admin.delete_topics(&names, &admin_options())));
        }
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.delete_topics();
    }
}

fn admin_options() -> AdminOptions {
    let timeout = Some(Duration::from_secs(10));
    AdminOptions::new().request_timeout(timeout).operation_timeout(timeout)
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    pollster::block_on(future)
}
