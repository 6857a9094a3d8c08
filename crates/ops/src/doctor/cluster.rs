//! Rights, topics, copies and disk.

use super::connect::count;
use super::finding::of_text;
use super::{DoctorConfig, Finding, Severity};
use crate::disk::{DiskSource, DiskUsage};
use crate::size::bytes;
use lumenbus_bus::rights::{Needs, Right, Verdict, rights};
use lumenbus_bus::status::{ClusterStatus, PartitionStatus, TopicStatus};
use lumenbus_bus::topics::{ActualTopic, Cluster, Drift, DriftKind, check, plan};
use lumenbus_bus::{BusConfig, BusError};
use lumenbus_frame::TopicName;
use std::collections::BTreeMap;

/// Topics that carry frames.
pub(super) const FRAME_TOPICS: [&str; 3] = ["raw_images", "raw_video", "raw_pixels"];
/// Less than this many days of disk are worth telling.
const FEW_DAYS: f64 = 2.0;

pub(super) fn of_error(code: &str, error: &BusError) -> Finding {
    of_text(Severity::Warning, code, &error.to_string())
}

/// Every operation that publishing and reading need.
pub(super) fn permitted(config: &DoctorConfig) -> Vec<Finding> {
    let topics: Vec<TopicName> = FRAME_TOPICS.map(|base| config.bus.topic_prefix.topic(base)).to_vec();
    let mut needs = Needs::default();
    needs.writes.clone_from(&topics);
    needs.reads = topics;
    needs.group = Some(config.group.clone());
    match rights(&config.bus, &needs) {
        Ok(found) => right_findings(&found),
        Err(error) => vec![of_error("rights", &error)],
    }
}

fn right_findings(rights: &[Right]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let is_unknown = |right: &&Right| matches!(right.verdict, Verdict::Unknown { .. });
    for right in rights {
        if let Verdict::Denied { code } = &right.verdict {
            let what = format!("{} {} is denied ({code})", right.operation, right.resource);
            let severity = if right.is_optional { Severity::Warning } else { Severity::Error };
            let finding = Finding::new(severity, "rights.denied", what);
            let finding = finding.because(format!("it is needed for {}", right.needed_for));
            findings.push(finding.remedy(format!("ask the operator for: kafka-acls.sh {}", right.acl)));
        }
    }
    for (why, rights) in by_reason(rights.iter().filter(is_unknown)) {
        findings.push(Finding::note("rights.unknown", format!("not found out: {}", rights.join(", "))).because(why));
    }
    let allowed: Vec<_> = rights.iter().filter(|right| right.verdict == Verdict::Allowed).collect();
    if !allowed.is_empty() {
        let names: Vec<_> = allowed.iter().map(|right| format!("{} {}", right.operation, right.resource)).collect();
        findings.push(Finding::ok("rights.allowed", format!("permitted: {}", names.join(", "))));
    }
    findings
}

fn by_reason<'a>(rights: impl Iterator<Item = &'a Right>) -> BTreeMap<String, Vec<String>> {
    let mut reasons = BTreeMap::<String, Vec<String>>::new();
    for right in rights {
        if let Verdict::Unknown { why } = &right.verdict {
            reasons.entry(why.clone()).or_default().push(format!("{} {}", right.operation, right.resource));
        }
    }
    reasons
}

/// Topics as they are, for the checks of settings and of copies.
pub(super) fn topics(config: &DoctorConfig) -> (Vec<Finding>, BTreeMap<String, ActualTopic>) {
    let found = Cluster::open(&config.bus).and_then(|cluster| {
        let plan = plan(cluster.facts(), &config.bus.topic_prefix, &config.plan);
        let names: Vec<_> = plan.topics.iter().map(|topic| topic.name.as_str()).collect();
        let actual = cluster.actual(&names)?;
        let drifts = check(&plan, &actual);
        Ok((drifts, actual))
    });
    match found {
        Ok((drifts, actual)) => (drift_findings(&config.bus, &drifts, actual.len()), actual),
        Err(error) => (vec![of_error("topics", &error)], BTreeMap::new()),
    }
}

fn drift_findings(bus: &BusConfig, drifts: &[Drift], existing: usize) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (missing, different): (Vec<_>, Vec<_>) = drifts.iter().partition(|drift| drift.kind == DriftKind::Missing);
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|drift| drift.topic.as_str()).collect();
        let what = format!("{} not there yet: {}", count(missing.len(), "topic"), names.join(", "));
        findings.push(if bus.keeps_topics_as_they_are {
            Finding::warning("topics.missing", what)
                .because("topics.create=false")
                .remedy("give the output of `lumenbus topics plan` to the operator")
        } else {
            Finding::note("topics.missing", what)
                .because("publishers create the topics that they need")
                .remedy("`lumenbus topics apply` creates them now")
        });
    }
    for drift in &different {
        let what = format!(
            "{}: {} is {}, planned {}",
            drift.topic,
            drift.kind.what(),
            drift.kind.actual(),
            drift.kind.planned()
        );
        let severity = match &drift.kind {
            // A choice of the operator's, which readers and publishers follow.
            DriftKind::Partitions { .. } => Severity::Note,
            DriftKind::Setting { name, .. } if name.starts_with("retention") || name.starts_with("segment") => {
                Severity::Note
            }
            _ => Severity::Warning,
        };
        findings.push(Finding::new(severity, "topics.differ", what).remedy(drift.remedy.clone()));
    }
    if different.is_empty() && existing > 0 {
        findings.push(Finding::ok("topics.settings", format!("{} as planned", count(existing, "topic"))));
    }
    findings
}

/// Leaders, copies in sync, and how many of them an acknowledgement needs.
pub(super) fn copies(status: &ClusterStatus, actual: &BTreeMap<String, ActualTopic>) -> Vec<Finding> {
    let mut findings = Vec::new();
    for topic in &status.topics {
        findings.extend(topic_copies(topic, actual.get(&topic.name)));
    }
    let partitions: usize = status.topics.iter().map(|topic| topic.partitions.len()).sum();
    if findings.is_empty() && partitions > 0 {
        findings.push(Finding::ok(
            "isr",
            format!("all {partitions} partitions have a leader and all their copies in sync"),
        ));
    }
    let copies = status.topics.iter().map(TopicStatus::replication).min();
    if copies == Some(1) {
        let finding = Finding::note("replication", "every frame is on one broker only");
        findings.push(
            finding
                .because("one copy: a broken disk loses what it holds")
                .remedy("a cluster of three brokers keeps three copies; `lumenbus size` says what it needs"),
        );
    }
    findings
}

fn topic_copies(topic: &TopicStatus, actual: Option<&ActualTopic>) -> Vec<Finding> {
    let (offline, lacking) = (topic.offline_partitions(), topic.under_replicated_partitions());
    let mut findings = Vec::new();
    if offline > 0 {
        let what = format!("{offline} of {} partitions of {} have no leader", topic.partitions.len(), topic.name);
        findings.push(
            Finding::error("isr.offline", what)
                .because("their cameras cannot be published or read")
                .remedy("start the brokers that hold them"),
        );
    }
    let needed =
        actual.and_then(|actual| actual.configs.get("min.insync.replicas")?.parse::<usize>().ok()).unwrap_or(1);
    let stuck = |partition: &&PartitionStatus| partition.leader.is_some() && partition.in_sync.len() < needed;
    let stuck = topic.partitions.iter().filter(stuck).count();
    if stuck > 0 {
        let what =
            format!("{stuck} partitions of {} have fewer copies in sync than min.insync.replicas={needed}", topic.name);
        findings.push(
            Finding::error("isr.min", what)
                .because("with acks=all nothing can be published to them")
                .remedy("start the brokers that are away"),
        );
    } else if lacking > 0 {
        let what = format!("{lacking} of {} partitions of {} lack copies", topic.partitions.len(), topic.name);
        findings.push(
            Finding::warning("isr.under_replicated", what)
                .because("one more broker away stops publishing or loses frames")
                .remedy("look for a broker that is away, slow or out of disk"),
        );
    }
    findings
}

/// What the disks hold, and for how long they last.
#[expect(clippy::cast_precision_loss, reason = "sizes for people")]
pub(super) fn disk(usage: &DiskUsage) -> Vec<Finding> {
    let source = match usage.source {
        DiskSource::Own => "",
        DiskSource::Estimate => " (an estimate from offsets and mean record sizes, all copies)",
    };
    let mut what = format!("our topics hold {}{source}", bytes(usage.used_bytes() as f64));
    if let Some(rate) = usage.bytes_per_second() {
        what.push_str(&format!(", {} come a day", bytes(rate * 86_400.0)));
    }
    let Some(free) = usage.free_bytes else {
        let finding = Finding::note("disk", what).because("a cluster does not tell its clients how much is free");
        return vec![
            finding.remedy("pass --free SIZE, or --data DIR for the embedded broker, to learn how long it lasts"),
        ];
    };
    what.push_str(&format!(", {} are free", bytes(free as f64)));
    match usage.days_left() {
        Some(days) if days < FEW_DAYS => vec![
            Finding::warning("disk", format!("{what}: full in {days:.1} days"))
                .because("the embedded broker then deletes the oldest segments; Kafka's stop")
                .remedy("keep less long (`lumenbus topics plan --retention 12h`), or add disk; see `lumenbus size`"),
        ],
        Some(days) => vec![Finding::ok("disk", format!("{what}: full in {days:.0} days"))],
        None if usage.bytes_per_second().is_some_and(|rate| rate > 0.0) => {
            vec![Finding::ok("disk", format!("{what}: retention ends the growth before the disk is full"))]
        }
        None => vec![Finding::ok("disk", format!("{what}; nothing comes in at present"))],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::TopicDisk;

    fn held(free: Option<u64>) -> DiskUsage {
        let topic = TopicDisk { used_bytes: 1_000_000, bytes_per_second: Some(1e6), retention_seconds: None };
        DiskUsage {
            topics: BTreeMap::from([("raw_video".to_owned(), topic)]),
            free_bytes: free,
            ..DiskUsage::default()
        }
    }

    #[test]
    fn a_disk_that_is_soon_full_is_a_problem() {
        let finding = &disk(&held(Some(86_400_000_000)))[0];
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.what.ends_with("86.4 GB come a day, 86.4 GB are free: full in 1.0 days"), "{}", finding.what);
        assert_eq!(disk(&held(Some(u64::MAX)))[0].severity, Severity::Ok);
        assert_eq!(disk(&held(None))[0].severity, Severity::Note);
    }

    #[test]
    fn a_missing_topic_is_a_problem_only_where_nobody_may_create_it() {
        let drift = Drift { topic: "raw_video".to_owned(), kind: DriftKind::Missing, remedy: String::new() };
        let mut bus = BusConfig::new("x:1");
        assert_eq!(drift_findings(&bus, std::slice::from_ref(&drift), 0)[0].severity, Severity::Note);
        bus.keeps_topics_as_they_are = true;
        assert_eq!(drift_findings(&bus, &[drift], 0)[0].severity, Severity::Warning);
    }
}
