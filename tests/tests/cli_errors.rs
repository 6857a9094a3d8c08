//! Bad input on the command line: exit codes, and messages worth reading.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{Background, Ran};
use lumenbus_tests::cli::{BrokerProcess, footage, lumenbus, run, spawn_at, words};
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use tempfile::TempDir;

/// A port where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

#[test]
fn no_broker_is_exit_code_4_with_what_to_do() {
    let address = nowhere();
    let expected = format!("no broker at {address}; start one with `lumenbus broker --data DIR` or pass --brokers");
    for command in ["publish test:320x240@10 --camera gate", "subscribe", "topics plan", "topics apply", "topics check"]
    {
        let ran = run(&format!("{command} --brokers {address}")).code(4).says(&expected).says("[LB-E0101]");
        assert_eq!(ran.stderr.trim().lines().count(), 1, "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

#[test]
fn a_failure_with_json_still_ends_in_a_summary() {
    let address = nowhere();
    let summary = run(&format!("topics check --json --brokers {address}")).code(4).summary();
    assert_eq!(summary["command"], "topics");
    assert_eq!(summary["error"]["code"], "LB-E0101");
    assert_eq!(summary["error"]["exit_code"], 4);
    assert!(summary["error"]["message"].as_str().unwrap().contains(&address));
}

/// Answers every connection as a web server would that gets something else than HTTP.
fn web_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut request = [0; 64];
            // Whoever hangs up early gets no answer.
            drop(stream.read(&mut request));
            drop(stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"));
        }
    });
    address
}

#[test]
fn a_web_server_is_not_taken_for_a_broker() {
    let address = web_server();
    run(&format!("subscribe --brokers {address}")).code(4).says(&address).says("is not a Kafka broker").says("HTTP");
}

#[test]
fn the_wrong_security_protocol_is_named() {
    let broker = BrokerProcess::start();
    broker.run("topics plan -X security.protocol=SSL").code(4).says("does not speak TLS").says("PLAINTEXT");
    let login = "-X security.protocol=SASL_PLAINTEXT -X sasl.mechanism=PLAIN -X sasl.username=me";
    let refused = broker.run(&format!("topics plan {login} -X sasl.password=hunter2")).code(4).says("login");
    assert!(!refused.stderr.contains("hunter2"), "{}", refused.stderr);
}

#[test]
fn secrets_are_never_shown() {
    let broker = BrokerProcess::start();
    let wrong = broker.run("topics plan -vv -X sasl.passwrd=hunter2").code(2).says("sasl.passwrd");
    assert!(!wrong.stderr.contains("hunter2"), "{}", wrong.stderr);
    let url = run("publish rtsps://admin:hunter2@10.0.0.7/stream1 --camera gate").code(2).says("10.0.0.7");
    assert!(!url.stderr.contains("hunter2"), "{}", url.stderr);
    let away = broker.run("publish rtsp://admin:hunter2@127.0.0.1:9/stream1 --camera gate -vv").code(1);
    assert!(away.stderr.contains("127.0.0.1:9") && !away.stderr.contains("hunter2"), "{}", away.stderr);
}

#[test]
fn what_was_typed_wrong_is_exit_code_2() {
    let broker = BrokerProcess::start();
    for (arguments, says) in [
        ("publish test:320x240@10 --camera ../etc", "../etc"),
        ("publish test:320x240@10 --camera a/b", "a/b"),
        ("publish test:320x240@10 --camera Küche", "Küche"),
        ("publish test:12x10@10 --camera gate", "test:12x10@10"),
        ("publish test:320x240@10 --camera gate --stream no/slash", "no/slash"),
        ("publish test:320x240@10 --camera gate --topic white&space", "white&space"),
        ("publish test:320x240@10 --camera gate --envelope xml", "xml"),
        ("subscribe --policy fastest", "live:300ms"),
        ("subscribe --from tomorrow", "14:03"),
        ("subscribe --to -5m --group g", "--group"),
        ("subscribe --out clip.mkv", ".h264"),
        ("subscribe --from -1m --speed 20", "16"),
        ("subscribe --from -1m --backwards --out clip.mp4", ".mjpeg"),
        ("publish test:320x240@10 --camera gate --temporal-layers 3", "3"),
        ("publish test:320x240@10 --camera gate --gop never", "never"),
        ("subscribe --camera [", "["),
        ("topics plan --format xml", "kafka-topics"),
        ("topics plan --with everything", "everything"),
        ("topics plan --topic-prefix a/", "a/"),
        ("topics plan -X socket.timeout.ms=soon", "socket.timeout.ms"),
        ("publish test:320x240@10 --camera gate -X linger.ms=soon", "linger.ms"),
        ("topics plan -X no.such.property=1", "no.such.property"),
        ("topics plan -X linger.ms", "NAME=VALUE"),
        ("topics plan --profile fast", "realtime"),
        ("topics plan --brokers kafka:port", "kafka:port"),
        ("broker --data d --keep-free 100%", "--keep-free"),
        ("broker --data d --listen localhost", "localhost"),
        ("broker --data d --advertise somewhere", "HOST:PORT"),
    ] {
        let line = if arguments.contains("--brokers") || arguments.starts_with("broker") {
            arguments.to_owned()
        } else {
            format!("{arguments} --brokers {}", broker.address())
        };
        let ran = run(&line);
        assert_eq!(ran.status.code(), Some(2), "{arguments}: {}", ran.stderr);
        assert!(ran.stderr.contains(says), "{arguments}: {}", ran.stderr);
    }
    let nothing = broker.run("topics check --json").code(3);
    assert!(nothing.stdout.contains("raw_video"), "nothing of the above made a topic: {}", nothing.stdout);
}

#[test]
fn a_missing_topic_is_named_where_none_may_be_created() {
    let broker = BrokerProcess::start();
    let keep = "-X topics.create=false";
    broker
        .run(&format!("publish test:320x240@10 --camera gate --for 1s {keep}"))
        .code(1)
        .says("does not exist")
        .says("lumenbus topics apply")
        .says("LB-E0202");
    broker.run("subscribe --topic nowhere").code(1).says("topic nowhere does not exist").says("LB-E0202");
    broker.run("subscribe").code(1).says("raw_video");
    broker.run(&format!("topics apply --json {keep}")).code(3);
    broker.run("subscribe").code(1).says("raw_video");
}

fn publish_bytes(brokers: &str, folder: &Path, name: &str, bytes: &[u8]) -> Ran {
    let path = folder.join(name);
    std::fs::write(&path, bytes).unwrap();
    spawn_at(brokers, &format!("publish {} --camera gate --unpaced --json", path.display())).finish()
}

/// Reproducible noise (xorshift).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..length).map(next).collect()
}

#[test]
fn media_that_is_none_is_refused_by_name() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    let brokers = broker.address();
    publish_bytes(brokers, folder.path(), "empty.mp4", b"").code(1).says("empty.mp4 is empty");
    for name in ["noise.mp4", "noise.h264", "noise.avi", "noise.y4m", "noise.bin"] {
        let ran = publish_bytes(brokers, folder.path(), name, &noise(200_000)).code(1).says(name);
        assert!(!ran.stderr.contains("panic"), "{}", ran.stderr);
        assert_eq!(ran.summary()["error"]["exit_code"], 1);
    }
    run(&format!("publish nowhere.mp4 --camera gate --brokers {brokers}")).code(1).says("nowhere.mp4").says("No such");
    let empty = folder.path().join("none");
    std::fs::create_dir(&empty).unwrap();
    run(&format!("publish {} --camera gate --brokers {brokers}", empty.display())).code(1).says("no readable picture");
    run(&format!("publish {}/*.jpg --camera gate --brokers {brokers}", empty.display())).code(1).says("*.jpg");
}

/// What is there before the damage is published, and the end is written whatever happens.
#[test]
fn a_clip_that_is_cut_short_gives_what_it_has() {
    let broker = BrokerProcess::start();
    let folder = TempDir::new().unwrap();
    for (file, whole) in [("street1080.264", 54), ("vtest_768x576.mp4", 795)] {
        let Some(path) = footage(file) else { return };
        let bytes = std::fs::read(path).unwrap();
        let ran = publish_bytes(broker.address(), folder.path(), file, &bytes[..bytes.len() * 2 / 3]);
        let code = ran.status.code();
        assert!(matches!(code, Some(0 | 1 | 3)), "{}", ran.stderr);
        let summary = ran.summary();
        if code == Some(1) {
            assert!(ran.stderr.contains("cut short") || ran.stderr.contains("damaged"), "{}", ran.stderr);
            continue;
        }
        let published = summary["acknowledged"].as_u64().unwrap();
        assert!((10..whole).contains(&published), "{file}: {published}");
        assert_eq!(summary["clean"], true);
    }
}

#[test]
fn existing_output_is_kept_unless_told() {
    let broker = BrokerProcess::start();
    broker.run("publish test:320x240@10,frames=3 --camera gate --unpaced").code(0);
    let folder = TempDir::new().unwrap();
    let (file, full) = (folder.path().join("out.h264"), folder.path().join("pictures"));
    std::fs::write(&file, "mine").unwrap();
    std::fs::create_dir(&full).unwrap();
    std::fs::write(full.join("mine.txt"), "mine").unwrap();
    let read = "subscribe --from start --until-end --out";
    broker.run(&format!("{read} {}", file.display())).code(1).says("out.h264 exists").says("--overwrite");
    assert_eq!(std::fs::read(&file).unwrap(), b"mine");
    broker.run(&format!("{read} {}", full.display())).code(1).says("not empty").says("--overwrite");
    broker.run(&format!("{read} {} --overwrite", file.display())).code(0);
    assert!(std::fs::read(&file).unwrap().starts_with(&[0, 0, 0, 1]));
    broker.run(&format!("{read} {} --overwrite", full.display())).code(0);
    assert_eq!(std::fs::read(full.join("mine.txt")).unwrap(), b"mine");
    assert_eq!(std::fs::read_dir(full.join("gate")).unwrap().count(), 3);
}

#[test]
fn settings_come_from_flag_environment_and_file_in_this_order() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    let file = folder.path().join("lumenbus.toml");
    let with = |brokers: &str| std::fs::write(&file, format!("brokers = \"{brokers}\"\n")).unwrap();
    let plan = |more: &str, environment: &[(&str, &str)]| {
        let mut command = lumenbus(words(&format!("topics plan --config {} {more}", file.display())));
        command.envs(environment.iter().copied());
        Background::start(command).finish()
    };
    let (here, nobody) = (broker.address(), nowhere());
    with(here);
    plan("", &[]).code(0);
    plan("", &[("LUMENBUS_BROKERS", &nobody)]).code(4).says(&nobody);
    plan(&format!("--brokers {here}"), &[("LUMENBUS_BROKERS", &nobody)]).code(0);
    with(&nobody);
    plan("", &[]).code(4).says(&nobody);
    plan("", &[("LUMENBUS_BROKERS", here)]).code(0);
    let prefixed = plan(&format!("--bootstrap-server {here}"), &[("LUMENBUS_TOPIC_PREFIX", "site-a.")]).code(0);
    assert!(prefixed.stdout.contains("site-a.raw_video"), "{}", prefixed.stdout);
    std::fs::write(&file, "broker = \"x\"\n").unwrap();
    plan("", &[]).code(2).says("broker").says("lumenbus.toml");
    run("topics plan --config nowhere.toml").code(1).says("nowhere.toml");
    run("topics plan --kafka-config nowhere.properties").code(1).says("nowhere.properties");
}

#[test]
fn a_java_properties_file_is_translated_or_explained() {
    let (broker, folder) = (BrokerProcess::start(), TempDir::new().unwrap());
    let file = folder.path().join("client.properties");
    let text =
        format!("# a Java client's\nbootstrap.servers={}\nmax.poll.records=500\nlinger.ms=5\n", broker.address());
    std::fs::write(&file, text).unwrap();
    run(&format!("topics plan -v --kafka-config {}", file.display())).code(0).says("max.poll.records");
    std::fs::write(&file, "ssl.truststore.type=JKS\nssl.truststore.location=/etc/trust.jks\n").unwrap();
    run(&format!("topics plan --kafka-config {} --brokers {}", file.display(), nowhere())).code(4).says("PEM only");
}

#[test]
fn a_second_broker_on_the_same_folder_or_address_is_refused() {
    let broker = BrokerProcess::start();
    let other = TempDir::new().unwrap();
    let same = broker.data().display().to_string();
    run(&format!("broker --data {same} --listen 127.0.0.1:0")).code(1).says(&same);
    let address = broker.address();
    run(&format!("broker --data {} --listen {address}", other.path().display())).code(1).says(address).says("--listen");
    broker.run("topics plan").code(0);
    let stopped = broker.stop().code(0);
    assert_eq!(stopped.summary()["command"], "broker");
}
