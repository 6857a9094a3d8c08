//! `lumenbus init [FILE]`.

use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::site;
use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;

#[derive(Debug, Args)]
#[command(
    after_help = "The file explains every setting with its default. With --brokers it is for a cluster, else for the embedded broker.\n\nExamples:\n  lumenbus init && lumenbus up\n  lumenbus init /etc/lumenbus/lumenbus.toml --brokers kafka-1:9092,kafka-2:9092"
)]
pub(crate) struct InitArguments {
    /// File to write
    #[arg(default_value = site::FILE_NAME, value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// Replace an existing file
    #[arg(long)]
    pub(crate) overwrite: bool,
}

pub(crate) fn run(arguments: &InitArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let path = &arguments.file;
    let text = site::template(settings.has_brokers.then_some(settings.bus.brokers.as_str()));
    if arguments.overwrite {
        site::write_file(path, &text)?;
    } else {
        let created = OpenOptions::new().write(true).create_new(true).open(path);
        let mut file = created.map_err(|error| match error.kind() {
            ErrorKind::AlreadyExists => {
                anyhow::anyhow!("{} exists; --overwrite replaces it, or name another file", path.display())
            }
            _ => anyhow::Error::from(error).context(format!("cannot write {}", path.display())),
        })?;
        file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let up = match path.to_str() {
        Some(site::FILE_NAME) => "lumenbus up".to_owned(),
        _ => format!("lumenbus up --config {}", path.display()),
    };
    output.result(&format!("wrote {}; `{up}` runs it", path.display()));
    output.summary("init", json!({ "file": path.display().to_string() }));
    Ok(Outcome::Done)
}
