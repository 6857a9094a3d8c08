//! `cargo xtask`: the development tasks. See `cargo xtask help`.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool prints its results"
)]

mod kafka_command;

use anyhow::Result;
use clap::{Parser, Subcommand};
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
}

fn main() -> Result<()> {
    match Arguments::parse().task {
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
    }
}
