//! Asking all devices of a network, and gathering their answers.

use super::message::{Announcement, KINDS, MAX_DATAGRAM_BYTES, probe, read_announcements};
use crate::live::Interrupt;
use crate::{SourceError, input};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

/// Where devices listen.
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 255, 255, 250);
const PORT: u16 = 3702;
/// Datagrams get lost: so many times everybody is asked.
const ROUNDS: u32 = 3;
/// Apart by this.
const ROUND: Duration = Duration::from_millis(500);
/// How often is asked whether to go on.
const ASK: Duration = Duration::from_millis(100);
/// Room for the answers of many cameras at once; the system may give less.
const RECEIVE_BUFFER_BYTES: usize = 1 << 20;
/// Most cameras that are kept.
pub const MAX_CAMERAS: usize = 1_000;
/// Most addresses of one camera that are kept.
const MAX_SENDERS: usize = 8;

/// How to look for cameras.
#[derive(Debug, Clone)]
pub struct DiscoveryConfig {
    /// Address of the interface to ask through; the system's choice when unspecified.
    pub interface: Ipv4Addr,
    /// How long to listen.
    pub wait: Duration,
    /// End as soon as so many cameras have answered.
    pub enough: Option<usize>,
    /// Ends it early.
    pub interrupt: Interrupt,
}

/// A camera that answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discovered {
    /// Everything that it said, put together.
    pub announcement: Announcement,
    /// Where its messages came from, the first one first.
    pub senders: Vec<IpAddr>,
}

/// What a search gave.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Discovery {
    /// Each once, in the order in which they answered; at most [`MAX_CAMERAS`].
    pub cameras: Vec<Discovered>,
    /// Messages that were understood and named a device.
    pub answers: u64,
    /// Messages that were none.
    pub malformed: u64,
    /// Devices of other kinds, such as printers; counted by message.
    pub others: u64,
    /// Messages of cameras beyond [`MAX_CAMERAS`].
    pub left_out: u64,
    /// Whether greetings could be listened to.
    pub hears_greetings: bool,
}

/// Something that happened during a search.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Progress {
    /// So many cameras are known.
    Found(usize),
    /// Everybody was asked as often as is planned; what comes now are late answers and greetings.
    Asked,
}

/// Asks who is there and gathers answers until the time is up; blocks the thread.
///
/// # Errors
/// [`SourceError::Io`] when the network cannot be used, such as through an interface that is not there.
pub fn discover(config: &DiscoveryConfig, tell: impl FnMut(Progress)) -> Result<Discovery, SourceError> {
    let name: Arc<str> = Arc::from(format!("{GROUP}:{PORT} from {}", config.interface));
    let failed = |source| input::io_error(&name, "ask", source);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(search(config, tell)).map_err(failed)
}

async fn search(config: &DiscoveryConfig, mut tell: impl FnMut(Progress)) -> io::Result<Discovery> {
    let questions = question_socket(config.interface)?;
    // Somebody else may hold the port; without it only greetings are missed.
    let greetings = greeting_socket(config.interface).ok();
    let mut gathered = Gathered::default();
    gathered.found.hears_greetings = greetings.is_some();
    let end = Instant::now() + config.wait;
    let (mut asked, mut rounds, mut asks) = (0, interval(ROUND), interval(ASK));
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    asks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut answer, mut greeting) = (vec![0; MAX_DATAGRAM_BYTES], vec![0; MAX_DATAGRAM_BYTES]);
    while config.enough.is_none_or(|enough| gathered.found.cameras.len() < enough) {
        let before = gathered.found.cameras.len();
        tokio::select! {
            () = sleep_until(end) => break,
            _ = asks.tick() => if config.interrupt.is_requested() { break },
            _ = rounds.tick(), if asked < ROUNDS => {
                ask_all(&questions).await?;
                asked += 1;
                if asked == ROUNDS {
                    tell(Progress::Asked);
                }
            }
            received = questions.recv_from(&mut answer) => {
                let (bytes, from) = received?;
                gathered.take(&answer[..bytes], from);
            }
            received = receive(greetings.as_ref(), &mut greeting) => {
                let (bytes, from) = received?;
                gathered.take(&greeting[..bytes], from);
            }
        }
        if gathered.found.cameras.len() > before {
            tell(Progress::Found(gathered.found.cameras.len()));
        }
    }
    Ok(gathered.found)
}

/// Never, where there is no socket.
async fn receive(socket: Option<&UdpSocket>, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
    match socket {
        Some(socket) => socket.recv_from(buffer).await,
        None => std::future::pending().await,
    }
}

fn question_socket(interface: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_multicast_ttl_v4(1)?;
    if !interface.is_unspecified() {
        socket.set_multicast_if_v4(&interface)?;
    }
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
    bound(socket, SocketAddr::from((interface, 0)))
}

fn greeting_socket(interface: Ipv4Addr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.join_multicast_v4(&GROUP, &interface)?;
    bound(socket, SocketAddr::from((GROUP, PORT)))
}

fn bound(socket: Socket, address: SocketAddr) -> io::Result<UdpSocket> {
    socket.set_nonblocking(true)?;
    socket.bind(&SockAddr::from(address))?;
    UdpSocket::from_std(socket.into())
}

async fn ask_all(socket: &UdpSocket) -> io::Result<()> {
    for kind in KINDS {
        let question = probe(&message_id(), kind);
        socket.send_to(question.as_bytes(), (GROUP, PORT)).await?;
    }
    Ok(())
}

/// A random UUID (version 4).
fn message_id() -> String {
    let bits = (rand::random::<u128>() & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    format!("urn:uuid:{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// What has come so far.
#[derive(Debug, Default)]
struct Gathered {
    found: Discovery,
    places: HashMap<String, usize>,
}

impl Gathered {
    fn take(&mut self, datagram: &[u8], from: SocketAddr) {
        match read_announcements(datagram) {
            Ok(all) => all.into_iter().for_each(|announcement| self.add(announcement, from.ip())),
            Err(_) => self.found.malformed += 1,
        }
    }

    fn add(&mut self, announcement: Announcement, from: IpAddr) {
        self.found.answers += 1;
        if !announcement.is_camera() {
            self.found.others += 1;
            return;
        }
        // Who names no endpoint is known by its address.
        let key = match announcement.endpoint.as_str() {
            "" => from.to_string(),
            endpoint => endpoint.to_owned(),
        };
        if let Some(&place) = self.places.get(&key) {
            let camera = &mut self.found.cameras[place];
            camera.announcement.merge(&announcement);
            if camera.senders.len() < MAX_SENDERS && !camera.senders.contains(&from) {
                camera.senders.push(from);
            }
        } else if self.found.cameras.len() < MAX_CAMERAS {
            self.places.insert(key, self.found.cameras.len());
            self.found.cameras.push(Discovered { announcement, senders: vec![from] });
        } else {
            self.found.left_out += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(endpoint: &str, address: &str) -> String {
        format!(
            "<e><ProbeMatch><EndpointReference><Address>{endpoint}</Address></EndpointReference>\
             <Types>dn:NetworkVideoTransmitter</Types><XAddrs>{address}</XAddrs></ProbeMatch></e>"
        )
    }

    fn from(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 3702))
    }

    #[test]
    fn a_camera_is_one_however_often_and_from_wherever_it_answers() {
        let mut gathered = Gathered::default();
        gathered.take(answer("urn:uuid:AA", "http://10.0.0.1/x").as_bytes(), from(1));
        gathered.take(answer("uuid:aa", "http://10.0.0.1/x http://10.0.0.2/x").as_bytes(), from(2));
        gathered.take(answer("urn:uuid:bb", "http://10.0.0.3/x").as_bytes(), from(3));
        gathered.take(b"noise", from(4));
        gathered.take(b"<e><Hello><Types>p:Printer</Types></Hello></e>", from(5));
        let found = &gathered.found;
        assert_eq!((found.cameras.len(), found.answers, found.malformed, found.others), (2, 4, 1, 1));
        assert_eq!(found.cameras[0].senders, [from(1).ip(), from(2).ip()]);
        assert_eq!(found.cameras[0].announcement.addresses, ["http://10.0.0.1/x", "http://10.0.0.2/x"]);
    }

    #[test]
    fn no_number_of_answers_takes_more_than_its_room() {
        let mut gathered = Gathered::default();
        for number in 0..5_000 {
            gathered.take(answer(&format!("urn:uuid:{number}"), "http://x/").as_bytes(), from(1));
        }
        for last in 0..=255 {
            gathered.take(answer("urn:uuid:0", &format!("http://10.0.0.{last}/")).as_bytes(), from(last));
        }
        let found = &gathered.found;
        assert_eq!((found.cameras.len(), found.left_out), (MAX_CAMERAS, 4_000));
        assert_eq!(found.cameras[0].senders.len(), MAX_SENDERS);
        assert!(found.cameras[0].announcement.addresses.len() <= 32);
    }

    #[test]
    fn questions_have_ids_of_their_own() {
        let (one, other) = (message_id(), message_id());
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[23..24]), (45, "4"), "{one}");
    }
}
