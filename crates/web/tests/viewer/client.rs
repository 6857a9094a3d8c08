//! Clients made by hand, so that they can misbehave: HTTP and WebSocket on plain sockets.

use bytes::Bytes;
use serde_json::{Value, json};
use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Ends only what hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// What came back for a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

pub(crate) fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Sends bytes as they are and reads one answer.
pub(crate) fn raw(addr: SocketAddr, request: &[u8]) -> Answer {
    let mut stream = connect(addr);
    // A server that refuses may close before it has read everything.
    let _ = stream.write_all(request);
    read_answer(&mut BufReader::new(stream))
}

pub(crate) fn read_answer(stream: &mut impl std::io::BufRead) -> Answer {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).unwrap() > 0, "closed after {head:?}");
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let mut answer = Answer { status, head, body: Vec::new() };
    let length = answer.header("content-length").map_or(0, |length| length.parse().unwrap());
    answer.body = vec![0; length];
    stream.read_exact(&mut answer.body).unwrap();
    answer
}

pub(crate) fn get_with(addr: SocketAddr, path: &str, headers: &str) -> Answer {
    raw(addr, format!("GET {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n{headers}\r\n").as_bytes())
}

pub(crate) fn get(addr: SocketAddr, path: &str) -> Answer {
    get_with(addr, path, "")
}

pub(crate) fn post(addr: SocketAddr, path: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n"
    );
    raw(addr, (head + body).as_bytes())
}

/// A WebSocket message.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Message {
    Text(Value),
    Media(Media),
    Close(u16, String),
    /// The connection is gone without a close.
    End,
}

/// A binary message, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Media {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) n: u16,
    pub(crate) skipped: u32,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) capture_micros: i64,
    pub(crate) pts_micros: i64,
    pub(crate) received_micros: i64,
    pub(crate) sent_micros: i64,
    pub(crate) payload: Bytes,
}

impl Media {
    fn parse(message: Vec<u8>) -> Self {
        let long = |at: usize| i64::from_le_bytes(message[at..at + 8].try_into().unwrap());
        Self {
            kind: message[0],
            flags: message[1],
            n: u16::from_le_bytes([message[2], message[3]]),
            skipped: u32::from_le_bytes(message[4..8].try_into().unwrap()),
            epoch: long(8).cast_unsigned(),
            seq: long(16).cast_unsigned(),
            capture_micros: long(24),
            pts_micros: long(32),
            received_micros: long(40),
            sent_micros: long(48),
            payload: Bytes::from(message).slice(56..),
        }
    }
}

/// A client by hand.
pub(crate) struct Socket {
    stream: BufReader<TcpStream>,
}

impl Socket {
    /// Asks for the upgrade; the answer when it is refused.
    pub(crate) fn upgrade(addr: SocketAddr, host: &str, headers: &str) -> Result<Self, Answer> {
        let mut stream = connect(addr);
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut stream = BufReader::new(stream);
        let answer = read_answer(&mut stream);
        if answer.status == 101 { Ok(Self { stream }) } else { Err(answer) }
    }

    /// A client that has said hello and been greeted.
    pub(crate) fn open(addr: SocketAddr) -> Self {
        let mut socket = Self::upgrade(addr, &addr.to_string(), "").unwrap();
        socket.say(&json!({ "type": "hello", "protocol": 1, "media": ["annexb", "fmp4", "jpeg"] }));
        let Message::Text(hello) = socket.next() else { panic!("no hello") };
        assert_eq!(hello["type"], "hello");
        socket
    }

    /// Masked with zeros, which is a mask.
    pub(crate) fn frame(&mut self, opcode: u8, payload: &[u8]) {
        let mut frame = vec![0x80 | opcode];
        match payload.len() {
            length @ ..126 => frame.push(0x80 | u8::try_from(length).unwrap()),
            length @ ..65_536 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        // Who is refused is not read to the end.
        let _ = self.stream.get_mut().write_all(&frame);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.frame(1, text.as_bytes());
    }

    pub(crate) fn say(&mut self, message: &Value) {
        self.text(&message.to_string());
    }

    pub(crate) fn watch(&mut self, n: u16, form: &str) {
        self.say(&json!({ "type": "watch", "streams": [{ "n": n, "form": form }] }));
    }

    /// The next message; pings are not answered.
    pub(crate) fn next(&mut self) -> Message {
        loop {
            let mut head = [0; 2];
            if self.stream.read_exact(&mut head).is_err() {
                return Message::End;
            }
            let length = match head[1] & 0x7f {
                126 => u64::from(u16::from_be_bytes(self.array())),
                127 => u64::from_be_bytes(self.array()),
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            if self.stream.read_exact(&mut payload).is_err() {
                return Message::End;
            }
            match head[0] & 0x0f {
                1 => return Message::Text(serde_json::from_slice(&payload).unwrap()),
                2 => return Message::Media(Media::parse(payload)),
                8 => {
                    let code = payload.get(..2).map_or(0, |code| u16::from_be_bytes([code[0], code[1]]));
                    return Message::Close(code, String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into());
                }
                _ => {}
            }
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// The next binary message.
    #[track_caller]
    pub(crate) fn media(&mut self) -> Media {
        loop {
            match self.next() {
                Message::Media(media) => return media,
                Message::Text(_) => {}
                other => panic!("{other:?} instead of media"),
            }
        }
    }

    /// The next text message of a type.
    #[track_caller]
    pub(crate) fn told(&mut self, kind: &str) -> Value {
        loop {
            match self.next() {
                Message::Text(message) if message["type"] == kind => return message,
                Message::Text(_) | Message::Media(_) => {}
                other => panic!("{other:?} instead of {kind}"),
            }
        }
    }

    /// The refusal that ends the session: code of the error, code of the close.
    #[track_caller]
    pub(crate) fn refusal(&mut self) -> (String, u16) {
        let error = self.told("error")["code"].as_str().unwrap().to_owned();
        loop {
            match self.next() {
                Message::Close(code, _) => return (error, code),
                Message::Text(_) | Message::Media(_) => {}
                Message::End => return (error, 0),
            }
        }
    }

    /// Everything until the viewer ends the session; whether it did within the test's patience.
    pub(crate) fn drain(&mut self) {
        while !matches!(self.next(), Message::Close(..) | Message::End) {}
    }
}
