//! The `lumenbus` command: arguments, configuration, logging, exit codes. Everything else is in the library crates.

mod arguments;
mod bench;
mod commands;
mod exit;
mod output;
mod settings;
mod signals;
mod units;

use arguments::{Arguments, Command};
use clap::Parser as _;
use exit::Outcome;
use settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => return exit::usage(&error),
    };
    let outcome = Settings::resolve(&arguments.global).and_then(|settings| {
        output::start_logging(&arguments.global);
        run(arguments.command, &settings)
    });
    exit::finish(outcome)
}

fn run(command: Command, settings: &Settings) -> anyhow::Result<Outcome> {
    match command {
        Command::Publish(arguments) => commands::publish::run(&arguments, settings),
        Command::Subscribe(arguments) => commands::subscribe::run(&arguments, settings),
        Command::Broker(arguments) => commands::broker::run(&arguments, settings),
        Command::Topics(arguments) => commands::topics::run(&arguments, settings),
        Command::Bench(arguments) => bench::run(&arguments, settings),
    }
}
