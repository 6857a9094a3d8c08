//! Clients that misbehave: a clear answer for them, nothing for the others.

use crate::support::{Message, Socket, World, connect, get, raw, read_answer, stills};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use std::io::{BufReader, Read as _, Write as _};
use std::time::Duration;

const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// Runs against one viewer while a good client goes on.
#[test]
fn hostile_messages_end_their_own_session_only() {
    let world = World::new();
    let stream = world.stream("dock", "raw_images");
    world.submit(&stream, stills(1, 1_000));
    let mut good = Socket::open(world.addr());
    good.watch(0, "jpeg");
    assert_eq!(good.media().seq, 0);
    let deep = format!(r#"{{"type":"ping","t0":1,"x":{}1{}}}"#, "[".repeat(6_000), "]".repeat(6_000));
    let many = json!({ "type": "watch", "streams": vec![json!({ "n": 0, "form": "raw" }); 65] }).to_string();
    let cases: Vec<(&str, u8, Vec<u8>, &str)> = vec![
        ("binary", BINARY, vec![0; 100], "binary"),
        ("not JSON", TEXT, b"GET / HTTP/1.1".to_vec(), "malformed"),
        ("half an object", TEXT, b"{\"type\":".to_vec(), "malformed"),
        ("an unknown type", TEXT, b"{\"type\":\"exec\"}".to_vec(), "malformed"),
        ("deep nesting", TEXT, deep.into_bytes(), "malformed"),
        ("too many streams", TEXT, many.into_bytes(), "too-many"),
        ("hello twice", TEXT, b"{\"type\":\"hello\",\"protocol\":1}".to_vec(), "hello-again"),
        ("a number beyond the field", TEXT, b"{\"type\":\"rejoin\",\"n\":70000}".to_vec(), "malformed"),
        ("huge", TEXT, vec![b' '; 20_000], "message-too-long"),
        ("very huge", TEXT, vec![b' '; 3_000_000], "message-too-long"),
    ];
    for (what, opcode, payload, code) in cases {
        let mut client = Socket::open(world.addr());
        client.frame(opcode, &payload);
        let (told, close) = client.refusal();
        assert_eq!(told, code, "{what}");
        // What was not read may take the close message with it.
        assert!(close == 1008 || close == 0, "{what}: {close}");
    }
    let mut client = Socket::open(world.addr());
    // Not UTF-8 is against the WebSocket protocol itself.
    client.frame(TEXT, &[0xff, 0xfe]);
    client.drain();
    world.submit(&stream, stills(1, 1_000));
    assert_eq!(good.media().seq, 1);
}

#[test]
fn a_flood_is_ended() {
    let world = World::new();
    let mut client = Socket::open(world.addr());
    for _ in 0..2_000 {
        client.say(&json!({ "type": "ping", "t0": 1.0 }));
    }
    assert_eq!(client.refusal().0, "too-many-messages");
}

#[test]
fn hello_comes_first_in_time_and_in_this_protocol() {
    let open = |world: &World| Socket::upgrade(world.addr(), &world.addr().to_string(), "").unwrap();
    let hasty = World::with(|config| config.limits.hello_timeout = Duration::from_millis(100));
    assert_eq!(open(&hasty).refusal(), ("hello-timeout".to_owned(), 1008));
    let patient = World::new();
    let mut client = open(&patient);
    client.say(&json!({ "type": "watch", "streams": [] }));
    assert_eq!(client.refusal().0, "hello-first");
    let mut client = open(&patient);
    client.say(&json!({ "type": "hello", "protocol": 2 }));
    assert_eq!(client.refusal().0, "protocol");
}

#[test]
fn an_unknown_stream_is_told_and_the_session_goes_on() {
    let world = World::new();
    let stream = world.stream("dock", "raw_images");
    world.submit(&stream, stills(1, 1_000));
    let mut client = Socket::open(world.addr());
    let streams = json!([{ "n": 9, "form": "jpeg" }, { "n": 0, "form": "jpeg" }]);
    client.say(&json!({ "type": "watch", "streams": streams }));
    assert_eq!(client.told("error")["code"], "unknown-stream");
    assert_eq!(client.media().n, 0);
    client.say(&json!({ "type": "rejoin", "n": 77 }));
    client.say(&json!({ "type": "ping", "t0": 2.5 }));
    assert_eq!(client.told("pong")["t0"], 2.5);
}

/// Both sides of a thousand connections are in this process.
fn permit_many_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(8_192, |most| most.min(8_192));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).unwrap();
}

#[test]
fn a_thousand_connections_leave_a_client_its_pictures_and_the_next_is_refused() {
    permit_many_files();
    let world = World::with(|config| {
        config.limits.connections = 1_001;
        config.limits.header_timeout = Duration::from_secs(600);
    });
    let stream = world.stream("dock", "raw_images");
    world.submit(&stream, stills(1, 1_000));
    let mut client = Socket::open(world.addr());
    client.watch(0, "jpeg");
    assert_eq!(client.media().seq, 0);
    let mut held: Vec<_> = (0..1_000).map(|_| connect(world.addr())).collect();
    for idle in &mut held {
        idle.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    }
    let refused = get(world.addr(), "/healthz");
    assert_eq!((refused.status, refused.code()), (503, "too-many-connections".to_owned()));
    for (seq, frame) in (1..).zip(stills(30, 1_000)) {
        world.submit(&stream, [frame]);
        assert_eq!(client.media().seq, seq);
    }
    // A place that becomes free is given away again.
    let mut last = held.pop().unwrap();
    last.write_all(format!("Host: {}\r\nConnection: close\r\n\r\n", world.addr()).as_bytes()).unwrap();
    assert_eq!(read_answer(&mut BufReader::new(last)).status, 200);
    drop(held);
    client.say(&json!({ "type": "ping", "t0": 1.0 }));
    assert!(matches!(client.told("pong"), value if value["t0"] == 1.0));
}

#[test]
fn a_header_must_come_whole_and_small() {
    let world = World::new();
    let addr = world.addr();
    let long = format!("GET / HTTP/1.1\r\nHost: {addr}\r\nX: {}\r\n\r\n", "x".repeat(40_000));
    assert_eq!(raw(addr, long.as_bytes()).status, 431);
    let many = format!("GET / HTTP/1.1\r\nHost: {addr}\r\n{}\r\n", "X: y\r\n".repeat(500));
    assert_eq!(raw(addr, many.as_bytes()).status, 431);
    for junk in
        [&b"\x00\x01\x02\x03\r\n\r\n"[..], b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 tls\r\n\r\n"]
    {
        assert_eq!(raw(addr, junk).status, 400);
    }
    assert_eq!(get(addr, "/").status, 200);
}

#[test]
fn a_header_that_comes_drop_by_drop_and_an_idle_connection_are_ended() {
    // Long enough for the whole request of a machine under load.
    let world = World::with(|config| config.limits.header_timeout = Duration::from_secs(3));
    let addr = world.addr();
    let mut slow = connect(addr);
    slow.write_all(b"GET / HTTP/1.1\r\nHost: x").unwrap();
    let mut idle = connect(addr);
    idle.write_all(format!("GET /healthz HTTP/1.1\r\nHost: {addr}\r\n\r\n").as_bytes()).unwrap();
    let mut idle = BufReader::new(idle);
    assert_eq!(read_answer(&mut idle).status, 200);
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    slow.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&rest));
}

#[test]
fn closing_the_viewer_is_told() {
    let world = World::new();
    let mut client = Socket::open(world.addr());
    let World { viewer, .. } = world;
    let closing = std::thread::spawn(move || viewer.close());
    loop {
        match client.next() {
            Message::Close(code, _) => {
                assert_eq!(code, 1001);
                break;
            }
            Message::Text(_) => {}
            other => panic!("{other:?}"),
        }
    }
    drop(client);
    closing.join().unwrap();
}
