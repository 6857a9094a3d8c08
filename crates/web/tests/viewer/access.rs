//! Who is let in.

use crate::support::{Socket, World, get, get_with, raw};
use lumenbus_web::{Token, Viewer, ViewerConfig, ViewerError};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn locked() -> World {
    World::with(|config| config.token = Token::new(SECRET))
}

#[test]
fn without_the_token_nothing_is_said() {
    let world = locked();
    for path in ["/", "/health", "/camera/gate", "/events"] {
        let page = get(world.addr(), path);
        assert_eq!((page.status, page.header("content-type")), (401, Some("text/html; charset=utf-8")));
        assert!(String::from_utf8_lossy(&page.body).contains("token"));
    }
    for path in ["/api/v1/state", "/api/v1/cameras/gate/snapshot", "/metrics", "/assets/main.js", "/nothing"] {
        let answer = get(world.addr(), path);
        assert_eq!((answer.status, answer.code()), (401, "token".to_owned()), "{path}");
    }
    assert_eq!(get(world.addr(), "/healthz").status, 200);
    let refused = Socket::upgrade(world.addr(), &world.addr().to_string(), "").err().unwrap();
    assert_eq!(refused.status, 401);
    for guess in ["", "x", &SECRET[..31], &format!("{SECRET}0"), &SECRET.to_uppercase()] {
        assert_eq!(get_with(world.addr(), "/api/v1/state", &format!("Authorization: Bearer {guess}\r\n")).status, 401);
        assert_eq!(get_with(world.addr(), "/", &format!("Cookie: lumenbus_token={guess}\r\n")).status, 401);
        let page = get(world.addr(), &format!("/?token={guess}"));
        assert_eq!((page.status, page.header("set-cookie")), (401, None), "{guess}");
    }
    // The token of an address is for pages.
    assert_eq!(get(world.addr(), &format!("/api/v1/state?token={SECRET}")).status, 401);
}

#[test]
fn the_token_moves_from_the_address_into_a_cookie() {
    let world = locked();
    assert!(world.viewer.url().ends_with(&format!("/?token={SECRET}")));
    let entered = get(world.addr(), &format!("/camera/gate?a=1&token={SECRET}"));
    assert_eq!((entered.status, entered.header("location")), (303, Some("/camera/gate?a=1")));
    let cookie = entered.header("set-cookie").unwrap();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let headers = format!("Cookie: other=1; {cookie}\r\n");
    assert_eq!(get_with(world.addr(), "/", &headers).status, 200);
    assert_eq!(get_with(world.addr(), "/api/v1/state", &format!("Authorization: bearer {SECRET}\r\n")).status, 200);
    assert!(Socket::upgrade(world.addr(), &world.addr().to_string(), &headers).is_ok());
}

#[test]
fn a_name_that_is_not_the_viewers_is_refused() {
    let world = World::with(|config| config.allowed_hosts = vec!["cameras.example".to_owned()]);
    let (addr, port) = (world.addr(), world.addr().port());
    let ask = |host: &str| {
        raw(addr, format!("GET /api/v1/state HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").as_bytes())
    };
    for host in
        [format!("127.0.0.1:{port}"), "localhost".to_owned(), format!("[::1]:{port}"), "cameras.example".to_owned()]
    {
        assert_eq!(ask(&host).status, 200, "{host}");
    }
    for host in
        [format!("evil.example:{port}"), "evil.example".to_owned(), "127.0.0.1.nip.example".to_owned(), String::new()]
    {
        let answer = ask(&host);
        assert_eq!((answer.status, answer.code()), (403, "host-not-allowed".to_owned()), "{host}");
    }
    let twice = format!("GET / HTTP/1.1\r\nHost: {addr}\r\nHost: evil.example\r\n\r\n");
    assert_eq!(raw(addr, twice.as_bytes()).status, 403);
    assert_eq!(Socket::upgrade(addr, "evil.example", "").err().unwrap().status, 403);
}

#[test]
fn a_page_of_another_origin_gets_no_pictures() {
    let world = World::new();
    let host = world.addr().to_string();
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1", "https://localhost"] {
        let refused = Socket::upgrade(world.addr(), &host, &format!("Origin: {origin}\r\n")).err().unwrap();
        assert_eq!((refused.status, refused.code()), (403, "origin-not-allowed".to_owned()), "{origin}");
    }
    assert!(Socket::upgrade(world.addr(), &host, &format!("Origin: http://{host}\r\n")).is_ok());
}

#[test]
fn a_page_of_another_site_does_not_make_the_viewer_work() {
    let world = World::new();
    let ask = |path: &str, site: &str, mode: &str, dest: &str| {
        let headers = format!("Sec-Fetch-Site: {site}\r\nSec-Fetch-Mode: {mode}\r\nSec-Fetch-Dest: {dest}\r\n");
        let answer = get_with(world.addr(), path, &headers);
        (answer.status, if answer.status == 403 { answer.code() } else { String::new() })
    };
    let refused = (403, "origin-not-allowed".to_owned());
    for path in ["/api/v1/state", "/api/v1/cameras/gate/snapshot?at_ms=1", "/api/v1/cameras/gate/timeline"] {
        for (mode, dest) in [("no-cors", "image"), ("cors", "empty"), ("no-cors", "script"), ("navigate", "iframe")] {
            assert_eq!(ask(path, "cross-site", mode, dest), refused, "{path} {mode} {dest}");
        }
        // Its own page, another one of the same site, an address that was typed, a link that was followed.
        for (site, mode, dest) in [
            ("same-origin", "cors", "empty"),
            ("same-site", "no-cors", "image"),
            ("none", "navigate", "document"),
            ("cross-site", "navigate", "document"),
        ] {
            assert_ne!(ask(path, site, mode, dest).0, 403, "{path} {site} {mode} {dest}");
        }
        assert_ne!(get(world.addr(), path).status, 403, "{path}");
    }
    assert_eq!(ask("/", "cross-site", "navigate", "document").0, 200);
}

#[test]
fn beyond_loopback_a_token_is_needed_and_a_taken_port_is_named() {
    let world = World::new();
    let mut config = ViewerConfig::new(lumenbus_bus::BusConfig::new("127.0.0.1:1"));
    config.listen = ([0, 0, 0, 0], 0).into();
    assert!(matches!(Viewer::start(config.clone()), Err(ViewerError::TokenMissing { .. })));
    config.listen = world.addr();
    let error = Viewer::start(config.clone()).unwrap_err().to_string();
    let port = world.addr().port().to_string();
    assert!(error.contains(&port) && error.contains("in use") && error.contains("--listen"), "{error}");
    config.try_next_ports = 50;
    let next = Viewer::start(config).unwrap();
    assert_ne!(next.addr().port(), world.addr().port());
    assert!(next.start_message().contains("ssh -L"), "{}", next.start_message());
}
