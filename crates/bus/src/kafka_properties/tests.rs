use super::*;
use crate::config::{BusConfig, Role};
use rdkafka::consumer::BaseConsumer;
use rdkafka::producer::BaseProducer;

fn parsed(text: &str) -> Vec<(String, String)> {
    JavaProperties::parse(text).unwrap().entries.into_iter().collect()
}

#[test]
fn the_syntax_is_that_of_java_properties() {
    // From the documentation of java.util.Properties.load, and its corners.
    for (text, name, value) in [
        ("Truth = Beauty", "Truth", "Beauty"),
        (" Truth:Beauty", "Truth", "Beauty"),
        ("Truth\t\t\t:Beauty", "Truth", "Beauty"),
        ("cheeses", "cheeses", ""),
        (
            "fruits   apple, banana, pear, \\\n     cantaloupe, watermelon",
            "fruits",
            "apple, banana, pear, cantaloupe, watermelon",
        ),
        ("a\\:b\\=c\\ d=e", "a:b=c d", "e"),
        ("a==b", "a", "=b"),
        ("a = b ", "a", "b "),
        ("a=b\\\\", "a", "b\\"),
        ("a=\\u00e9\\ud83d\\ude00\\t\\q", "a", "é😀\tq"),
        ("a=b\\", "a", "b"),
        ("a=1\r\na=2\r\n", "a", "2"),
        ("\u{feff}a=b", "a", "b"),
        ("# c\\\n! d\n\n  # e\na=b", "a", "b"),
        ("a=b\\\n# not a comment", "a", "b# not a comment"),
    ] {
        assert_eq!(parsed(text), [(name.to_owned(), value.to_owned())], "{text:?}");
    }
    assert_eq!(parsed("\n# only\n! comments\n  \\\n"), []);
}

#[test]
fn a_damaged_file_is_refused_with_its_line() {
    assert_eq!(JavaProperties::parse("a=b\nc=\\u12"), Err(PropertiesError::Escape { line: 2 }));
    assert_eq!(JavaProperties::parse("a=\\u12G4"), Err(PropertiesError::Escape { line: 1 }));
    let long = "x".repeat(MAX_FILE_BYTES + 1);
    assert_eq!(JavaProperties::parse(&long), Err(PropertiesError::TooLong { bytes: MAX_FILE_BYTES + 1 }));
}

#[derive(Clone, Copy)]
enum Then<'a> {
    /// Passed on as these properties, without a note.
    Same(&'a [(&'a str, &'a str)]),
    /// Passed on as these properties; the note of the first name says so.
    Noted(PropertyEffect, &'a [(&'a str, &'a str)]),
}

fn check(text: &str, then: Then<'_>) {
    let (properties, notes) = JavaProperties::parse(text).unwrap().translate();
    let properties: Vec<(&str, &str)> =
        properties.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let (effect, expected) = match then {
        Then::Same(expected) => (None, expected),
        Then::Noted(effect, expected) => (Some(effect), expected),
    };
    assert_eq!(properties, expected, "{text}");
    let first = text.split('=').next().unwrap();
    let found = notes.iter().find(|note| note.name == first).map(|note| note.effect);
    assert_eq!(found, effect, "{text}: {notes:?}");
}

#[test]
fn each_property_is_passed_on_translated_or_explained() {
    use PropertyEffect::{Ignored, Translated, Unsupported};
    use Then::{Noted, Same};
    check("linger.ms=5", Same(&[("linger.ms", "5")]));
    check("security.protocol=SASL_SSL", Same(&[("security.protocol", "SASL_SSL")]));
    check("ssl.endpoint.identification.algorithm=https", Same(&[("ssl.endpoint.identification.algorithm", "https")]));
    check("sasl.jaas.config=", Noted(Ignored, &[]));
    check("key.serializer=org.apache.kafka.common.serialization.StringSerializer", Noted(Ignored, &[]));
    check("sasl.login.callback.handler.class=a.B", Noted(Ignored, &[]));
    check("delivery.timeout.ms=9000", Noted(Translated, &[("message.timeout.ms", "9000")]));
    check("buffer.memory=33554432", Noted(Translated, &[("queue.buffering.max.kbytes", "32768")]));
    check("buffer.memory=lots", Noted(Unsupported, &[]));
    check("receive.buffer.bytes=-1", Noted(Translated, &[("socket.receive.buffer.bytes", "0")]));
    check("max.poll.records=500", Noted(Translated, &[("max.poll.records", "500")]));
    check("num.consumer.fetchers=4", Noted(Translated, &[("num.consumer.fetchers", "4")]));
    check("auto.offset.reset=latest", Noted(Ignored, &[]));
    check("ssl.truststore.location=/etc/ca.pem", Noted(Translated, &[("ssl.ca.location", "/etc/ca.pem")]));
    check(
        "ssl.truststore.location=/etc/x\nssl.truststore.type=PEM",
        Noted(Translated, &[("ssl.ca.location", "/etc/x")]),
    );
    check("ssl.truststore.location=/etc/trust.jks", Noted(Unsupported, &[]));
    check("ssl.truststore.location=/etc/trust.p12", Noted(Unsupported, &[]));
    check("ssl.keystore.location=/etc/me.p12", Same(&[("ssl.keystore.location", "/etc/me.p12")]));
    check(
        "ssl.keystore.password=s\nssl.keystore.location=/etc/me.p12",
        Same(&[("ssl.keystore.location", "/etc/me.p12"), ("ssl.keystore.password", "s")]),
    );
    check("ssl.keystore.location=/etc/me.jks", Noted(Unsupported, &[]));
    check(
        "ssl.keystore.location=/etc/me.pem",
        Noted(Translated, &[("ssl.certificate.location", "/etc/me.pem"), ("ssl.key.location", "/etc/me.pem")]),
    );
    check(
        "sasl.jaas.config=a.b.ScramLoginModule required username=\"bob\" password=\"pass=word;\";",
        Noted(Translated, &[("sasl.password", "pass=word;"), ("sasl.username", "bob")]),
    );
    check(
        "sasl.jaas.config=a.b.PlainLoginModule required username=u password=p;",
        Noted(Translated, &[("sasl.mechanism", "PLAIN"), ("sasl.password", "p"), ("sasl.username", "u")]),
    );
    check(
        "sasl.jaas.config=com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true;",
        Noted(Unsupported, &[]),
    );
    check("sasl.jaas.config=a.b.ScramLoginModule required username=\"bob\";", Noted(Unsupported, &[]));
    check("sasl.jaas.config=nonsense", Noted(Unsupported, &[]));
    check(
        "partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor,org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        Noted(Translated, &[("partition.assignment.strategy", "range")]),
    );
}

#[test]
fn no_note_and_no_debug_output_shows_a_secret() {
    let text = "sasl.jaas.config=a.ScramLoginModule required username=\"bob\" password=\"hunter2\";\n\
                ssl.keystore.password=hunter2\nssl.truststore.password=hunter2\nssl.key.password=hunter2\n\
                ssl.keystore.key=hunter2\nssl.keystore.location=x.jks\n";
    let properties = JavaProperties::parse(text).unwrap();
    let (_, notes) = properties.translate();
    let broken = JavaProperties::parse("sasl.jaas.config=hunter2 required hunter2").unwrap().translate().1;
    for shown in [format!("{properties:?}"), format!("{notes:?}"), format!("{broken:?}")] {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    let config = BusConfig { properties: properties.translate().0, ..BusConfig::default() };
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
}

/// What rules and pass-through give must be something that librdkafka takes.
#[test]
fn librdkafka_takes_what_comes_out() {
    let text = "bootstrap.servers=b:1\nsecurity.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n\
                sasl.jaas.config=a.ScramLoginModule required username=u password=p;\n\
                client.id=x\nclient.dns.lookup=use_all_dns_ips\nacks=all\nretries=3\nlinger.ms=5\nbatch.size=16384\n\
                compression.type=zstd\ncompression.zstd.level=3\nmax.request.size=1048576\nbuffer.memory=33554432\n\
                enable.idempotence=true\nmax.in.flight.requests.per.connection=5\nrequest.timeout.ms=3000\n\
                delivery.timeout.ms=9000\nreconnect.backoff.ms=50\nreconnect.backoff.max.ms=1000\nretry.backoff.ms=100\n\
                send.buffer.bytes=131072\nreceive.buffer.bytes=-1\nmetadata.max.age.ms=300000\n\
                connections.max.idle.ms=540000\nmetadata.recovery.strategy=rebootstrap\nenable.metrics.push=false\n\
                group.id=g\ngroup.instance.id=i\nsession.timeout.ms=10000\nheartbeat.interval.ms=3000\n\
                max.poll.interval.ms=300000\nmax.poll.records=500\nfetch.min.bytes=102400\nfetch.max.wait.ms=500\n\
                fetch.max.bytes=52428800\nmax.partition.fetch.bytes=1048576\nisolation.level=read_committed\ncheck.crcs=true\n\
                partition.assignment.strategy=org.apache.kafka.clients.consumer.CooperativeStickyAssignor\nclient.rack=r1\n";
    let (properties, notes) = JavaProperties::parse(text).unwrap().translate();
    assert!(notes.iter().all(|note| note.effect != PropertyEffect::Unsupported), "{notes:?}");
    let mut config = BusConfig::default();
    for (name, value) in &properties {
        config.set_property(name, value);
    }
    assert_eq!(config.brokers, "b:1");
    assert_eq!(config.max_poll_records(), Some(500));
    config.client_config(Role::Producer).create::<BaseProducer>().unwrap();
    config.client_config(Role::Consumer).create::<BaseConsumer>().unwrap();
    config.client_config(Role::Admin).create::<BaseConsumer>().unwrap();
}
