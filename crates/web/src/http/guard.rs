//! Who is let in: Host, Origin, token. And what every answer carries.

use super::{App, STUDIES, refusal};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const COOKIE: &str = "lumenbus_token";
/// Scripts, styles and connections of this server only; pictures also from memory.
const POLICY: &str = "default-src 'self'; img-src 'self' blob: data:; media-src 'self' blob:; worker-src 'self' blob:; \
    object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const OPENER_POLICY: header::HeaderName = header::HeaderName::from_static("cross-origin-opener-policy");
/// An answer that takes longer is given up; a WebSocket goes on by itself.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// These say nothing of cameras, and those who ask have no token.
const OPEN_PATHS: [&str; 2] = ["/healthz", "/readyz"];

/// Names under which a page may be opened. An address cannot be rebound by a foreign name server; a name can.
#[derive(Debug)]
pub(crate) struct Hosts(Vec<String>);

impl Hosts {
    pub(crate) fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| name.to_ascii_lowercase()).collect())
    }

    fn allows(&self, authority: &str) -> bool {
        let host = host_of(authority).to_ascii_lowercase();
        address_of(&host).is_some() || is_localhost(&host) || self.0.contains(&host)
    }
}

fn host_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|b| b.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}

fn address_of(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

/// RFC 6761, 6.3: these names mean this machine, whatever a name server says.
fn is_localhost(host: &str) -> bool {
    host == "localhost" || host.ends_with(".localhost")
}

/// Whether browsers take plain HTTP to this host for as safe as HTTPS, because nobody is in between.
fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority).to_ascii_lowercase();
    is_localhost(&host) || address_of(&host).is_some_and(|address| address.is_loopback())
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

/// A page of another origin can send requests here, but not with our origin.
fn is_same_origin(headers: &HeaderMap, host: &str) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// Whether a page of another site asks in the background: with `fetch`, as its picture or script, in a frame. A link to a
/// picture or a clip that somebody follows is none of these. Programs say nothing of it, and browsers only where they
/// take the connection for safe: it is checked beside the cookie's `SameSite` and `Cross-Origin-Resource-Policy`.
fn is_background_of_another_site(headers: &HeaderMap) -> bool {
    let is = |name: &'static str, value: &str| {
        headers.get(header::HeaderName::from_static(name)).is_some_and(|known| known.as_bytes() == value.as_bytes())
    };
    let is_visit = is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document");
    is("sec-fetch-site", "cross-site") && !is_visit
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = text(headers, header::AUTHORIZATION)?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookies(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(header::COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(';')).filter_map(|pair| {
        let (name, value) = pair.trim().split_once('=')?;
        (name == COOKIE).then_some(value)
    })
}

/// The path of a page, as against an API path or a file.
fn is_page(method: &Method, path: &str) -> bool {
    let is_page = matches!(path, "/" | "/health" | "/timeline" | "/events")
        || path.starts_with("/camera/")
        || path.strip_prefix(STUDIES).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    is_page && (method == Method::GET || method == Method::HEAD)
}

/// The value of `token` and the address without it.
fn token_in(uri: &Uri) -> Option<(String, String)> {
    let query = uri.query()?;
    let (tokens, others): (Vec<&str>, Vec<&str>) = query.split('&').partition(|pair| pair.starts_with("token="));
    let token = tokens.first()?.trim_start_matches("token=").to_owned();
    let question = if others.is_empty() { "" } else { "?" };
    Some((token, format!("{}{question}{}", uri.path(), others.join("&"))))
}

/// Every request goes through here.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let is_secure = app.is_tls || text(request.headers(), header::HOST).is_some_and(is_loopback);
    let mut response = match check(&app, &request) {
        Ok(()) => match tokio::time::timeout(ANSWER_TIMEOUT, next.run(request)).await {
            Ok(response) => response,
            Err(_) => refusal(StatusCode::REQUEST_TIMEOUT, "timeout", "the request took too long"),
        },
        Err(response) => *response,
    };
    harden(response.headers_mut());
    if is_secure {
        // Elsewhere browsers ignore it, with a warning in their console.
        response.headers_mut().insert(OPENER_POLICY, HeaderValue::from_static("same-origin"));
    }
    response
}

fn harden(headers: &mut HeaderMap) {
    let fixed = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}

fn check(app: &App, request: &Request) -> Result<(), Box<Response>> {
    let (headers, path) = (request.headers(), request.uri().path());
    // HTTP/1.1 demands exactly one; two could be read differently by something in between.
    let host = text(headers, header::HOST).filter(|_| headers.get_all(header::HOST).iter().count() == 1);
    let Some(host) = host.filter(|host| app.hosts.allows(host)) else {
        let message = "this name is not one of the viewer's; open it by address, or allow the name with --allow-host";
        return Err(Box::new(refusal(StatusCode::FORBIDDEN, "host-not-allowed", message)));
    };
    let changes_something = request.method() != Method::GET && request.method() != Method::HEAD;
    let is_foreign = path.starts_with("/api/") && is_background_of_another_site(headers);
    if is_foreign || ((changes_something || path == "/ws") && !is_same_origin(headers, host)) {
        let message = "the request comes from a page of another origin";
        return Err(Box::new(refusal(StatusCode::FORBIDDEN, "origin-not-allowed", message)));
    }
    let Some(token) = app.token.as_ref().filter(|_| !OPEN_PATHS.contains(&path)) else { return Ok(()) };
    let is_page = is_page(request.method(), path);
    if let Some((guess, clean)) = token_in(request.uri()).filter(|_| is_page) {
        return Err(Box::new(if token.matches(&guess) { enter(app, token.secret(), &clean) } else { locked_page() }));
    }
    if bearer(headers).is_some_and(|guess| token.matches(guess)) || cookies(headers).any(|guess| token.matches(guess)) {
        return Ok(());
    }
    Err(Box::new(if is_page { locked_page() } else { locked() }))
}

/// The token moves from the address, which ends up in histories, into a cookie.
fn enter(app: &App, secret: &str, clean: &str) -> Response {
    let secure = if app.is_tls { "; Secure" } else { "" };
    let cookie = format!("{COOKIE}={secret}; HttpOnly; SameSite=Strict; Path=/; Max-Age=31536000{secure}");
    // A path like //host would lead elsewhere.
    let clean = format!("/{}", clean.trim_start_matches('/'));
    let answer = Response::builder().status(StatusCode::SEE_OTHER);
    answer.header(header::SET_COOKIE, cookie).header(header::LOCATION, clean).body(Body::empty()).unwrap_or_default()
}

fn locked() -> Response {
    let mut response = refusal(
        StatusCode::UNAUTHORIZED,
        "token",
        "a token is needed: send the header Authorization: Bearer TOKEN; the viewer printed the token when it started",
    );
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}

fn locked_page() -> Response {
    let html = "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
        <title>lumenbus: token needed</title><h1>A token is needed</h1>\
        <p>Open the whole address that the viewer printed when it started; it ends in <code>?token=…</code>.</p>\
        <h1 lang=zh>需要访问令牌</h1><p lang=zh>请打开查看器启动时打印的完整地址，其结尾为 <code>?token=…</code>。</p></html>";
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (StatusCode::UNAUTHORIZED, kind, html).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_must_be_known_and_addresses_may_come() {
        let hosts = Hosts::new(["Box.example".to_owned()]);
        let good =
            ["127.0.0.1:8980", "localhost", "LOCALHOST:1", "[::1]:8980", "192.0.2.9", "box.example:80", "x.localhost"];
        for host in good {
            assert!(hosts.allows(host), "{host}");
        }
        let bad = ["evil.example", "evil.example:8980", "127.0.0.1.evil.example", "localhost.evil.example", "", ":80"];
        for host in bad {
            assert!(!hosts.allows(host), "{host}");
        }
    }

    #[test]
    fn plain_http_is_safe_on_this_machine_only() {
        for host in ["localhost", "LocalHost:8980", "x.localhost:1", "127.0.0.1:8980", "127.9.9.9", "[::1]:8980"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["192.0.2.9:8980", "[2001:db8::1]", "box.example", "localhost.evil.example", "0.0.0.0:80", ""] {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn the_origin_must_be_the_host() {
        let mut headers = HeaderMap::new();
        assert!(is_same_origin(&headers, "127.0.0.1:8980"));
        for (origin, is_same) in [
            ("http://127.0.0.1:8980", true),
            ("https://127.0.0.1:8980", true),
            ("http://127.0.0.1:8981", false),
            ("http://evil.example", false),
            ("null", false),
            ("", false),
        ] {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            assert_eq!(is_same_origin(&headers, "127.0.0.1:8980"), is_same, "{origin}");
        }
    }

    #[test]
    fn a_token_leaves_the_address() {
        let uri = |text: &str| text.parse::<Uri>().unwrap();
        let expected = Some(("abc".to_owned(), "/camera/x?a=1&b=2".to_owned()));
        assert_eq!(token_in(&uri("/camera/x?a=1&token=abc&b=2")), expected);
        assert_eq!(token_in(&uri("/?token=abc")), Some(("abc".to_owned(), "/".to_owned())));
        assert_eq!(token_in(&uri("/?tokens=abc")), None);
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.append(header::COOKIE, HeaderValue::from_static("a=b; lumenbus_token=one"));
        headers.append(header::COOKIE, HeaderValue::from_static("lumenbus_token=two;xlumenbus_token=three"));
        assert_eq!(cookies(&headers).collect::<Vec<_>>(), ["one", "two"]);
    }
}
