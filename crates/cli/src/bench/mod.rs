//! `lumenbus bench`: ratios to a bare Kafka client, measured side by side in one run, the way of a picture from
//! capture to decoded, and the codecs.
//!
//! Machines are shared and noisy, so every figure is the median of interleaved runs (bare, ours, bare, ours, …) with
//! the same Kafka properties, partitions, sizes and schedule, in the same process.

mod bare;
mod broker;
pub(crate) mod codec;
pub(crate) mod compression;
mod decoded;
pub(crate) mod detect;
pub(crate) mod dicom;
mod environment;
pub(crate) mod fleet;
pub(crate) mod join;
mod latency;
pub(crate) mod live;
mod load;
mod memory;
mod ours;
mod overhead;
pub(crate) mod qos;
mod scaling;
pub(crate) mod seek;
mod throughput;
mod usage;

use crate::arguments::{BenchArguments, BenchWhat};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;

pub(crate) fn run(arguments: &BenchArguments, settings: &Settings) -> anyhow::Result<Outcome> {
    let mut output = Output::new(settings);
    match &arguments.what {
        BenchWhat::Latency(arguments) => latency::run(arguments, settings, &mut output),
        BenchWhat::Throughput(arguments) => throughput::run(arguments, settings, &mut output),
        BenchWhat::Scaling(arguments) => scaling::run(arguments, settings, &mut output),
        BenchWhat::Memory(arguments) => memory::run(arguments, settings, &mut output),
        BenchWhat::Overhead(arguments) => overhead::run(arguments, settings, &mut output),
        BenchWhat::Codec(arguments) => codec::run(arguments, settings),
        BenchWhat::Compression(arguments) => compression::run(arguments, settings),
        BenchWhat::Broker(arguments) => broker::run(arguments, settings, &mut output),
        BenchWhat::Decoded(arguments) => decoded::run(arguments, settings, &mut output),
        BenchWhat::Detect(arguments) => detect::run(arguments, settings, &mut output),
        BenchWhat::Dicom(arguments) => dicom::run(arguments, settings, &mut output),
        BenchWhat::Qos(arguments) => qos::run(arguments, settings, &mut output),
        BenchWhat::Join(arguments) => join::run(arguments, settings, &mut output),
        BenchWhat::Fleet(arguments) => fleet::run(arguments, settings, &mut output),
        BenchWhat::Seek(arguments) => seek::run(arguments, settings, &mut output),
    }
}

/// The middle value; 0 of nothing.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Median of the ratios of neighbouring runs: drift of the machine cancels out.
fn median_ratio(ours: &[f64], bare: &[f64]) -> f64 {
    let mut ratios: Vec<_> =
        ours.iter().zip(bare).filter(|(_, bare)| **bare > 0.0).map(|(ours, bare)| ours / bare).collect();
    median(&mut ratios)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert!((median(&mut [3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&mut [4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!((median_ratio(&[2.0, 6.0, 9.0], &[1.0, 2.0, 3.0]) - 3.0).abs() < 1e-9);
    }
}
