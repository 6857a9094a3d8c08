//! The `lumenbus` command: arguments, configuration, logging, exit codes. Everything else is in the library crates.

mod arguments;
mod bench;
mod commands;
mod credentials;
mod demo;
mod detection;
mod exit;
mod observe;
mod output;
mod settings;
mod signals;
mod site;
mod studies;
mod terminal;
mod trail;
mod units;
mod video;
mod viewer;
mod webhook;

use arguments::{Arguments, Command};
use clap::Parser as _;
use exit::Outcome;
use output::Output;
use settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    let site = settings::site(&arguments);
    let log = site.as_ref().ok().and_then(Option::as_ref).map(|site| site.log.clone());
    output::start_logging(&arguments.global, &log.unwrap_or_default());
    let mut output = Output::of_arguments(&arguments.global);
    let command = arguments.command.name();
    let settings = site.and_then(|site| Settings::resolve(&arguments.global, site));
    let outcome = settings.and_then(|settings| {
        settings.tell(command);
        run(arguments.command, &settings, &mut output)
    });
    exit::finish(outcome, &mut output, command)
}

fn run(command: Command, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    match command {
        Command::Demo(arguments) => commands::demo::run(&arguments, settings, output),
        Command::Up(arguments) => commands::up::run(&arguments, settings, output),
        Command::Init(arguments) => commands::init::run(&arguments, settings, output),
        Command::Cameras(arguments) => commands::cameras::run(&arguments, settings, output),
        Command::View(arguments) => commands::view::run(&arguments, settings, output),
        Command::Doctor(arguments) => commands::doctor::run(&arguments, settings, output),
        Command::Size(arguments) => commands::size::run(&arguments, settings, output),
        Command::Publish(arguments) => commands::publish::run(&arguments, settings, output),
        Command::Subscribe(arguments) => commands::subscribe::run(&arguments, settings, output),
        Command::Detect(arguments) => commands::detect::run(&arguments, settings, output),
        Command::Events(arguments) => commands::events::run(&arguments, settings, output),
        Command::Dicom(arguments) => commands::dicom::run(&arguments, settings, output),
        Command::Broker(arguments) => commands::broker::run(&arguments, settings, output),
        Command::Topics(arguments) => commands::topics::run(&arguments, settings, output),
        Command::Audit(arguments) => commands::audit::run(&arguments, settings, output),
        Command::Bench(arguments) => bench::run(&arguments, settings),
        Command::Completions(arguments) => commands::completions::run(&arguments),
        Command::Manual(arguments) => commands::completions::manual(&arguments),
    }
}
