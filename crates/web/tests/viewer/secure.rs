//! HTTPS, and a broker that comes late.

use crate::support::{World, get, raw, read_answer, wait};
use lumenbus_broker::{Broker, BrokerConfig};
use lumenbus_bus::BusConfig;
use lumenbus_web::{StreamPhase, TlsConfig, Viewer, ViewerConfig};
use openssl::hash::MessageDigest;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use std::io::{BufReader, Write as _};
use std::net::TcpListener;

#[test]
fn a_certificate_of_its_own_is_served_and_its_fingerprint_told() {
    let world = World::with(|config| config.tls = Some(TlsConfig::SelfSigned { folder: None }));
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    let tcp = crate::support::connect(world.addr());
    let mut tls = connector.build().connect("localhost", tcp).unwrap();
    let certificate = tls.ssl().peer_certificate().unwrap();
    let digest = certificate.digest(MessageDigest::sha256()).unwrap();
    let fingerprint = digest.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
    assert!(world.viewer.start_message().contains(&fingerprint));
    assert!(world.viewer.url().starts_with("https://"));
    // Not loopback: what makes it safe is TLS.
    tls.write_all(b"GET / HTTP/1.1\r\nHost: 192.0.2.9\r\nConnection: close\r\n\r\n").unwrap();
    let page = read_answer(&mut BufReader::new(tls));
    assert_eq!((page.status, page.header("cross-origin-opener-policy")), (200, Some("same-origin")));
    let plain = raw(world.addr(), b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(plain.status, 400);
    assert!(String::from_utf8_lossy(&plain.body).contains("https://"));
}

#[test]
fn a_viewer_waits_for_its_broker() {
    // A port that is free now; the broker takes it later.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut config = ViewerConfig::new(BusConfig::new(address.to_string()));
    config.listen = ([127, 0, 0, 1], 0).into();
    let gate = lumenbus_web::ConfiguredCamera { id: "gate".parse().unwrap(), name: None, group: None, trouble: None };
    config.configured = std::sync::Arc::new(move || vec![gate.clone()]);
    let viewer = Viewer::start(config).unwrap();
    let told = wait(&viewer, "word of it", |snapshot| snapshot.disconnected.is_some() && !snapshot.streams.is_empty());
    assert_eq!(told.streams[0].state, StreamPhase::Connecting);
    let state = get(viewer.addr(), "/api/v1/state").json();
    assert_eq!(state["stats"]["broker"]["is_connected"], false);
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::start_blocking(BrokerConfig::new(data.path()).listen(address)).unwrap();
    wait(&viewer, "the broker", |snapshot| snapshot.disconnected.is_none());
    viewer.close();
    broker.shutdown_blocking().unwrap();
}
