//! What is wrong, why, and what to do: reachability, protocol, TLS, rights, topics, copies, clocks, disk, latency.
//!
//! Nothing is written, joined or committed. Each part goes on when another could not be asked.

mod clocks;
mod cluster;
mod connect;
mod finding;
mod protocol;
mod tls;

pub use finding::{Finding, Severity};
pub(crate) use tls::SYSTEM_CAS;

use crate::budget::{Budget, Line, Traffic, When, budget, millis};
use crate::disk::{DiskUsage, OwnDisk};
use crate::watch::Rates;
use lumenbus_bus::BusConfig;
use lumenbus_bus::status::{ClusterStatus, StatusConfig, StatusReader};
use lumenbus_bus::topics::PlanOptions;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// A setting that adds more than this wants to be changed; below it is worth knowing.
const MUCH_MILLIS: f64 = 20.0;

/// What to look at.
#[derive(Debug, Clone)]
pub struct DoctorConfig {
    /// The effective configuration.
    pub bus: BusConfig,
    /// The topics as they should be.
    pub plan: PlanOptions,
    /// The consumer group whose rights are looked at.
    pub group: String,
    /// For the latency budget.
    pub traffic: Traffic,
    /// What the settings together may add, in milliseconds.
    pub budget_millis: f64,
    /// How long frames are listened to, for clocks and rates.
    pub sample: Duration,
    /// The embedded broker's data folder, where it is this machine's.
    pub data: Option<PathBuf>,
    /// Bytes that are free on the brokers' disks, where somebody knows.
    pub free_bytes: Option<u64>,
    /// Whether this program's H.264 code has its assembly; `None` where there is none or nobody knows.
    pub has_h264_assembly: Option<bool>,
    /// The system's FFmpeg that this program is linked with, if any.
    pub system_ffmpeg: Option<SystemFfmpeg>,
    /// The Kafka client's name and version.
    pub client: String,
}

impl DoctorConfig {
    /// The usual look at this cluster.
    #[must_use]
    pub fn new(bus: BusConfig) -> Self {
        Self {
            bus,
            plan: PlanOptions::default(),
            group: "lumenbus-doctor".to_owned(),
            traffic: Traffic::default(),
            budget_millis: 50.0,
            sample: Duration::from_secs(2),
            data: None,
            free_bytes: None,
            has_h264_assembly: None,
            system_ffmpeg: None,
            client: "librdkafka".to_owned(),
        }
    }
}

/// A library that a build may be linked with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemFfmpeg {
    /// As it calls itself.
    pub version: String,
    /// What it is under.
    pub license: String,
}

/// Everything that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Diagnosis {
    /// In the order of the examination.
    pub findings: Vec<Finding>,
    /// Whether the cluster answered.
    pub is_reachable: bool,
    /// The latency budget.
    pub budget: Budget,
}

impl Diagnosis {
    /// How many findings want something done.
    #[must_use]
    pub fn problems(&self) -> usize {
        self.findings.iter().filter(|finding| finding.severity.is_problem()).count()
    }
}

/// Looks at everything; `on_finding` hears each finding as it is made. Takes seconds.
#[must_use]
pub fn diagnose(config: &DoctorConfig, mut on_finding: impl FnMut(&Finding)) -> Diagnosis {
    let mut findings = Vec::new();
    let mut tell = |more: Vec<Finding>| {
        more.iter().for_each(&mut on_finding);
        findings.extend(more);
    };
    let (reached, facts) = connect::reach(&config.bus);
    tell(reached);
    match &facts {
        Some(facts) => {
            tell(connect::each_broker(&config.bus, facts, &config.client));
            tell(cluster::permitted(config));
            let (topics, actual) = cluster::topics(config);
            tell(topics);
            tell(watched(config, &actual));
        }
        None => tell(connect::tls_of_bootstrap(&config.bus)),
    }
    tell(assembly(config.has_h264_assembly));
    tell(config.system_ffmpeg.as_ref().map(ffmpeg).into_iter().collect());
    let budget = budget(&config.bus, config.traffic);
    tell(budget_findings(&budget, config.budget_millis));
    Diagnosis { findings, is_reachable: facts.is_some(), budget }
}

/// Copies, clocks and disk: what is seen of the cluster before and after a while of listening.
fn watched(
    config: &DoctorConfig,
    actual: &std::collections::BTreeMap<String, lumenbus_bus::topics::ActualTopic>,
) -> Vec<Finding> {
    let mut reader = match StatusReader::open(StatusConfig::new(config.bus.clone())) {
        Ok(reader) => reader,
        Err(error) => return vec![cluster::of_error("cluster", &error)],
    };
    let before = match reader.cluster() {
        Ok(status) => status,
        Err(error) => return vec![cluster::of_error("cluster", &error)],
    };
    let mut findings = cluster::copies(&before, actual);
    let existing: BTreeSet<String> = before.topics.iter().map(|topic| topic.name.clone()).collect();
    findings.extend(clocks::clocks(config, &existing));
    findings.extend(disk(config, &mut reader, &before));
    findings
}

fn disk(config: &DoctorConfig, reader: &mut StatusReader, before: &ClusterStatus) -> Vec<Finding> {
    let mut usage = DiskUsage::default();
    let mut rates = Rates::default();
    rates.add(&config.bus, before, &[], &mut usage);
    let after = match reader.cluster() {
        Ok(status) => status,
        Err(error) => return vec![cluster::of_error("disk", &error)],
    };
    let usages = reader.usage(&after);
    let mut usage = match &config.data {
        Some(data) => DiskUsage::own(&OwnDisk::of(data)),
        None => DiskUsage::estimate(&usages),
    };
    rates.add(&config.bus, &after, &usages, &mut usage);
    usage.free_bytes = config.free_bytes.or(usage.free_bytes);
    cluster::disk(&usage)
}

fn ffmpeg(ffmpeg: &SystemFfmpeg) -> Finding {
    let SystemFfmpeg { version, license } = ffmpeg;
    Finding::new(
        Severity::Note,
        "build.ffmpeg",
        format!("this program is linked with FFmpeg {version}, under {license}"),
    )
    .because("a program that is linked with it is as a whole under that licence, which counts for whoever passes it on")
}

fn assembly(has_h264_assembly: Option<bool>) -> Vec<Finding> {
    match has_h264_assembly {
        None => Vec::new(),
        Some(true) => vec![Finding::ok("build.nasm", "the H.264 codec has its assembly")],
        // Nothing is wrong: who passes coded frames through never needs it.
        Some(false) => vec![
            Finding::new(Severity::Note, "build.nasm", "the H.264 codec was built without its assembly")
                .because(
                    "nasm was not there when it was built; encoding and decoding take several times the processor time",
                )
                .remedy(
                    "where H.264 is encoded or decoded: install nasm (`apt-get install nasm`), then `cargo clean -p \
                     openh264-sys2`, whose build does not look for it again, and build anew",
                ),
        ],
    }
}

/// One finding a line that costs or gives something, and the sum.
fn budget_findings(budget: &Budget, allowed: f64) -> Vec<Finding> {
    let mut findings: Vec<Finding> = budget.lines.iter().map(line_finding).collect();
    let what = format!("the settings add {} of {} allowed", millis(budget.always_millis), millis(allowed));
    findings.push(if budget.always_millis <= allowed {
        Finding::ok("latency.budget", what)
    } else {
        Finding::warning("latency.budget", what).remedy("follow the lines above, or use --profile realtime")
    });
    findings
}

fn line_finding(line: &Line) -> Finding {
    let code = format!("latency.{}", line.setting.split(['=', ' ']).next().unwrap_or_default());
    let severity = match (&line.advice, line.when) {
        (None, _) => Severity::Ok,
        (Some(_), When::Always) if line.adds_millis >= MUCH_MILLIS => Severity::Warning,
        (Some(_), _) => Severity::Note,
    };
    let finding = Finding::new(severity, &code, line.to_string());
    match &line.advice {
        Some(advice) => finding.remedy(advice.clone()),
        None => finding,
    }
}
