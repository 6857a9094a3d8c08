//! `lumenbus bench compression`: what transport compression brings on each kind of record, and what it costs.

mod batch;
mod codecs;
mod records;

use super::median;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::units;
use anyhow::Context as _;
use clap::Args;
use codecs::Transport;
use records::{Kind, Records};
use serde_json::json;
use std::time::Instant;

#[derive(Debug, Clone, Args)]
pub(crate) struct CompressionArguments {
    /// Footage: a file that `publish` takes
    #[arg(value_name = "FILE")]
    pub(crate) source: String,
    /// Frames of it, from its beginning; a tenth of them as pixels
    #[arg(long, default_value = "300", value_parser = clap::value_parser!(u32).range(20..))]
    pub(crate) frames: u32,
    /// Records that a batch holds, one after another
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,30,300")]
    pub(crate) batches: Vec<usize>,
    /// How often each is measured; the middle one counts
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
}

/// One kind of records in batches of one size through one codec.
struct Measured {
    kind: Kind,
    per_batch: usize,
    transport: Transport,
    bytes: usize,
    compressed: usize,
    compress_millis: f64,
    decompress_millis: f64,
}

impl Measured {
    /// In percent of what there was.
    fn saved(&self) -> f64 {
        100.0 * (1.0 - float(self.compressed) / float(self.bytes.max(1)))
    }

    fn per_megabyte(&self, millis: f64) -> f64 {
        millis / (float(self.bytes.max(1)) / 1e6)
    }
}

#[expect(clippy::cast_precision_loss, reason = "sizes")]
fn float(number: usize) -> f64 {
    number as f64
}

pub(super) fn run(arguments: &CompressionArguments, settings: &Settings) -> anyhow::Result<Outcome> {
    let mut output = Output::new(settings);
    anyhow::ensure!(!arguments.batches.contains(&0), "--batches: a batch holds at least one record");
    let records = Records::of(&arguments.source, arguments.frames as usize)?;
    let mut rows = Vec::new();
    for kind in Kind::ALL {
        for &per_batch in &arguments.batches {
            let batches = records.batches(kind, per_batch);
            for transport in Transport::ALL {
                output.progress(|| format!("{} in batches of {per_batch} by {transport}", kind.name()));
                let measured = measure(kind, per_batch, transport, &batches, arguments.runs)?;
                output.object("compression", object(&measured));
                rows.push(row(&measured));
            }
        }
    }
    output.result(&format!("{}, {} frames", arguments.source, arguments.frames));
    output.columns(["records", "a batch", "bytes", "codec", "saved", "compress", "decompress"], &rows);
    output.result("Compressing and decompressing: milliseconds on one thread for a megabyte that goes in.");
    output.summary("bench compression", json!({ "file": arguments.source, "frames": arguments.frames }));
    Ok(Outcome::Done)
}

fn measure(
    kind: Kind,
    per_batch: usize,
    transport: Transport,
    batches: &[Vec<u8>],
    runs: u32,
) -> anyhow::Result<Measured> {
    let (mut compress, mut decompress, mut compressed) = (Vec::new(), Vec::new(), 0);
    for _ in 0..runs {
        let began = Instant::now();
        let made = batches.iter().map(|batch| transport.compress(batch)).collect::<Result<Vec<_>, _>>();
        let made = made.with_context(|| format!("compressing {} by {transport}", kind.name()))?;
        compress.push(began.elapsed().as_secs_f64() * 1e3);
        compressed = made.iter().map(Vec::len).sum();
        let began = Instant::now();
        for (made, batch) in made.iter().zip(batches) {
            let back = transport.decompress(made, batch.len())?;
            anyhow::ensure!(back.len() == batch.len(), "{transport} gave {} bytes of {}", back.len(), batch.len());
        }
        decompress.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Measured {
        kind,
        per_batch,
        transport,
        bytes: batches.iter().map(Vec::len).sum(),
        compressed,
        compress_millis: median(&mut compress),
        decompress_millis: median(&mut decompress),
    })
}

fn row(measured: &Measured) -> [String; 7] {
    [
        measured.kind.name().to_owned(),
        measured.per_batch.to_string(),
        units::show_bytes(measured.bytes as u64),
        measured.transport.to_string(),
        format!("{:.1} %", measured.saved()),
        format!("{:.2}", measured.per_megabyte(measured.compress_millis)),
        format!("{:.2}", measured.per_megabyte(measured.decompress_millis)),
    ]
}

fn object(measured: &Measured) -> serde_json::Value {
    json!({
        "records": measured.kind.name(),
        "records_per_batch": measured.per_batch,
        "codec": measured.transport.to_string(),
        "bytes": measured.bytes,
        "compressed_bytes": measured.compressed,
        "saved_percent": measured.saved(),
        "compress_ms_per_mb": measured.per_megabyte(measured.compress_millis),
        "decompress_ms_per_mb": measured.per_megabyte(measured.decompress_millis),
    })
}
