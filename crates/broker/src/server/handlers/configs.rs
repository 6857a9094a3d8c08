//! DescribeConfigs: the settings of topics and of the broker, under Kafka's names.

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::create_topics_response::CreatableTopicConfigs;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};
use kafka_protocol::protocol::StrBytes;

use super::text;
use crate::log::{LogConfig, Overrides, SettingKind, setting};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::config::{AutoCreate, BrokerConfig};

pub(super) const TOPIC: i8 = 2;
pub(super) const BROKER: i8 = 4;

/// Where a value comes from (Kafka: `ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
enum Source {
    /// Set on the topic.
    Topic = 1,
    /// Given to the broker at its start.
    Broker = 4,
    /// Kafka's default, or ours.
    Default = 5,
}

/// What a client wants to see beside names and values.
#[derive(Debug, Clone, Copy)]
struct Shown {
    synonyms: bool,
    documentation: bool,
    version: i16,
}

/// A value under a name, and where it comes from.
struct Given {
    name: &'static str,
    value: String,
    source: Source,
}

struct Entry {
    name: &'static str,
    kind: SettingKind,
    doc: &'static str,
    read_only: bool,
    /// What is in force, and behind it what would be without it. Never empty.
    given: Vec<Given>,
    /// Some of Kafka's settings have no name on the broker.
    has_synonyms: bool,
}

impl Entry {
    fn value(&self) -> &str {
        self.given.first().map_or("", |given| &given.value)
    }

    fn source(&self) -> Source {
        self.given.first().map_or(Source::Default, |given| given.source)
    }
}

/// What CreateTopics says about the settings of a new topic.
pub(crate) fn created(server: &Server, config: &LogConfig, overrides: &Overrides) -> Vec<CreatableTopicConfigs> {
    let entries = topic_entries(server.store.defaults(), config, overrides).into_iter();
    entries
        .map(|entry| {
            CreatableTopicConfigs::default()
                .with_name(entry.name.into())
                .with_value(Some(text(entry.value())))
                .with_config_source(entry.source() as i8)
        })
        .collect()
}

/// Describes every resource once, however often it is named.
pub(crate) fn describe_configs(
    server: &Server,
    peer: &Peer,
    request: DescribeConfigsRequest,
    version: i16,
) -> DescribeConfigsResponse {
    let mut seen = HashSet::new();
    let resources = request.resources.into_iter();
    let resources = resources.filter(|r| seen.insert((r.resource_type, r.resource_name.clone())));
    let shown = Shown { synonyms: request.include_synonyms, documentation: request.include_documentation, version };
    let results = resources.map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match entries(server, peer, &resource) {
            Err((error, message)) => result.with_error_code(error.code()).with_error_message(message),
            Ok(entries) => {
                let wanted = entries.into_iter().filter(|entry| is_wanted(entry, &resource));
                let described = wanted.map(|entry| described(&entry, shown));
                result.with_error_message(None).with_configs(described.collect())
            }
        }
    });
    DescribeConfigsResponse::default().with_results(results.collect())
}

fn entries(
    server: &Server,
    peer: &Peer,
    resource: &DescribeConfigsResource,
) -> Result<Vec<Entry>, (ResponseError, Option<StrBytes>)> {
    let name = &*resource.resource_name;
    match resource.resource_type {
        TOPIC if !server.allows(peer, Operation::DescribeConfigs, Resource::Topic(name)) => {
            Err((ResponseError::TopicAuthorizationFailed, None))
        }
        TOPIC => match server.store.topic(name) {
            Some(topic) => Ok(topic_entries(server.store.defaults(), &topic.config(), &topic.overrides())),
            None => Err((ResponseError::UnknownTopicOrPartition, None)),
        },
        BROKER if !server.allows(peer, Operation::DescribeConfigs, Resource::Cluster) => {
            Err((ResponseError::ClusterAuthorizationFailed, None))
        }
        BROKER if name == server.node_id().to_string() => Ok(broker_entries(server)),
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER => {
            let reason = text(format!("this broker's id is {}", *server.node_id()));
            Err((ResponseError::InvalidRequest, Some(reason)))
        }
        _ => {
            let reason = "only topics (2) and the broker (4) have settings here";
            Err((ResponseError::InvalidRequest, Some(reason.into())))
        }
    }
}

fn is_wanted(entry: &Entry, resource: &DescribeConfigsResource) -> bool {
    match &resource.configuration_keys {
        // No keys are no filter, as for Kafka.
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| &**key == entry.name),
        _ => true,
    }
}

fn topic_entries(defaults: &LogConfig, config: &LogConfig, overrides: &Overrides) -> Vec<Entry> {
    let kafkas = LogConfig::default().entries();
    let layers = config.entries().into_iter().zip(defaults.entries()).zip(kafkas);
    let entry = |(((name, value), (_, broker)), (_, kafka)): ((Pair, Pair), Pair)| {
        let setting = setting(name)?;
        let broker_name = setting.broker_name.unwrap_or(name);
        let mut given = Vec::with_capacity(3);
        if overrides.contains_key(name) {
            given.push(Given { name, value, source: Source::Topic });
        }
        if broker != kafka {
            given.push(Given { name: broker_name, value: broker, source: Source::Broker });
        }
        given.push(Given { name: broker_name, value: kafka, source: Source::Default });
        let has_synonyms = setting.broker_name.is_some();
        Some(Entry { name, kind: setting.kind, doc: setting.doc, read_only: false, given, has_synonyms })
    };
    layers.filter_map(entry).collect()
}

type Pair = (&'static str, String);

fn broker_entries(server: &Server) -> Vec<Entry> {
    let config = &server.config;
    let mut unset = BrokerConfig::new(&config.store.data_dir);
    unset.node_id = config.node_id;
    let given = |entry: (BrokerSetting, String), default: String| {
        let ((name, kind, doc), value) = entry;
        let mut given = Vec::with_capacity(2);
        if value != default {
            given.push(Given { name, value, source: Source::Broker });
        }
        given.push(Given { name, value: default, source: Source::Default });
        Entry { name, kind, doc, read_only: true, given, has_synonyms: true }
    };
    let (host, port) = &server.advertised;
    let listener = format!("PLAINTEXT://{host}:{port}");
    let told = [
        ("advertised.listeners", SettingKind::List, "Where clients find this broker.", listener),
        ("log.dirs", SettingKind::List, "The data directory.", config.store.data_dir.display().to_string()),
        ("node.id", SettingKind::Int, "This broker's id.", config.node_id.to_string()),
    ];
    let told = told.map(|(name, kind, doc, value)| Entry {
        name,
        kind,
        doc,
        read_only: true,
        given: vec![Given { name, value, source: Source::Broker }],
        has_synonyms: true,
    });
    let own = own_settings(config).into_iter().zip(own_settings(&unset));
    let own = own.map(|(set, (_, default))| given(set, default));
    let kafkas = LogConfig::default().entries();
    let of_topics =
        config.store.defaults.entries().into_iter().zip(kafkas).filter_map(|((name, value), (_, kafka))| {
            let setting = setting(name)?;
            Some(given(((setting.broker_name?, setting.kind, setting.doc), value), kafka))
        });
    told.into_iter().chain(own).chain(of_topics).collect()
}

type BrokerSetting = (&'static str, SettingKind, &'static str);

/// The broker's own settings that Kafka knows as well.
fn own_settings(config: &BrokerConfig) -> Vec<(BrokerSetting, String)> {
    use SettingKind::{Boolean, Int, Long};
    let (limits, groups) = (&config.limits, &config.groups);
    let auto_create = config.auto_create_topics == AutoCreate::On;
    let millis = |duration: std::time::Duration| duration.as_millis().to_string();
    vec![
        (
            ("auto.create.topics.enable", Boolean, "Whether asking for a missing topic creates it."),
            auto_create.to_string(),
        ),
        (
            ("connections.max.idle.ms", Long, "A connection without a request for this long is closed."),
            millis(limits.idle_timeout),
        ),
        (("default.replication.factor", Int, "1: a single node keeps one replica."), "1".to_owned()),
        (("fetch.max.bytes", Int, "Largest answer to a fetch."), limits.max_fetch_bytes.to_string()),
        (
            ("group.initial.rebalance.delay.ms", Int, "How long an empty group waits for further members."),
            millis(groups.initial_rebalance_delay),
        ),
        (
            ("group.max.session.timeout.ms", Int, "Longest session timeout a group member may ask for."),
            millis(groups.max_session_timeout),
        ),
        (("group.max.size", Int, "Members of one group."), groups.max_members.to_string()),
        (
            ("group.min.session.timeout.ms", Int, "Shortest session timeout a group member may ask for."),
            millis(groups.min_session_timeout),
        ),
        (
            ("log.flush.scheduler.interval.ms", Long, "How often everything written is flushed to the disk."),
            millis(config.store.flush_interval),
        ),
        (("max.connections", Int, "Connections open at the same time."), limits.max_connections.to_string()),
        (
            ("num.partitions", Int, "Partitions of a topic created without a number."),
            config.default_partitions.to_string(),
        ),
        (
            ("offset.metadata.max.bytes", Int, "Bytes of metadata kept with a committed offset."),
            groups.max_offset_metadata_bytes.to_string(),
        ),
        (
            ("offsets.retention.minutes", Int, "Offsets of a group without members are kept this long."),
            (groups.offsets_retention.as_secs() / 60).to_string(),
        ),
        (("socket.request.max.bytes", Int, "Largest request."), limits.max_request_bytes.to_string()),
    ]
}

fn described(entry: &Entry, shown: Shown) -> DescribeConfigsResourceResult {
    let result = DescribeConfigsResourceResult::default()
        .with_name(entry.name.into())
        .with_value(Some(text(entry.value())))
        .with_config_source(entry.source() as i8)
        .with_read_only(entry.read_only)
        .with_synonyms(if shown.synonyms { synonyms(entry) } else { Vec::new() });
    if shown.version < 3 {
        return result;
    }
    let documentation = shown.documentation.then(|| entry.doc.into());
    result.with_config_type(entry.kind as i8).with_documentation(documentation)
}

fn synonyms(entry: &Entry) -> Vec<DescribeConfigsSynonym> {
    let named = entry.given.iter().filter(|given| given.source == Source::Topic || entry.has_synonyms);
    named
        .map(|given| {
            DescribeConfigsSynonym::default()
                .with_name(given.name.into())
                .with_value(Some(text(given.value.as_str())))
                .with_source(given.source as i8)
        })
        .collect()
}
