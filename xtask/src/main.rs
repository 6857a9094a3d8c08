//! `cargo xtask`: the development tasks. See `cargo xtask help`.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool prints its results"
)]

mod kafka_command;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};
use xtask::tidy::{self, Severity};
use xtask::{proto, workspace};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Development tasks of the project")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run a real Apache Kafka cluster on loopback.
    #[command(subcommand)]
    Kafka(kafka_command::KafkaTask),
    /// Generate crates/wire/src/proto/generated.rs from the .proto files.
    Proto {
        /// Only compare; fail on a difference.
        #[arg(long)]
        check: bool,
    },
    /// Check the habits of the project that a compiler does not check.
    Tidy,
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Kafka(task) => kafka_command::run(task),
        Task::Proto { check } => {
            let mode = if check {
                proto::Mode::Check
            } else {
                proto::Mode::Write
            };
            println!("{}", proto::run(&workspace::root(), mode)?);
            Ok(())
        }
        Task::Tidy => tidy(),
    }
}

fn tidy() -> Result<()> {
    let problems = tidy::run(&workspace::root())?;
    for problem in &problems {
        println!("{problem}");
    }
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error)
        .count();
    ensure!(errors == 0, "tidy found {errors} error(s)");
    Ok(())
}
