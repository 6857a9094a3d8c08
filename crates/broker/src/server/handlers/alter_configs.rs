//! AlterConfigs, IncrementalAlterConfigs and ListConfigResources.

use std::collections::HashSet;

use kafka_protocol::ResponseError;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse as IncrementalResponse;
use kafka_protocol::messages::list_config_resources_response::ConfigResource;
use kafka_protocol::messages::{
    AlterConfigsRequest, AlterConfigsResponse, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse,
    ListConfigResourcesRequest, ListConfigResourcesResponse,
};
use kafka_protocol::protocol::StrBytes;
use tokio::task::block_in_place;

use super::configs::{BROKER, TOPIC};
use super::repeats::Mentions;
use super::{Refusal, log_failure, refusal, refuse_internal, text};
use crate::log::{Apply, LogConfig, LogError, Overrides, SettingKind, setting};
use crate::server::Server;
use crate::server::access::{Operation, Peer, Resource};

/// One change of one setting.
struct Change {
    name: StrBytes,
    operation: i8,
    value: Option<StrBytes>,
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// What happens to settings that are not named.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Others {
    /// They follow the broker's defaults again (AlterConfigs).
    Forgotten,
    /// They stay.
    Kept,
}

/// Changes to one resource.
struct Wanted {
    kind: i8,
    name: StrBytes,
    changes: Vec<Change>,
    others: Others,
    apply: Apply,
}

fn apply(validate_only: bool) -> Apply {
    match validate_only {
        true => Apply::CheckOnly,
        false => Apply::Yes,
    }
}

/// Replaces the settings of resources by those named.
pub(crate) fn alter_configs(server: &Server, peer: &Peer, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let set = |config: kafka_protocol::messages::alter_configs_request::AlterableConfig| Change {
        name: config.name,
        operation: SET,
        value: config.value,
    };
    let wanted = request.resources.into_iter().map(|resource| Wanted {
        kind: resource.resource_type,
        name: resource.resource_name,
        changes: resource.configs.into_iter().map(set).collect(),
        others: Others::Forgotten,
        apply: apply(request.validate_only),
    });
    let responses = alter_each(server, peer, wanted.collect()).into_iter().map(|(kind, name, altered)| {
        let response = AlterConfigsResourceResponse::default().with_resource_type(kind).with_resource_name(name);
        match altered {
            Ok(()) => response.with_error_message(None),
            Err((code, message)) => response.with_error_code(code).with_error_message(message),
        }
    });
    AlterConfigsResponse::default().with_responses(responses.collect())
}

/// Changes the settings that are named.
pub(crate) fn incremental_alter_configs(
    server: &Server,
    peer: &Peer,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
    let change = |config: kafka_protocol::messages::incremental_alter_configs_request::AlterableConfig| Change {
        name: config.name,
        operation: config.config_operation,
        value: config.value,
    };
    let wanted = request.resources.into_iter().map(|resource| Wanted {
        kind: resource.resource_type,
        name: resource.resource_name,
        changes: resource.configs.into_iter().map(change).collect(),
        others: Others::Kept,
        apply: apply(request.validate_only),
    });
    let responses = alter_each(server, peer, wanted.collect()).into_iter().map(|(kind, name, altered)| {
        let response = IncrementalResponse::default().with_resource_type(kind).with_resource_name(name);
        match altered {
            Ok(()) => response.with_error_message(None),
            Err((code, message)) => response.with_error_code(code).with_error_message(message),
        }
    });
    IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
}

type Altered = (i8, StrBytes, Result<(), Refusal>);

fn alter_each(server: &Server, peer: &Peer, resources: Vec<Wanted>) -> Vec<Altered> {
    let mut mentions: Mentions<_> = resources.iter().map(|wanted| (wanted.kind, wanted.name.clone())).collect();
    let altered = resources.into_iter().filter_map(|wanted| {
        let resource = (wanted.kind, wanted.name.clone());
        let altered = mentions.take(&resource)?.and_then(|()| alter(server, peer, &wanted));
        Some((resource.0, resource.1, altered))
    });
    altered.collect()
}

fn alter(server: &Server, peer: &Peer, wanted: &Wanted) -> Result<(), Refusal> {
    check_changes(&wanted.changes)?;
    match wanted.kind {
        TOPIC => alter_topic(server, peer, wanted),
        BROKER => alter_broker(server, peer, wanted),
        _ => Err(refusal(ResponseError::InvalidRequest, "only the settings of topics (2) can be altered here")),
    }
}

fn check_changes(changes: &[Change]) -> Result<(), Refusal> {
    let mut seen = HashSet::new();
    for change in changes {
        let reason = match change.operation {
            SET | APPEND | SUBTRACT if change.value.is_none() => "needs a value",
            SET | DELETE | APPEND | SUBTRACT if seen.insert(&change.name) => continue,
            SET | DELETE | APPEND | SUBTRACT => "is named twice",
            _ => "is to be changed by an unknown operation",
        };
        let reason = format!("the setting {} {reason}", &*change.name);
        return Err((ResponseError::InvalidRequest.code(), Some(text(reason))));
    }
    Ok(())
}

fn alter_topic(server: &Server, peer: &Peer, wanted: &Wanted) -> Result<(), Refusal> {
    let name: &str = &wanted.name;
    if !server.allows(peer, Operation::AlterConfigs, Resource::Topic(name)) {
        return Err((ResponseError::TopicAuthorizationFailed.code(), None));
    }
    refuse_internal(name)?;
    let change = |config: &LogConfig, own: Overrides| {
        let mut own = if wanted.others == Others::Kept { own } else { Overrides::new() };
        wanted.changes.iter().try_for_each(|change| change.apply(config, &mut own))?;
        Ok(own)
    };
    block_in_place(|| server.store.alter_config(name, wanted.apply, change)).map_err(|error| log_failure(&error))?;
    if wanted.apply == Apply::Yes {
        let settings: Vec<&str> = wanted.changes.iter().map(|change| &*change.name).collect();
        tracing::info!(topic = name, ?settings, by = %peer.address, "topic settings altered");
    }
    Ok(())
}

/// The broker's settings are given at its start. To forget what was never set dynamically changes nothing, so tools
/// that tidy up behind themselves may.
fn alter_broker(server: &Server, peer: &Peer, wanted: &Wanted) -> Result<(), Refusal> {
    if !server.allows(peer, Operation::AlterConfigs, Resource::Cluster) {
        return Err((ResponseError::ClusterAuthorizationFailed.code(), None));
    }
    if !wanted.name.is_empty() && &*wanted.name != server.node_id().to_string().as_str() {
        let reason = format!("this broker's id is {}", *server.node_id());
        return Err((ResponseError::InvalidRequest.code(), Some(text(reason))));
    }
    let changed: Vec<&str> =
        wanted.changes.iter().filter(|change| change.operation != DELETE).map(|change| &*change.name).collect();
    if changed.is_empty() {
        return Ok(());
    }
    let changed = changed.join(", ");
    let reason = format!("this broker takes its settings at its start and changes none while it runs: {changed}");
    Err((ResponseError::InvalidConfig.code(), Some(text(reason))))
}

impl Change {
    fn apply(&self, config: &LogConfig, own: &mut Overrides) -> Result<(), LogError> {
        let value = self.value.as_deref().unwrap_or_default();
        let refused = |reason| LogError::InvalidConfig { key: self.name.to_string(), value: value.to_owned(), reason };
        let known = setting(&self.name).ok_or_else(|| refused("unknown setting"))?;
        match self.operation {
            DELETE => drop(own.remove(known.name)),
            SET => drop(own.insert(known.name.to_owned(), value.to_owned())),
            _ if known.kind != SettingKind::List => {
                return Err(refused("only to a list can words be appended, and from it subtracted"));
            }
            operation => {
                let now = own.get(known.name).cloned().unwrap_or_else(|| effective(config, known.name));
                own.insert(known.name.to_owned(), list_changed(&now, value, operation));
            }
        }
        Ok(())
    }
}

fn effective(config: &LogConfig, name: &str) -> String {
    config.entries().into_iter().find(|(key, _)| *key == name).map(|(_, value)| value).unwrap_or_default()
}

/// A list with words more or fewer; each stands in it once.
fn list_changed(now: &str, change: &str, operation: i8) -> String {
    let words = |list: &str| -> Vec<String> {
        list.split(',').map(str::trim).filter(|word| !word.is_empty()).map(str::to_owned).collect()
    };
    let (mut now, change) = (words(now), words(change));
    match operation {
        SUBTRACT => now.retain(|word| !change.contains(word)),
        _ => {
            for word in change {
                if !now.contains(&word) {
                    now.push(word);
                }
            }
        }
    }
    now.join(",")
}

/// The resources that have settings: topics and this broker. Version 0 asks for client metrics, which there are none of.
pub(crate) fn list_config_resources(
    server: &Server,
    peer: &Peer,
    request: &ListConfigResourcesRequest,
    version: i16,
) -> ListConfigResourcesResponse {
    let response = ListConfigResourcesResponse::default();
    if !server.allows(peer, Operation::DescribeConfigs, Resource::Cluster) {
        return response.with_error_code(ResponseError::ClusterAuthorizationFailed.code());
    }
    if version == 0 {
        return response;
    }
    let wants = |kind| request.resource_types.is_empty() || request.resource_types.contains(&kind);
    let resource =
        |kind, name: String| ConfigResource::default().with_resource_name(text(name)).with_resource_type(kind);
    let mut resources = Vec::new();
    if wants(TOPIC) {
        resources.extend(server.store.topics().iter().map(|topic| resource(TOPIC, topic.name().to_owned())));
    }
    if wants(BROKER) {
        resources.push(resource(BROKER, server.node_id().to_string()));
    }
    response.with_config_resources(resources)
}
