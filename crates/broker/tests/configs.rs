//! Settings: told, altered, in force at once and after a kill.

#![expect(clippy::unwrap_used, reason = "a test that meets a surprise has failed")]

mod support;

use kafka_protocol::messages::alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::DescribeConfigsResourceResult;
use kafka_protocol::messages::incremental_alter_configs_request as incremental;
use kafka_protocol::messages::*;
use lumenbus_broker::Broker;
use support::process::Process;
use support::*;

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// Not a test of its own: what [`Process`] runs.
#[test]
fn broker_process() {
    support::process::run();
}

fn describe(client: &mut Client, kind: i8, name: &str) -> Vec<DescribeConfigsResourceResult> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(None);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    let mut answer = client.call(&request, 4);
    assert_eq!(answer.results[0].error_code, 0);
    answer.results.remove(0).configs
}

fn value(client: &mut Client, name: &str, setting: &str) -> (String, i8) {
    let found = describe(client, TOPIC, name).into_iter().find(|config| &*config.name == setting).unwrap();
    (found.value.unwrap().to_string(), found.config_source)
}

fn change(
    client: &mut Client,
    resource: (i8, &str),
    changes: &[(&str, i8, Option<&str>)],
    (version, check_only): (i16, bool),
) -> (i16, String) {
    let changes = changes.iter().map(|(name, operation, value)| {
        incremental::AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let resource = incremental::AlterConfigsResource::default()
        .with_resource_type(resource.0)
        .with_resource_name(text(resource.1))
        .with_configs(changes.collect());
    let request =
        IncrementalAlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(check_only);
    let answer = client.call(&request, version).responses.remove(0);
    assert_eq!(answer.error_message.is_some(), answer.error_code != 0);
    (answer.error_code, answer.error_message.unwrap_or_default().to_string())
}

fn replace(client: &mut Client, name: &str, settings: &[(&str, &str)], version: i16) -> i16 {
    let settings = settings
        .iter()
        .map(|(key, value)| AlterableConfig::default().with_name(text(key)).with_value(Some(text(value))));
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(name))
        .with_configs(settings.collect());
    let request = AlterConfigsRequest::default().with_resources(vec![resource]);
    client.call(&request, version).responses[0].error_code
}

#[test]
fn settings_are_changed_one_by_one() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    for version in client.versions(ApiKey::IncrementalAlterConfigs) {
        let name = &format!("t{version}");
        client.create_topic(name, 1, &[("retention.ms", "5000"), ("flush.messages", "3")]);
        let mut alter = |changes: &[(&str, i8, Option<&str>)]| {
            let checked = change(&mut client, (TOPIC, name), changes, (version, true));
            let made = change(&mut client, (TOPIC, name), changes, (version, false));
            assert_eq!(checked, made, "a check finds what the change would");
            let now = [("cleanup.policy"), ("retention.ms"), ("flush.messages")];
            (made.0, made.1, now.map(|setting| value(&mut client, name, setting)))
        };
        let text = |value: &str, source| (value.to_owned(), source);
        let flush = text("3", 1);
        let (code, _, now) = alter(&[("cleanup.policy", APPEND, Some("compact")), ("retention.ms", DELETE, None)]);
        assert_eq!((code, now), (0, [text("compact,delete", 1), text("604800000", 5), flush.clone()]));
        let (code, _, now) = alter(&[("cleanup.policy", APPEND, Some("compact,delete"))]);
        assert_eq!((code, &now[0]), (0, &text("compact,delete", 1)), "each word once");
        let (code, _, now) = alter(&[("cleanup.policy", SUBTRACT, Some("delete")), ("retention.ms", SET, Some("-1"))]);
        assert_eq!((code, now), (0, [text("compact", 1), text("-1", 1), flush]));
        for (changes, code, said) in [
            (&[("retention.mss", SET, Some("1"))][..], 40, "retention.mss"),
            (&[("retention.mss", DELETE, None)], 40, "retention.mss"),
            (&[("retention.ms", APPEND, Some("1"))], 40, "retention.ms"),
            (&[("compression.type", SET, Some("zstd"))], 40, "compression.type"),
            (&[("flush.ms", SET, Some("7")), ("segment.bytes", SET, Some("no"))], 40, "segment.bytes"),
            (&[("cleanup.policy", SUBTRACT, Some("compact"))], 40, "cleanup.policy"),
            (&[("retention.ms", SET, None)], 42, "retention.ms"),
            (&[("retention.ms", 9, Some("1"))], 42, "retention.ms"),
            (&[("retention.ms", SET, Some("1")), ("retention.ms", DELETE, None)], 42, "retention.ms"),
        ] {
            let (got, message, now) = alter(changes);
            assert_eq!(got, code, "{changes:?}: {message}");
            assert!(message.contains(said), "{message}");
            assert_eq!(now[0], text("compact", 1), "all or nothing");
        }
        assert_eq!(value(&mut client, name, "flush.ms").1, 5, "all or nothing");
        assert_eq!(change(&mut client, (TOPIC, "missing"), &[], (version, false)).0, 3);
        assert_eq!(change(&mut client, (TOPIC, "__consumer_offsets"), &[], (version, false)).0, 17);
        assert_eq!(change(&mut client, (8, "1"), &[], (version, false)).0, 42);
    }
}

#[test]
fn settings_are_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    for version in client.versions(ApiKey::AlterConfigs) {
        let name = &format!("t{version}");
        client.create_topic(name, 1, &[("retention.ms", "5000"), ("flush.messages", "3")]);
        assert_eq!(replace(&mut client, name, &[("segment.ms", "60000"), ("flush.messages", "4")], version), 0);
        assert_eq!(value(&mut client, name, "segment.ms"), ("60000".to_owned(), 1));
        assert_eq!(value(&mut client, name, "flush.messages"), ("4".to_owned(), 1));
        assert_eq!(value(&mut client, name, "retention.ms"), ("604800000".to_owned(), 5), "not named, so forgotten");
        assert_eq!(replace(&mut client, name, &[("segment.ms", "0")], version), 40);
        assert_eq!(replace(&mut client, name, &[("what", "0")], version), 40);
        assert_eq!(value(&mut client, name, "segment.ms"), ("60000".to_owned(), 1));
        assert_eq!(replace(&mut client, name, &[], version), 0);
        assert!(describe(&mut client, TOPIC, name).iter().all(|config| config.config_source == 5));
    }
}

#[test]
fn altered_settings_rule_the_running_log_and_survive_a_kill() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Process::start(folder.path());
    let mut client = Client::connect(broker.address);
    client.create_topic("t", 1, &[]);
    let large = [&[7_u8; 900][..]];
    assert_eq!(client.produce("t", 0, batch(&large)).error_code, 0);
    let changes = [
        ("max.message.bytes", SET, Some("500")),
        ("segment.bytes", SET, Some("1024")),
        ("message.timestamp.type", SET, Some("LogAppendTime")),
    ];
    assert_eq!(change(&mut client, (TOPIC, "t"), &changes, (1, false)).0, 0);
    assert_eq!(client.produce("t", 0, batch(&large)).error_code, 10);
    for _ in 0..9 {
        let produced = client.produce("t", 0, batch(&[&[7_u8; 300]]));
        assert_eq!(produced.error_code, 0);
        assert!(produced.log_append_time_ms > 0);
    }
    let segments = || {
        let files = std::fs::read_dir(folder.path().join("t-0")).unwrap();
        files.filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|e| e == "log")).count()
    };
    assert!(segments() > 3, "{} segments", segments());
    drop(broker);
    let broker = Process::start(folder.path());
    let mut client = Client::connect(broker.address);
    assert_eq!(value(&mut client, "t", "max.message.bytes"), ("500".to_owned(), 1));
    assert_eq!(client.produce("t", 0, batch(&large)).error_code, 10);
    let changes = [("max.message.bytes", DELETE, None), ("retention.bytes", SET, Some("0"))];
    assert_eq!(change(&mut client, (TOPIC, "t"), &changes, (0, false)).0, 0);
    assert_eq!(client.produce("t", 0, batch(&large)).error_code, 0);
    // Retention comes round once a second; there is nothing else to wait for than its effect.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while client.fetch("t", 0, 10).log_start_offset == 0 {
        assert!(std::time::Instant::now() < deadline, "retention.bytes had no effect");
        std::thread::yield_now();
    }
}

#[test]
fn the_brokers_own_settings_are_told_and_not_altered() {
    let folder = tempfile::tempdir().unwrap();
    let mut settings = config(&folder);
    settings.default_partitions = 5;
    settings.store.defaults.retention_ms = Some(1000);
    let broker = Broker::start_blocking(settings).unwrap();
    let mut client = Client::connect(broker.addr());
    let told = describe(&mut client, BROKER, "1");
    let of = |name: &str| told.iter().find(|config| &*config.name == name).unwrap();
    assert!(told.iter().all(|config| config.read_only && config.documentation.is_some()));
    assert_eq!((of("num.partitions").value.as_deref(), of("num.partitions").config_source), (Some("5"), 4));
    assert_eq!((of("log.segment.bytes").config_source, of("log.segment.bytes").config_type), (5, 3));
    assert_eq!(of("log.retention.ms").value.as_deref(), Some("1000"));
    for resource in ["1", ""] {
        let (code, message) =
            change(&mut client, (BROKER, resource), &[("log.retention.ms", SET, Some("5"))], (1, false));
        assert!(code == 40 && message.contains("log.retention.ms"), "{code} {message}");
        let forgotten = change(&mut client, (BROKER, resource), &[("log.retention.ms", DELETE, None)], (1, false));
        assert_eq!(forgotten.0, 0, "nothing was set");
    }
    assert_eq!(change(&mut client, (BROKER, "9"), &[], (1, false)).0, 42);

    // A topic follows the broker, the broker was told, and Kafka has a default.
    client.create_topic("t", 1, &[("retention.ms", "77")]);
    let told = describe(&mut client, TOPIC, "t");
    let retention = told.iter().find(|config| &*config.name == "retention.ms").unwrap();
    let synonyms: Vec<_> =
        retention.synonyms.iter().map(|s| (&*s.name, s.value.as_deref().unwrap(), s.source)).collect();
    let expected = [("retention.ms", "77", 1), ("log.retention.ms", "1000", 4), ("log.retention.ms", "604800000", 5)];
    assert_eq!(
        synonyms.iter().map(|(n, v, s)| (n.to_string(), *v, *s)).collect::<Vec<_>>(),
        expected.map(|(n, v, s)| (n.to_owned(), v, s))
    );
    change(&mut client, (TOPIC, "t"), &[("retention.ms", DELETE, None)], (1, false));
    assert_eq!(value(&mut client, "t", "retention.ms"), ("1000".to_owned(), 4));
}

#[test]
fn every_setting_of_kafka_is_known_and_typed() {
    let folder = tempfile::tempdir().unwrap();
    let broker = start(&folder);
    let mut client = Client::connect(broker.addr());
    client.create_topic("t", 1, &[]);
    let told = describe(&mut client, TOPIC, "t");
    assert_eq!(told.len(), 37, "Kafka 4.4 has as many");
    assert!(told.is_sorted_by_key(|config| config.name.to_string()));
    let kind = |name: &str| told.iter().find(|config| &*config.name == name).unwrap().config_type;
    let names =
        ["preallocate", "compression.type", "segment.bytes", "flush.ms", "min.cleanable.dirty.ratio", "cleanup.policy"];
    assert_eq!(names.map(kind), [1, 2, 3, 5, 6, 7]);
    // What the tools of Kafka and its streams set on topics is taken, or refused with the reason.
    for config in &told {
        let set = [(&*config.name, SET, config.value.as_deref())];
        assert_eq!(change(&mut client, (TOPIC, "t"), &set, (1, false)), (0, String::new()), "{}", &*config.name);
    }
    for version in client.versions(ApiKey::ListConfigResources) {
        let request = ListConfigResourcesRequest::default();
        let listed = client.call(&request, version).config_resources;
        let listed: Vec<_> = listed.iter().map(|r| (r.resource_name.to_string(), r.resource_type)).collect();
        let expected = [("__consumer_offsets", 2), ("t", 2), ("1", 4)].map(|(name, kind)| (name.to_owned(), kind));
        assert_eq!(listed, if version == 0 { &[][..] } else { &expected[..] });
    }
}
