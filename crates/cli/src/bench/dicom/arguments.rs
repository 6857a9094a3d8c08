//! What `lumenbus bench dicom` takes.

use crate::units;
use clap::Args;

#[derive(Debug, Clone, Args)]
pub(crate) struct DicomBenchArguments {
    /// Runs of each side, interleaved
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(crate) runs: u32,
    /// Objects of native pixels that a run sends
    #[arg(long, default_value = "16", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) objects: u32,
    /// Bytes of each of them
    #[arg(long, value_parser = units::bytes, default_value = "8MB", value_name = "SIZE")]
    pub(crate) bytes: usize,
    /// Bytes of the multi-frame object with which memory is measured, such as 4GiB; that much is written twice where temporary files go
    #[arg(long, value_parser = units::bytes, default_value = "256MiB", value_name = "SIZE")]
    pub(crate) large: usize,
}
