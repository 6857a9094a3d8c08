//! A few bytes to a bootstrap server by hand: is it there, is it Kafka, does it speak TLS, does it want a login?

use super::{BrokerProblem, ClusterFacts, millis};
use crate::config::BusConfig;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Bootstrap servers looked at; one that works suffices.
const MAX_SERVERS: usize = 16;
/// Largest answer read: ApiVersions of a broker is below 1 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const DEFAULT_PORT: u16 = 9092;
const CORRELATION_ID: i32 = 0x6c62_3031;

/// How the client is set to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    Plain,
    PlainWithLogin,
    Tls,
    TlsWithLogin,
}

impl Dialect {
    pub(super) fn of(config: &BusConfig) -> Self {
        let protocol = config.properties.get("security.protocol").map_or("", String::as_str);
        match protocol.to_ascii_lowercase().as_str() {
            "ssl" => Self::Tls,
            "sasl_ssl" => Self::TlsWithLogin,
            "sasl_plaintext" => Self::PlainWithLogin,
            _ => Self::Plain,
        }
    }
}

pub(super) struct Preflight {
    servers: Vec<(String, u16)>,
    dialect: Dialect,
}

impl Preflight {
    pub(super) fn new(brokers: &str, dialect: Dialect) -> Result<Self, BrokerProblem> {
        let servers: Option<Vec<_>> =
            brokers.split(',').map(str::trim).filter(|s| !s.is_empty()).take(MAX_SERVERS).map(address).collect();
        match servers {
            Some(servers) if !servers.is_empty() => Ok(Self { servers, dialect }),
            _ => Err(BrokerProblem::BadAddress { brokers: brokers.chars().take(200).collect() }),
        }
    }

    /// Fine as soon as one server is.
    pub(super) fn run(&self) -> Result<(), BrokerProblem> {
        let mut worst: Option<BrokerProblem> = None;
        for (host, port) in &self.servers {
            match look_at(host, *port, self.dialect) {
                Ok(()) => return Ok(()),
                Err(problem) if worst.as_ref().is_none_or(|known| problem.weight() > known.weight()) => {
                    worst = Some(problem);
                }
                Err(_) => {}
            }
        }
        worst.map_or(Ok(()), Err)
    }
}

/// `host`, `host:port` or `[v6]:port`, with or without librdkafka's `protocol://`.
fn address(text: &str) -> Option<(String, u16)> {
    let text = text.rsplit_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') => (host, port.parse().ok()?),
        _ => (text, DEFAULT_PORT),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/' || c == '@');
    (is_host && port != 0).then(|| (host.to_owned(), port))
}

fn look_at(host: &str, port: u16, dialect: Dialect) -> Result<(), BrokerProblem> {
    let name = format!("{host}:{port}");
    let addresses: Vec<SocketAddr> = (host, port)
        .to_socket_addrs()
        .map_err(|source| BrokerProblem::UnknownHost { address: name.clone(), source })?
        .collect();
    let peer = Peer { name, addresses };
    match dialect {
        Dialect::Tls | Dialect::TlsWithLogin => peer.expect_tls(),
        Dialect::Plain => peer.expect_kafka(WantsLogin::Forbidden),
        Dialect::PlainWithLogin => peer.expect_kafka(WantsLogin::Allowed),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum WantsLogin {
    Allowed,
    Forbidden,
}

struct Peer {
    name: String,
    addresses: Vec<SocketAddr>,
}

/// What came back.
enum Answer {
    Kafka(Vec<u8>),
    Tls,
    Other(Vec<u8>),
    Closed,
    Silence,
}

impl Peer {
    fn connect(&self) -> Result<TcpStream, BrokerProblem> {
        let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
        for address in &self.addresses {
            match TcpStream::connect_timeout(address, CONNECT_TIMEOUT) {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            }
        }
        Err(BrokerProblem::NoBroker { address: self.name.clone(), source: last })
    }

    fn ask(&self, stream: &mut TcpStream, request: &[u8]) -> Answer {
        match exchange(stream, request) {
            Ok(bytes) => classify(bytes),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Answer::Silence,
            Err(_) => Answer::Closed,
        }
    }

    fn expect_kafka(&self, login: WantsLogin) -> Result<(), BrokerProblem> {
        let mut stream = self.connect()?;
        match self.ask(&mut stream, &api_versions()) {
            Answer::Kafka(versions) if login == WantsLogin::Forbidden => self.expect_open(&mut stream, &versions),
            Answer::Kafka(_) => Ok(()),
            Answer::Tls => Err(BrokerProblem::TlsExpected { address: self.name.clone() }),
            Answer::Closed if self.speaks_tls()? => Err(BrokerProblem::TlsExpected { address: self.name.clone() }),
            answer => Err(self.not_kafka(&answer)),
        }
    }

    /// A listener with SASL answers ApiVersions and hangs up at anything else.
    fn expect_open(&self, stream: &mut TcpStream, versions: &[u8]) -> Result<(), BrokerProblem> {
        if !knows_metadata_1(versions) {
            return Ok(());
        }
        match self.ask(stream, &metadata()) {
            Answer::Closed => Err(BrokerProblem::LoginRequired { brokers: self.name.clone() }),
            _ => Ok(()),
        }
    }

    fn expect_tls(&self) -> Result<(), BrokerProblem> {
        let answer = self.ask(&mut self.connect()?, &client_hello());
        if matches!(answer, Answer::Tls) {
            return Ok(());
        }
        let mut stream = self.connect()?;
        match self.ask(&mut stream, &api_versions()) {
            Answer::Kafka(_) => Err(BrokerProblem::TlsUnexpected { address: self.name.clone() }),
            Answer::Closed => Err(self.not_kafka(&answer)),
            second => Err(self.not_kafka(&second)),
        }
    }

    fn speaks_tls(&self) -> Result<bool, BrokerProblem> {
        Ok(matches!(self.ask(&mut self.connect()?, &client_hello()), Answer::Tls))
    }

    fn not_kafka(&self, answer: &Answer) -> BrokerProblem {
        let address = self.name.clone();
        let found = match answer {
            Answer::Silence => return BrokerProblem::Silent { address, millis: millis(ANSWER_TIMEOUT) },
            Answer::Other(bytes) if bytes.starts_with(b"HTTP/") => "it is an HTTP server".to_owned(),
            Answer::Other(bytes) => format!("it answers {:?}", shown(bytes)),
            Answer::Closed => "it closes the connection at Kafka's greeting".to_owned(),
            Answer::Kafka(_) | Answer::Tls => "it answers in another protocol".to_owned(),
        };
        BrokerProblem::NotKafka { address, found }
    }
}

/// The beginning of an answer, harmless on a terminal.
fn shown(bytes: &[u8]) -> String {
    bytes.iter().take(24).map(|byte| if (32..127).contains(byte) { char::from(*byte) } else { '.' }).collect()
}

/// Sends a request and reads one answer: whole when it is framed as Kafka's are, else what came first.
fn exchange(stream: &mut TcpStream, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    stream.write_all(request)?;
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            // What came before a reset still tells who it was.
            Err(_) if !answer.is_empty() => return Ok(answer),
            Err(error) => return Err(error),
        };
        if count == 0 && answer.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&buffer[..count]);
        let wanted = framed_bytes(&answer).unwrap_or(4);
        if count == 0 || answer.len() >= wanted.min(MAX_ANSWER_BYTES) {
            return Ok(answer);
        }
    }
}

/// How long the answer is, when its first bytes can be those of a Kafka answer to us.
fn framed_bytes(answer: &[u8]) -> Option<usize> {
    let (length, rest) = answer.split_first_chunk::<4>()?;
    let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
    let begins_right = rest.iter().zip(CORRELATION_ID.to_be_bytes()).all(|(found, sent)| *found == sent);
    ((4..=MAX_ANSWER_BYTES).contains(&length) && begins_right).then_some(4 + length)
}

fn classify(bytes: Vec<u8>) -> Answer {
    // TLS 1.0 to 1.3 records: alert 21, handshake 22; version 3.x.
    if bytes.len() >= 2 && matches!(bytes[0], 21 | 22) && bytes[1] == 3 {
        return Answer::Tls;
    }
    match framed_bytes(&bytes) {
        Some(length) if bytes.len() >= length => Answer::Kafka(bytes),
        _ => Answer::Other(bytes),
    }
}

/// A request with the header of version 1: api key, api version, correlation id, client id.
fn request(api_key: i16, api_version: i16, body: &[u8]) -> Vec<u8> {
    const CLIENT_ID: &[u8; 14] = b"\x00\x0clumenbus-ask";
    let length = i32::try_from(8 + CLIENT_ID.len() + body.len()).expect("a request of a few bytes");
    let mut request = length.to_be_bytes().to_vec();
    request.extend_from_slice(&api_key.to_be_bytes());
    request.extend_from_slice(&api_version.to_be_bytes());
    request.extend_from_slice(&CORRELATION_ID.to_be_bytes());
    request.extend_from_slice(CLIENT_ID);
    request.extend_from_slice(body);
    request
}

fn api_versions() -> Vec<u8> {
    request(18, 0, &[])
}

/// Metadata of no topics, version 1.
fn metadata() -> Vec<u8> {
    request(3, 1, &[0; 4])
}

/// In an ApiVersions answer of version 0: length, correlation id, error code, count, (key, min, max)…
fn knows_metadata_1(answer: &[u8]) -> bool {
    let entries = answer.get(14..).unwrap_or_default();
    entries.as_chunks::<6>().0.iter().any(|[key_high, key, min_high, min, max_high, max]| {
        let version = |high, low| i16::from_be_bytes([high, low]);
        version(*key_high, *key) == 3 && (version(*min_high, *min)..=version(*max_high, *max)).contains(&1)
    })
}

/// A TLS greeting (RFC 5246, 7.4.1.2) without extensions: enough that a TLS server answers, be it with an alert.
fn client_hello() -> Vec<u8> {
    let mut hello = vec![3, 3];
    hello.extend_from_slice(&[0x6c; 32]);
    // No session; ECDHE-RSA, ECDHE-ECDSA, RSA with AES-128-GCM, TLS 1.3's AES-128-GCM; no compression.
    hello.extend_from_slice(&[0, 0, 8, 0xc0, 0x2f, 0xc0, 0x2b, 0x00, 0x9c, 0x13, 0x01, 1, 0]);
    let length = u8::try_from(hello.len()).expect("a greeting of 47 bytes");
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend_from_slice(&hello);
    record
}

/// Clients are sent to the advertised addresses: at least one of them must take a connection.
pub(super) fn reach_advertised(facts: &ClusterFacts, brokers: &str) -> Result<(), BrokerProblem> {
    let reachable = |host: &str, port| {
        let addresses = (host, port).to_socket_addrs().into_iter().flatten();
        addresses.into_iter().any(|address| TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).is_ok())
    };
    let listed = facts.brokers.iter().take(MAX_SERVERS);
    if facts.brokers.is_empty() || listed.clone().any(|broker| reachable(&broker.host, broker.port)) {
        return Ok(());
    }
    let advertised: Vec<String> = listed.map(|broker| format!("{}:{}", broker.host, broker.port)).collect();
    Err(BrokerProblem::AdvertisedUnreachable { brokers: brokers.to_owned(), advertised: advertised.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::thread;

    /// Answers every request of a connection with the next of these, then hangs up.
    fn server(answers: &'static [&'static [u8]]) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                for answer in answers {
                    let mut request = [0; 512];
                    if stream.read(&mut request).unwrap_or(0) == 0 || stream.write_all(answer).is_err() {
                        break;
                    }
                }
            }
        });
        address
    }

    const VERSIONS: &[u8] = b"\0\0\0\x10lb01\0\0\0\0\0\x01\0\x03\0\0\0\x09";
    const METADATA: &[u8] = b"\0\0\0\x08lb01\0\0\0\0";
    const ALERT: &[u8] = b"\x15\x03\x03\0\x02\x02\x28";

    fn check(answers: &'static [&'static [u8]], dialect: Dialect, code: Option<&str>) {
        let problem = Preflight::new(&server(answers), dialect).unwrap().run().err();
        let message = problem.as_ref().map(ToString::to_string);
        assert_eq!(problem.as_ref().map(BrokerProblem::code), code, "{answers:?} {dialect:?}: {message:?}");
    }

    #[test]
    fn a_broker_is_told_from_everything_else() {
        let http: &[&[u8]] = &[b"HTTP/1.1 400 Bad Request\r\n\r\n"];
        let ssh: &[&[u8]] = &[b"SSH-2.0-OpenSSH_9.2\r\n"];
        check(&[VERSIONS, METADATA], Dialect::Plain, None);
        check(&[VERSIONS], Dialect::Plain, Some("LB-E0111"));
        check(&[VERSIONS], Dialect::PlainWithLogin, None);
        check(&[ALERT], Dialect::Plain, Some("LB-E0105"));
        check(&[ALERT], Dialect::Tls, None);
        check(&[VERSIONS, METADATA], Dialect::Tls, Some("LB-E0106"));
        check(http, Dialect::Plain, Some("LB-E0103"));
        check(http, Dialect::Tls, Some("LB-E0103"));
        check(ssh, Dialect::Plain, Some("LB-E0103"));
        check(&[], Dialect::Plain, Some("LB-E0103"));
        // Lengths that no broker sends are not waited for.
        check(&[b"\x7f\xff\xff\xfflb01"], Dialect::Plain, Some("LB-E0103"));
        check(&[b"\0\0\0\x02lb"], Dialect::Plain, Some("LB-E0103"));
    }

    #[test]
    fn an_http_server_is_named() {
        let answers: &[&[u8]] = &[b"HTTP/1.1 400 Bad Request\r\n\r\n"];
        let problem = Preflight::new(&server(answers), Dialect::Plain).unwrap().run().unwrap_err();
        assert!(problem.to_string().contains("HTTP server"), "{problem}");
    }

    /// A plain broker takes a TLS greeting for an absurd length and hangs up.
    #[test]
    fn a_plain_broker_is_recognised_by_a_tls_client() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 512];
                let count = stream.read(&mut request).unwrap_or(0);
                if count > 0 && request[0] == 0 {
                    stream.write_all(VERSIONS).unwrap();
                }
            }
        });
        let problem = Preflight::new(&address, Dialect::Tls).unwrap().run().unwrap_err();
        assert_eq!(problem.code(), "LB-E0106", "{problem}");
    }

    #[test]
    fn a_port_where_nobody_listens_and_one_that_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let silent = Preflight::new(&address, Dialect::Plain).unwrap().run().unwrap_err();
        assert_eq!(silent.code(), "LB-E0104", "{silent}");
        drop(listener);
        let nobody = Preflight::new(&address, Dialect::Plain).unwrap().run().unwrap_err();
        let expected = format!("no broker at {address}; start one with `lumenbus broker --data DIR` or pass --brokers");
        assert_eq!(nobody.to_string(), expected);
    }

    #[test]
    fn one_good_server_suffices_and_the_most_telling_problem_is_told() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let good = server(&[VERSIONS, METADATA]);
        assert!(Preflight::new(&format!("{closed}, {good}"), Dialect::Plain).unwrap().run().is_ok());
        let tls = server(&[ALERT]);
        let problem = Preflight::new(&format!("{closed},{tls}"), Dialect::Plain).unwrap().run().unwrap_err();
        assert_eq!(problem.code(), "LB-E0105");
        let unknown = Preflight::new("no-such-host.invalid:9092", Dialect::Plain).unwrap().run().unwrap_err();
        assert_eq!(unknown.code(), "LB-E0102", "{unknown}");
    }

    #[test]
    fn addresses_are_read_as_librdkafka_reads_them() {
        let at = |host: &str, port| Some((host.to_owned(), port));
        for (text, expected) in [
            ("kafka", at("kafka", 9092)),
            ("kafka:19092", at("kafka", 19092)),
            ("[::1]:9093", at("::1", 9093)),
            ("SASL_SSL://kafka:9094", at("kafka", 9094)),
            ("kafka:port", None),
            ("kafka:0", None),
            ("kafka:99999", None),
            ("http://kafka:80/x", None),
            ("", None),
        ] {
            assert_eq!(address(text), expected, "{text}");
        }
        assert!(Preflight::new(" , ", Dialect::Plain).is_err());
    }
}
