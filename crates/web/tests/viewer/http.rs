//! Pages, files, the API.

use crate::support::{World, get, get_with, post, raw};
use lumenbus_frame::CameraId;
use lumenbus_web::{Action, Actions, CameraName};
use serde_json::json;
use std::sync::{Arc, Mutex};

#[test]
fn pages_and_files_carry_the_headers_that_protect_them() {
    let world = World::new();
    for path in ["/", "/health", "/camera/gate"] {
        let page = get(world.addr(), path);
        assert_eq!(page.status, 200, "{path}");
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    }
    let file = get(world.addr(), "/assets/main.js");
    assert_eq!((file.status, file.header("cache-control")), (200, Some("no-cache")));
    let tag = file.header("etag").unwrap();
    assert_eq!(get_with(world.addr(), "/assets/main.js", &format!("If-None-Match: {tag}\r\n")).status, 304);
    let packed = get_with(world.addr(), "/assets/main.js", "Accept-Encoding: gzip\r\n");
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    assert!(packed.body.len() < file.body.len());
}

#[test]
fn screens_of_later_versions_are_a_page_that_says_so() {
    let world = World::new();
    let sections = get(world.addr(), "/api/v1/state").json()["hello"]["sections"].clone();
    assert_eq!(sections, json!({ "events": true, "timeline": true, "studies": false }));
    for path in ["/timeline", "/events"] {
        assert_eq!(get(world.addr(), path).status, 200, "{path}");
    }
    let page = get(world.addr(), "/studies");
    assert_eq!((page.status, page.header("content-type")), (404, Some("text/html; charset=utf-8")));
    assert_eq!(page.body, get(world.addr(), "/").body);
    assert!(page.header("content-security-policy").is_some());
}

/// Over plain HTTP from another machine a browser would complain of the header and ignore it.
#[test]
fn the_opener_policy_is_sent_where_browsers_honour_it() {
    let world = World::new();
    let policy = |host: &str| {
        let answer =
            raw(world.addr(), format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes());
        assert_eq!(answer.status, 200, "{host}");
        answer.header("cross-origin-opener-policy").map(str::to_owned)
    };
    for host in ["127.0.0.1:8980", "localhost", "[::1]"] {
        assert_eq!(policy(host).as_deref(), Some("same-origin"), "{host}");
    }
    for host in ["192.0.2.9:8980", "[2001:db8::1]"] {
        assert_eq!(policy(host), None, "{host}");
    }
}

#[test]
fn no_path_leads_out_of_the_files() {
    let world = World::new();
    for path in [
        "/assets/../Cargo.toml",
        "/assets/%2e%2e/Cargo.toml",
        "/assets/..%2fCargo.toml",
        "/assets/%2e%2e%2f%2e%2e%2fetc/passwd",
        "/assets/..\\Cargo.toml",
        "/assets//etc/passwd",
        "/assets/%00",
        "/assets/%c0%ae%c0%ae/Cargo.toml",
        "/assets/",
        "/../../etc/passwd",
        "/camera/../../etc/passwd",
        "/api/v1/../../etc/passwd",
    ] {
        let answer = get(world.addr(), path);
        assert!(answer.status == 404 || answer.status == 400, "{path}: {}", answer.status);
        assert!(!String::from_utf8_lossy(&answer.body).contains("root:"), "{path}");
    }
    assert_eq!(get(world.addr(), "/nothing").code(), "not-found");
    let posted = post(world.addr(), "/", "", "");
    assert_eq!((posted.status, posted.code()), (405, "method".to_owned()));
    assert_eq!(raw(world.addr(), b"GET / HTTP/1.0\r\n\r\n").status, 403, "a request without Host");
}

#[test]
fn operations_are_served() {
    let world = World::new();
    world.wait("the viewer's health", |_| get(world.addr(), "/readyz").status == 200);
    assert_eq!(get(world.addr(), "/healthz").status, 200);
    let metrics = get(world.addr(), "/metrics");
    assert!(String::from_utf8_lossy(&metrics.body).contains("lumenbus_"));
    let health = get(world.addr(), "/api/v1/health").json();
    assert_eq!((&health["budgets"][0]["name"], &health["viewers"]), (&json!("viewer rings"), &json!(0)));
    let state = get(world.addr(), "/api/v1/state").json();
    assert_eq!((&state["hello"]["protocol"], &state["stats"]["broker"]["is_connected"]), (&json!(1), &json!(true)));
}

#[derive(Default)]
struct Buttons {
    pressed: Mutex<Vec<Option<CameraId>>>,
}

impl Actions for Buttons {
    fn list(&self) -> Vec<Action> {
        let camera = Some(CameraName("gate".parse().unwrap()));
        let action = |id: &str| Action {
            id: id.to_owned(),
            label_en: "Unplug".to_owned(),
            label_zh: "\u{62d4}\u{6389}".to_owned(),
            camera: camera.clone(),
            is_on: !self.pressed.lock().unwrap().is_empty(),
        };
        vec![action("unplug"), action("break")]
    }

    fn run(&self, id: &str, camera: Option<&CameraId>) -> Result<String, String> {
        if id == "break" {
            return Err("it is broken".to_owned());
        }
        self.pressed.lock().unwrap().push(camera.cloned());
        Ok("unplugged".to_owned())
    }
}

#[test]
fn buttons_are_pressed_by_the_page_only() {
    let buttons = Arc::new(Buttons::default());
    let theirs = Arc::clone(&buttons);
    let world = World::with(|config| config.actions = Some(theirs));
    let press = |action: &str, headers: &str, body: &str| {
        post(world.addr(), &format!("/api/v1/actions/{action}"), headers, body)
    };
    let done = press("unplug", &format!("Origin: http://{}\r\n", world.addr()), r#"{"camera":"gate"}"#);
    assert_eq!((done.status, done.json()), (200, json!({ "ok": true, "message": "unplugged" })));
    assert_eq!(*buttons.pressed.lock().unwrap(), [Some("gate".parse().unwrap())]);
    for (action, headers, body, status, code) in [
        ("unplug", "Origin: http://evil.example\r\n", "{}", 403, "origin-not-allowed"),
        ("unplug", "Origin: null\r\n", "{}", 403, "origin-not-allowed"),
        ("explode", "", "{}", 404, "unknown-action"),
        ("unplug", "", "{", 400, "bad-body"),
        ("unplug", "", r#"{"camera":"../x"}"#, 400, "bad-camera"),
        ("unplug", "", r#"{"camera":"gate","more":1}"#, 400, "bad-body"),
        ("break", "", "", 409, "action-failed"),
    ] {
        let answer = press(action, headers, body);
        assert_eq!((answer.status, answer.code()), (status, code.to_owned()), "{action} {headers} {body}");
    }
    let large = press("unplug", "", &" ".repeat(10_000));
    assert_eq!((large.status, large.code()), (413, "bad-body".to_owned()));
    assert_eq!(buttons.pressed.lock().unwrap().len(), 1);
    let state = get(world.addr(), "/api/v1/state").json();
    assert_eq!(
        state["hello"]["actions"][0],
        json!({ "id": "unplug", "label_en": "Unplug", "label_zh": "\u{62d4}\u{6389}", "camera": "gate", "is_on": true })
    );
}
