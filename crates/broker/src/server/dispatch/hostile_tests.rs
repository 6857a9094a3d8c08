//! Requests of the right shape that mean anything, to a broker that has topics, groups and transactions: whatever they
//! ask, they are answered or their connection ends, and the broker goes on.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng, RngCore as _, SeedableRng};

use super::*;
use crate::BrokerConfig;
use crate::server::access::Principal;
use crate::server::shape::{Field, Kind};

/// Requests of each API and version.
const ROUNDS: usize = 60;
/// What is still waiting by then is left, as by a client that hangs up.
const PATIENCE: Duration = Duration::from_millis(5);

/// Writes bodies that a client could send, out of names that exist and numbers at the edges.
struct Writer<'a> {
    random: &'a mut StdRng,
    version: i16,
    flexible: Flexible,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn length(&mut self, length: Option<usize>, wide: usize) {
        let length = length.map_or(-1, |length| i64::try_from(length).unwrap());
        match self.flexible {
            Flexible::Yes => self.out.push(u8::try_from(length + 1).unwrap()),
            Flexible::No => self.out.extend(&length.to_be_bytes()[8 - wide..]),
        }
    }

    fn fixed(&mut self, width: usize) {
        let edges = [-2, -1, 0, 1, 2, 3, 100, i64::from(i16::MAX), i64::from(i32::MAX), i64::MAX, i64::MIN];
        let value = *edges.choose(self.random).unwrap();
        if width > 8 {
            // An id; mostly the null one.
            let mut id = vec![0; width];
            if self.random.random_bool(0.3) {
                self.random.fill_bytes(&mut id);
            }
            return self.out.extend(id);
        }
        self.out.extend(&value.to_be_bytes()[8 - width..]);
    }

    fn string(&mut self) {
        let words =
            ["t", "u", "g", "x", "", "..", "a/b", "__consumer_offsets", "__transaction_state", "retention.ms", "-1"];
        match self.random.random_range(0..20) {
            0 => self.length(None, 2),
            1 => {
                self.length(Some(100), 2);
                self.out.extend([b'n'; 100]);
            }
            _ => {
                let word = *words.choose(self.random).unwrap();
                self.length(Some(word.len()), 2);
                self.out.extend(word.as_bytes());
            }
        }
    }

    fn bytes(&mut self) {
        let mut bytes = vec![0; *[0, 1, 20, 61, 90].choose(self.random).unwrap()];
        self.random.fill_bytes(&mut bytes);
        if bytes.len() > 60 && self.random.random_bool(0.7) {
            // As far as a batch's header goes, one of format 2.
            let rest = i32::try_from(bytes.len() - 12).unwrap();
            bytes[..8].fill(0);
            bytes[8..12].copy_from_slice(&rest.to_be_bytes());
            bytes[16] = 2;
            let crc = crc32c::crc32c(&bytes[21..]);
            bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        }
        self.length(Some(bytes.len()), 4);
        self.out.extend(bytes);
    }

    fn elements(&mut self) -> usize {
        let count = *[0, 1, 1, 2].choose(self.random).unwrap();
        self.length(Some(count), 4);
        count
    }

    fn body(&mut self, layout: &[Field]) {
        let version = self.version;
        for field in layout.iter().filter(|field| (field.since..=field.until).contains(&version)) {
            match field.kind {
                Kind::Fixed(width) => self.fixed(width),
                Kind::Str => self.string(),
                Kind::Bytes => self.bytes(),
                Kind::FixedArray(width) => (0..self.elements()).for_each(|_| self.fixed(width)),
                Kind::StrArray => (0..self.elements()).for_each(|_| self.string()),
                Kind::Array(fields) => (0..self.elements()).for_each(|_| self.body(fields)),
                Kind::Optional(fields) => {
                    self.out.push(1);
                    self.body(fields);
                }
            }
        }
        if self.flexible == Flexible::Yes {
            self.out.push(0);
        }
    }
}

fn request(api: &Api, version: i16, random: &mut StdRng) -> Bytes {
    let mut head = BytesMut::new();
    let key = api.key;
    kafka_protocol::messages::RequestHeader::default()
        .with_request_api_key(key as i16)
        .with_request_api_version(version)
        .encode(&mut head, key.request_header_version(version))
        .unwrap();
    let mut writer = Writer { random, version, flexible: api.flexible(version), out: head.to_vec() };
    writer.body(api.layout);
    writer.out.into()
}

fn server(folder: &tempfile::TempDir) -> Server {
    let mut config = BrokerConfig::new(folder.path());
    config.groups.min_session_timeout = Duration::ZERO;
    let server = Server::open(config, ("localhost".to_owned(), 9092)).unwrap();
    for name in ["t", "u"] {
        server.store.create_topic(name, 2, &crate::log::Overrides::new()).unwrap();
    }
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_is_asked_the_broker_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let server = server(&folder);
    let peer = Peer { address: ([127, 0, 0, 1], 1).into(), principal: Principal::Anonymous };
    let seed = std::env::var("BROKER_HOSTILE_SEED").map_or(0x5eed, |seed| seed.parse().unwrap());
    let mut random = StdRng::seed_from_u64(seed);
    let (mut answered, mut ended, mut waiting) = (0, 0, 0);
    for _ in 0..ROUNDS {
        for api in api::APIS {
            for version in api.min..=api.max {
                let bytes = request(api, version, &mut random);
                assert!(parse(bytes.clone()).is_ok(), "{:?} {version}: the shape is right: {bytes:?}", api.key);
                match tokio::time::timeout(PATIENCE, answer(&server, &peer, bytes)).await {
                    Ok(Ok(_)) => answered += 1,
                    Ok(Err(_)) => ended += 1,
                    Err(_) => waiting += 1,
                }
            }
        }
    }
    assert!(answered > 100 && waiting > 0, "{answered} answered, {ended} ended, {waiting} waiting");
    let asked = BytesMut::from(&[0, 18, 0, 0, 0, 0, 0, 9, 0xff, 0xff][..]).freeze();
    assert!(answer(&server, &peer, asked).await.unwrap().is_some(), "the broker goes on");
    drop(server);
    // What was stored meanwhile can be read again.
    let (store, report) = crate::log::LogStore::open(BrokerConfig::new(folder.path()).store, 0).unwrap();
    assert_eq!(report.truncated_bytes, 0, "{:?}", report.notes);
    store.close().unwrap();
}
