//! What is meant: flags over environment over file over defaults.

use crate::arguments::Global;
use crate::exit::Usage;
use anyhow::Context as _;
use lumenbus_bus::{BusConfig, JavaProperties, Profile, PropertyEffect, TopicPrefix};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Where a broker is looked for when nothing says otherwise.
pub(crate) const DEFAULT_BROKERS: &str = "127.0.0.1:9092";

/// What every command needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) bus: BusConfig,
    /// Whether somebody named brokers, or it is the default address.
    pub(crate) has_brokers: bool,
    pub(crate) json: bool,
    pub(crate) quiet: bool,
}

/// The settings file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    brokers: Option<String>,
    topic_prefix: Option<String>,
    profile: Option<String>,
    topics: TopicsTable,
    /// Any Kafka property by name.
    kafka: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TopicsTable {
    create: bool,
}

impl Default for TopicsTable {
    fn default() -> Self {
        Self { create: true }
    }
}

impl Settings {
    pub(crate) fn resolve(global: &Global) -> anyhow::Result<Self> {
        let file = global.config.as_deref().map(read_file).transpose()?.unwrap_or_default();
        let mut properties: BTreeMap<_, _> =
            file.kafka.iter().map(|(name, value)| (name.clone(), plain(value))).collect();
        if let Some(path) = &global.kafka_config {
            properties.extend(java_properties(path)?);
        }
        properties.extend(global.property.iter().cloned());
        let keeps = properties.remove("topics.create").map_or(!file.topics.create, |value| value == "false");
        let mut named = BusConfig::new(String::new());
        for (name, value) in &properties {
            named.set_property(name, value);
        }
        let from_properties = Some(named.brokers).filter(|brokers| !brokers.is_empty());
        let brokers = global.brokers.clone().or(from_properties).or(file.brokers);
        let prefix = global.topic_prefix.clone().or(file.topic_prefix).unwrap_or_default();
        let profile = match (global.profile, file.profile) {
            (Some(profile), _) => profile,
            (None, Some(name)) => name.parse().map_err(|error| Usage(format!("in the settings file: {error}")))?,
            (None, None) => Profile::default(),
        };
        let has_brokers = brokers.is_some();
        let mut bus = BusConfig::new(brokers.unwrap_or_else(|| DEFAULT_BROKERS.to_owned()));
        bus.topic_prefix = TopicPrefix::new(&prefix).map_err(|error| Usage(error.to_string()))?;
        bus.profile = profile;
        bus.properties = named.properties;
        bus.keeps_topics_as_they_are = keeps;
        Ok(Self { bus, has_brokers, json: global.json, quiet: global.quiet })
    }
}

fn read_file(path: &Path) -> anyhow::Result<File> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("cannot read the settings file {}", path.display()))?;
    let file = toml::from_str(&text).map_err(|error| Usage(format!("{}: {error}", path.display())))?;
    Ok(file)
}

fn plain(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn java_properties(path: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the Kafka properties {}", path.display()))?;
    let parsed = JavaProperties::parse(&text).with_context(|| format!("cannot use {}", path.display()))?;
    let (properties, notes) = parsed.translate();
    for note in notes {
        match note.effect {
            PropertyEffect::Unsupported => tracing::warn!("{}: {note}", path.display()),
            _ => tracing::info!("{}: {note}", path.display()),
        }
    }
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arguments::Arguments;
    use clap::Parser as _;
    use std::io::Write as _;

    fn resolve(arguments: &[&str]) -> anyhow::Result<Settings> {
        let words = ["lumenbus"].iter().chain(arguments).chain(&["topics", "plan"]);
        Settings::resolve(&Arguments::try_parse_from(words)?.global)
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let file = file(
            "brokers = \"file:1\"\nprofile = \"throughput\"\n[kafka]\n\"linger.ms\" = 7\n[topics]\ncreate = false\n",
        );
        let path = file.path().to_str().unwrap();
        let settings = resolve(&["--config", path, "--brokers", "flag:2", "-X", "linger.ms=9"]).unwrap();
        assert_eq!(settings.bus.brokers, "flag:2");
        assert_eq!(settings.bus.profile, Profile::Throughput);
        assert_eq!(settings.bus.properties["linger.ms"], "9");
        assert!(settings.bus.keeps_topics_as_they_are);
        assert_eq!(resolve(&[]).unwrap().bus.brokers, DEFAULT_BROKERS);
    }

    #[test]
    fn unknown_settings_are_refused_by_name() {
        let file = file("broker = \"x\"\n");
        let error = resolve(&["--config", file.path().to_str().unwrap()]).unwrap_err().to_string();
        assert!(error.contains("broker"), "{error}");
    }

    #[test]
    fn bootstrap_server_is_another_name_of_brokers() {
        assert_eq!(resolve(&["--bootstrap-server", "a:1"]).unwrap().bus.brokers, "a:1");
    }
}
