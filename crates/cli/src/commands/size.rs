//! `lumenbus size`: the arithmetic of a fleet, shown.

use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::units;
use clap::Args;
use lumenbus_ops::size::{Load, Size, bits, bytes, size};
use serde_json::{Value, json};
use std::time::Duration;

#[derive(Debug, Args)]
#[command(
    after_help = "Units are decimal: 1 GB = 1,000,000,000 bytes. Exit code 3 when --disk or --broker-count do not suffice.\n\nExamples:\n  lumenbus size --cameras 40 --mbit 4 --keep 24h\n  lumenbus size --cameras 8 --mbit 2.3 --keep 7d --replication 1 --disk 2TB\n  lumenbus size --cameras 500 --mbit 4 --keep 24h --readers 3 --link-mbit 10000"
)]
pub(crate) struct SizeArguments {
    /// Cameras
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    cameras: u32,
    /// Megabits per second of one camera
    #[arg(long, value_name = "MBIT", default_value = "4")]
    mbit: f64,
    /// How long everything is kept
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "24h")]
    keep: Duration,
    /// Frames per second of one camera
    #[arg(long, value_name = "N", default_value = "25")]
    fps: f64,
    /// Copies of each partition; 1 is the embedded broker
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u16).range(1..=10))]
    replication: u16,
    /// Readers that each get everything: groups, viewers, archives
    #[arg(long, value_name = "N", default_value = "2", value_parser = clap::value_parser!(u32).range(0..=10_000))]
    readers: u32,
    /// Workers of the largest consumer group
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    workers: u32,
    /// Brokers there are [default: as many as are needed]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    broker_count: Option<u32>,
    /// Disk of each broker, such as 4TB [default: as much as is needed]
    #[arg(long, value_name = "SIZE", value_parser = disk)]
    disk: Option<u64>,
    /// Share of each disk that stays free, in percent
    #[arg(long, value_name = "PERCENT", default_value = "20", value_parser = clap::value_parser!(u8).range(0..=90))]
    keep_free: u8,
    /// Megabits per second of a broker's network link
    #[arg(long, value_name = "MBIT", default_value = "1000")]
    link_mbit: f64,
}

/// As [`units::bytes`], and terabytes.
pub(crate) fn disk(text: &str) -> Result<u64, String> {
    let (text, factor) = match (text.strip_suffix("TB"), text.strip_suffix("TiB")) {
        (Some(number), _) => (number, 1_000_000_000_000),
        (_, Some(number)) => (number, 1 << 40),
        _ => (text, 1),
    };
    let number = units::bytes(text)? as u64;
    number.checked_mul(factor).ok_or_else(|| format!("{text:?} is too large"))
}

fn load(arguments: &SizeArguments) -> Result<Load, Usage> {
    let positive = |name: &str, value: f64, most: f64| {
        let is_fine = value > 0.0 && value <= most;
        if is_fine {
            Ok(value)
        } else {
            Err(Usage(format!("--{name} {value}: write a number above 0, at most {most}")))
        }
    };
    if arguments.keep.is_zero() {
        return Err(Usage("--keep 0: write a time, for example 24h".to_owned()));
    }
    Ok(Load {
        cameras: arguments.cameras,
        mbit: positive("mbit", arguments.mbit, 1e6)?,
        fps: positive("fps", arguments.fps, 1e4)?,
        keep: arguments.keep,
        replication: arguments.replication,
        readers: arguments.readers,
        workers: arguments.workers,
        link_mbit: positive("link-mbit", arguments.link_mbit, 1e7)?,
        disk_bytes: arguments.disk,
        keep_free: f64::from(arguments.keep_free) / 100.0,
        brokers: arguments.broker_count,
    })
}

pub(crate) fn run(arguments: &SizeArguments, _settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let load = load(arguments)?;
    let size = size(&load);
    let widest = size.steps.iter().map(|step| step.what.len()).max().unwrap_or(0);
    for step in &size.steps {
        output.result(&format!("{:<widest$}  {} = {}", step.what, step.how, step.result));
        output.object("step", json!(step));
    }
    output.result("");
    output.result(&in_short(&load, &size));
    for problem in &size.problems {
        output.result(&format!("problem: {problem}"));
        output.object("problem", json!({ "what": problem }));
    }
    output.summary("size", summary(&size));
    Ok(if size.problems.is_empty() { Outcome::Done } else { Outcome::ProblemsFound })
}

fn in_short(load: &Load, size: &Size) -> String {
    let brokers = if size.brokers == 1 { "1 broker".to_owned() } else { format!("{} brokers", size.brokers) };
    format!(
        "{} cameras: {brokers} with {} disk, {} in, {} out and {} cores each; {} partitions; {} a camera",
        load.cameras,
        bytes(size.disk_bytes_per_broker),
        bits(size.in_bits_per_second_per_broker),
        bits(size.out_bits_per_second_per_broker),
        size.cores_per_broker,
        size.partitions,
        bytes(size.camera_bytes)
    )
}

fn summary(size: &Size) -> Value {
    json!({
        "camera_bytes": size.camera_bytes, "stored_bytes": size.stored_bytes, "disk_bytes": size.disk_bytes,
        "disk_bytes_per_broker": size.disk_bytes_per_broker,
        "in_bits_per_second_per_broker": size.in_bits_per_second_per_broker,
        "out_bits_per_second_per_broker": size.out_bits_per_second_per_broker,
        "partitions": size.partitions, "brokers": size.brokers, "cores_per_broker": size.cores_per_broker,
        "client_cores": size.client_cores, "problems": size.problems,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_are_sold_in_terabytes() {
        assert_eq!(disk("4TB"), Ok(4_000_000_000_000));
        assert_eq!(disk("1TiB"), Ok(1 << 40));
        assert_eq!(disk("500GB"), Ok(500_000_000_000));
        assert!(disk("99999999999TB").is_err());
        assert!(disk("much").is_err());
    }
}
