//! Asking the devices that were found what they are and where their streams are.

use super::http::post;
use super::reply::{Information, Profile, Reply, read_reply};
use super::search::Discovered;
use crate::error::CameraFault;
use crate::live::{CameraAddress, Credentials, Interrupt};
use crate::{SourceError, input};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures_util::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use quick_xml::escape::escape;
use sha1::{Digest as _, Sha1};
use std::cmp::Reverse;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use url::{Host, Url};

/// Most streams of a device whose address is asked for.
pub const MAX_PROFILES: usize = 4;
/// Devices that are asked at the same time.
const AT_ONCE: usize = 16;
/// How often is asked whether to go on.
const ASK: Duration = Duration::from_millis(100);
/// Longest address of a stream.
const MAX_URI_BYTES: usize = 1_024;

/// What a device said when it was asked.
#[derive(Debug, Default)]
pub struct Device {
    /// Who made it.
    pub information: Option<Information>,
    /// Its clock minus this machine's, in seconds.
    pub clock_offset: Option<i64>,
    /// Its streams with their addresses, the largest pictures first; at most [`MAX_PROFILES`].
    pub streams: Vec<Profile>,
    /// Why there is not more.
    pub fault: Option<CameraFault>,
}

/// Asks each device; blocks the thread. The answers are in the order of `cameras`.
///
/// A device is connected to at an address that it answered from, and nowhere else: what its answers name as their host
/// does not count. The password goes nowhere; a device gets a hash of it with a number of its own and the time. After a
/// refusal it is not tried again.
///
/// # Errors
/// [`SourceError::Io`] when the network cannot be used. What is wrong with a device is in its answer.
pub fn ask(
    cameras: &[Discovered],
    credentials: Option<&Credentials>,
    interrupt: &Interrupt,
) -> Result<Vec<Device>, SourceError> {
    let failed = |source| input::io_error(&Arc::from("the network"), "use", source);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let asked = futures_util::stream::iter(cameras).map(|camera| ask_one(camera, credentials)).buffered(AT_ONCE);
    runtime.block_on(async {
        let mut all = tokio::select! {
            all = asked.collect::<Vec<_>>() => all,
            () = interrupted(interrupt) => Vec::new(),
        };
        let stopped = || Device { fault: Some(CameraFault::Interrupted), ..Device::default() };
        all.resize_with(cameras.len(), stopped);
        Ok(all)
    })
}

async fn interrupted(interrupt: &Interrupt) {
    let mut asks = tokio::time::interval(ASK);
    while !interrupt.is_requested() {
        asks.tick().await;
    }
}

async fn ask_one(camera: &Discovered, credentials: Option<&Credentials>) -> Device {
    let mut device = Device::default();
    device.fault = device.fill(camera, credentials).await.err();
    device
}

impl Device {
    async fn fill(&mut self, camera: &Discovered, credentials: Option<&Credentials>) -> Result<(), CameraFault> {
        let Some(service) = Service::of(camera) else {
            let what = "it names no address of a service over http".to_owned();
            return Err(CameraFault::Protocol { action: "find its service", what });
        };
        let mut asker = Asker { credentials: None, offset: SignedDuration::ZERO };
        match asker.call(&service, "GetSystemDateAndTime", "<tds:GetSystemDateAndTime/>").await {
            Ok(reply) => self.clock_offset = reply.unix_seconds.map(|theirs| theirs - Timestamp::now().as_second()),
            Err(fault @ (CameraFault::Unreachable { .. } | CameraFault::Silent { .. })) => return Err(fault),
            // Some devices tell the time to those with a password only.
            Err(_) => {}
        }
        asker.credentials = credentials;
        // A device takes only what was made by its own clock.
        asker.offset = SignedDuration::from_secs(self.clock_offset.unwrap_or(0));
        let reply = asker.call(&service, "GetDeviceInformation", "<tds:GetDeviceInformation/>").await?;
        self.information = reply.information;
        self.find_streams(&asker, &service).await
    }

    async fn find_streams(&mut self, asker: &Asker<'_>, service: &Service) -> Result<(), CameraFault> {
        let wanted = "<tds:GetCapabilities><tds:Category>Media</tds:Category></tds:GetCapabilities>";
        let reply = asker.call(service, "GetCapabilities", wanted).await?;
        let media = reply.media_address.and_then(|address| service.beside(&address));
        let media = media.unwrap_or_else(|| service.clone());
        let mut profiles = asker.call(&media, "GetProfiles", "<trt:GetProfiles/>").await?.profiles;
        profiles.retain(|profile| !profile.encoding.is_empty());
        profiles.sort_by_key(|profile| Reverse(u64::from(profile.width) * u64::from(profile.height)));
        for mut profile in profiles.into_iter().take(MAX_PROFILES) {
            let wanted = format!(
                "<trt:GetStreamUri><trt:StreamSetup><tt:Stream>RTP-Unicast</tt:Stream>\
                 <tt:Transport><tt:Protocol>RTSP</tt:Protocol></tt:Transport></trt:StreamSetup>\
                 <trt:ProfileToken>{}</trt:ProfileToken></trt:GetStreamUri>",
                escape(profile.token.as_str())
            );
            profile.uri = asker.call(&media, "GetStreamUri", &wanted).await?.uri.as_deref().and_then(stream_address);
            let is_new = self.streams.iter().all(|stream| stream.uri != profile.uri);
            if profile.uri.is_some() && is_new {
                self.streams.push(profile);
            }
        }
        Ok(())
    }
}

/// An address that `lumenbus publish` takes, without user and password.
fn stream_address(text: &str) -> Option<String> {
    let mut url = Url::parse(text).ok().filter(|_| text.len() <= MAX_URI_BYTES)?;
    url.set_username("").ok()?;
    url.set_password(None).ok()?;
    url.set_fragment(None);
    let address = String::from(url);
    CameraAddress::parse(&address).is_ok_and(|camera| camera.is_rtsp()).then_some(address)
}

/// Where a service listens.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Service {
    address: SocketAddr,
    path: String,
}

impl Service {
    /// The first of the camera's addresses that is its own, as far as can be seen; else port and path of the first one.
    fn of(camera: &Discovered) -> Option<Self> {
        let addresses = || camera.announcement.addresses.iter().filter_map(|address| Url::parse(address).ok());
        let own = addresses().find_map(|url| {
            let host = match url.host()? {
                Host::Ipv4(host) => IpAddr::from(host),
                Host::Ipv6(host) => IpAddr::from(host),
                Host::Domain(_) => return None,
            };
            Self::at(&url, host).filter(|_| camera.senders.contains(&host))
        });
        own.or_else(|| addresses().find_map(|url| Self::at(&url, *camera.senders.first()?)))
    }

    /// Another service of the same device.
    fn beside(&self, address: &str) -> Option<Self> {
        Self::at(&Url::parse(address).ok()?, self.address.ip())
    }

    fn at(url: &Url, host: IpAddr) -> Option<Self> {
        let port = url.port_or_known_default().filter(|_| url.scheme() == "http")?;
        let query = url.query().map_or_else(String::new, |query| format!("?{query}"));
        Some(Self { address: SocketAddr::new(host, port), path: format!("{}{query}", url.path()) })
    }
}

/// Who asks.
struct Asker<'a> {
    credentials: Option<&'a Credentials>,
    /// Of the device's clock.
    offset: SignedDuration,
}

impl Asker<'_> {
    async fn call(&self, service: &Service, action: &'static str, body: &str) -> Result<Reply, CameraFault> {
        let (status, answer) = post(service.address, &service.path, action, self.envelope(body)).await?;
        if status.as_u16() == 401 {
            return Err(self.not_allowed());
        }
        let refused = CameraFault::Refused { action, status: status.as_u16() };
        let reply = match read_reply(&answer) {
            Ok(reply) => reply,
            Err(_) if !status.is_success() => return Err(refused),
            Err(error) => return Err(CameraFault::Protocol { action, what: error.to_string() }),
        };
        match &reply.fault {
            Some(fault) if fault.is_about_rights() => Err(self.not_allowed()),
            Some(fault) if !fault.reason.is_empty() => {
                Err(CameraFault::Protocol { action, what: format!("it refuses: {}", fault.reason) })
            }
            None if status.is_success() => Ok(reply),
            Some(_) | None => Err(refused),
        }
    }

    fn not_allowed(&self) -> CameraFault {
        if self.credentials.is_some() { CameraFault::WrongPassword } else { CameraFault::NeedsPassword }
    }

    fn envelope(&self, body: &str) -> String {
        let created = Timestamp::now().checked_add(self.offset).unwrap_or(Timestamp::UNIX_EPOCH);
        // Whole seconds: some devices read no others.
        let created = created.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
        let header = self.credentials.map(|credentials| token(credentials, &rand::random(), &created));
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\
             <s:Envelope xmlns:s=\"http://www.w3.org/2003/05/soap-envelope\" \
             xmlns:tds=\"http://www.onvif.org/ver10/device/wsdl\" xmlns:trt=\"http://www.onvif.org/ver10/media/wsdl\" \
             xmlns:tt=\"http://www.onvif.org/ver10/schema\"><s:Header>{}</s:Header><s:Body>{body}</s:Body></s:Envelope>",
            header.unwrap_or_default()
        )
    }
}

/// A `UsernameToken` with a password digest (OASIS Web Services Security, Username Token Profile 1.1, section 3.1).
fn token(credentials: &Credentials, nonce: &[u8; 16], created: &str) -> String {
    const WSS: &str = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss";
    let mut hash = Sha1::new();
    hash.update(nonce);
    hash.update(created.as_bytes());
    hash.update(credentials.password.as_bytes());
    let (digest, nonce) = (STANDARD.encode(hash.finalize()), STANDARD.encode(nonce));
    let username = escape(credentials.username.as_str());
    format!(
        "<wsse:Security s:mustUnderstand=\"1\" xmlns:wsse=\"{WSS}-wssecurity-secext-1.0.xsd\" \
         xmlns:wsu=\"{WSS}-wssecurity-utility-1.0.xsd\"><wsse:UsernameToken><wsse:Username>{username}</wsse:Username>\
         <wsse:Password Type=\"{WSS}-username-token-profile-1.0#PasswordDigest\">{digest}</wsse:Password>\
         <wsse:Nonce EncodingType=\"{WSS}-soap-message-security-1.0#Base64Binary\">{nonce}</wsse:Nonce>\
         <wsu:Created>{created}</wsu:Created></wsse:UsernameToken></wsse:Security>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discover::Announcement;

    #[test]
    fn the_digest_is_that_of_onvif_s_own_example() {
        let credentials = Credentials { username: "us<er".to_owned(), password: "userpassword".to_owned() };
        let nonce: [u8; 16] = STANDARD.decode("LKqI6G/AikKCQrN0zqZFlg==").unwrap().try_into().unwrap();
        let token = token(&credentials, &nonce, "2010-09-16T07:50:45Z");
        assert!(token.contains("#PasswordDigest\">tuOSpGlFlIXsozq4HFNeeGeFLEI=<"), "{token}");
        assert!(token.contains("us&lt;er") && !token.contains("userpassword"), "{token}");
    }

    fn camera(addresses: &[&str]) -> Discovered {
        let addresses = addresses.iter().map(|&address| address.to_owned()).collect();
        let announcement = Announcement { addresses, ..Announcement::default() };
        Discovered { announcement, senders: vec![IpAddr::from([10, 0, 0, 7])] }
    }

    #[test]
    fn only_who_answered_is_connected_to() {
        let service =
            |addresses: &[&str]| Service::of(&camera(addresses)).map(|at| format!("{}{}", at.address, at.path));
        let own = ["http://192.168.0.9/a", "http://[fe80::1]/b", "http://10.0.0.7:8000/onvif/device_service?x=1"];
        assert_eq!(service(&own).unwrap(), "10.0.0.7:8000/onvif/device_service?x=1");
        assert_eq!(service(&["https://10.0.0.7/a", "http://127.0.0.1:22/b"]).unwrap(), "10.0.0.7:22/b");
        assert_eq!(service(&["http://intranet/c"]).unwrap(), "10.0.0.7:80/c");
        assert_eq!(service(&["https://10.0.0.7/a", "nonsense"]), None);
        let at = Service::of(&camera(&own)).unwrap();
        assert_eq!(at.beside("http://169.254.169.254/media").unwrap().address.to_string(), "10.0.0.7:80");
    }

    #[test]
    fn addresses_of_streams_hold_no_secrets_and_nothing_for_a_shell() {
        let told = |text: &str| stream_address(text);
        assert_eq!(told("rtsp://me:pw@10.0.0.7/a?b=c#d").unwrap(), "rtsp://10.0.0.7/a?b=c");
        assert_eq!(told("rtsp://10.0.0.7/a b\u{1b}[2J").unwrap(), "rtsp://10.0.0.7/a%20b%1B[2J");
        for bad in ["http://10.0.0.7/a", "rtsp:///a", "no address", "", &format!("rtsp://h/{}", "x".repeat(2_000))] {
            assert_eq!(told(bad), None, "{bad}");
        }
    }
}
