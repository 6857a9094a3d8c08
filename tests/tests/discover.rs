//! `lumenbus cameras discover` against devices that the Python package WSDiscovery announces, in a network of their own.

use lumenbus_tests::cli::{Background, lumenbus, skip, words};
use lumenbus_tests::network::OwnNetwork;
use lumenbus_tests::python::{in_repository, wsdiscovery_python};
use serde_json::Value;
use std::ffi::OsString;
use std::process::Command;

/// WSDiscovery announces nothing at addresses 127.x.
const ADDRESS: &str = "10.77.0.1";
const PASSWORD: &str = "hunter2";

struct Site {
    network: OwnNetwork,
    python: OsString,
}

impl Site {
    fn new() -> Option<Self> {
        let python = wsdiscovery_python()?;
        let Some(network) = OwnNetwork::new() else {
            skip("no network of its own is granted");
            return None;
        };
        let mut command = Command::new("ip");
        command.args(["address", "add", &format!("{ADDRESS}/24"), "dev", "lo"]);
        drop(Background::start(network.command(&command)).finish().code(0));
        Some(Self { network, python })
    }

    /// Two cameras and a printer.
    fn devices(&self) -> Background {
        let mut command = Command::new(&self.python);
        command.arg(in_repository("tests/python/onvif_cameras.py")).args([ADDRESS, PASSWORD]);
        let devices = Background::start(self.network.command(&command));
        devices.wait_for_line("ready");
        devices
    }

    fn discover(&self, more: &str, password: Option<&str>) -> Background {
        // It ends when both have answered; the time is only for when they don't.
        let line = format!("cameras discover --interface {ADDRESS} --for 150s --count 2 {more}");
        let mut command = lumenbus(words(&line));
        if let Some(password) = password {
            command.env("LUMENBUS_CAMERA_USERNAME", "viewer").env("LUMENBUS_CAMERA_PASSWORD", password);
        }
        Background::start(self.network.command(&command))
    }
}

fn named<'a>(cameras: &'a [Value], name: &str) -> &'a Value {
    cameras.iter().find(|camera| camera["name"] == name).unwrap_or_else(|| panic!("no {name} in {cameras:?}"))
}

#[test]
fn cameras_tell_who_they_are_and_with_a_password_where_their_streams_are() {
    let Some(site) = Site::new() else { return };
    let _devices = site.devices();
    let ran = site.discover("--json", Some(PASSWORD)).finish().code(0);
    assert_eq!((&ran.summary()["action"], &ran.summary()["cameras"]), (&"discover".into(), &2.into()));
    let cameras = ran.objects("camera");
    let (gate, yard) = (named(&cameras, "Gate Cam"), named(&cameras, "Yard"));
    assert_eq!(gate["types"], serde_json::json!(["NetworkVideoTransmitter"]));
    assert_eq!(yard["types"], serde_json::json!(["Device"]));
    for camera in [gate, yard] {
        assert_eq!((&camera["location"], &camera["addresses"][0]), (&"yard".into(), &ADDRESS.into()));
        assert_eq!((&camera["manufacturer"], &camera["fault"]), (&"Acme".into(), &Value::Null));
        let ahead = camera["clock_offset_seconds"].as_i64().unwrap();
        assert!((3_400..=3_601).contains(&ahead), "{ahead}");
    }
    let (large, small) = ("rtsp://10.77.0.1:554/live?a=1&profile=large", "rtsp://10.77.0.1:554/live?a=1&profile=small");
    assert_eq!((&gate["streams"][0]["url"], &gate["streams"][0]["width"]), (&large.into(), &1920.into()));
    assert_eq!(gate["streams"][1]["url"], small);
    let add = format!("lumenbus cameras add gate-cam '{large}' --sub '{small}' --name='Gate Cam'");
    assert_eq!(gate["add"], format!("{add} --username=viewer --password-env=LUMENBUS_CAMERA_PASSWORD"));
    assert!(!ran.stdout.contains(PASSWORD) && !ran.stderr.contains(PASSWORD));
}

#[test]
fn without_the_right_password_cameras_are_found_but_not_their_streams() {
    let Some(site) = Site::new() else { return };
    let _devices = site.devices();
    for (password, fault) in [(None, "asks for a user and a password"), (Some("guess"), "does not accept this user")] {
        let ran = site.discover("--json", password).finish().code(0);
        let cameras = ran.objects("camera");
        let gate = named(&cameras, "Gate Cam");
        assert!(gate["fault"].as_str().unwrap().contains(fault), "{gate}");
        assert_eq!((&gate["streams"], &gate["manufacturer"]), (&serde_json::json!([]), &Value::Null));
        assert_eq!(gate["add"], "lumenbus cameras add gate-cam rtsp://10.77.0.1/PATH --name='Gate Cam'");
    }
}

#[test]
fn cameras_that_announce_themselves_later_are_heard() {
    let Some(site) = Site::new() else { return };
    let discover = site.discover("", Some(PASSWORD));
    // From now on nobody is asked.
    discover.wait_for_word("waiting for late answers");
    let _devices = site.devices();
    let ran = discover.finish().code(0);
    for line in ["Gate Cam", "Yard", "  device    Acme One"] {
        assert!(ran.stdout.lines().any(|told| told == line), "{line:?} is not in:\n{}", ran.stdout);
    }
    assert!(ran.stdout.contains("  stream    rtsp://10.77.0.1:554/live?a=1&profile=large  H264 1920x1080\n"));
}

#[test]
fn an_interface_that_is_not_there_is_refused_with_advice() {
    let line = "cameras discover --interface 192.0.2.77 --for 1s";
    drop(Background::start(lumenbus(words(line))).finish().code(1).says("192.0.2.77").says("--interface"));
}
