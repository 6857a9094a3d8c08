//! librdkafka's errors as ours.

use super::{BrokerProblem, probe};
use crate::config::BusConfig;
use crate::error::BusError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// What was tried when an error came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Attempt<'a> {
    operation: &'static str,
    /// Kafka's name of the operation in an ACL.
    acl_operation: &'static str,
    resource: Resource<'a>,
    brokers: &'a str,
    record_bytes: usize,
    limit_bytes: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Resource<'a> {
    Topic(&'a str),
    Group(&'a str),
    Cluster,
}

impl<'a> Attempt<'a> {
    fn new(operation: &'static str, acl_operation: &'static str, resource: Resource<'a>, brokers: &'a str) -> Self {
        Self { operation, acl_operation, resource, brokers, record_bytes: 0, limit_bytes: None }
    }

    pub(crate) fn reading(brokers: &'a str, topic: &'a str) -> Self {
        Self::new("read", "Read", Resource::Topic(topic), brokers)
    }

    pub(crate) fn writing(brokers: &'a str, topic: &'a str) -> Self {
        Self::new("write", "Write", Resource::Topic(topic), brokers)
    }

    pub(crate) fn creating(brokers: &'a str, topic: &'a str) -> Self {
        Self::new("create", "Create", Resource::Topic(topic), brokers)
    }

    pub(crate) fn describing(brokers: &'a str, topic: &'a str) -> Self {
        Self::new("describe the settings of", "DescribeConfigs", Resource::Topic(topic), brokers)
    }

    pub(crate) fn altering(brokers: &'a str, topic: &'a str) -> Self {
        Self::new("alter the settings of", "AlterConfigs", Resource::Topic(topic), brokers)
    }

    pub(crate) fn joining(brokers: &'a str, group: &'a str) -> Self {
        Self::new("join", "Read", Resource::Group(group), brokers)
    }

    pub(crate) fn asking(brokers: &'a str) -> Self {
        Self::new("ask for metadata", "Describe", Resource::Cluster, brokers)
    }

    /// The size of the record that was sent, key, headers and value.
    pub(crate) fn of_bytes(mut self, record_bytes: usize) -> Self {
        self.record_bytes = record_bytes;
        self
    }

    /// The limit that the record was beyond, where it is known.
    pub(crate) fn with_limit_bytes(mut self, limit_bytes: usize) -> Self {
        self.limit_bytes = Some(limit_bytes);
        self
    }

    fn name(&self) -> String {
        match self.resource {
            Resource::Topic(topic) => format!("topic {topic}"),
            Resource::Group(group) => format!("group {group}"),
            Resource::Cluster => "cluster".to_owned(),
        }
    }

    fn topic(&self) -> String {
        match self.resource {
            Resource::Topic(topic) => topic.to_owned(),
            Resource::Group(_) | Resource::Cluster => String::new(),
        }
    }

    /// The arguments of `kafka-acls.sh` that permit it.
    fn acl(&self) -> String {
        let resource = match self.resource {
            Resource::Topic(topic) => format!("--topic {topic}"),
            Resource::Group(group) => format!("--group {group}"),
            Resource::Cluster => "--cluster".to_owned(),
        };
        format!("--add --allow-principal User:NAME --operation {} {resource}", self.acl_operation)
    }
}

/// The code in an error, also where the binding does not look for it.
pub(crate) fn code_of(error: &KafkaError) -> Option<RDKafkaErrorCode> {
    match error {
        KafkaError::AdminOp(code) => Some(*code),
        other => other.rdkafka_error_code(),
    }
}

/// A librdkafka error as one that says what to do.
pub(crate) fn explain(error: KafkaError, attempt: &Attempt<'_>) -> BusError {
    use RDKafkaErrorCode as Code;
    if let KafkaError::ClientConfig(_, reason, name, value) = &error {
        return refused_property(name, value, reason);
    }
    let brokers = attempt.brokers.to_owned();
    match code_of(&error) {
        Some(Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition) => {
            BusError::UnknownTopic { topic: attempt.topic(), brokers }
        }
        Some(Code::TopicAuthorizationFailed | Code::GroupAuthorizationFailed | Code::ClusterAuthorizationFailed) => {
            BusError::NotAuthorised {
                operation: attempt.operation,
                resource: attempt.name(),
                brokers,
                acl: attempt.acl(),
            }
        }
        Some(Code::MessageSizeTooLarge | Code::InvalidMessageSize) => {
            let (record_bytes, limit_bytes) = (attempt.record_bytes, attempt.limit_bytes);
            BusError::RecordTooLarge { topic: attempt.topic(), brokers, record_bytes, limit_bytes }
        }
        _ => {
            BusError::Kafka { operation: attempt.operation, resource: attempt.name(), brokers, source: Box::new(error) }
        }
    }
}

fn refused_property(name: &str, value: &str, reason: &str) -> BusError {
    // A slip in the name of a password must not show it.
    let secret = is_secret(name) || reason.starts_with("No such");
    // librdkafka repeats the value in its text.
    let reason = if secret && !value.is_empty() { reason.replace(value, "***") } else { reason.to_owned() };
    let value = if secret { "***".to_owned() } else { value.to_owned() };
    BusError::Property { name: name.to_owned(), value, reason }
}

/// Whether a property's value must not be shown.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["password", "secret", "jaas", "ssl.key.pem", "keystore.key", "token", "oauthbearer.config"]
        .iter()
        .any(|part| name.contains(part))
}

/// A client that cannot even be made.
pub(super) fn unusable(error: &KafkaError) -> BrokerProblem {
    let reason = match error {
        KafkaError::ClientConfig(_, reason, name, value) => refused_property(name, value, reason).to_string(),
        other => other.to_string(),
    };
    BrokerProblem::Properties { reason }
}

/// The cause where an error only says that nothing came: the broker is looked at once more, by hand.
pub(crate) fn prefer_diagnosis(error: BusError, config: &BusConfig) -> BusError {
    if !is_vague(&error) {
        return error;
    }
    match probe(config) {
        Err(problem) => BusError::Broker(problem),
        Ok(_) => error,
    }
}

fn is_vague(error: &BusError) -> bool {
    use RDKafkaErrorCode as Code;
    match error {
        BusError::Timeout { .. } => true,
        BusError::Kafka { source, .. } => matches!(
            code_of(source),
            None | Some(
                Code::BrokerTransportFailure
                    | Code::AllBrokersDown
                    | Code::Authentication
                    | Code::Resolve
                    | Code::SSL
                    | Code::OperationTimedOut
                    | Code::RequestTimedOut
                    | Code::MessageTimedOut
                    | Code::TimedOutQueue
            )
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rdkafka::ClientConfig;
    use rdkafka::producer::BaseProducer;

    fn check(code: RDKafkaErrorCode, attempt: &Attempt<'_>, parts: &[&str]) {
        let message = explain(KafkaError::MessageProduction(code), attempt).to_string();
        for part in parts {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
    }

    #[test]
    fn an_error_names_the_thing_and_the_knob() {
        let attempt = Attempt::writing("b:1", "raw_video").of_bytes(2_000_000).with_limit_bytes(1_048_588);
        check(RDKafkaErrorCode::UnknownTopicOrPartition, &attempt, &["raw_video", "b:1", "topics apply"]);
        check(
            RDKafkaErrorCode::MessageSizeTooLarge,
            &attempt,
            &["raw_video", "2000000", "1048588", "max.message.bytes"],
        );
        check(
            RDKafkaErrorCode::TopicAuthorizationFailed,
            &attempt,
            &["write", "raw_video", "--operation Write --topic"],
        );
        let group = Attempt::joining("b:1", "counting");
        check(
            RDKafkaErrorCode::GroupAuthorizationFailed,
            &group,
            &["group counting", "--operation Read --group counting"],
        );
    }

    #[test]
    fn a_refused_property_is_named_and_a_secret_is_not_shown() {
        let make = |name: &str, value: &str| {
            let error = ClientConfig::new().set(name, value).create::<BaseProducer>().err().unwrap();
            explain(error, &Attempt::asking("b:1")).to_string()
        };
        let message = make("linger.mss", "3");
        assert!(message.contains("linger.mss=***"), "a mistyped name may be a secret's: {message}");
        assert!(make("acks", "most").contains("acks=most"));
        let message = make("sasl.passwords", "hunter2");
        assert!(message.contains("sasl.passwords=***") && !message.contains("hunter2"), "{message}");
    }
}
