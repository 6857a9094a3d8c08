//! Which of Kafka's APIs a broker has: one ApiVersions request by hand.

use super::{Finding, Severity};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};

/// Largest answer read: a broker's is below 1 KiB.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
const CORRELATION_ID: i32 = 0x6c62_6472;

/// APIs that we use: key, name, the version from which on it serves, what without it does not work.
const NEEDED: [(i16, &str, i16, &str); 10] = [
    (0, "Produce", 3, "publishing"),
    (1, "Fetch", 4, "reading"),
    (2, "ListOffsets", 1, "finding where to begin"),
    (3, "Metadata", 1, "finding brokers and topics"),
    (8, "OffsetCommit", 2, "groups that go on where they were"),
    (10, "FindCoordinator", 0, "groups"),
    (11, "JoinGroup", 0, "groups"),
    (19, "CreateTopics", 0, "creating topics"),
    (22, "InitProducerId", 0, "publishing without duplicates"),
    (32, "DescribeConfigs", 0, "checking topics"),
];

/// Supported versions, by API key.
pub(super) type Versions = BTreeMap<i16, (i16, i16)>;

/// Asks over a connection that exists, encrypted or not.
pub(super) fn ask(connection: &mut (impl Read + Write)) -> io::Result<Versions> {
    connection.write_all(&request())?;
    connection.flush()?;
    let mut length = [0; 4];
    connection.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_ANSWER_BYTES {
        return Err(io::Error::new(ErrorKind::InvalidData, "the answer is not Kafka's"));
    }
    let mut answer = vec![0; length];
    connection.read_exact(&mut answer)?;
    parse(&answer).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "the answer is not Kafka's"))
}

/// ApiVersions, version 0, header version 1.
fn request() -> Vec<u8> {
    const CLIENT_ID: &[u8] = b"lumenbus-doctor";
    let mut body = vec![0, 18, 0, 0];
    body.extend_from_slice(&CORRELATION_ID.to_be_bytes());
    body.extend_from_slice(&u16::try_from(CLIENT_ID.len()).expect("a short name").to_be_bytes());
    body.extend_from_slice(CLIENT_ID);
    let mut request = u32::try_from(body.len()).expect("a short request").to_be_bytes().to_vec();
    request.extend_from_slice(&body);
    request
}

/// Correlation id, error code, count, (key, min, max)…
fn parse(answer: &[u8]) -> Option<Versions> {
    let (id, rest) = answer.split_first_chunk::<4>()?;
    let (error, rest) = rest.split_first_chunk::<2>()?;
    let (_count, rest) = rest.split_first_chunk::<4>()?;
    if i32::from_be_bytes(*id) != CORRELATION_ID || i16::from_be_bytes(*error) != 0 {
        return None;
    }
    let number = |high, low| i16::from_be_bytes([high, low]);
    let row = |[a, b, c, d, e, f]: &[u8; 6]| (number(*a, *b), (number(*c, *d), number(*e, *f)));
    Some(rest.as_chunks::<6>().0.iter().map(row).collect())
}

/// What follows from them.
pub(super) fn findings(broker: &str, versions: &Versions, client: &str) -> Vec<Finding> {
    let has = |key: i16, least: i16| versions.get(&key).is_some_and(|(_, highest)| *highest >= least);
    let lacking = NEEDED.into_iter().filter(|(key, _, least, _)| !has(*key, *least));
    let mut findings: Vec<_> = lacking
        .map(|(_, name, least, what_for)| {
            Finding::new(Severity::Error, "protocol.api", format!("{broker} has no {name} in version {least} or later"))
                .because(format!("it is needed for {what_for}"))
                .remedy("use Kafka 1.0 or later; behind a proxy, one that passes this request on")
        })
        .collect();
    if findings.is_empty() {
        let range = |key: i16| versions.get(&key).map_or_else(String::new, |(low, high)| format!("{low} to {high}"));
        let what = format!(
            "{broker} has all {} APIs that are needed, of {} in all: Produce {}, Fetch {}, Metadata {}; {client}",
            NEEDED.len(),
            versions.len(),
            range(0),
            range(1),
            range(3)
        );
        findings.push(Finding::ok("protocol.api", what));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(rows: &[(i16, i16, i16)]) -> Vec<u8> {
        let mut body = CORRELATION_ID.to_be_bytes().to_vec();
        body.extend_from_slice(&[0, 0]);
        body.extend_from_slice(&u32::try_from(rows.len()).unwrap().to_be_bytes());
        for (key, low, high) in rows {
            [key, low, high].into_iter().for_each(|number| body.extend_from_slice(&number.to_be_bytes()));
        }
        body
    }

    /// Gives an answer, takes any request.
    struct Peer(io::Cursor<Vec<u8>>);

    impl Read for Peer {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.0.read(into)
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn asked(length: i32, body: &[u8]) -> io::Result<Versions> {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        ask(&mut Peer(io::Cursor::new(bytes)))
    }

    #[test]
    fn what_is_missing_is_named() {
        let old = answer(&[(0, 0, 2), (1, 0, 11), (3, 0, 9)]);
        let versions = asked(i32::try_from(old.len()).unwrap(), &old).unwrap();
        let findings = findings("b:9092", &versions, "librdkafka");
        assert_eq!(findings.len(), NEEDED.len() - 2);
        assert_eq!(findings[0].what, "b:9092 has no Produce in version 3 or later");
        let all: Versions = NEEDED.into_iter().map(|(key, _, least, _)| (key, (0, least))).collect();
        let fine = super::findings("b:9092", &all, "librdkafka 2");
        assert_eq!((fine.len(), fine[0].severity), (1, Severity::Ok));
    }

    #[test]
    fn hostile_answers_are_errors() {
        for (length, body) in
            [(-1, vec![]), (i32::MAX, vec![0; 8]), (3, vec![0; 3]), (10, vec![0; 10]), (100, vec![0; 10])]
        {
            assert!(asked(length, &body).is_err(), "{length}");
        }
        let mut cut = answer(&[(0, 0, 9)]);
        cut.pop();
        assert!(asked(i32::try_from(cut.len()).unwrap(), &cut).unwrap().is_empty(), "half a row is none");
    }
}
