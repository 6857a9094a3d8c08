//! `lumenbus dicom echo AE@host:port`.

use super::gateway::{PeerTls, ae_title};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::{signals, units};
use clap::Args;
use lumenbus_dicom::gateway::{Calling, Peer, echo};
use serde_json::json;
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
#[command(
    after_help = "Needs no broker. Exit code 3 when the peer answers with another status than success, 1 when it does not answer.\n\nExamples:\n  lumenbus dicom echo PACS@archive.example:104\n  lumenbus dicom echo PACS@archive.example:2762 --peer-tls --peer-ca hospital-ca.pem"
)]
pub(crate) struct EchoArguments {
    /// Whom to ask: title, name or address, port
    #[arg(value_name = "AE@HOST:PORT")]
    peer: Peer,
    /// Title of this side
    #[arg(long, value_name = "AE", default_value = "LUMENBUS", value_parser = ae_title)]
    ae_title: String,
    /// How long to wait for an answer
    #[arg(long, value_parser = units::positive_duration, default_value = "10s", value_name = "TIME")]
    timeout: Duration,
    #[command(flatten)]
    tls: PeerTls,
}

pub(crate) fn run(arguments: &EchoArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let shutdown = signals::shutdown(settings.quiet)?;
    let calling = Calling {
        peer: arguments.peer.clone(),
        ae_title: arguments.ae_title.clone(),
        tls: arguments.tls.client(),
        patience: arguments.timeout,
    };
    let began = Instant::now();
    let status = echo(&calling, &|| shutdown.is_requested())?;
    let millis = began.elapsed().as_millis();
    let peer = &arguments.peer;
    match status {
        0 => output.result(&format!("{peer} answers after {millis} ms")),
        other => output.result(&format!("{peer} answers with status {other:04X} after {millis} ms")),
    }
    let summary = json!({ "peer": peer.to_string(), "status": status, "seconds": began.elapsed().as_secs_f64() });
    output.summary("dicom echo", summary);
    Ok(if status == 0 { Outcome::Done } else { Outcome::ProblemsFound })
}
