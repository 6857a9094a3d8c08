//! `cargo xtask`: the development tasks. See `cargo xtask help`.
#![expect(clippy::print_stdout, reason = "a command line tool prints its results")]

mod dist_command;
mod kafka_command;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand, ValueEnum};
use xtask::fuzz::{self, FuzzPlan};
use xtask::tidy::{self, Severity};
use xtask::{licenses, proto, soak, workspace};

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
    /// Check the licences of all dependencies against deny.toml.
    Licenses,
    /// Build the fuzz targets with coverage and the address sanitizer, and run them.
    Fuzz {
        /// How long each target runs.
        #[arg(long, default_value_t = 60)]
        seconds: u64,
        /// How many run at the same time.
        #[arg(long, default_value_t = 2)]
        jobs: usize,
        /// Run nothing.
        #[arg(long, conflicts_with = "targets")]
        build_only: bool,
        /// The targets; all of them otherwise.
        targets: Vec<String>,
    },
    /// Pack the release build: tarball, Debian package, checksums.
    Dist(dist_command::DistArguments),
    /// Long runs: fuzzing, killing processes under load, random histories of the broker's log.
    Soak {
        /// For how long each fuzz target runs and each loop keeps the load up.
        #[arg(long, default_value_t = 10)]
        minutes: u32,
        /// How often the loops kill something.
        #[arg(long, default_value_t = 200)]
        kills: u32,
        /// How many histories of the broker's log are compared with its model.
        #[arg(long, default_value_t = 5000)]
        histories: u32,
        /// Only this one.
        kind: Option<SoakKind>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SoakKind {
    /// Only those kill loops of `kill` that are about analysis workers.
    Detect,
    /// Only those kill loops of `kill` that are about DICOM objects.
    Dicom,
    Fuzz,
    Kill,
    Model,
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
            let mode = if check { proto::Mode::Check } else { proto::Mode::Write };
            println!("{}", proto::run(&workspace::root(), mode)?);
            Ok(())
        }
        Task::Tidy => tidy(),
        Task::Licenses => {
            println!("{}", licenses::run(&workspace::root())?);
            Ok(())
        }
        Task::Fuzz { build_only: true, .. } => fuzz::build(&workspace::root()).map(drop),
        Task::Fuzz { seconds, jobs, targets, .. } => {
            let each = Duration::from_secs(seconds);
            print_lines(&fuzz::run(&workspace::root(), &FuzzPlan { targets, each, jobs })?);
            Ok(())
        }
        Task::Dist(arguments) => dist_command::run(&arguments),
        Task::Soak { minutes, kills, histories, kind } => run_soak(minutes, kills, histories, kind),
    }
}

fn run_soak(minutes: u32, kills: u32, histories: u32, kind: Option<SoakKind>) -> Result<()> {
    let root = workspace::root();
    let is_wanted = |one| kind.is_none_or(|kind| kind == one);
    if is_wanted(SoakKind::Model) {
        println!("{}", soak::model(&root, histories)?);
    }
    if is_wanted(SoakKind::Kill) {
        println!("{}", soak::kill(&root, minutes, kills)?);
    }
    if kind == Some(SoakKind::Detect) {
        println!("{}", soak::detect(&root, kills)?);
    }
    if kind == Some(SoakKind::Dicom) {
        println!("{}", soak::dicom(&root, kills)?);
    }
    if is_wanted(SoakKind::Fuzz) {
        print_lines(&soak::fuzz(&root, minutes)?);
    }
    Ok(())
}

fn print_lines(lines: &[String]) {
    for line in lines {
        println!("{line}");
    }
}

fn tidy() -> Result<()> {
    let problems = tidy::run(&workspace::root())?;
    for problem in &problems {
        println!("{problem}");
    }
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    ensure!(errors == 0, "tidy found {errors} error(s)");
    Ok(())
}
