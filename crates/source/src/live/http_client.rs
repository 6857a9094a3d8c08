//! GET requests to a camera: authentication, redirects, and a connection that is used again where the camera allows it.

use crate::error::CameraFault;
use crate::live::address::{CameraAddress, Credentials};
use crate::live::task::{shorten, within};
use bytes::Bytes;
use http_auth::{ChallengeRef, PasswordClient, PasswordParams, parse_challenges};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{ACCEPT, AUTHORIZATION, HOST, HeaderValue, LOCATION, USER_AGENT, WWW_AUTHENTICATE};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use std::fmt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use url::Url;

/// Largest head of an answer.
const MAX_HEAD_BYTES: usize = 32 * 1024;
/// Of an answer that says why not, read so that the connection can be used again.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;
/// From one address to the next.
const MAX_REDIRECTS: u32 = 3;
/// How often in a row a camera may call its own challenge stale.
const MAX_STALE: u32 = 2;

/// What is asked for.
const WANTED: &str = "multipart/x-mixed-replace, image/jpeg, */*;q=0.1";

/// Asks one camera.
pub(super) struct HttpClient {
    address: CameraAddress,
    /// The camera's challenge, which later requests answer at once.
    challenge: Option<PasswordClient>,
    connection: Option<Connection>,
}

impl HttpClient {
    pub(super) fn new(address: CameraAddress) -> Self {
        Self { address, challenge: None, connection: None }
    }

    /// What the camera answers with status 2xx; lives as long as this client.
    pub(super) async fn get(&mut self) -> Result<Response<Incoming>, CameraFault> {
        let mut url = self.address.url.clone();
        let (mut redirects, mut challenges) = (0, 0);
        loop {
            let response = self.send(&url).await?;
            match response.status() {
                status if status.is_success() => return Ok(response),
                StatusCode::UNAUTHORIZED => {
                    let challenge = self.challenge(&url, &response, challenges)?;
                    challenges += 1;
                    self.challenge = Some(challenge);
                    // Whatever it says, it is only out of the way for the next request.
                    drop(within("GET", Limited::new(response.into_body(), MAX_REFUSAL_BYTES).collect()).await?);
                }
                StatusCode::FORBIDDEN => return Err(self.not_allowed()),
                status if status.is_redirection() => {
                    redirects += 1;
                    url = redirected(&url, &response, redirects)?;
                }
                status => return Err(CameraFault::Refused { action: "GET", status: status.as_u16() }),
            }
        }
    }

    fn not_allowed(&self) -> CameraFault {
        if self.address.credentials.is_some() { CameraFault::WrongPassword } else { CameraFault::NeedsPassword }
    }

    /// What an answer with status 401 asks for, unless it was answered already.
    fn challenge(
        &self,
        url: &Url,
        response: &Response<Incoming>,
        challenges: u32,
    ) -> Result<PasswordClient, CameraFault> {
        if self.address.credentials.is_none() {
            return Err(CameraFault::NeedsPassword);
        }
        if url.origin() != self.address.url.origin() {
            let what = "it sends on to another host, which asks for a password; give that address itself";
            return Err(not_understood(what));
        }
        let texts = response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let offered: Vec<ChallengeRef<'_>> = texts.filter_map(|text| parse_challenges(text).ok()).flatten().collect();
        let is_stale = offered.iter().any(|offer| is_stale(offer)) && challenges < MAX_STALE;
        if challenges > 0 && !is_stale {
            return Err(CameraFault::WrongPassword);
        }
        // Digest goes before Basic, which tells the password to whoever listens; of digests, the camera's first.
        let of = |scheme: &str| {
            let mut known = offered.iter().filter(|offer| offer.scheme.eq_ignore_ascii_case(scheme));
            known.find_map(|offer| PasswordClient::try_from(offer).ok())
        };
        of("Digest")
            .or_else(|| of("Basic"))
            .ok_or_else(|| not_understood("it asks for neither Basic nor Digest authentication"))
    }

    /// One request, on the connection of the one before if that is still there.
    async fn send(&mut self, url: &Url) -> Result<Response<Incoming>, CameraFault> {
        if let Some(mut connection) = self.connection.take().filter(|open| open.is_to(url))
            && within("GET", connection.sender.ready()).await?.is_ok()
        {
            let request = self.request(url)?;
            // A camera may close it in just this moment.
            if let Ok(response) = within("GET", connection.sender.send_request(request)).await? {
                self.connection = Some(connection);
                return Ok(response);
            }
        }
        let mut connection = within("connecting", Connection::open(url)).await??;
        let request = self.request(url)?;
        let response = within("GET", connection.sender.send_request(request)).await?;
        self.connection = Some(connection);
        response.map_err(|error| broken(&error))
    }

    fn request(&mut self, url: &Url) -> Result<Request<Empty<Bytes>>, CameraFault> {
        let target = &url[url::Position::BeforePath..url::Position::AfterQuery];
        let host = &url[url::Position::BeforeHost..url::Position::AfterPort];
        let request = Request::get(target).header(HOST, host).header(USER_AGENT, "lumenbus").header(ACCEPT, WANTED);
        let mut request = request.body(Empty::new()).map_err(|error| not_understood(&error))?;
        if let Some(answer) = self.answer(url, target)? {
            request.headers_mut().insert(AUTHORIZATION, answer);
        }
        Ok(request)
    }

    /// Nobody but the host that the user named is told who asks.
    fn answer(&mut self, url: &Url, target: &str) -> Result<Option<HeaderValue>, CameraFault> {
        let is_own = url.origin() == self.address.url.origin();
        let (Some(challenge), Some(Credentials { username, password }), true) =
            (&mut self.challenge, &self.address.credentials, is_own)
        else {
            return Ok(None);
        };
        let asked = PasswordParams { username, password, uri: target, method: "GET", body: Some(&[]) };
        let answer = challenge.respond(&asked).map_err(|error| not_understood(&error))?;
        let mut answer = HeaderValue::from_maybe_shared(Bytes::from(answer)).map_err(|error| not_understood(&error))?;
        answer.set_sensitive(true);
        Ok(Some(answer))
    }
}

fn is_stale(offer: &ChallengeRef<'_>) -> bool {
    let mut params = offer.params.iter();
    params.any(|(name, value)| name.eq_ignore_ascii_case("stale") && value.as_escaped().eq_ignore_ascii_case("true"))
}

/// Where an answer sends on to.
fn redirected(from: &Url, response: &Response<Incoming>, redirects: u32) -> Result<Url, CameraFault> {
    if redirects > MAX_REDIRECTS {
        return Err(not_understood("it sends on from address to address"));
    }
    let place = response.headers().get(LOCATION).and_then(|place| place.to_str().ok());
    let Some(mut url) = place.and_then(|place| from.join(place).ok()) else {
        return Err(CameraFault::Refused { action: "GET", status: response.status().as_u16() });
    };
    if url.scheme() != "http" || url.host_str().is_none_or(str::is_empty) {
        return Err(not_understood("it sends on to an address that does not begin with http://"));
    }
    url.set_fragment(None);
    // These fail only for addresses without host.
    let has_no_user = url.set_username("").and_then(|()| url.set_password(None));
    has_no_user.map(|()| url).map_err(|()| not_understood("it sends on to an address without host"))
}

/// A connection, and the task that drives it.
struct Connection {
    host: String,
    sender: SendRequest<Empty<Bytes>>,
    driver: JoinHandle<()>,
}

impl Connection {
    async fn open(url: &Url) -> Result<Self, CameraFault> {
        let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
        let port = url.port_or_known_default().unwrap_or(80);
        let stream = TcpStream::connect((host, port)).await.map_err(|source| CameraFault::Unreachable { source })?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(MAX_HEAD_BYTES).ignore_invalid_headers_in_responses(true);
        builder.allow_spaces_after_header_name_in_responses(true).allow_obsolete_multiline_headers_in_responses(true);
        let (sender, driver) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        // Its error comes out of the request as well.
        let driver = tokio::spawn(async move { drop(driver.await) });
        Ok(Self { host: authority(url), sender, driver })
    }

    fn is_to(&self, url: &Url) -> bool {
        self.host == authority(url)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn authority(url: &Url) -> String {
    url[url::Position::BeforeHost..url::Position::AfterPort].to_owned()
}

/// A connection that did not end as HTTP does.
pub(super) fn broken(error: &hyper::Error) -> CameraFault {
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() {
        return CameraFault::Ended;
    }
    not_understood(error)
}

pub(super) fn not_understood(what: &(impl fmt::Display + ?Sized)) -> CameraFault {
    CameraFault::Protocol { action: "GET", what: shorten(&what.to_string()) }
}
