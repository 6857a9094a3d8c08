//! What is sent, and what came of it.

use hdrhistogram::Histogram;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A keyframe every so many frames, as a camera with a 2-s GOP at 30 fps sends them.
pub(super) const GOP: u64 = 60;
/// Longest latency told apart: a minute, in microseconds.
const MAX_MICROS: u64 = 60_000_000;
/// A run that is not through by then has lost frames.
const PATIENCE: Duration = Duration::from_secs(60);

/// A schedule of frames.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) cameras: usize,
    pub(super) frame_bytes: usize,
    /// Frames of all cameras together.
    pub(super) frames: u64,
    /// Time between two frames of all cameras together; `None` is as fast as they go.
    pub(super) interval: Option<Duration>,
    pub(super) partitions: i32,
    pub(super) consumers: usize,
    pub(super) batch: usize,
}

impl Load {
    pub(super) fn bytes(&self) -> u64 {
        self.frames * self.frame_bytes as u64
    }

    pub(super) fn camera(&self, frame: u64) -> usize {
        usize::try_from(frame % self.cameras as u64).expect("a camera's number")
    }

    pub(super) fn is_keyframe(&self, frame: u64) -> bool {
        (frame / self.cameras as u64).is_multiple_of(GOP)
    }

    /// Waits until a frame is due.
    pub(super) fn wait(&self, frame: u64, began: Instant) {
        let Some(interval) = self.interval else { return };
        let due = interval.saturating_mul(u32::try_from(frame).unwrap_or(u32::MAX));
        let left = due.saturating_sub(began.elapsed());
        if !left.is_zero() {
            // A camera's rhythm: there is nothing to wait for but the time.
            std::thread::sleep(left);
        }
    }

    /// The payload of a frame: the moment it was made, then noise that is the same for all.
    pub(super) fn payload(&self, clock: Instant) -> Vec<u8> {
        let mut payload = vec![0x5a; self.frame_bytes.max(8)];
        payload[..8].copy_from_slice(&nanos(clock).to_le_bytes());
        payload
    }
}

pub(super) fn nanos(clock: Instant) -> u64 {
    u64::try_from(clock.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Counts received frames and their latencies.
#[derive(Debug)]
pub(super) struct Received {
    expected: u64,
    clock: Instant,
    frames: AtomicU64,
    warm: AtomicU64,
    latencies: Mutex<Histogram<u64>>,
    done: Condvar,
    measures_latency: bool,
}

impl Received {
    pub(super) fn new(load: &Load, clock: Instant) -> Self {
        Self {
            expected: load.frames,
            clock,
            frames: AtomicU64::new(0),
            warm: AtomicU64::new(0),
            latencies: Mutex::new(Histogram::new_with_bounds(1, MAX_MICROS, 3).expect("bounds are right")),
            done: Condvar::new(),
            measures_latency: load.interval.is_some(),
        }
    }

    pub(super) fn frame(&self, payload: &[u8]) {
        if self.measures_latency
            && let Some(made) = payload.first_chunk::<8>()
        {
            let micros = nanos(self.clock).saturating_sub(u64::from_le_bytes(*made)) / 1_000;
            let mut latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
            latencies.saturating_record(micros.max(1));
        }
        if self.frames.fetch_add(1, Ordering::AcqRel) + 1 == self.expected {
            self.wake();
        }
    }

    /// Whoever waits has either not looked yet or is asleep.
    fn wake(&self) {
        drop(self.latencies.lock().unwrap_or_else(PoisonError::into_inner));
        self.done.notify_all();
    }

    /// A record that only says that its partition is being read.
    pub(super) fn warm(&self) {
        self.warm.fetch_add(1, Ordering::AcqRel);
        self.wake();
    }

    /// Waits until so many partitions are being read.
    pub(super) fn wait_warm(&self, partitions: u64) -> anyhow::Result<()> {
        let count = self.wait_for(&self.warm, partitions);
        anyhow::ensure!(count >= partitions, "only {count} of {partitions} partitions are read within {PATIENCE:?}");
        Ok(())
    }

    /// Waits for the last frame.
    pub(super) fn wait(&self) -> anyhow::Result<()> {
        let got = self.wait_for(&self.frames, self.expected);
        anyhow::ensure!(got >= self.expected, "only {got} of {} frames came within {PATIENCE:?}", self.expected);
        Ok(())
    }

    /// Waits until a counter is there; where it is then.
    fn wait_for(&self, counter: &AtomicU64, expected: u64) -> u64 {
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        let is_short = |_: &mut Histogram<u64>| counter.load(Ordering::Acquire) < expected;
        drop(self.done.wait_timeout_while(latencies, PATIENCE, is_short).unwrap_or_else(PoisonError::into_inner));
        counter.load(Ordering::Acquire)
    }

    pub(super) fn is_complete(&self) -> bool {
        self.frames.load(Ordering::Acquire) >= self.expected
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of a run")]
    pub(super) fn millis(&self, quantile: f64) -> f64 {
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        latencies.value_at_quantile(quantile) as f64 / 1_000.0
    }
}

/// One run of one side.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Measured {
    pub(super) p50_millis: f64,
    pub(super) p99_millis: f64,
    pub(super) megabytes_per_second: f64,
    pub(super) frames_per_second: f64,
    /// Of this process.
    pub(super) client_cpu_millis_per_megabyte: f64,
    /// Of an embedded broker.
    pub(super) broker_cpu_millis_per_megabyte: f64,
}
