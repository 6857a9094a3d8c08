//! `lumenbus dicom gateway`.

use super::hex;
use super::record::{self, Moved};
use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::trail::{AuditOptions, Trail};
use crate::{signals, units};
use clap::Args;
use lumenbus_bus::BusError;
use lumenbus_dicom::gateway::{
    Calling, ClientTls, ForwardConfig, ForwardStats, Forwarded, Forwarder, Heard, Peer, Server, ServerConfig,
    ServerStats, ServerTls,
};
use lumenbus_dicom::transport::TransportError;
use lumenbus_ops::audit::{Action, Actor, AuditError, AuditEvent};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a peer may take for an answer; archives write an object to their disk before they give one.
const PEER_PATIENCE: Duration = Duration::from_secs(60);
/// News that wait for the output; who has more waits, too.
const NEWS: usize = 256;

#[derive(Debug, Args)]
#[command(
    after_help = "A peer gets success when Kafka has acknowledged its object, and A700 (out of resources) when it does not; data sets are\nkept as the bytes they are. Each --forward-to is a destination of the topics, as a group of `dicom receive` is: what it\ndoes not have stays there until it has it, or until it is dropped (`lumenbus dicom queue drop`). Objects travel in their\nown transfer syntax; one that a peer refuses for good is in dicom_failed.\n\nExamples:\n  lumenbus dicom gateway --listen 0.0.0.0:11112 --allow-caller CT1,CT2\n  lumenbus dicom gateway --forward-to PACS@archive.example:104 --forward-to research=AI@10.0.0.7:11112"
)]
pub(crate) struct GatewayArguments {
    /// Where to listen for associations
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:11112")]
    listen: String,
    /// Title of this side
    #[arg(long, value_name = "AE", default_value = "LUMENBUS", value_parser = ae_title)]
    ae_title: String,
    /// Answer to every called title, not only to one's own
    #[arg(long)]
    any_called: bool,
    /// Who may call [default: everybody]
    #[arg(long = "allow-caller", value_name = "AE,…", value_delimiter = ',', value_parser = ae_title)]
    callers: Vec<String>,
    /// Certificate of this side with its chain, as PEM: callers have to use TLS then
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Callers need a certificate of one of these authorities
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// Associations at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256), default_value = "32")]
    max_associations: u16,
    /// A peer that sends nothing for this long is aborted
    #[arg(long, value_parser = units::positive_duration, value_name = "TIME", default_value = "60s")]
    idle: Duration,
    /// Longest time of an association
    #[arg(long, value_parser = units::positive_duration, value_name = "TIME", default_value = "4h")]
    longest: Duration,
    /// Pass objects on to this peer; the destination's name is `forward-` and the title in small letters unless it is given
    #[arg(long, value_name = "[NAME=]AE@HOST:PORT", value_parser = destination)]
    forward_to: Vec<Destination>,
    #[command(flatten)]
    peer_tls: PeerTls,
    /// First try again what could not be forwarded
    #[arg(long, requires = "forward_to")]
    retry_failed: bool,
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    duration: Option<Duration>,
    #[command(flatten)]
    audit: AuditOptions,
}

/// How peers are called.
#[derive(Debug, Args)]
pub(super) struct PeerTls {
    /// Call peers with TLS
    #[arg(long)]
    peer_tls: bool,
    /// Authorities of peers' certificates, beside those of the system
    #[arg(long, value_name = "FILE", requires = "peer_tls")]
    peer_ca: Option<PathBuf>,
    /// Certificate that is shown to peers, with its chain
    #[arg(long, value_name = "FILE", requires = "peer_key")]
    peer_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE", requires_all = ["peer_cert", "peer_tls"])]
    peer_key: Option<PathBuf>,
}

impl PeerTls {
    pub(super) fn client(&self) -> Option<ClientTls> {
        let identity = self.peer_cert.clone().zip(self.peer_key.clone());
        self.peer_tls.then(|| ClientTls { authorities: self.peer_ca.clone(), identity })
    }
}

#[derive(Debug, Clone)]
struct Destination {
    name: String,
    peer: Peer,
}

/// `[NAME=]AE@host:port`; a title may have `=` in it, so a name ends before the title's `@`.
fn destination(text: &str) -> Result<Destination, String> {
    let (name, peer) = match text.split_once('=') {
        Some((name, peer)) => (Some(name), peer),
        None => (None, text),
    };
    let peer: Peer = peer.parse().map_err(|error| format!("{error}"))?;
    let from_title = || {
        let plain = |letter: char| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' };
        format!("forward-{}", peer.ae_title.chars().map(plain).collect::<String>())
    };
    let name = name.map_or_else(from_title, str::to_owned);
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if name.is_empty() || name.len() > 200 || !name.chars().all(is_plain) {
        return Err(format!("`{name}` cannot be a destination's name: letters, digits, - _ and ."));
    }
    Ok(Destination { name, peer })
}

/// An application entity's title.
pub(super) fn ae_title(text: &str) -> Result<String, String> {
    // What is a title in a peer is one here.
    let peer: Peer =
        format!("{text}@host:1").parse().map_err(|_| "a title has 1 to 16 printable characters".to_owned())?;
    Ok(peer.ae_title)
}

/// What a thread has to tell.
struct News {
    kind: &'static str,
    value: Value,
    /// For people.
    line: Option<String>,
}

pub(crate) fn run(arguments: &GatewayArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut names = BTreeSet::new();
    if let Some(double) = arguments.forward_to.iter().find(|destination| !names.insert(&destination.name)) {
        let name = &double.name;
        return Err(
            Usage(format!("--forward-to: two destinations are called {name}; name one as NAME=AE@HOST:PORT")).into()
        );
    }
    let config = arguments.server();
    let listening = Server::listen(&config)?;
    lumenbus_bus::probe(&settings.bus).map_err(BusError::from)?;
    let shutdown = signals::shutdown(settings.quiet)?;
    let server = Server::new(config, listening, &settings.bus)?;
    let forwarders = arguments.forwarders(settings)?;
    let trail = arguments.audit.open("dicom gateway", settings)?;
    trail.confirm(AuditEvent::new(Action::Start, Actor::process("dicom gateway")))?;
    let began = Instant::now();
    let end = arguments.duration.map(|duration| began + duration);
    let fatal: Mutex<Option<TransportError>> = Mutex::new(None);
    let has_failed = || fatal.lock().unwrap_or_else(PoisonError::into_inner).is_some();
    let is_stopped = || shutdown.is_requested() || end.is_some_and(|end| Instant::now() >= end) || has_failed();
    let address = server.address()?;
    let destinations: Vec<_> = names.iter().collect();
    let title = &arguments.ae_title;
    output.object("ready", json!({ "address": address.to_string(), "ae_title": title, "destinations": destinations }));
    output.note(&format!("{title} listens on {address}; {} destinations", destinations.len()));
    let forwarded = Mutex::new(ForwardStats::default());
    std::thread::scope(|scope| {
        let (tell, told) = sync_channel::<News>(NEWS);
        let (is_stopped, server) = (&is_stopped, &server);
        let heard = tell.clone();
        let (recorded, own) = (trail.share(), &arguments.ae_title);
        scope.spawn(move || {
            server.run(is_stopped, &|news| {
                on_record(&recorded, &news, own)?;
                drop(heard.send(of_server(&news)));
                Ok(())
            });
        });
        for (name, peer, mut forwarder) in forwarders {
            let trail = RefCell::new((trail.share(), None));
            let (tell, fatal, forwarded) = (tell.clone(), &fatal, &forwarded);
            scope.spawn(move || {
                let mut told = |news: Forwarded<'_>| {
                    let (trail, unrecorded) = &mut *trail.borrow_mut();
                    let result = event_of(&news, own, &peer, &name).map_or(Ok(()), |event| trail.record(event));
                    *unrecorded = unrecorded.take().or(result.err());
                    drop(tell.send(of_forwarder(&name, &news)));
                };
                // An offset is committed when its object is in the trail.
                let mut settle = || {
                    let (trail, unrecorded) = &mut *trail.borrow_mut();
                    unrecorded.take().map_or_else(|| trail.settle(), Err).map_err(|error: AuditError| error.to_string())
                };
                let result = forwarder.run(is_stopped, &mut told, &mut settle);
                let (stats, mut all) = (forwarder.stats(), forwarded.lock().unwrap_or_else(PoisonError::into_inner));
                all.delivered += stats.delivered;
                all.delivered_bytes += stats.delivered_bytes;
                all.failed += stats.failed;
                if let Err(error) = result {
                    fatal.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                }
            });
        }
        drop(tell);
        for news in told {
            if let Some(line) = &news.line {
                output.note(line);
            }
            output.object(news.kind, news.value);
            output.progress(|| line(server.stats()));
        }
    });
    let (stats, forwarded) = (server.stats(), forwarded.into_inner().unwrap_or_else(PoisonError::into_inner));
    output.note(&line(stats));
    trail.mention(AuditEvent::new(Action::Stop, Actor::process("dicom gateway")));
    if let Some(error) = fatal.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error.into());
    }
    output.summary("dicom gateway", summary(stats, forwarded, began.elapsed()));
    Ok(Outcome::Done)
}

impl GatewayArguments {
    fn server(&self) -> ServerConfig {
        let tls = self.tls_cert.clone().zip(self.tls_key.clone()).map(|(certificate, key)| ServerTls {
            certificate,
            key,
            client_authorities: self.tls_client_ca.clone(),
        });
        ServerConfig {
            listen: self.listen.clone(),
            ae_title: self.ae_title.clone(),
            takes_any_called: self.any_called,
            callers: self.callers.clone(),
            tls,
            max_associations: usize::from(self.max_associations),
            idle: self.idle,
            longest: self.longest,
        }
    }

    fn forwarders(&self, settings: &Settings) -> Result<Vec<(String, Peer, Forwarder)>, TransportError> {
        let open = |destination: &Destination| {
            let calling = Calling {
                peer: destination.peer.clone(),
                ae_title: self.ae_title.clone(),
                tls: self.peer_tls.client(),
                patience: PEER_PATIENCE,
            };
            let (bus, name, retry_failed) = (settings.bus.clone(), destination.name.clone(), self.retry_failed);
            let forwarder = Forwarder::open(ForwardConfig { bus, name: name.clone(), calling, retry_failed })?;
            Ok((name, destination.peer.clone(), forwarder))
        };
        self.forward_to.iter().map(open).collect()
    }
}

/// What a peer is told is in the trail first.
fn on_record(trail: &Trail, heard: &Heard<'_>, own: &str) -> Result<(), String> {
    match heard {
        Heard::Stored { calling, from, sent } => {
            let moved = Moved { identity: &sent.identity, sha256: &sent.sha256, bytes: sent.bytes };
            trail.confirm(record::arrived(&moved, calling, *from, own)).map_err(|error| error.to_string())?;
        }
        Heard::Refused { calling, from, status, why } => {
            let event = record::refused("unread", why).peer(from);
            trail.mention(event.detail("calling", calling).detail("status", format!("{status:04X}")));
        }
        Heard::Rejected { from, why } => trail.mention(record::turned_away(*from, why.words())),
        _ => {}
    }
    Ok(())
}

fn event_of(told: &Forwarded<'_>, own: &str, peer: &Peer, destination: &str) -> Option<AuditEvent> {
    match told {
        Forwarded::Delivered { identity, sha256, bytes, .. } => {
            let moved = Moved { identity, sha256, bytes: *bytes };
            Some(record::delivered(&moved, own, peer, destination))
        }
        Forwarded::Failed(record) => {
            let reference = record.object_id.as_deref().unwrap_or("unknown");
            Some(record::refused(reference, &record.reason).detail("destination", destination))
        }
        _ => None,
    }
}

fn of_server(heard: &Heard<'_>) -> News {
    match heard {
        Heard::Opened { calling, from } => {
            News { kind: "association", value: json!({ "calling": calling, "from": from.to_string() }), line: None }
        }
        Heard::Rejected { from, why } => News {
            kind: "rejected",
            value: json!({ "from": from.to_string(), "why": why.words() }),
            line: Some(format!("rejected an association from {from}: {}", why.words())),
        },
        Heard::Stored { calling, sent, .. } => News {
            kind: "stored",
            value: json!({
                "calling": calling, "object": sent.object_id.to_string(), "bytes": sent.bytes,
                "sha256": hex(&sent.sha256), "chunks": sent.chunks, "partition": sent.partition, "offset": sent.offset,
                "opaque": sent.opaque, "findings": sent.findings,
            }),
            line: None,
        },
        Heard::Refused { calling, status, why, .. } => News {
            kind: "refused",
            value: json!({ "calling": calling, "status": format!("{status:04X}"), "why": why }),
            line: Some(format!("refused an object of {calling} with status {status:04X}: {why}")),
        },
        Heard::Broken { from, why } => News {
            kind: "broken",
            value: json!({ "from": from.to_string(), "why": why.to_string() }),
            line: Some(format!("an association from {from} broke: {why}")),
        },
        _ => News { kind: "other", value: json!({}), line: None },
    }
}

fn of_forwarder(name: &str, told: &Forwarded<'_>) -> News {
    match told {
        Forwarded::Joined(partitions) => {
            News { kind: "joined", value: json!({ "destination": name, "partitions": partitions }), line: None }
        }
        Forwarded::Delivered { object_id, bytes, status, .. } => News {
            kind: "delivered",
            value: json!({
                "destination": name, "object": object_id.to_string(), "bytes": bytes, "status": format!("{status:04X}"),
            }),
            line: None,
        },
        Forwarded::Failed(record) => News {
            kind: "failed",
            value: serde_json::to_value(record).unwrap_or_default(),
            line: Some(format!(
                "{name}: not delivered [{}; metadata at partition {}, offset {}]",
                record.reason, record.partition, record.offset
            )),
        },
        Forwarded::PeerAway(why, rest) => News {
            kind: "waiting",
            value: json!({ "destination": name, "why": why, "seconds": rest.as_secs_f64() }),
            line: Some(format!("{name}: {why}; trying again in {:.1} s, nothing is lost", rest.as_secs_f64())),
        },
        Forwarded::BrokersAway(error) => News {
            kind: "waiting",
            value: json!({ "destination": name, "why": error.to_string() }),
            line: Some(format!("{name}: waiting for the brokers: {error}")),
        },
        _ => News { kind: "other", value: json!({}), line: None },
    }
}

fn line(stats: ServerStats) -> String {
    let more = |count: u64, what: &str| if count > 0 { format!(", {count} {what}") } else { String::new() };
    format!(
        "{} objects stored ({}{}{})",
        stats.stored,
        units::show_bytes(stats.stored_bytes),
        more(stats.refused, "refused"),
        more(stats.broken, "associations broke"),
    )
}

fn summary(stats: ServerStats, forwarded: ForwardStats, elapsed: Duration) -> Value {
    json!({
        "associations": stats.associations, "rejected": stats.rejected, "broken": stats.broken, "echoes": stats.echoes,
        "stored": stats.stored, "stored_bytes": stats.stored_bytes, "refused": stats.refused,
        "delivered": forwarded.delivered, "delivered_bytes": forwarded.delivered_bytes, "failed": forwarded.failed,
        "seconds": elapsed.as_secs_f64(),
    })
}
