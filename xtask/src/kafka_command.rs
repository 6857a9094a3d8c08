//! `cargo xtask kafka …`.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, Subcommand};
use xtask::kafka::{ClusterState, KafkaCluster, KafkaOptions, KafkaRelease};
use xtask::workspace;

#[derive(Subcommand)]
pub(crate) enum KafkaTask {
    /// Start a cluster and wait until it serves.
    Up(UpArguments),
    /// Kill the cluster's processes and remove its folder.
    Down(Place),
    /// Kill a node at once (SIGKILL).
    Kill(OneNode),
    /// Stop a node in order (SIGTERM).
    Stop(OneNode),
    /// Start nodes again (several at once where a majority is down) and wait until they serve.
    Restart {
        /// Node ids, from 1.
        #[arg(required = true)]
        nodes: Vec<u16>,
        #[command(flatten)]
        place: Place,
    },
    /// Print a node's log.
    Logs(OneNode),
    /// Print the addresses, nodes and users.
    Status {
        /// Print the state file.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Run one of Kafka's programs, for example `tool -- org.apache.kafka.tools.TopicCommand --list`.
    Tool {
        #[command(flatten)]
        place: Place,
        /// Main class and its arguments; address and credentials are added to `…Command` classes.
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

#[derive(Args)]
pub(crate) struct UpArguments {
    /// Combined broker and controller nodes.
    #[arg(long, default_value_t = 1)]
    nodes: u16,
    /// TLS, SCRAM users (admin, alice, mallory) and ACLs.
    #[arg(long)]
    secure: bool,
    /// Java's heap and collector as Kafka's own start script sets them, for measurements; otherwise small.
    #[arg(long)]
    as_shipped: bool,
    /// 4.x (the newest), 3.9, or an exact version.
    #[arg(long, default_value = "4.x")]
    version: KafkaRelease,
    /// Client ports are BASE+1, BASE+2, …; free ports otherwise.
    #[arg(long)]
    base_port: Option<u16>,
    /// A further broker property, NAME=VALUE; may be repeated.
    #[arg(long = "set", value_parser = parse_property)]
    properties: Vec<(String, String)>,
    #[command(flatten)]
    place: Place,
}

#[derive(Args)]
pub(crate) struct Place {
    /// The cluster's folder, relative to the workspace root.
    #[arg(long, default_value = ".harness/kafka")]
    dir: PathBuf,
}

#[derive(Args)]
pub(crate) struct OneNode {
    /// Node id, from 1.
    node: u16,
    #[command(flatten)]
    place: Place,
}

impl Place {
    fn path(&self) -> PathBuf {
        workspace::root().join(&self.dir)
    }

    fn attach(&self) -> Result<KafkaCluster> {
        Ok(KafkaCluster::attach(&self.path())?)
    }
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

pub(crate) fn run(task: KafkaTask) -> Result<()> {
    match task {
        KafkaTask::Up(arguments) => up(arguments),
        KafkaTask::Down(place) => Ok(place.attach()?.down()?),
        KafkaTask::Kill(one) => Ok(one.place.attach()?.kill(one.node)?),
        KafkaTask::Stop(one) => Ok(one.place.attach()?.stop(one.node)?),
        KafkaTask::Restart { nodes, place } => restart(&nodes, &place),
        KafkaTask::Logs(one) => logs(&one),
        KafkaTask::Status { json, place } => status(&place, json),
        KafkaTask::Tool { place, command } => tool(&place, &command),
    }
}

fn up(arguments: UpArguments) -> Result<()> {
    let started = Instant::now();
    eprintln!("starting {} node(s) in {}", arguments.nodes, arguments.place.dir.display());
    let cluster = KafkaCluster::start(&KafkaOptions {
        nodes: arguments.nodes,
        release: arguments.version,
        secure: arguments.secure,
        as_shipped: arguments.as_shipped,
        dir: Some(arguments.place.path()),
        base_port: arguments.base_port,
        properties: arguments.properties,
        ..KafkaOptions::default()
    })?;
    let state = cluster.state().clone();
    cluster.detach();
    eprintln!("Kafka {} ready after {:.1} s", state.version, started.elapsed().as_secs_f64());
    print_status(&state, &(1..=arguments.nodes).collect::<Vec<_>>());
    Ok(())
}

fn restart(nodes: &[u16], place: &Place) -> Result<()> {
    let started = Instant::now();
    let mut cluster = place.attach()?;
    cluster.restart_many(nodes)?;
    eprintln!("ready after {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

fn logs(one: &OneNode) -> Result<()> {
    let path = one.place.attach()?.log(one.node)?;
    let mut log = std::fs::File::open(&path).with_context(|| format!("opening {path:?}"))?;
    std::io::copy(&mut log, &mut std::io::stdout()).context("printing the log")?;
    Ok(())
}

fn status(place: &Place, json: bool) -> Result<()> {
    let cluster = place.attach()?;
    if json {
        println!("{}", serde_json::to_string(cluster.state())?);
    } else {
        print_status(cluster.state(), &cluster.running());
    }
    Ok(())
}

/// Written in one piece: a reader such as `head -1` may go away after the first line.
fn print_status(state: &ClusterState, running: &[u16]) {
    let mut lines = vec![format!("bootstrap.servers={}", state.bootstrap)];
    for node in &state.nodes {
        let condition = match (running.contains(&node.id), node.pid) {
            (true, Some(pid)) => format!("running as process {pid}"),
            _ => "down".to_owned(),
        };
        lines.push(format!("node {}: 127.0.0.1:{} {condition}", node.id, node.client_port));
    }
    if let Some(credentials) = &state.credentials {
        for user in [&credentials.admin, &credentials.alice, &credentials.mallory] {
            let options: Vec<String> =
                user.librdkafka().iter().map(|(name, value)| format!("-X {name}={value}")).collect();
            lines.push(format!("{}: {}", user.name, options.join(" ")));
        }
    }
    println!("{}", lines.join("\n"));
}

fn tool(place: &Place, command: &[String]) -> Result<()> {
    let (class, arguments) = command.split_first().context("name the main class")?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let succeeded = place.attach()?.tool_in_terminal(class, &arguments)?;
    ensure!(succeeded, "{class} failed");
    Ok(())
}
