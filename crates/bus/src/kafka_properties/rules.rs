//! What becomes of each property of Kafka's Java clients (4.x) whose name or meaning differs in librdkafka 2.12.

use super::jaas::Jaas;
use super::{PropertyEffect, Translation};

pub(super) const JVM_ONLY: &str = "it configures a Java class; there is none here";
const SERIALISER: &str = "frames have their own wire format; key and value classes mean nothing here";
const EXPLICIT_PARTITIONS: &str = "a stream's partition comes from the directory lumenbus.cameras";
const OWN_OFFSETS: &str = "the subscriber commits the offsets that are safe by itself";
const OWN_START: &str = "where reading starts is said with --from";

pub(super) enum Rule {
    /// librdkafka has it under the same name.
    Same,
    /// librdkafka has it under another one.
    Renamed(&'static str),
    Ignored(&'static str),
    Unsupported(&'static str),
    Special(fn(&mut Translation<'_>, &str, &str)),
}

pub(super) const RULES: &[(&str, Rule)] = &[
    // TLS
    ("ssl.truststore.location", Rule::Special(truststore)),
    ("ssl.truststore.certificates", Rule::Renamed("ssl.ca.pem")),
    ("ssl.truststore.type", Rule::Special(store_type)),
    ("ssl.truststore.password", Rule::Special(truststore_password)),
    ("ssl.keystore.location", Rule::Special(keystore)),
    ("ssl.keystore.password", Rule::Special(keystore_password)),
    ("ssl.keystore.certificate.chain", Rule::Renamed("ssl.certificate.pem")),
    ("ssl.keystore.key", Rule::Renamed("ssl.key.pem")),
    ("ssl.keystore.type", Rule::Special(store_type)),
    ("ssl.key.password", Rule::Same),
    ("ssl.endpoint.identification.algorithm", Rule::Same),
    ("ssl.protocol", Rule::Ignored("OpenSSL takes the newest version that both sides have")),
    ("ssl.enabled.protocols", Rule::Ignored("OpenSSL takes the newest version that both sides have")),
    ("ssl.provider", Rule::Ignored(JVM_ONLY)),
    ("ssl.keymanager.algorithm", Rule::Ignored(JVM_ONLY)),
    ("ssl.trustmanager.algorithm", Rule::Ignored(JVM_ONLY)),
    ("ssl.secure.random.implementation", Rule::Ignored(JVM_ONLY)),
    ("ssl.engine.factory.class", Rule::Unsupported("a TLS engine of your own needs a Java client")),
    (
        "ssl.cipher.suites",
        Rule::Unsupported(
            "Java and OpenSSL name cipher suites differently; pass OpenSSL's names with -X ssl.cipher.suites=…",
        ),
    ),
    // SASL
    ("security.protocol", Rule::Same),
    ("security.providers", Rule::Ignored(JVM_ONLY)),
    ("sasl.mechanism", Rule::Same),
    ("sasl.jaas.config", Rule::Special(jaas)),
    ("sasl.client.callback.handler.class", Rule::Ignored(JVM_ONLY)),
    ("sasl.oauthbearer.token.endpoint.url", Rule::Same),
    ("sasl.kerberos.service.name", Rule::Same),
    ("sasl.kerberos.kinit.cmd", Rule::Same),
    ("sasl.kerberos.min.time.before.relogin", Rule::Same),
    ("sasl.kerberos.ticket.renew.jitter", Rule::Ignored(JVM_ONLY)),
    ("sasl.kerberos.ticket.renew.window.factor", Rule::Ignored(JVM_ONLY)),
    // Connections
    ("bootstrap.controllers", Rule::Unsupported("clients talk to brokers; give bootstrap.servers")),
    ("client.dns.lookup", Rule::Special(dns_lookup)),
    ("connections.max.idle.ms", Rule::Same),
    ("send.buffer.bytes", Rule::Special(socket_buffer)),
    ("receive.buffer.bytes", Rule::Special(socket_buffer)),
    ("metadata.max.age.ms", Rule::Same),
    ("metadata.max.idle.ms", Rule::Ignored("topics in use stay known")),
    ("metadata.recovery.strategy", Rule::Same),
    ("metadata.recovery.rebootstrap.trigger.ms", Rule::Same),
    ("enable.metrics.push", Rule::Same),
    ("metric.reporters", Rule::Ignored(JVM_ONLY)),
    ("metrics.num.samples", Rule::Ignored(JVM_ONLY)),
    ("metrics.recording.level", Rule::Ignored(JVM_ONLY)),
    ("metrics.sample.window.ms", Rule::Ignored(JVM_ONLY)),
    ("auto.include.jmx.reporter", Rule::Ignored(JVM_ONLY)),
    ("interceptor.classes", Rule::Ignored(JVM_ONLY)),
    ("config.providers", Rule::Unsupported("${…} references are resolved by Java classes only; write the values")),
    ("default.api.timeout.ms", Rule::Ignored("each call here has its own limit")),
    ("socket.connection.setup.timeout.max.ms", Rule::Ignored("the set-up timeout does not grow here")),
    // Producer
    ("key.serializer", Rule::Ignored(SERIALISER)),
    ("value.serializer", Rule::Ignored(SERIALISER)),
    ("buffer.memory", Rule::Special(buffer_memory)),
    (
        "max.block.ms",
        Rule::Ignored("a publisher never blocks its camera: a full lane drops to the next keyframe and says so"),
    ),
    ("delivery.timeout.ms", Rule::Renamed("message.timeout.ms")),
    ("max.request.size", Rule::Renamed("message.max.bytes")),
    ("max.in.flight.requests.per.connection", Rule::Same),
    ("partitioner.class", Rule::Ignored(EXPLICIT_PARTITIONS)),
    ("partitioner.ignore.keys", Rule::Ignored(EXPLICIT_PARTITIONS)),
    ("partitioner.adaptive.partitioning.enable", Rule::Ignored(EXPLICIT_PARTITIONS)),
    ("partitioner.availability.timeout.ms", Rule::Ignored(EXPLICIT_PARTITIONS)),
    ("compression.gzip.level", Rule::Renamed("compression.level")),
    ("compression.lz4.level", Rule::Renamed("compression.level")),
    ("compression.zstd.level", Rule::Renamed("compression.level")),
    // Consumer
    ("key.deserializer", Rule::Ignored(SERIALISER)),
    ("value.deserializer", Rule::Ignored(SERIALISER)),
    ("max.poll.records", Rule::Special(max_poll_records)),
    ("num.consumer.fetchers", Rule::Special(consumer_fetchers)),
    ("fetch.max.wait.ms", Rule::Renamed("fetch.wait.max.ms")),
    ("enable.auto.commit", Rule::Ignored(OWN_OFFSETS)),
    ("auto.commit.interval.ms", Rule::Ignored(OWN_OFFSETS)),
    ("auto.offset.reset", Rule::Ignored(OWN_START)),
    ("exclude.internal.topics", Rule::Ignored("topics are subscribed by name")),
    ("group.remote.assignor", Rule::Same),
    ("partition.assignment.strategy", Rule::Special(assignors)),
    ("share.acknowledgement.mode", Rule::Unsupported("share groups do not keep the order of a stream")),
];

fn is_pem(translation: &Translation<'_>, kind: &str, path: &str) -> bool {
    match translation.file.get(kind) {
        Some(store) => store.eq_ignore_ascii_case("PEM"),
        None => [".pem", ".crt", ".cer"].iter().any(|end| path.to_ascii_lowercase().ends_with(end)),
    }
}

fn is_pkcs12(translation: &Translation<'_>, kind: &str, path: &str) -> bool {
    match translation.file.get(kind) {
        Some(store) => store.eq_ignore_ascii_case("PKCS12"),
        None => [".p12", ".pfx"].iter().any(|end| path.to_ascii_lowercase().ends_with(end)),
    }
}

fn truststore(translation: &mut Translation<'_>, name: &str, path: &str) {
    if is_pem(translation, "ssl.truststore.type", path) {
        translation.set("ssl.ca.location", path);
        return translation.note(name, PropertyEffect::Translated, "librdkafka calls it ssl.ca.location");
    }
    let text = format!(
        "OpenSSL reads certificates of CAs as PEM only; export them: `keytool -exportcert -rfc -keystore {path} -alias ALIAS \
         -file ca.pem` (or `openssl pkcs12 -in {path} -nokeys -out ca.pem`), then -X ssl.ca.location=ca.pem"
    );
    translation.note(name, PropertyEffect::Unsupported, &text);
}

fn keystore(translation: &mut Translation<'_>, name: &str, path: &str) {
    if is_pem(translation, "ssl.keystore.type", path) {
        translation.set("ssl.certificate.location", path);
        translation.set("ssl.key.location", path);
        let text = "librdkafka reads key and certificates from ssl.key.location and ssl.certificate.location";
        translation.note(name, PropertyEffect::Translated, text);
    } else if is_pkcs12(translation, "ssl.keystore.type", path) {
        translation.set("ssl.keystore.location", path);
    } else {
        let text = format!(
            "OpenSSL does not read JKS; convert it: `keytool -importkeystore -srckeystore {path} -destkeystore client.p12 \
             -deststoretype PKCS12`, then -X ssl.keystore.location=client.p12"
        );
        translation.note(name, PropertyEffect::Unsupported, &text);
    }
}

/// Said by the location's own translation.
fn store_type(translation: &mut Translation<'_>, name: &str, _kind: &str) {
    translation.note(name, PropertyEffect::Ignored, "what a store is follows from how it is translated");
}

fn truststore_password(translation: &mut Translation<'_>, name: &str, _secret: &str) {
    translation.note(name, PropertyEffect::Ignored, "certificates in PEM have no password");
}

/// librdkafka takes the password with a PKCS#12 store only.
fn keystore_password(translation: &mut Translation<'_>, name: &str, secret: &str) {
    let path = translation.file.get("ssl.keystore.location").unwrap_or_default().to_owned();
    if is_pkcs12(translation, "ssl.keystore.type", &path) {
        return translation.set("ssl.keystore.password", secret);
    }
    translation.note(
        name,
        PropertyEffect::Ignored,
        "only a PKCS#12 keystore takes one; a PEM key's is ssl.key.password",
    );
}

fn jaas(translation: &mut Translation<'_>, name: &str, text: &str) {
    let Some(jaas) = Jaas::parse(text) else {
        let text = "it is not of the form `class required name=\"value\" …;`; pass sasl.username and sasl.password in the file";
        return translation.note(name, PropertyEffect::Unsupported, text);
    };
    match jaas.module.as_str() {
        "ScramLoginModule" | "PlainLoginModule" => login(translation, name, &jaas),
        "OAuthBearerLoginModule" => oauth(translation, name, &jaas),
        "Krb5LoginModule" => translation.note(
            name,
            PropertyEffect::Unsupported,
            "this build has no Kerberos (GSSAPI); use SCRAM-SHA-256 or a client certificate",
        ),
        other => {
            let text = format!(
                "the login module {} is a Java class that is not known here",
                other.chars().take(64).collect::<String>()
            );
            translation.note(name, PropertyEffect::Unsupported, &text);
        }
    }
}

fn login(translation: &mut Translation<'_>, name: &str, jaas: &Jaas) {
    let (Some(user), Some(password)) = (jaas.option("username"), jaas.option("password")) else {
        return translation.note(name, PropertyEffect::Unsupported, "it lacks username or password");
    };
    translation.set("sasl.username", user);
    translation.set("sasl.password", password);
    if translation.file.get("sasl.mechanism").is_none() && jaas.module == "PlainLoginModule" {
        translation.set("sasl.mechanism", "PLAIN");
    }
    translation.note(name, PropertyEffect::Translated, "librdkafka takes sasl.username and sasl.password");
}

fn oauth(translation: &mut Translation<'_>, name: &str, jaas: &Jaas) {
    let (Some(id), Some(secret)) = (jaas.option("clientId"), jaas.option("clientSecret")) else {
        return translation.note(name, PropertyEffect::Unsupported, "it lacks clientId or clientSecret");
    };
    translation.set("sasl.oauthbearer.method", "oidc");
    translation.set("sasl.oauthbearer.client.id", id);
    translation.set("sasl.oauthbearer.client.secret", secret);
    if let Some(scope) = jaas.option("scope") {
        translation.set("sasl.oauthbearer.scope", scope);
    }
    translation.note(
        name,
        PropertyEffect::Translated,
        "librdkafka takes sasl.oauthbearer.client.id and sasl.oauthbearer.client.secret",
    );
}

fn dns_lookup(translation: &mut Translation<'_>, name: &str, value: &str) {
    if value == "default" {
        return translation.note(
            name,
            PropertyEffect::Ignored,
            "`default` was removed from Kafka; every address is used",
        );
    }
    translation.set(name, value);
}

/// -1 is "as the system likes", which librdkafka calls 0.
fn socket_buffer(translation: &mut Translation<'_>, name: &str, value: &str) {
    let to = if name.starts_with("send") { "socket.send.buffer.bytes" } else { "socket.receive.buffer.bytes" };
    translation.set(to, if value == "-1" { "0" } else { value });
    translation.note(name, PropertyEffect::Translated, &format!("librdkafka calls it {to}"));
}

/// Bytes in Java, KiB in librdkafka.
fn buffer_memory(translation: &mut Translation<'_>, name: &str, value: &str) {
    let Ok(bytes) = value.parse::<u64>() else {
        return translation.note(name, PropertyEffect::Unsupported, "it is not a number of bytes");
    };
    translation.set("queue.buffering.max.kbytes", &(bytes / 1024).max(1).to_string());
    let text = "librdkafka calls it queue.buffering.max.kbytes; frames wait in the publisher's lanes (its byte budget), not there";
    translation.note(name, PropertyEffect::Translated, text);
}

/// Not a property of librdkafka: [`crate::BusConfig::max_poll_records`] keeps it.
fn max_poll_records(translation: &mut Translation<'_>, name: &str, value: &str) {
    translation.set(crate::config::MAX_POLL_RECORDS, value);
    translation.note(
        name,
        PropertyEffect::Translated,
        "at most so many records are taken from Kafka's queue at a time",
    );
}

fn consumer_fetchers(translation: &mut Translation<'_>, name: &str, value: &str) {
    translation.set(crate::config::CONSUMERS, value);
    translation.note(
        name,
        PropertyEffect::Translated,
        "so many consumers run in this process, each with partitions of its own",
    );
}

/// Class names in Java, short names in librdkafka.
fn assignors(translation: &mut Translation<'_>, name: &str, value: &str) {
    let short = |class: &str| match class.trim().rsplit('.').next() {
        Some("RangeAssignor" | "range") => Some("range"),
        Some("RoundRobinAssignor" | "roundrobin") => Some("roundrobin"),
        Some("CooperativeStickyAssignor" | "cooperative-sticky") => Some("cooperative-sticky"),
        _ => None,
    };
    let known: Vec<&str> = value.split(',').filter_map(short).collect();
    if known.is_empty() {
        let text = "librdkafka has range, roundrobin and cooperative-sticky";
        return translation.note(name, PropertyEffect::Unsupported, text);
    }
    // Eager and cooperative protocols cannot be offered together.
    let eager: Vec<&str> = known.iter().copied().filter(|short| *short != "cooperative-sticky").collect();
    translation.set(name, &if eager.is_empty() { known } else { eager }.join(","));
    translation.note(
        name,
        PropertyEffect::Translated,
        "librdkafka has short names, and does not mix eager with cooperative",
    );
}
