//! `lumenbus bench dicom`: files → Kafka → files, against the same bytes through a bare producer and consumer; and the
//! memory that a large object takes.

mod arguments;
mod bare;
mod objects;

pub(crate) use arguments::DicomBenchArguments;

use super::environment::Environment;
use super::{median, median_ratio, usage};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::units::show_bytes;
use anyhow::{Context as _, ensure};
use lumenbus_bus::{BusConfig, TopicPrefix};
use lumenbus_dicom::layout::{DEFAULT_LAYOUT, Layout};
use lumenbus_dicom::transport::{Family, Receiver, ReceiverConfig, Sender, TOPICS, Told};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// Objects that are sent at a time, as `dicom send` does.
const JOBS: usize = 2;
/// Targets: of the bare side's throughput, and of memory.
const WANTED_RATIO: f64 = 0.6;
const WANTED_PEAK_BYTES: u64 = 64 << 20;
const LOOK: Duration = Duration::from_millis(2);

pub(super) fn run(
    arguments: &DicomBenchArguments,
    settings: &Settings,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    let folder = tempfile::Builder::new().prefix("lumenbus-bench-").tempdir()?;
    let ratio = throughput(arguments, settings, folder.path(), output)?;
    let peaks = memory(arguments, settings, folder.path(), output)?;
    output.summary(
        "bench dicom",
        json!({
            "objects": arguments.objects, "object_bytes": arguments.bytes, "runs": arguments.runs, "ratio": ratio,
            "large_bytes": arguments.large, "sender_peak_bytes": peaks.sender, "receiver_peak_bytes": peaks.receiver,
            "wanted_ratio": WANTED_RATIO, "wanted_peak_bytes": WANTED_PEAK_BYTES,
        }),
    );
    Ok(Outcome::Done)
}

fn throughput(
    arguments: &DicomBenchArguments,
    settings: &Settings,
    folder: &Path,
    output: &mut Output,
) -> anyhow::Result<f64> {
    let mut files = Vec::new();
    for object in 0..arguments.objects {
        let path = folder.join(format!("{object}.dcm"));
        objects::native(&path, u64::from(object) + 1, arguments.bytes)?;
        files.push(path);
    }
    let bytes: u64 = files.iter().map(|path| path.metadata().map_or(0, |metadata| metadata.len())).sum();
    let mut environment = Environment::open(settings)?;
    output.result(&format!("{}, {} objects, {}", environment.what(), files.len(), show_bytes(bytes)));
    let (mut ours_rates, mut bare_rates) = (Vec::new(), Vec::new());
    for run in 0..arguments.runs {
        output.progress(|| format!("run {} of {}", run + 1, arguments.runs));
        let bare = bare::run(&mut environment, &files, bytes, folder)?;
        let ours = ours(&mut environment, &files, run, folder)?;
        bare_rates.push(rate(bytes, bare));
        ours_rates.push(rate(bytes, ours));
        let (bare, ours) = (bare.as_secs_f64(), ours.as_secs_f64());
        output.object("run", json!({ "bytes": bytes, "bare_seconds": bare, "ours_seconds": ours }));
    }
    let ratio = median_ratio(&ours_rates, &bare_rates);
    let (ours, bare) = (median(&mut ours_rates), median(&mut bare_rates));
    output.result(&format!(
        "files to files: {ours:.0} MB/s, bare producer and consumer {bare:.0} MB/s, ratio {ratio:.2} (wanted {WANTED_RATIO})"
    ));
    Ok(ratio)
}

#[expect(clippy::cast_precision_loss, reason = "megabytes per second")]
fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64().max(1e-6)
}

/// From the first byte that is read to the last file that has its name; the receiver has joined before.
fn ours(environment: &mut Environment, files: &[PathBuf], run: u32, folder: &Path) -> anyhow::Result<Duration> {
    let prefix = TopicPrefix::new(&format!("{}{run}.", environment.bus.topic_prefix.as_str()))?;
    let bus = BusConfig { topic_prefix: prefix, ..environment.bus.clone() };
    environment.adopt(TOPICS.map(|base| bus.topic_prefix.topic(base).as_str().to_owned()));
    let out = folder.join("out");
    let config = ReceiverConfig {
        bus: bus.clone(),
        group: format!("bench-{run}"),
        family: Family::Original,
        out: out.clone(),
        layout: Layout::parse(DEFAULT_LAYOUT)?,
        from_start: false,
        until_end: false,
        retry_failed: false,
    };
    let warm_up = folder.join("warm-up.dcm");
    objects::native(&warm_up, 0, 2 << 20)?;
    let mut receiver = Receiver::open(config)?;
    let sender = Sender::open(&bus)?;
    let (stored, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let time = std::thread::scope(|scope| {
        let (joined, join) = mpsc::channel();
        let (stored, is_over) = (&stored, &is_over);
        let receiving = scope.spawn(move || {
            let is_stopped = || is_over.load(Ordering::Relaxed) || stored.load(Ordering::Relaxed) > files.len();
            let mut told = |told: Told<'_>| match told {
                // Nobody waits for it any more when it joins again.
                Told::Joined(_) => drop(joined.send(())),
                Told::Stored(_) => drop(stored.fetch_add(1, Ordering::Relaxed)),
                Told::Failed(_, why) => tracing::error!(%why, "an object was not delivered"),
                _ => {}
            };
            receiver.run(&is_stopped, &mut told, &mut || Ok(()))
        });
        // Connections, metadata and producer ids are there before the clock starts. What has failed is told below.
        let _ = join.recv_timeout(Duration::from_secs(60));
        let warm = sender.send_file(&warm_up).map(drop);
        while warm.is_ok() && stored.load(Ordering::Relaxed) == 0 && !receiving.is_finished() {
            std::thread::sleep(LOOK);
        }
        let began = Instant::now();
        let sent = warm.map_err(anyhow::Error::from).and_then(|()| send_all(&sender, files));
        is_over.store(sent.is_err(), Ordering::Relaxed);
        let received = receiving.join().map_err(|_| anyhow::anyhow!("the receiver panicked"))?;
        let time = began.elapsed();
        sent?;
        received?;
        anyhow::Ok(time)
    })?;
    std::fs::remove_dir_all(&out)?;
    Ok(time)
}

fn send_all(sender: &Sender, files: &[PathBuf]) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let work = || {
            while let Some(path) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                sender.send_file(path)?;
            }
            anyhow::Ok(())
        };
        let workers: Vec<_> = (0..JOBS).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
        }
        Ok(())
    })
}

struct Peaks {
    sender: u64,
    receiver: u64,
}

/// The programs as users start them, on a broker of their own.
fn memory(
    arguments: &DicomBenchArguments,
    settings: &Settings,
    folder: &Path,
    output: &mut Output,
) -> anyhow::Result<Peaks> {
    let large = folder.join("large.dcm");
    let frames = objects::multi_frame(&large, arguments.large as u64)?;
    let bytes = large.metadata()?.len();
    let environment = Environment::on_disk(settings)?;
    output.progress(|| format!("sending {}", show_bytes(bytes)));
    let sender = peak_of(&environment, &["send"], &large)?;
    output.progress(|| format!("receiving {}", show_bytes(bytes)));
    let out = folder.join("large");
    let receiver = peak_of(&environment, &["receive", "--until-end", "--layout", "{SHA256}", "--out"], &out)?;
    let stored = std::fs::read_dir(&out)?.flatten().filter_map(|entry| entry.metadata().ok());
    let is_there = stored.into_iter().any(|stored| stored.is_file() && stored.len() == bytes);
    ensure!(is_there, "the large object did not come");
    output.result(&format!(
        "one object of {} in {frames} frames: sender at most {}, receiver {} (wanted below {})",
        show_bytes(bytes),
        show_bytes(sender),
        show_bytes(receiver),
        show_bytes(WANTED_PEAK_BYTES),
    ));
    Ok(Peaks { sender, receiver })
}

/// Most memory of `lumenbus dicom …`, looked at until it ends; 0 where the system does not tell.
fn peak_of(environment: &Environment, words: &[&str], path: &Path) -> anyhow::Result<u64> {
    let binary = std::env::current_exe().context("cannot find this program's file")?;
    let mut command = Command::new(binary);
    command.args(["dicom", "--quiet", "--brokers", &environment.bus.brokers]);
    command.args(["--topic-prefix", environment.bus.topic_prefix.as_str()]).args(words).arg(path);
    let mut child = command.stdout(Stdio::null()).spawn().context("cannot start this program")?;
    let mut peak = 0;
    let status = loop {
        peak = peak.max(usage::peak_bytes(child.id()));
        if let Some(status) = child.try_wait()? {
            break status;
        }
        std::thread::sleep(LOOK);
    };
    ensure!(status.success(), "dicom {} ended with {status}", words[0]);
    Ok(peak)
}
