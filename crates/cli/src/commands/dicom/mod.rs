//! `lumenbus dicom …`: objects through Kafka.
//!
//! Nothing here prints a value of an attribute; a path made of them only where `--show-paths` asks for it. The names of
//! files that are sent or compared are the caller's own, and are told.

mod deidentify;
mod echo;
mod gateway;
mod queue;
mod receive;
mod record;
mod send;
mod verify;

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use clap::{Args, Subcommand};

#[derive(Debug, Args)]
#[command(
    after_help = "Objects travel in dicom_metadata and dicom_pixels, byte for byte. Examples:\n  lumenbus dicom send study/\n  lumenbus dicom receive --out archive/ --until-end"
)]
pub(crate) struct DicomArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Send files, byte for byte
    Send(send::SendArguments),
    /// Write objects into a folder as the files that were sent
    Receive(receive::ReceiveArguments),
    /// Take out what identifies patients, by DICOM PS3.15, annex E
    Deidentify(Box<deidentify::DeidentifyArguments>),
    /// Take objects from DICOM peers into the topics, and pass them on to others
    Gateway(Box<gateway::GatewayArguments>),
    /// Ask a DICOM peer whether it is there (C-ECHO)
    Echo(echo::EchoArguments),
    /// Compare two folders, or a folder with the topics
    Verify(verify::VerifyArguments),
    /// What destinations wait for, and what nobody needs any more
    Queue(queue::QueueArguments),
}

impl DicomArguments {
    pub(crate) fn name(&self) -> &'static str {
        match &self.what {
            What::Send(_) => "dicom send",
            What::Receive(_) => "dicom receive",
            What::Deidentify(_) => "dicom deidentify",
            What::Gateway(_) => "dicom gateway",
            What::Echo(_) => "dicom echo",
            What::Verify(_) => "dicom verify",
            What::Queue(arguments) => arguments.name(),
        }
    }
}

pub(crate) fn run(arguments: &DicomArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    match &arguments.what {
        What::Send(arguments) => send::run(arguments, settings, output),
        What::Receive(arguments) => receive::run(arguments, settings, output),
        What::Deidentify(arguments) => deidentify::run(arguments, settings, output),
        What::Gateway(arguments) => gateway::run(arguments, settings, output),
        What::Echo(arguments) => echo::run(arguments, settings, output),
        What::Verify(arguments) => verify::run(arguments, settings, output),
        What::Queue(arguments) => queue::run(arguments, settings, output),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
