//! Plans and drift as text, for people and for other tools.

use super::check::Drift;
use super::plan::{TopicPlan, TopicSpec};
use lumenbus_frame::UnknownName;
use serde_json::json;
use std::fmt::Write;
use std::str::FromStr;

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Columns for people.
    #[default]
    Table,
    /// One JSON object a topic and line.
    Json,
    /// Commands for `kafka-topics.sh`.
    KafkaTopics,
    /// `KafkaTopic` resources of the Strimzi operator.
    Strimzi,
}

impl FromStr for Format {
    type Err = UnknownName;

    fn from_str(name: &str) -> Result<Self, UnknownName> {
        match name {
            "table" => Ok(Self::Table),
            "json" => Ok(Self::Json),
            "kafka-topics" => Ok(Self::KafkaTopics),
            "strimzi" => Ok(Self::Strimzi),
            _ => Err(UnknownName {
                what: "format",
                name: name.chars().take(64).collect(),
                known: "table, json, kafka-topics, strimzi".to_owned(),
            }),
        }
    }
}

/// A plan as text that ends in a line feed; `brokers` is written into commands.
#[must_use]
pub fn print_plan(plan: &TopicPlan, format: Format, brokers: &str) -> String {
    match format {
        Format::Table => plan_table(plan),
        Format::Json => lines(plan.topics.iter().map(|topic| topic_json(topic).to_string())),
        Format::KafkaTopics => lines(plan.topics.iter().map(|topic| kafka_topics(topic, brokers))),
        Format::Strimzi => plan.topics.iter().map(strimzi).collect(),
    }
}

/// Differences as text that ends in a line feed; formats that are for creating topics print the table.
#[must_use]
pub fn print_drift(drifts: &[Drift], format: Format) -> String {
    if format == Format::Json {
        return lines(drifts.iter().map(|drift| drift_json(drift).to_string()));
    }
    if drifts.is_empty() {
        return "all topics are as planned\n".to_owned();
    }
    let rows = drifts.iter().map(|drift| {
        let kind = &drift.kind;
        [drift.topic.clone(), kind.what().to_owned(), kind.planned(), kind.actual(), drift.remedy.clone()]
    });
    table(["TOPIC", "WHAT", "PLANNED", "ACTUAL", "TO DO"], rows)
}

fn plan_table(plan: &TopicPlan) -> String {
    let rows = plan.topics.iter().map(|topic| {
        let configs: Vec<String> = topic.configs.iter().map(|(name, value)| format!("{name}={value}")).collect();
        [
            topic.name.clone(),
            topic.group.to_string(),
            topic.partitions.to_string(),
            topic.replication.to_string(),
            configs.join(" "),
        ]
    });
    table(["TOPIC", "GROUP", "PARTITIONS", "REPLICAS", "SETTINGS"], rows)
}

fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    let rows: Vec<[String; N]> = std::iter::once(head.map(str::to_owned)).chain(rows).collect();
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    lines(rows.iter().map(|row| {
        let cells: Vec<String> = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    }))
}

fn lines(lines: impl Iterator<Item = String>) -> String {
    lines.map(|line| line + "\n").collect()
}

fn topic_json(topic: &TopicSpec) -> serde_json::Value {
    json!({
        "topic": topic.name,
        "group": topic.group.as_str(),
        "partitions": topic.partitions,
        "replication": topic.replication,
        "configs": topic.configs,
    })
}

fn drift_json(drift: &Drift) -> serde_json::Value {
    json!({
        "topic": drift.topic,
        "what": drift.kind.what(),
        "planned": drift.kind.planned(),
        "actual": drift.kind.actual(),
        "remedy": drift.remedy,
    })
}

/// Names and values are of Kafka's alphabet and need no quotes; the brokers may be anything.
fn kafka_topics(topic: &TopicSpec, brokers: &str) -> String {
    let mut command = format!(
        "kafka-topics.sh --bootstrap-server '{}' --create --if-not-exists --topic {} --partitions {} \
         --replication-factor {}",
        brokers.replace('\'', r"'\''"),
        topic.name,
        topic.partitions,
        topic.replication
    );
    for (name, value) in &topic.configs {
        write!(command, " --config {name}={value}").expect("a string takes everything");
    }
    command
}

/// A Kubernetes name has another alphabet than a topic; `spec.topicName` carries the real one.
fn strimzi(topic: &TopicSpec) -> String {
    let resource = topic.name.to_ascii_lowercase().replace('_', "-");
    let resource = resource.trim_matches(['-', '.']);
    let mut yaml = format!(
        "---\napiVersion: kafka.strimzi.io/v1beta2\nkind: KafkaTopic\nmetadata:\n  name: {resource}\n  labels:\n    \
         strimzi.io/cluster: my-cluster\nspec:\n  topicName: {}\n  partitions: {}\n  replicas: {}\n  config:\n",
        topic.name, topic.partitions, topic.replication
    );
    for (name, value) in &topic.configs {
        writeln!(yaml, "    {name}: {}", yaml_value(value)).expect("a string takes everything");
    }
    yaml
}

/// Numbers and booleans as they are, as Strimzi's own examples write them.
fn yaml_value(value: &str) -> String {
    let is_plain = value.parse::<i64>().is_ok() || value == "true" || value == "false";
    if is_plain { value.to_owned() } else { format!("\"{value}\"") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TopicPrefix;
    use crate::diagnosis::{BrokerAddress, ClusterFacts};
    use crate::topics::{DriftKind, PlanOptions, plan};

    fn one_of_three_brokers() -> TopicPlan {
        let broker = |id| BrokerAddress { id, host: "h".to_owned(), port: 1 };
        let facts = ClusterFacts::new(vec![broker(1), broker(2), broker(3)], None);
        let mut plan = plan(&facts, &TopicPrefix::new("_Site.").unwrap(), &PlanOptions::default());
        plan.topics.retain(|topic| topic.name == "_Site.raw_video");
        plan
    }

    #[test]
    fn the_commands_create_the_planned_topic() {
        assert_eq!(
            print_plan(&one_of_three_brokers(), Format::KafkaTopics, "b:1'"),
            "kafka-topics.sh --bootstrap-server 'b:1'\\''' --create --if-not-exists --topic _Site.raw_video --partitions 48 \
             --replication-factor 3 --config cleanup.policy=delete --config compression.type=producer \
             --config message.timestamp.type=LogAppendTime --config min.insync.replicas=2 --config retention.ms=86400000 \
             --config segment.bytes=1073741824 --config segment.ms=3600000 \
             --config unclean.leader.election.enable=false\n"
        );
    }

    #[test]
    fn the_strimzi_resource_has_a_legal_name_and_the_real_one_inside() {
        let yaml = print_plan(&one_of_three_brokers(), Format::Strimzi, "");
        assert!(yaml.contains("\n  name: site.raw-video\n"), "{yaml}");
        assert!(yaml.contains("\n  topicName: _Site.raw_video\n  partitions: 48\n  replicas: 3\n"), "{yaml}");
        assert!(yaml.contains("\n    retention.ms: 86400000\n"), "{yaml}");
        assert!(yaml.contains("\n    message.timestamp.type: \"LogAppendTime\"\n"), "{yaml}");
    }

    #[test]
    fn json_is_one_object_a_line() {
        let text = print_plan(&one_of_three_brokers(), Format::Json, "");
        let object: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(object["configs"]["min.insync.replicas"], "2");
    }

    #[test]
    fn drift_is_a_table_or_a_good_word() {
        assert_eq!(print_drift(&[], Format::Table), "all topics are as planned\n");
        assert_eq!(print_drift(&[], Format::Json), "");
        let drift = Drift { topic: "t".to_owned(), kind: DriftKind::Missing, remedy: "create it".to_owned() };
        assert_eq!(
            print_drift(&[drift], Format::Table),
            "TOPIC  WHAT   PLANNED  ACTUAL   TO DO\nt      topic  present  missing  create it\n"
        );
    }
}
