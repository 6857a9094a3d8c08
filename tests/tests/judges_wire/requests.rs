//! Requests byte by byte, and what comes back.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

/// Ends only what never comes.
const PATIENCE: Duration = Duration::from_secs(300);

pub(crate) const PRODUCE: i16 = 0;
pub(crate) const FETCH: i16 = 1;
pub(crate) const METADATA: i16 = 3;
pub(crate) const API_VERSIONS: i16 = 18;
const CREATE_TOPICS: i16 = 19;

/// What follows the fields common to all requests.
#[derive(Debug, Default)]
pub(crate) struct Body(pub(crate) Vec<u8>);

impl Body {
    pub(crate) fn i8(mut self, number: i8) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(crate) fn i16(mut self, number: i16) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(crate) fn i32(mut self, number: i32) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(crate) fn i64(mut self, number: i64) -> Self {
        self.0.extend(number.to_be_bytes());
        self
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self = self.i16(i16::try_from(text.len()).unwrap());
        self.0.extend(text.as_bytes());
        self
    }

    fn bytes(mut self, bytes: &[u8]) -> Self {
        self = self.i32(i32::try_from(bytes.len()).unwrap());
        self.0.extend(bytes);
        self
    }

    /// The whole request, its length first.
    pub(crate) fn request(self, api: i16, version: i16) -> Vec<u8> {
        let head = Self::default().i16(api).i16(version).i32(7).text("wire");
        Self::default().bytes(&[head.0, self.0].concat()).0
    }
}

/// Records for one partition; version 3 to 8.
pub(crate) fn produce(version: i16, acks: i16, (topic, partition): (&str, i32), records: &[u8]) -> Vec<u8> {
    let body = Body::default().i16(-1).i16(acks).i32(30_000).i32(1).text(topic).i32(1).i32(partition);
    body.bytes(records).request(PRODUCE, version)
}

/// Asks for what lies at an offset; version 4 or 10.
pub(crate) fn fetch(version: i16, (topic, partition): (&str, i32), offset: i64) -> Vec<u8> {
    let mut body = Body::default().i32(-1).i32(0).i32(0).i32(1 << 20).i8(0);
    if version >= 7 {
        body = body.i32(0).i32(-1);
    }
    body = body.i32(1).text(topic).i32(1).i32(partition);
    if version >= 9 {
        body = body.i32(-1);
    }
    body = body.i64(offset);
    if version >= 5 {
        body = body.i64(-1);
    }
    body = body.i32(1 << 20);
    if version >= 7 {
        body = body.i32(0);
    }
    body.request(FETCH, version)
}

/// A topic of one partition.
pub(crate) fn create_topic(topic: &str) -> Vec<u8> {
    let body = Body::default().i32(1).text(topic).i32(1).i16(1).i32(0).i32(0).i32(30_000).i8(0);
    body.request(CREATE_TOPICS, 4)
}

/// Where the error code stands behind the correlation id, in answers about one topic.
fn code_at(api: i16, version: i16, answer: &[u8]) -> usize {
    let throttle = 4;
    let name = |at: usize| 2 + usize::from(u16::from_be_bytes([answer[at], answer[at + 1]]));
    match api {
        PRODUCE => 4 + name(4) + 4 + 4,
        FETCH => {
            let topics = throttle + if version >= 7 { 6 } else { 0 };
            topics + 4 + name(topics + 4) + 4 + 4
        }
        CREATE_TOPICS => throttle + 4 + name(throttle + 4),
        _ => 0,
    }
}

/// What a broker makes of these bytes, on a connection of their own: the error code it answers, or that it hangs up.
pub(crate) fn answer(bootstrap: &str, request: &[u8], goes_on: bool) -> String {
    let mut stream = TcpStream::connect(bootstrap).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // It may hang up before everything is written.
    let _ = stream.write_all(request);
    if !goes_on {
        let _ = stream.shutdown(Shutdown::Write);
    }
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
            return "closed".to_owned();
        }
        Err(error) => panic!("neither an answer nor the end of the connection: {error}"),
    }
    let mut answer = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
    stream.read_exact(&mut answer).unwrap();
    let (correlation, answer) = answer.split_at(4);
    assert_eq!(correlation, [0, 0, 0, 7]);
    let field = |at: usize| i16::from_be_bytes([request[at], request[at + 1]]);
    let at = code_at(field(4), field(6), answer);
    i16::from_be_bytes([answer[at], answer[at + 1]]).to_string()
}
