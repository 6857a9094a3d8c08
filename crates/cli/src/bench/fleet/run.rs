//! One run: so many cameras, switched on one after the other, all live for a while, all ended.

use super::arguments::FleetArguments;
use super::reader::{Reader, Reading};
use crate::bench::environment::Environment;
use crate::bench::usage::{self, Machine};
use crate::units::show_bytes;
use lumenbus_bus::publisher::{Publisher, PublisherConfig};
use lumenbus_frame::{CameraId, FrameRate, TopicName};
use lumenbus_pipeline::fleet::{CameraConfig, CameraSource, CameraState, Fleet, FleetConfig};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// As the topics of a box have.
const PARTITIONS: i32 = 12;
/// So many cameras are live when memory is looked at first.
const FEW: usize = 8;
/// What is not there by then never comes.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often memory is looked at.
const SAMPLE: Duration = Duration::from_millis(500);
/// What the project promises of itself.
pub(super) const MAX_AGE_MILLIS: f64 = 200.0;
/// Of the frames that are due so many must have come, or the sources are not read in time.
const LEAST_SHARE: f64 = 0.99;

/// What a run showed.
#[derive(Debug, Clone)]
pub(super) struct Run {
    pub(super) cameras: usize,
    seconds: f64,
    frames: u64,
    due: f64,
    bytes: u64,
    /// Frames missing, and gaps of which nobody knows the length.
    missing: u64,
    open_gaps: u64,
    p50: f64,
    p99: f64,
    longest: f64,
    resident: u64,
    /// Cameras and memory of the first look.
    few: (usize, u64),
    own_cpu: Duration,
    broker_cpu: Option<Duration>,
    /// Share of the machine that other programs used.
    others: Option<f64>,
}

impl Run {
    /// Whether every frame came, in time.
    pub(super) fn holds(&self) -> bool {
        self.is_whole() && self.p99 <= MAX_AGE_MILLIS
    }

    pub(super) fn is_whole(&self) -> bool {
        self.missing == 0 && self.open_gaps == 0 && self.share() >= LEAST_SHARE
    }

    pub(super) fn p99(&self) -> f64 {
        self.p99
    }

    fn share(&self) -> f64 {
        count(self.frames) / self.due.max(1.0)
    }

    /// What one more camera takes, the reader's part included; `None` with too few of them.
    pub(super) fn bytes_per_camera(&self) -> Option<u64> {
        let more = self.cameras.saturating_sub(self.few.0) as u64;
        (more > 0).then(|| self.resident.saturating_sub(self.few.1) / more)
    }

    fn cores(&self, time: Duration) -> f64 {
        time.as_secs_f64() / self.seconds.max(1e-3)
    }

    /// `64 cameras: …`
    pub(super) fn line(&self) -> String {
        let Self { cameras, p50, p99, longest, missing, open_gaps, .. } = self;
        let broker = self.broker_cpu.map_or_else(String::new, |cpu| format!(" + broker {:.2}", self.cores(cpu)));
        let others = self.others.map_or_else(String::new, |share| format!(", others {:.0} %", share * 100.0));
        format!(
            "{cameras:>5} cameras  {:6.1} Mbit/s  age p50 {p50:6.1} ms, p99 {p99:6.1} ms, longest {longest:6.1} ms  missing {missing}{}  \
             {:.1} % of what was due  CPU {:.2}{broker} cores{others}  memory {}",
            count(self.bytes) * 8e-6 / self.seconds.max(1e-3),
            if *open_gaps > 0 { format!(" and {open_gaps} gaps of unknown length") } else { String::new() },
            self.share() * 100.0,
            self.cores(self.own_cpu),
            show_bytes(self.resident),
        )
    }

    pub(super) fn json(&self) -> Value {
        json!({
            "cameras": self.cameras, "seconds": self.seconds, "holds": self.holds(),
            "frames": self.frames, "share_of_due": self.share(), "missing": self.missing, "open_gaps": self.open_gaps,
            "megabits_per_second": count(self.bytes) * 8e-6 / self.seconds.max(1e-3),
            "age_ms": { "p50": self.p50, "p99": self.p99, "max": self.longest },
            "resident_bytes": self.resident, "resident_bytes_with_few": self.few.1, "few": self.few.0,
            "bytes_per_camera": self.bytes_per_camera(),
            "cpu_cores": self.cores(self.own_cpu), "broker_cpu_cores": self.broker_cpu.map(|cpu| self.cores(cpu)),
            "others": self.others,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn count(number: u64) -> f64 {
    number as f64
}

/// What the meters of the system say.
struct Meters {
    began: Instant,
    own: Duration,
    broker: Option<Duration>,
    machine: Option<Machine>,
}

impl Meters {
    fn read(broker: Option<u32>) -> Self {
        let own = usage::cpu(std::process::id());
        Self { began: Instant::now(), own, broker: broker.map(usage::cpu), machine: Machine::now() }
    }
}

/// The cameras of a run.
struct Cameras<'a> {
    rate: FrameRate,
    fleet: Fleet,
    publisher: Arc<Publisher>,
    clip: &'a Path,
    topic: TopicName,
    on: Vec<CameraConfig>,
}

impl Cameras<'_> {
    /// Switches cameras on until there are so many, one after the other over a GOP, so that their keyframes are spread as
    /// those of real cameras are; waits until all are live.
    fn switch_on(&mut self, count: usize, gop: Duration) -> anyhow::Result<()> {
        let pause = gop / u32::try_from(count.max(1))?;
        for number in self.on.len()..count {
            let id: CameraId = format!("fleet-{number:04}").parse()?;
            let mut camera = CameraConfig::new(id, CameraSource::Spec(self.clip.display().to_string()));
            (camera.is_looped, camera.topic, camera.fps) = (true, Some(self.topic.clone()), Some(self.rate));
            self.on.push(camera);
            let changes = self.fleet.apply(self.on.clone());
            if let Some((_, error)) = changes.refused.into_iter().next() {
                return Err(error.into());
            }
            // Cameras begin one after the other: the rhythm is what is set up, and nothing happens at its end.
            thread::sleep(pause);
        }
        let since = Instant::now();
        while let Some(camera) = self.fleet.status().into_iter().find(|camera| camera.state != CameraState::Live) {
            let told = camera.state.reason().cloned().unwrap_or_else(|| "no frame came".into());
            anyhow::ensure!(since.elapsed() < PATIENCE, "camera {} is not live: {told}", camera.id);
            // A fleet is asked; it calls nobody.
            thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn finish(self) {
        drop(self.fleet.finish(PATIENCE));
        drop(self.fleet);
        if let Some(publisher) = Arc::into_inner(self.publisher) {
            drop(publisher.close(PATIENCE));
        }
    }
}

pub(super) fn run(
    environment: &mut Environment,
    clip: &Path,
    arguments: &FleetArguments,
    cameras: usize,
) -> anyhow::Result<Run> {
    let topic = environment.topic(PARTITIONS)?;
    let (bus, broker) = (&environment.bus, environment.broker_pid());
    let reader = Reader::start(bus, &topic, cameras, None)?;
    let publisher = Arc::new(Publisher::open(PublisherConfig::new(bus.clone()))?);
    let fleet = Fleet::start(Arc::clone(&publisher), FleetConfig::new(bus.topic_prefix.clone()));
    let topic = TopicName::new(bus.topic_prefix.strip(&topic).unwrap_or(&topic))?;
    let rate = FrameRate::per_second(arguments.fps);
    let mut all = Cameras { rate, fleet, publisher, clip, topic, on: Vec::new() };
    let few = FEW.min(cameras / 2).max(1);
    all.switch_on(few, arguments.gop)?;
    let few = (few, settle(arguments.gop));
    all.switch_on(cameras, arguments.gop)?;
    settle(arguments.gop);

    let before = Meters::read(broker);
    reader.open_window();
    let mut resident = 0;
    while before.began.elapsed() < arguments.duration {
        // Memory is looked at in a rhythm; it tells nobody that it has grown.
        thread::sleep(SAMPLE.min(arguments.duration.saturating_sub(before.began.elapsed())));
        resident = resident.max(usage::resident_bytes(std::process::id()));
    }
    reader.close_window();
    let after = Meters::read(broker);
    all.finish();
    let reading = reader.finish(PATIENCE)?;
    Ok(sum_up(&reading, cameras, rate, few, resident, (&before, &after)))
}

/// Lets buffers fill over two GOPs, which is a stretch of time and no event; what is resident then.
fn settle(gop: Duration) -> u64 {
    thread::sleep(gop * 2);
    usage::resident_bytes(std::process::id())
}

fn sum_up(
    reading: &Reading,
    cameras: usize,
    rate: FrameRate,
    few: (usize, u64),
    resident: u64,
    (before, after): (&Meters, &Meters),
) -> Run {
    let seconds = after.began.duration_since(before.began).as_secs_f64();
    let streams = || reading.tally.streams().map(|(_, tally)| tally);
    let millis = |quantile: f64| count(reading.ages.value_at_quantile(quantile)) / 1e3;
    let own_cpu = after.own.saturating_sub(before.own);
    let broker_cpu = after.broker.zip(before.broker).map(|(after, before)| after.saturating_sub(before));
    let machine = after.machine.zip(before.machine);
    Run {
        cameras,
        seconds,
        frames: reading.ages.len(),
        due: cameras as f64 * rate.as_f64() * seconds,
        bytes: reading.bytes,
        missing: streams().map(lumenbus_pipeline::tally::StreamTally::missing_frames).sum(),
        open_gaps: streams().map(|tally| tally.open_gaps).sum(),
        p50: millis(0.5),
        p99: millis(0.99),
        longest: count(reading.ages.max()) / 1e3,
        resident,
        few,
        own_cpu,
        broker_cpu,
        others: machine.map(|(after, before)| after.others_since(&before, own_cpu + broker_cpu.unwrap_or_default())),
    }
}

#[cfg(test)]
pub(super) fn made(cameras: usize, missing: u64, p99: f64) -> Run {
    Run {
        cameras,
        seconds: 10.0,
        frames: 300 * cameras as u64,
        due: 300.0 * cameras as f64,
        bytes: 1,
        missing,
        open_gaps: 0,
        p50: 5.0,
        p99,
        longest: p99,
        resident: 100 << 20,
        few: (1, 60 << 20),
        own_cpu: Duration::from_secs(5),
        broker_cpu: None,
        others: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_holds_when_everything_came_in_time() {
        let run = made(11, 0, MAX_AGE_MILLIS);
        assert!(run.holds());
        assert_eq!(run.bytes_per_camera(), Some(4 << 20));
        assert!(!made(11, 1, 1.0).holds() && !made(11, 0, MAX_AGE_MILLIS + 0.1).holds());
        assert!(!Run { frames: 3_200, ..run.clone() }.holds(), "too few for eleven cameras: the sources were late");
        assert!(!Run { open_gaps: 1, ..run }.holds());
        assert_eq!(made(1, 0, 1.0).bytes_per_camera(), None);
    }
}
