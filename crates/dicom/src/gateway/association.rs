//! An association, either side of it: units and messages over a connection.

use super::GatewayError;
use super::connection::Connection;
use super::dimse::{Command, MAX_COMMAND_BYTES};
use super::pdu::{self, AbortReason, DataValue, HEADER_BYTES, Header, Kind, PduError};
use std::ops::Range;
use std::time::{Duration, Instant};

/// Longest P-DATA-TF body that is taken, and that is sent to peers which take any.
pub const MAX_DATA_BYTES: u32 = 128 << 10;
/// A peer that takes less would make 4 GiB take a hundred million units.
const MIN_DATA_BYTES: u32 = 128;

/// What the peer sent.
#[derive(Debug)]
pub(super) enum Event {
    /// A fragment; its bytes are [`Association::fragment`].
    Value { context: u8, is_command: bool, is_last: bool, fragment: Range<usize> },
    /// It is done.
    Release,
}

/// A whole command, or the end.
#[derive(Debug)]
pub(super) enum Message {
    Command(u8, Command),
    Release,
}

pub(super) struct Association<'a> {
    connection: Connection<'a>,
    idle: Duration,
    body: Vec<u8>,
    /// Where the next value of a P-DATA-TF begins.
    next: Option<usize>,
    /// Most bytes of a fragment that the peer takes.
    fragment_bytes: usize,
    out: Vec<u8>,
}

impl<'a> Association<'a> {
    pub(super) fn new(connection: Connection<'a>, idle: Duration) -> Self {
        Self { connection, idle, body: Vec::new(), next: None, fragment_bytes: 0, out: Vec::new() }
    }

    /// What the peer said it takes.
    pub(super) fn agree(&mut self, max_data: u32) -> Result<(), GatewayError> {
        let most = if max_data == 0 { MAX_DATA_BYTES } else { max_data.min(MAX_DATA_BYTES) };
        if most < MIN_DATA_BYTES {
            return Err(GatewayError::Protocol { what: "it takes units of less than 128 bytes only" });
        }
        // Fragments have an even length (PS3.8, annex E).
        self.fragment_bytes = (most as usize - pdu::VALUE_HEADER_BYTES) & !1;
        Ok(())
    }

    pub(super) fn fragment_bytes(&self) -> usize {
        self.fragment_bytes
    }

    /// The next unit; its body is in `self.body`.
    pub(super) fn unit(&mut self, waiting_for: &'static str) -> Result<Kind, GatewayError> {
        let deadline = Instant::now() + self.idle;
        let mut header = [0; HEADER_BYTES];
        self.connection.fill(&mut header, deadline, waiting_for)?;
        let header = Header::decode(header, MAX_DATA_BYTES)?;
        self.body.resize(header.length as usize, 0);
        self.connection.fill(&mut self.body, deadline, waiting_for)?;
        if header.kind == Kind::Abort {
            let (origin, reason) = (self.body[2], self.body[3]);
            return Err(GatewayError::Aborted { origin, reason });
        }
        Ok(header.kind)
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(super) fn end_at(&mut self, end: Instant) {
        self.connection.end_at(end);
    }

    pub(super) fn write(&mut self, unit: &[u8]) -> Result<(), GatewayError> {
        self.connection.write(unit)
    }

    pub(super) fn event(&mut self, waiting_for: &'static str) -> Result<Event, GatewayError> {
        loop {
            if let Some(at) = self.next {
                if let Some(value) = DataValue::decode(&self.body, at)? {
                    let DataValue { context, is_command, is_last, fragment } = value;
                    self.next = Some(fragment.end);
                    return Ok(Event::Value { context, is_command, is_last, fragment });
                }
                self.next = None;
            }
            match self.unit(waiting_for)? {
                Kind::Data => self.next = Some(0),
                Kind::ReleaseRequest => return Ok(Event::Release),
                _ => return Err(GatewayError::Protocol { what: "a unit that cannot come now" }),
            }
        }
    }

    pub(super) fn fragment(&self, fragment: Range<usize>) -> &[u8] {
        self.body.get(fragment).unwrap_or_default()
    }

    /// A whole command.
    pub(super) fn message(&mut self, waiting_for: &'static str) -> Result<Message, GatewayError> {
        let mut command: Option<(u8, Vec<u8>)> = None;
        loop {
            let (context, is_last, fragment) = match self.event(waiting_for)? {
                Event::Value { context, is_command: true, is_last, fragment } => (context, is_last, fragment),
                Event::Value { .. } => return Err(GatewayError::Protocol { what: "a data set without its command" }),
                Event::Release if command.is_none() => return Ok(Message::Release),
                Event::Release => return Err(GatewayError::Protocol { what: "a release inside a message" }),
            };
            let (of, mut bytes) = command.take().unwrap_or((context, Vec::new()));
            bytes.extend_from_slice(self.fragment(fragment));
            if of != context {
                return Err(GatewayError::Protocol { what: "a message in two contexts" });
            }
            if bytes.len() > MAX_COMMAND_BYTES {
                return Err(GatewayError::Protocol { what: "a command of more than 16 KiB" });
            }
            if is_last {
                return Ok(Message::Command(context, Command::decode(&bytes)?));
            }
            command = Some((of, bytes));
        }
    }

    /// The data set of a message, fragment by fragment; `take` may only look at it.
    pub(super) fn data_set(&mut self, of: u8, mut take: impl FnMut(&[u8])) -> Result<(), GatewayError> {
        loop {
            match self.event("a data set")? {
                Event::Value { context, is_command: false, is_last, fragment } if context == of => {
                    take(self.fragment(fragment));
                    if is_last {
                        return Ok(());
                    }
                }
                Event::Value { .. } => {
                    return Err(GatewayError::Protocol { what: "another message inside a data set" });
                }
                Event::Release => return Err(GatewayError::Protocol { what: "a release inside a data set" }),
            }
        }
    }

    pub(super) fn send_command(&mut self, context: u8, command: &Command) -> Result<(), GatewayError> {
        let bytes = command.encode();
        let mut pieces = bytes.chunks(self.fragment_bytes.max(1)).peekable();
        while let Some(piece) = pieces.next() {
            self.send_fragment(context, true, pieces.peek().is_none(), piece)?;
        }
        Ok(())
    }

    pub(super) fn send_fragment(
        &mut self,
        context: u8,
        is_command: bool,
        is_last: bool,
        fragment: &[u8],
    ) -> Result<(), GatewayError> {
        let length = u32::try_from(fragment.len()).unwrap_or(u32::MAX);
        self.out.clear();
        self.out.extend(pdu::data_header(context, is_command, is_last, length));
        self.out.extend(fragment);
        self.connection.write(&self.out)
    }

    /// The peer asked for the end.
    pub(super) fn released(mut self) {
        if self.connection.write(&pdu::RELEASED).is_ok() {
            self.connection.close();
        }
    }

    /// Asks for the end, and waits for the answer.
    pub(super) fn release(mut self) {
        let answered = self.connection.write(&pdu::RELEASE).and_then(|()| self.unit("the end of the association"));
        if answered.is_ok() {
            self.connection.close();
        }
    }

    /// Ends it with a reason that fits the error, where the peer did not.
    pub(super) fn abort(mut self, error: &GatewayError) {
        let reason = match error {
            GatewayError::Aborted { .. } | GatewayError::Io(_) => return,
            GatewayError::Pdu(PduError::Type(_)) => Some(AbortReason::UnrecognizedPdu),
            GatewayError::Pdu(_) | GatewayError::Command(_) => Some(AbortReason::InvalidParameter),
            GatewayError::Protocol { .. } => Some(AbortReason::UnexpectedPdu),
            _ => None,
        };
        if self.connection.write(&pdu::abort(reason)).is_ok() {
            self.connection.close();
        }
    }
}
