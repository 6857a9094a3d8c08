//! The side that calls: C-ECHO and C-STORE at a peer.

use super::association::{Association, MAX_DATA_BYTES, Message};
use super::connection::Connection;
use super::dimse::{Command, field};
use super::file_meta::FileMeta;
use super::pdu::{Accept, ContextResult, Kind, PduError, ProposedContext, Reject, Request};
use super::{ClientTls, GatewayError, VERIFICATION};
use crate::syntax;
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::time::Duration;

const AE_BYTES: usize = 16;

/// A peer: `AE@host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Application entity title.
    pub ae_title: String,
    /// Name or address; IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// Text that names no peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no peer: write AE@host:port, with a title of 1 to 16 printable characters")]
pub struct PeerError(String);

/// Whether this can be an AE title (PS3.5, section 6.2).
pub(super) fn is_title(title: &str) -> bool {
    let is_fine = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b'\\';
    (1..=AE_BYTES).contains(&title.len()) && title.trim() == title && title.bytes().all(is_fine)
}

impl FromStr for Peer {
    type Err = PeerError;

    fn from_str(text: &str) -> Result<Self, PeerError> {
        let wrong = || PeerError(text.to_owned());
        let (title, address) = text.split_once('@').ok_or_else(wrong)?;
        let (host, port) = address.rsplit_once(':').ok_or_else(wrong)?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let port = port.parse().ok().filter(|&port| port > 0).ok_or_else(wrong)?;
        if !is_title(title) || host.is_empty() {
            return Err(wrong());
        }
        Ok(Self { ae_title: title.to_owned(), host: host.to_owned(), port })
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "{}@[{}]:{}", self.ae_title, self.host, self.port),
            false => write!(f, "{}@{}:{}", self.ae_title, self.host, self.port),
        }
    }
}

/// How a peer is called.
#[derive(Debug, Clone)]
pub struct Calling {
    /// Whom.
    pub peer: Peer,
    /// As whom.
    pub ae_title: String,
    /// TLS, where it is wanted.
    pub tls: Option<ClientTls>,
    /// The peer has to answer in this time.
    pub patience: Duration,
}

/// SOP class and transfer syntax.
pub(super) type Pair = (String, String);

/// An association that this side asked for.
pub(super) struct Client<'a> {
    association: Association<'a>,
    /// Context by SOP class and transfer syntax; none where the peer refused it.
    contexts: HashMap<Pair, Option<u8>>,
    message_id: u16,
}

impl<'a> Client<'a> {
    /// Asks for a context per pair, at most 128.
    pub(super) fn open(
        calling: &Calling,
        pairs: &[Pair],
        is_stopped: &'a (dyn Fn() -> bool + Sync),
    ) -> Result<Self, GatewayError> {
        let Calling { peer, ae_title, tls, patience } = calling;
        let tls = tls.as_ref().map(ClientTls::connector).transpose()?;
        let connected = Connection::connect((&peer.host, peer.port), tls.as_ref(), *patience, is_stopped);
        let connection = connected.map_err(|error| match error {
            GatewayError::Io(source) => GatewayError::Connect { peer: peer.to_string(), source },
            other => other,
        })?;
        let mut association = Association::new(connection, *patience);
        match negotiate(&mut association, (&peer.ae_title, ae_title), pairs) {
            Ok(contexts) => Ok(Self { association, contexts, message_id: 0 }),
            Err(error) => {
                if !matches!(error, GatewayError::Rejected(_)) {
                    association.abort(&error);
                }
                Err(error)
            }
        }
    }

    /// Whether the peer takes such objects; none when it was not asked.
    pub(super) fn context(&self, pair: &Pair) -> Option<Option<u8>> {
        self.contexts.get(pair).copied()
    }

    fn next_id(&mut self) -> u16 {
        self.message_id = self.message_id.wrapping_add(1);
        self.message_id
    }

    fn echo(&mut self, context: u8) -> Result<u16, GatewayError> {
        let message_id = self.next_id();
        let sop_class = Some(VERIFICATION.to_owned());
        let command = Command { field: field::ECHO, message_id, sop_class, ..Command::default() };
        self.association.send_command(context, &command)?;
        self.response(context, &command)
    }

    fn response(&mut self, context: u8, to: &Command) -> Result<u16, GatewayError> {
        match self.association.message("an answer")? {
            Message::Command(of, answer)
                if of == context
                    && answer.field == to.field | field::RESPONSE
                    && answer.message_id == to.message_id
                    && !answer.has_data_set =>
            {
                answer.status.ok_or(GatewayError::Protocol { what: "an answer without a status" })
            }
            Message::Command(..) => Err(GatewayError::Protocol { what: "an answer to something else" }),
            Message::Release => Err(GatewayError::Protocol { what: "a release instead of an answer" }),
        }
    }

    /// Begins an object; the file's bytes are written to what is returned.
    pub(super) fn store(
        &mut self,
        context: u8,
        (sop_class, sop_instance): (&str, &str),
    ) -> Result<Storing<'_, 'a>, GatewayError> {
        let command = Command {
            field: field::STORE,
            message_id: self.next_id(),
            sop_class: Some(sop_class.to_owned()),
            sop_instance: Some(sop_instance.to_owned()),
            has_data_set: true,
            ..Command::default()
        };
        self.association.send_command(context, &command)?;
        Ok(Storing { client: self, context, command, held: Vec::new(), has_begun: false })
    }

    pub(super) fn release(self) {
        self.association.release();
    }

    pub(super) fn abort(self, error: &GatewayError) {
        self.association.abort(error);
    }
}

fn negotiate(
    association: &mut Association<'_>,
    (called, calling): (&str, &str),
    pairs: &[Pair],
) -> Result<HashMap<Pair, Option<u8>>, GatewayError> {
    let ids = (1_u8..=255).step_by(2);
    let proposed = |(id, (class, syntax)): (u8, &Pair)| {
        let transfer_syntaxes = vec![syntax.clone()];
        ProposedContext { id, abstract_syntax: class.clone(), transfer_syntaxes }
    };
    let request = Request {
        called: called.to_owned(),
        calling: calling.to_owned(),
        contexts: ids.clone().zip(pairs).map(proposed).collect(),
        max_data: MAX_DATA_BYTES,
    };
    association.write(&request.encode())?;
    let accept = match association.unit("the answer to an association request")? {
        Kind::Accept => Accept::decode(association.body())?,
        Kind::Reject => {
            let body = association.body().first_chunk::<4>().copied();
            return Err(body.map_or(PduError::Type(3).into(), |body| GatewayError::Rejected(Reject::decode(body))));
        }
        _ => return Err(GatewayError::Protocol { what: "another unit than an answer to the association request" }),
    };
    association.agree(accept.max_data)?;
    let is_taken = |id: u8, syntax: &str| {
        accept.contexts.iter().any(|answer| {
            answer.id == id && answer.result == ContextResult::Accepted && answer.transfer_syntax == syntax
        })
    };
    let answered = |(id, pair): (u8, &Pair)| (pair.clone(), is_taken(id, &pair.1).then_some(id));
    Ok(ids.zip(pairs).map(answered).collect())
}

/// An object that is being sent: takes the file, passes on its data set.
pub(super) struct Storing<'c, 'a> {
    client: &'c mut Client<'a>,
    context: u8,
    command: Command,
    /// Bytes of the data set that are not sent: the last fragment has to say that it is the last.
    held: Vec<u8>,
    has_begun: bool,
}

impl Storing<'_, '_> {
    fn pass(&mut self, bytes: &[u8]) -> Result<(), GatewayError> {
        let most = self.client.association.fragment_bytes();
        self.held.extend_from_slice(bytes);
        let mut sent = 0;
        while self.held.len() - sent > most {
            let fragment = &self.held[sent..sent + most];
            self.client.association.send_fragment(self.context, false, false, fragment)?;
            sent += most;
        }
        self.held.drain(..sent);
        Ok(())
    }

    /// All bytes were right: sends the last fragment and waits for the peer's word.
    pub(super) fn complete(self) -> Result<u16, GatewayError> {
        self.client.association.send_fragment(self.context, false, true, &self.held)?;
        self.client.response(self.context, &self.command)
    }
}

impl Write for Storing<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut data_set = bytes;
        if !self.has_begun {
            // The whole header of an object comes at once, and all of group 2 is in it.
            let meta = FileMeta::read(bytes).ok_or_else(|| io::Error::other("the file meta information has no end"))?;
            data_set = &bytes[meta.data_set..];
            self.has_begun = true;
        }
        // 899 KiB at most, and headers.
        self.pass(data_set).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Asks a peer whether it is there (C-ECHO); its status, 0 for success.
///
/// # Errors
/// Why there is no answer.
pub fn echo(calling: &Calling, is_stopped: &(dyn Fn() -> bool + Sync)) -> Result<u16, GatewayError> {
    let pair = (VERIFICATION.to_owned(), syntax::IMPLICIT_LITTLE.to_owned());
    let mut client = Client::open(calling, std::slice::from_ref(&pair), is_stopped)?;
    let Some(context) = client.context(&pair).flatten() else {
        client.release();
        return Err(GatewayError::Context { what: "verification (C-ECHO)".to_owned() });
    };
    match client.echo(context) {
        Ok(status) => {
            client.release();
            Ok(status)
        }
        Err(error) => {
            client.abort(&error);
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_read_as_they_are_written() {
        let check = |text: &str, expected: Option<(&str, &str, u16)>| {
            let peer = text.parse::<Peer>().ok();
            let read = peer.as_ref().map(|peer| (peer.ae_title.as_str(), peer.host.as_str(), peer.port));
            assert_eq!(read, expected, "{text}");
            if let Some(peer) = peer {
                assert_eq!(peer.to_string(), text);
            }
        };
        check("PACS@archive:104", Some(("PACS", "archive", 104)));
        check("A B@[::1]:11112", Some(("A B", "::1", 11112)));
        check("PACS@archive", None);
        check("PACS@archive:0", None);
        check("PACS@:104", None);
        check("archive:104", None);
        check("SEVENTEEN_LETTERS@a:1", None);
        check("A\\B@a:1", None);
    }
}
