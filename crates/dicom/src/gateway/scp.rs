//! The side that is called: C-ECHO and C-STORE into the topics.

use super::association::{Association, MAX_DATA_BYTES, Message};
use super::connection::Connection;
use super::dimse::{Command, field, status};
use super::file_meta::{Origin, preface};
use super::pdu::{Accept, ContextAnswer, ContextResult, Kind, PduError, ProposedContext, Reject, Request};
use super::{GatewayError, ServerTls, VERIFICATION, is_storage};
use crate::cut::Input;
use crate::transport::{Sender, Sent, TransportError};
use lumenbus_bus::BusConfig;
use openssl::ssl::SslAcceptor;
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often the listener looks whether it is to stop.
const ACCEPT_POLL: Duration = Duration::from_millis(50);
/// Connections beyond the bound that are told so; further ones are closed.
const MAX_REFUSING: usize = 16;
/// The time in which a peer that is to be refused has to say what it wants.
const REFUSING_TIME: Duration = Duration::from_secs(5);
/// A peer waits for its answer: Kafka's has to come sooner than in the ordinary case.
const DELIVERY_MILLIS: &str = "20000";

/// What a server is told.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// `host:port`
    pub listen: String,
    /// Its own title.
    pub ae_title: String,
    /// Whether it answers to every title.
    pub takes_any_called: bool,
    /// Who may call; nobody named is everybody.
    pub callers: Vec<String>,
    /// TLS, and only that.
    pub tls: Option<ServerTls>,
    /// Associations at a time.
    pub max_associations: usize,
    /// A unit has to be complete in this time.
    pub idle: Duration,
    /// An association ends after this time.
    pub longest: Duration,
}

/// What the caller hears, from any thread.
#[derive(Debug)]
#[non_exhaustive]
pub enum Heard<'a> {
    /// An association was accepted.
    Opened {
        /// Who calls.
        calling: &'a str,
        /// From where.
        from: SocketAddr,
    },
    /// An association was not accepted.
    Rejected {
        /// From where.
        from: SocketAddr,
        /// Why.
        why: Reject,
    },
    /// An object is acknowledged by Kafka, and the peer is told so when this returns without an error.
    Stored {
        /// Who sent it.
        calling: &'a str,
        /// From where.
        from: SocketAddr,
        /// What and where it is.
        sent: &'a Sent,
    },
    /// An object was refused.
    Refused {
        /// Who sent it.
        calling: &'a str,
        /// From where.
        from: SocketAddr,
        /// What the peer was told.
        status: u16,
        /// Why.
        why: &'a str,
    },
    /// An association ended otherwise than by a release.
    Broken {
        /// From where.
        from: SocketAddr,
        /// Why.
        why: &'a GatewayError,
    },
}

/// What was done so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServerStats {
    /// Associations that were accepted.
    pub associations: u64,
    /// Associations that were not.
    pub rejected: u64,
    /// Accepted associations that broke.
    pub broken: u64,
    /// C-ECHOs answered.
    pub echoes: u64,
    /// Objects that Kafka acknowledged.
    pub stored: u64,
    /// Their bytes, file meta information included.
    pub stored_bytes: u64,
    /// Objects that were refused.
    pub refused: u64,
}

#[derive(Debug, Default)]
struct Counts {
    associations: AtomicU64,
    rejected: AtomicU64,
    broken: AtomicU64,
    echoes: AtomicU64,
    stored: AtomicU64,
    stored_bytes: AtomicU64,
    refused: AtomicU64,
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// The way to Kafka, opened anew after it has failed.
#[derive(Debug)]
struct Store {
    bus: BusConfig,
    sender: Mutex<Arc<Sender>>,
    has_failed: AtomicBool,
}

impl Store {
    fn sender(&self) -> Result<Arc<Sender>, TransportError> {
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        if self.has_failed.load(Ordering::Relaxed) {
            *sender = Arc::new(Sender::open(&self.bus)?);
            self.has_failed.store(false, Ordering::Relaxed);
        }
        Ok(Arc::clone(&sender))
    }
}

/// Why an object is not stored.
struct Refusal {
    status: u16,
    /// For the peer: without anything of the object.
    comment: &'static str,
    why: String,
}

impl Refusal {
    fn of(error: &TransportError) -> Self {
        let (status, comment) = match error {
            TransportError::Bus(_) => (status::OUT_OF_RESOURCES, "the message bus did not acknowledge it"),
            _ => (status::CANNOT_UNDERSTAND, "the object cannot be recorded"),
        };
        Self { status, comment, why: error.to_string() }
    }

    fn new(status: u16, comment: &'static str) -> Self {
        Self { status, comment, why: comment.to_owned() }
    }
}

/// What an association has agreed on.
struct Agreed {
    calling: String,
    from: SocketAddr,
    /// SOP class and transfer syntax by context.
    contexts: HashMap<u8, (String, String)>,
}

/// Accepts associations.
pub struct Server {
    config: ServerConfig,
    listener: TcpListener,
    tls: Option<SslAcceptor>,
    store: Store,
    counts: Counts,
    open: AtomicUsize,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("config", &self.config).finish_non_exhaustive()
    }
}

/// What every association of a run is told.
#[derive(Clone, Copy)]
struct Run<'a> {
    is_stopped: &'a (dyn Fn() -> bool + Sync),
    heard: &'a (dyn Fn(Heard<'_>) -> Result<(), String> + Sync),
}

impl Run<'_> {
    /// What needs no answer.
    fn tell(&self, heard: Heard<'_>) {
        // Whoever cannot take it has said so where it matters.
        let _ = (self.heard)(heard);
    }
}

impl Server {
    /// Reads the TLS files and listens, so that a wrong address shows before Kafka is connected to.
    ///
    /// # Errors
    /// [`GatewayError::Listen`] and what is wrong with the TLS files.
    pub fn listen(config: &ServerConfig) -> Result<(TcpListener, Option<SslAcceptor>), GatewayError> {
        let tls = config.tls.as_ref().map(ServerTls::acceptor).transpose()?;
        let refused = |source| GatewayError::Listen { address: config.listen.clone(), source };
        let listener = TcpListener::bind(&config.listen).map_err(refused)?;
        listener.set_nonblocking(true).map_err(refused)?;
        Ok((listener, tls))
    }

    /// Connects to Kafka, and creates the topics that are missing.
    ///
    /// # Errors
    /// What is wrong with the brokers.
    pub fn new(
        config: ServerConfig,
        (listener, tls): (TcpListener, Option<SslAcceptor>),
        bus: &BusConfig,
    ) -> Result<Self, TransportError> {
        let mut bus = bus.clone();
        bus.properties.entry("message.timeout.ms".to_owned()).or_insert_with(|| DELIVERY_MILLIS.to_owned());
        let sender = Mutex::new(Arc::new(Sender::open(&bus)?));
        let store = Store { bus, sender, has_failed: AtomicBool::new(false) };
        Ok(Self { config, listener, tls, store, counts: Counts::default(), open: AtomicUsize::new(0) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// What was done so far.
    #[must_use]
    pub fn stats(&self) -> ServerStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &self.counts;
        ServerStats {
            associations: of(&counts.associations),
            rejected: of(&counts.rejected),
            broken: of(&counts.broken),
            echoes: of(&counts.echoes),
            stored: of(&counts.stored),
            stored_bytes: of(&counts.stored_bytes),
            refused: of(&counts.refused),
        }
    }

    /// Serves until it is stopped; associations are aborted then, but for an answer that is being waited for.
    pub fn run(
        &self,
        is_stopped: &(dyn Fn() -> bool + Sync),
        heard: &(dyn Fn(Heard<'_>) -> Result<(), String> + Sync),
    ) {
        let run = Run { is_stopped, heard };
        std::thread::scope(|scope| {
            while !is_stopped() {
                match self.listener.accept() {
                    Ok((socket, from)) => {
                        let open = self.open.fetch_add(1, Ordering::Relaxed);
                        if open >= self.config.max_associations + MAX_REFUSING {
                            self.open.fetch_sub(1, Ordering::Relaxed);
                            count(&self.counts.rejected);
                            continue;
                        }
                        let is_full = open >= self.config.max_associations;
                        let serve = move || {
                            let _open = Open(&self.open);
                            self.serve(socket, from, is_full, run);
                        };
                        // No thread is no association: the peer sees its connection closed.
                        if std::thread::Builder::new().spawn_scoped(scope, serve).is_err() {
                            self.open.fetch_sub(1, Ordering::Relaxed);
                        }
                    }
                    // Also what only this connection had, or too many open files: others may still come.
                    Err(_) => std::thread::sleep(ACCEPT_POLL),
                }
            }
        });
    }

    fn serve(&self, socket: TcpStream, from: SocketAddr, is_full: bool, run: Run<'_>) {
        let idle = if is_full { REFUSING_TIME } else { self.config.idle };
        let result = Connection::accept(socket, self.tls.as_ref(), idle, run.is_stopped).and_then(|connection| {
            let mut association = Association::new(connection, idle);
            association.end_at(Instant::now() + self.config.longest);
            let result = self.negotiate(&mut association, from, is_full, run).and_then(|agreed| match agreed {
                Some(agreed) => self.messages(&mut association, &agreed, run),
                None => Ok(()),
            });
            match &result {
                Ok(()) => association.released(),
                Err(error) => association.abort(error),
            }
            result
        });
        if let Err(why) = result {
            count(&self.counts.broken);
            run.tell(Heard::Broken { from, why: &why });
        }
    }

    /// Accepts the association; none when it was rejected.
    fn negotiate(
        &self,
        association: &mut Association<'_>,
        from: SocketAddr,
        is_full: bool,
        run: Run<'_>,
    ) -> Result<Option<Agreed>, GatewayError> {
        if association.unit("an association request")? != Kind::Request {
            return Err(GatewayError::Protocol { what: "no association was asked for" });
        }
        let rejected = |association: &mut Association<'_>, why: Reject| {
            count(&self.counts.rejected);
            run.tell(Heard::Rejected { from, why });
            association.write(&why.encode())?;
            Ok(None)
        };
        let request = match Request::decode(association.body()) {
            Ok(request) => request,
            Err(PduError::Form { part: "the application context", .. }) => {
                return rejected(association, Reject::CONTEXT);
            }
            Err(error) => return Err(error.into()),
        };
        let config = &self.config;
        if is_full {
            return rejected(association, Reject::LIMIT);
        }
        if !config.takes_any_called && request.called != config.ae_title {
            return rejected(association, Reject::CALLED);
        }
        if !config.callers.is_empty() && !config.callers.contains(&request.calling) {
            return rejected(association, Reject::CALLING);
        }
        association.agree(request.max_data)?;
        let Request { called, calling, contexts, .. } = request;
        let answers: Vec<_> = contexts.iter().map(answer).collect();
        let taken = contexts.into_iter().zip(&answers).filter(|(_, answer)| answer.result == ContextResult::Accepted);
        let taken =
            taken.map(|(context, answer)| (context.id, (context.abstract_syntax, answer.transfer_syntax.clone())));
        let agreed = Agreed { calling: calling.clone(), from, contexts: taken.collect() };
        association.write(&Accept { called, calling, contexts: answers, max_data: MAX_DATA_BYTES }.encode())?;
        count(&self.counts.associations);
        run.tell(Heard::Opened { calling: &agreed.calling, from });
        Ok(Some(agreed))
    }

    fn messages(&self, association: &mut Association<'_>, agreed: &Agreed, run: Run<'_>) -> Result<(), GatewayError> {
        loop {
            let (context, command) = match association.message("a message")? {
                Message::Command(context, command) => (context, command),
                Message::Release => return Ok(()),
            };
            let Some((class, syntax)) = agreed.contexts.get(&context) else {
                return Err(GatewayError::Protocol { what: "a message in a context that was not accepted" });
            };
            match command.field {
                field::ECHO if !command.has_data_set => {
                    count(&self.counts.echoes);
                    association.send_command(context, &command.response(status::SUCCESS, None))?;
                }
                field::STORE if command.has_data_set => {
                    let result = self.store(association, (context, class, syntax), &command, agreed)?;
                    self.answer(association, context, &command, result, agreed, run)?;
                }
                field::CANCEL => {}
                response if response & field::RESPONSE != 0 => {
                    return Err(GatewayError::Protocol { what: "a response to nothing" });
                }
                _ => {
                    if command.has_data_set {
                        association.data_set(context, |_| ())?;
                    }
                    let response = command.response(status::UNRECOGNIZED_OPERATION, None);
                    association.send_command(context, &response)?;
                }
            }
        }
    }

    /// Takes a data set to its end, whatever becomes of it; an error here is one of the association.
    fn store(
        &self,
        association: &mut Association<'_>,
        (context, class, syntax): (u8, &str, &str),
        command: &Command,
        agreed: &Agreed,
    ) -> Result<Result<Sent, Refusal>, GatewayError> {
        let (origin, sender) = match self.begin((class, syntax), command, agreed) {
            Ok(begun) => begun,
            Err(refusal) => {
                association.data_set(context, |_| ())?;
                return Ok(Err(refusal));
            }
        };
        let mut sending = sender.begin(Input::File);
        let mut pushed = sending.push(&preface(&origin));
        let mut has_bytes = false;
        association.data_set(context, |fragment| {
            has_bytes |= !fragment.is_empty();
            if pushed.is_ok() {
                pushed = sending.push(fragment);
            }
        })?;
        let refused = |error: TransportError| {
            self.store.has_failed.fetch_or(matches!(error, TransportError::Bus(_)), Ordering::Relaxed);
            Err(Refusal::of(&error))
        };
        let finished = match pushed.and_then(|()| sending.finish()) {
            Ok(finished) => finished,
            Err(error) => return Ok(refused(error)),
        };
        let identity = finished.identity();
        // Every composite object says its class; one that was not cut may do so further behind.
        let is_readable = has_bytes && (finished.opaque().is_some() || identity.sop_class.is_some());
        let is_broken = matches!(finished.opaque(), Some("empty" | "not-dicom" | "unparseable"));
        if !is_readable || is_broken {
            return Ok(Err(Refusal::new(status::CANNOT_UNDERSTAND, "the data set cannot be read")));
        }
        let differs = |found: &Option<String>, said: &str| found.as_deref().is_some_and(|found| found != said);
        if differs(&identity.sop_class, origin.sop_class) || differs(&identity.sop_instance, origin.sop_instance) {
            let comment = "SOP class or instance of command and data set differ";
            return Ok(Err(Refusal::new(status::DOES_NOT_MATCH, comment)));
        }
        Ok(finished.commit().or_else(refused))
    }

    fn begin<'c>(
        &self,
        (class, syntax): (&'c str, &'c str),
        command: &'c Command,
        agreed: &'c Agreed,
    ) -> Result<(Origin<'c>, Arc<Sender>), Refusal> {
        let Some((sop_class, sop_instance)) = command.sop_class.as_deref().zip(command.sop_instance.as_deref()) else {
            return Err(Refusal::new(status::INVALID_ARGUMENT, "the command names no SOP class or instance"));
        };
        if !is_storage(class) || sop_class != class {
            return Err(Refusal::new(status::CLASS_NOT_SUPPORTED, "the SOP class is not the context's"));
        }
        let sender = self.store.sender().map_err(|error| Refusal::of(&error))?;
        Ok((Origin { sop_class, sop_instance, transfer_syntax: syntax, calling: &agreed.calling }, sender))
    }

    fn answer(
        &self,
        association: &mut Association<'_>,
        context: u8,
        command: &Command,
        result: Result<Sent, Refusal>,
        agreed: &Agreed,
        run: Run<'_>,
    ) -> Result<(), GatewayError> {
        let (calling, from) = (&agreed.calling, agreed.from);
        let result = match result {
            Ok(sent) => match (run.heard)(Heard::Stored { calling, from, sent: &sent }) {
                Ok(()) => Ok(sent),
                // It is in the topics and comes again, which costs nobody anything.
                Err(why) => {
                    Err(Refusal { why, ..Refusal::new(status::OUT_OF_RESOURCES, "it cannot be put on record") })
                }
            },
            Err(refusal) => Err(refusal),
        };
        let response = match &result {
            Ok(sent) => {
                count(&self.counts.stored);
                self.counts.stored_bytes.fetch_add(sent.bytes, Ordering::Relaxed);
                command.response(status::SUCCESS, None)
            }
            Err(Refusal { status, comment, why }) => {
                count(&self.counts.refused);
                run.tell(Heard::Refused { calling, from, status: *status, why });
                command.response(*status, Some(comment))
            }
        };
        association.send_command(context, &response)
    }
}

/// Counts an association as long as its thread runs.
struct Open<'a>(&'a AtomicUsize);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Storage in the encoding that the peer likes best: nothing is decoded here, so all are as good.
fn answer(context: &ProposedContext) -> ContextAnswer {
    let is_taken = context.abstract_syntax == VERIFICATION || is_storage(&context.abstract_syntax);
    let result = if is_taken { ContextResult::Accepted } else { ContextResult::AbstractSyntaxNotSupported };
    let transfer_syntax = context.transfer_syntaxes.first().cloned().unwrap_or_default();
    ContextAnswer { id: context.id, result, transfer_syntax }
}
