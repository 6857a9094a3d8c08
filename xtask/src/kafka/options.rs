//! What a caller may choose.

use std::path::PathBuf;
use std::time::Duration;

use super::KafkaError;

/// Options of a cluster; the default is one unsecured node of the newest release, on free ports,
/// in a folder of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaOptions {
    /// Number of combined broker and controller nodes, 1 to 9.
    pub nodes: u16,
    /// The release of Apache Kafka.
    pub release: KafkaRelease,
    /// TLS, SCRAM and ACLs on the client listener.
    pub secure: bool,
    /// Java as Kafka's own start script runs it, for measurements; otherwise small and quick to start.
    pub as_shipped: bool,
    /// The cluster's folder. Without one, a new folder below `.harness/` that is removed with the
    /// cluster.
    pub dir: Option<PathBuf>,
    /// Client ports are `base_port + 1 …`, the others follow; without it, free ports are chosen.
    pub base_port: Option<u16>,
    /// Further broker properties; they win over the harness's own.
    pub properties: Vec<(String, String)>,
    /// How long to wait for the cluster to become ready.
    pub ready_timeout: Duration,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            nodes: 1,
            release: KafkaRelease::default(),
            secure: false,
            as_shipped: false,
            dir: None,
            base_port: None,
            properties: Vec::new(),
            ready_timeout: Duration::from_secs(180),
        }
    }
}

impl KafkaOptions {
    pub(crate) fn check(&self) -> Result<(), KafkaError> {
        if (1..=9).contains(&self.nodes) {
            return Ok(());
        }
        let reason = format!("{} nodes asked for; the harness runs 1 to 9", self.nodes);
        Err(KafkaError::BadOptions { reason })
    }
}

/// A release of Apache Kafka: a line whose version the POM names, or one exact version.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum KafkaRelease {
    /// The newest 4.x the POM names.
    #[default]
    Newest4,
    /// The 3.9 line.
    Line39,
    /// An exact version such as `4.2.0`.
    Exact(String),
}

impl KafkaRelease {
    /// The Maven profile that brings the matching logging back end.
    pub(crate) fn maven_profile(&self) -> &'static str {
        match self {
            Self::Line39 => "kafka-3.9",
            Self::Exact(version) if version.starts_with("3.") => "kafka-3.9",
            Self::Newest4 | Self::Exact(_) => "kafka-4",
        }
    }
}

impl std::str::FromStr for KafkaRelease {
    type Err = KafkaError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let numbers = text.split('.').all(|part| part.parse::<u16>().is_ok());
        match text {
            "4" | "4.x" => Ok(Self::Newest4),
            "3.9" | "3.9.x" => Ok(Self::Line39),
            _ if numbers && text.split('.').count() == 3 => Ok(Self::Exact(text.to_owned())),
            _ => Err(KafkaError::BadOptions {
                reason: format!("`{text}` is no Kafka version; use 4.x, 3.9 or one like 4.2.0"),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_parse() {
        let check = |text: &str, expected: Option<KafkaRelease>| {
            assert_eq!(text.parse::<KafkaRelease>().ok(), expected, "{text}");
        };
        check("4.x", Some(KafkaRelease::Newest4));
        check("3.9", Some(KafkaRelease::Line39));
        check("4.2.0", Some(KafkaRelease::Exact("4.2.0".to_owned())));
        check("4.2", None);
        check("4.2.0/../x", None);
        check("", None);
    }

    #[test]
    fn node_numbers_are_limited() {
        for (nodes, fine) in [(0, false), (1, true), (9, true), (10, false)] {
            let options = KafkaOptions { nodes, ..KafkaOptions::default() };
            assert_eq!(options.check().is_ok(), fine, "{nodes}");
        }
    }
}
