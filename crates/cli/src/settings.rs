//! What is meant: flags over environment over file over defaults.

use crate::arguments::{Arguments, Command, Global};
use crate::exit::Usage;
use crate::site::{self, Site};
use anyhow::Context as _;
use lumenbus_bus::{BusConfig, JavaProperties, PropertyEffect, TopicPrefix};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
    /// The settings file, where there is one.
    pub(crate) site: Option<Arc<Site>>,
}

impl Settings {
    /// Nothing but a way to the brokers.
    pub(crate) fn of_bus(bus: &BusConfig) -> Self {
        Self { bus: bus.clone(), has_brokers: true, json: false, quiet: true, site: None }
    }
}

/// The settings file that a command reads: the one that is named; for the commands about the box also the one that
/// lies here.
fn site_path(arguments: &Arguments) -> Option<PathBuf> {
    let named = arguments.global.config.clone();
    let here = || Some(PathBuf::from(site::FILE_NAME)).filter(|path| path.exists());
    match &arguments.command {
        // It writes the file.
        Command::Init(_) => None,
        Command::Up(_) | Command::Cameras(_) => named.or_else(here),
        _ => named,
    }
}

/// Reads and checks the settings file.
pub(crate) fn site(arguments: &Arguments) -> anyhow::Result<Option<Site>> {
    site_path(arguments).map(|path| Site::read(&path)).transpose()
}

impl Settings {
    pub(crate) fn resolve(global: &Global, site: Option<Site>) -> anyhow::Result<Self> {
        let mut properties = site.as_ref().map_or_else(BTreeMap::new, |site| site.kafka.clone());
        if let Some(path) = &global.kafka_config {
            properties.extend(java_properties(path)?);
        }
        properties.extend(global.property.iter().cloned());
        let creates = site.as_ref().is_none_or(|site| site.creates_topics);
        let keeps = properties.remove("topics.create").map_or(!creates, |value| value == "false");
        let mut named = BusConfig::new(String::new());
        for (name, value) in &properties {
            named.set_property(name, value);
        }
        let from_properties = Some(named.brokers).filter(|brokers| !brokers.is_empty());
        let from_file = |file: &Site| file.brokers.clone();
        let brokers = global.brokers.clone().or(from_properties).or(site.as_ref().and_then(from_file));
        let has_brokers = brokers.is_some();
        let own = || site.as_ref().and_then(|site| Some(site.broker.as_ref()?.listen.to_string()));
        let brokers = brokers.or_else(own).unwrap_or_else(|| DEFAULT_BROKERS.to_owned());
        let prefix = global.topic_prefix.clone().or(site.as_ref().and_then(|site| site.topic_prefix.clone()));
        let profile = global.profile.or(site.as_ref().and_then(|site| site.profile));
        let mut bus = BusConfig::new(brokers);
        bus.topic_prefix = TopicPrefix::new(&prefix.unwrap_or_default()).map_err(|error| Usage(error.to_string()))?;
        bus.profile = profile.unwrap_or_default();
        bus.properties = named.properties;
        bus.keeps_topics_as_they_are = keeps;
        let site = site.map(Arc::new);
        Ok(Self { bus, has_brokers, json: global.json, quiet: global.quiet, site })
    }

    /// What is in force, for the log. Properties by name only: a value may be a password.
    pub(crate) fn tell(&self, command: &str) {
        tracing::debug!(
            version = env!("CARGO_PKG_VERSION"),
            command,
            brokers = self.bus.brokers,
            topic_prefix = self.bus.topic_prefix.as_str(),
            profile = ?self.bus.profile,
            properties = ?self.bus.properties.keys().collect::<Vec<_>>(),
            settings_file = ?self.site.as_ref().map(|site| site.path.display()),
            "settings in force"
        );
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
    use clap::Parser as _;
    use lumenbus_bus::Profile;
    use std::io::Write as _;

    fn resolve(arguments: &[&str]) -> anyhow::Result<Settings> {
        let words = ["lumenbus"].iter().chain(arguments).chain(&["topics", "plan"]);
        let arguments = Arguments::try_parse_from(words)?;
        Settings::resolve(&arguments.global, site(&arguments)?)
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
    fn the_boxes_own_broker_is_where_to_look_unless_another_is_named() {
        let file = file("[broker]\nlisten = \"127.0.0.1:9192\"\n");
        let path = file.path().to_str().unwrap();
        let settings = resolve(&["--config", path]).unwrap();
        assert_eq!((settings.bus.brokers.as_str(), settings.has_brokers), ("127.0.0.1:9192", false));
        assert!(resolve(&["--config", path, "--brokers", "b:1"]).unwrap().has_brokers);
    }

    #[test]
    fn bootstrap_server_is_another_name_of_brokers() {
        assert_eq!(resolve(&["--bootstrap-server", "a:1"]).unwrap().bus.brokers, "a:1");
    }
}
