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
use crate::log::{LogConfig, Overrides};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};
use crate::server::config::AutoCreate;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;

/// Where a setting comes from (Kafka: `ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
enum Source {
    Topic = 1,
    Broker = 4,
    Default = 5,
}

/// Whether the client wants to see where else a setting could come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Synonyms {
    Shown,
    Hidden,
}

struct Entry {
    name: &'static str,
    value: String,
    source: Source,
}

/// What CreateTopics says about the settings of a new topic.
pub(crate) fn created(config: &LogConfig, overrides: &Overrides) -> Vec<CreatableTopicConfigs> {
    let entries = topic_entries(config, overrides).into_iter();
    entries
        .map(|entry| {
            CreatableTopicConfigs::default()
                .with_name(entry.name.into())
                .with_value(Some(text(entry.value)))
                .with_config_source(entry.source as i8)
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
    let shown = match request.include_synonyms {
        true => Synonyms::Shown,
        false => Synonyms::Hidden,
    };
    let results = resources.map(|resource| {
        let result = DescribeConfigsResult::default()
            .with_resource_type(resource.resource_type)
            .with_resource_name(resource.resource_name.clone());
        match entries(server, peer, &resource) {
            Err((error, message)) => result.with_error_code(error.code()).with_error_message(message),
            Ok(entries) => {
                let wanted = entries.into_iter().filter(|entry| is_wanted(entry, &resource));
                let described = wanted.map(|entry| described(entry, shown, version));
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
            Some(topic) => Ok(topic_entries(&topic.config(), &topic.overrides())),
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
        Some(keys) => keys.iter().any(|key| &**key == entry.name),
        None => true,
    }
}

fn topic_entries(config: &LogConfig, overrides: &Overrides) -> Vec<Entry> {
    let entries = config.entries().into_iter();
    entries
        .map(|(name, value)| Entry {
            name,
            value,
            source: match overrides.contains_key(name) {
                true => Source::Topic,
                false => Source::Default,
            },
        })
        .collect()
}

fn broker_entries(server: &Server) -> Vec<Entry> {
    let config = &server.config;
    let (host, port) = &server.advertised;
    let auto_create = config.auto_create_topics == AutoCreate::On;
    let own = [
        ("node.id", config.node_id.to_string()),
        ("advertised.listeners", format!("PLAINTEXT://{host}:{port}")),
        ("log.dirs", config.store.data_dir.display().to_string()),
        ("num.partitions", config.default_partitions.to_string()),
        ("default.replication.factor", "1".to_owned()),
        ("auto.create.topics.enable", auto_create.to_string()),
        ("max.connections", config.limits.max_connections.to_string()),
        ("socket.request.max.bytes", config.limits.max_request_bytes.to_string()),
        ("fetch.max.bytes", config.limits.max_fetch_bytes.to_string()),
        ("connections.max.idle.ms", config.limits.idle_timeout.as_millis().to_string()),
        ("group.max.size", config.groups.max_members.to_string()),
        ("group.min.session.timeout.ms", config.groups.min_session_timeout.as_millis().to_string()),
        ("group.max.session.timeout.ms", config.groups.max_session_timeout.as_millis().to_string()),
        ("group.initial.rebalance.delay.ms", config.groups.initial_rebalance_delay.as_millis().to_string()),
        ("offset.metadata.max.bytes", config.groups.max_offset_metadata_bytes.to_string()),
        ("offsets.retention.minutes", (config.groups.offsets_retention.as_secs() / 60).to_string()),
    ];
    let defaults = config.store.defaults.entries().into_iter();
    let defaults = defaults.filter_map(|(name, value)| Some((broker_name(name)?, value)));
    own.into_iter().chain(defaults).map(|(name, value)| Entry { name, value, source: Source::Broker }).collect()
}

/// The broker's name of a topic's setting ("Topic Configs" in Kafka's documentation).
fn broker_name(topic_setting: &str) -> Option<&'static str> {
    Some(match topic_setting {
        "cleanup.policy" => "log.cleanup.policy",
        "compression.type" => "compression.type",
        "max.message.bytes" => "message.max.bytes",
        "message.timestamp.type" => "log.message.timestamp.type",
        "min.insync.replicas" => "min.insync.replicas",
        "retention.bytes" => "log.retention.bytes",
        "retention.ms" => "log.retention.ms",
        "segment.bytes" => "log.segment.bytes",
        "segment.ms" => "log.roll.ms",
        _ => return None,
    })
}

fn described(entry: Entry, synonyms: Synonyms, version: i16) -> DescribeConfigsResourceResult {
    let value = Some(text(entry.value));
    let synonym = DescribeConfigsSynonym::default()
        .with_name(entry.name.into())
        .with_value(value.clone())
        .with_source(entry.source as i8);
    let result = DescribeConfigsResourceResult::default()
        .with_name(entry.name.into())
        .with_config_source(entry.source as i8)
        .with_read_only(entry.source == Source::Broker)
        .with_synonyms(match synonyms {
            Synonyms::Shown => vec![synonym],
            Synonyms::Hidden => Vec::new(),
        });
    let kind = value_kind(value.as_deref().unwrap_or_default());
    let result = result.with_value(value);
    if version >= 3 { result.with_config_type(kind).with_documentation(None) } else { result }
}

/// Kafka's `ConfigType` by the look of the value: boolean, long, double or string.
fn value_kind(value: &str) -> i8 {
    match value {
        "true" | "false" => 1,
        number if number.parse::<i64>().is_ok() => 5,
        number if number.parse::<f64>().is_ok() => 6,
        _ => 2,
    }
}
