//! How far the clocks of this machine, the broker and the cameras are apart, by frames that come in live.

use super::cluster::{FRAME_TOPICS, of_error};
use super::connect::count;
use super::{DoctorConfig, Finding};
use lumenbus_bus::BusError;
use lumenbus_bus::subscriber::{CameraFilter, DeliveredFrame, Event, FrameRole, Subscriber, SubscriberConfig};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

/// Frames that tell enough of a camera.
const ENOUGH: u32 = 5;
/// Cameras that are listened to; more would be a lot of traffic for a question.
const MAX_CAMERAS: usize = 32;
/// Kafka stamps whole milliseconds, and frames take some to the broker: below this nothing can be told.
const ALLOWANCE_MILLIS: f64 = 20.0;
/// Beyond this, deadlines, ages and the policy `live` go wrong.
const WRONG_MILLIS: f64 = 500.0;

/// Differences of clocks in milliseconds. The least of several: the way only adds to it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Seen {
    frames: u32,
    /// Ours minus the broker's, and the way from there to here.
    ours_after_broker: f64,
    /// The broker's minus the camera's, and the way from there.
    broker_after_camera: f64,
}

impl Seen {
    #[expect(clippy::cast_precision_loss, reason = "milliseconds of differences")]
    fn of(frame: &DeliveredFrame) -> Option<Self> {
        let append = frame.append_unix_millis? as f64;
        let header = &frame.header;
        let worked = f64::from(header.submit_micros.unwrap_or(0)) + f64::from(header.queue_micros.unwrap_or(0));
        let sent = header.capture.unix_nanos as f64 / 1e6 + worked / 1e3;
        let received = frame.received_unix_nanos as f64 / 1e6;
        // A stamp of 5 ms stands for 5.000 to 5.999.
        Some(Self { frames: 1, ours_after_broker: received - append, broker_after_camera: append + 1.0 - sent })
    }

    fn and(self, other: Self) -> Self {
        Self {
            frames: self.frames + other.frames,
            ours_after_broker: self.ours_after_broker.min(other.ours_after_broker),
            broker_after_camera: self.broker_after_camera.min(other.broker_after_camera),
        }
    }
}

/// Listens for a while.
pub(super) fn clocks(config: &DoctorConfig, existing: &BTreeSet<String>) -> Vec<Finding> {
    let names = FRAME_TOPICS.map(|base| config.bus.topic_prefix.topic(base));
    let topics: Vec<_> = names.into_iter().filter(|topic| existing.contains(topic.as_str())).collect();
    if topics.is_empty() {
        return vec![unknown()];
    }
    match listen(config, SubscriberConfig::new(config.bus.clone(), topics)) {
        Ok(seen) if seen.is_empty() => vec![unknown()],
        Ok(seen) => findings(&seen),
        Err(error) => vec![of_error("clocks", &error)],
    }
}

fn unknown() -> Finding {
    let finding = Finding::note("clocks", "no frame came in while this was looked at, so the clocks are not known");
    finding.remedy("publish something, for example `lumenbus publish test:640x480@30 --camera test`, and ask again")
}

fn listen(config: &DoctorConfig, mut reading: SubscriberConfig) -> Result<BTreeMap<String, Seen>, BusError> {
    reading.buffer_bytes = 8 << 20;
    reading.cameras = some_live_cameras(config)?;
    let mut subscriber = Subscriber::open(reading)?;
    let end = Instant::now() + config.sample;
    let mut seen = BTreeMap::<String, Seen>::new();
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let Some(Event::Frame(frame)) = subscriber.recv(left)? else { continue };
        let (FrameRole::Current, Some(now)) = (frame.role, Seen::of(&frame)) else { continue };
        let camera = frame.stream.camera.as_str();
        match seen.get_mut(camera) {
            Some(known) => *known = known.and(now),
            None => {
                seen.insert(camera.to_owned(), now);
            }
        }
    }
    subscriber.close();
    // One frame may have waited anywhere.
    seen.retain(|_, seen| seen.frames >= ENOUGH);
    Ok(seen)
}

/// All of them where they are few.
fn some_live_cameras(config: &DoctorConfig) -> Result<CameraFilter, BusError> {
    use lumenbus_bus::Directory;
    let cameras = Directory::open_reading(&config.bus)?.cameras();
    let live = cameras.iter().filter(|(_, entry)| entry.streams.iter().any(|stream| stream.state.as_str() == "live"));
    let names: Vec<String> = live.map(|(camera, _)| camera.as_str().to_owned()).collect();
    if names.len() <= MAX_CAMERAS {
        return Ok(CameraFilter::default());
    }
    Ok(CameraFilter::new(&names[..MAX_CAMERAS]).unwrap_or_default())
}

fn findings(seen: &BTreeMap<String, Seen>) -> Vec<Finding> {
    let ours = seen.values().map(|seen| seen.ours_after_broker).fold(f64::INFINITY, f64::min);
    let mut findings = vec![broker(ours)];
    let apart = |seen: &Seen| {
        let camera = seen.broker_after_camera;
        !(-ALLOWANCE_MILLIS..=WRONG_MILLIS).contains(&camera)
    };
    let (wrong, right): (Vec<_>, Vec<_>) = seen.iter().partition(|(_, seen)| apart(seen));
    for (camera, seen) in wrong {
        let (millis, side) =
            (seen.broker_after_camera.abs(), if seen.broker_after_camera < 0.0 { "ahead of" } else { "behind" });
        let what = format!("capture times of camera {camera} are {millis:.0} ms {side} the broker's clock");
        let why = if seen.broker_after_camera < 0.0 {
            "the camera's or its publisher's clock is ahead"
        } else {
            "the camera's clock is behind, or frames take so long to the broker"
        };
        findings.push(
            Finding::warning("clocks.camera", what)
                .because(why)
                .remedy("synchronise camera, publisher and broker by NTP; ages and deadlines are wrong by so much"),
        );
    }
    if !right.is_empty() {
        let most = right.iter().map(|(_, seen)| seen.broker_after_camera).fold(0.0, f64::max);
        let what =
            format!("{}: capture to broker takes {most:.0} ms at most, clocks included", count(right.len(), "camera"));
        findings.push(Finding::ok("clocks.camera", what));
    }
    findings
}

fn broker(ours: f64) -> Finding {
    if (-ALLOWANCE_MILLIS..=WRONG_MILLIS).contains(&ours) {
        let what = format!("a frame is here {:.0} ms after the broker stamped it: the clocks agree", ours.max(0.0));
        return Finding::ok("clocks.broker", what);
    }
    let side = if ours < 0.0 { "ahead of" } else { "behind" };
    let what = format!("the broker's clock is {:.0} ms {side} this machine's", ours.abs());
    let finding = Finding::warning("clocks.broker", what);
    finding
        .because("ages, deadlines and `--from 14:03` compare the two")
        .remedy("synchronise both machines by NTP (chrony)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    fn check(ours: f64, camera: f64, expected: [Severity; 2]) {
        let seen = Seen { frames: 9, ours_after_broker: ours, broker_after_camera: camera };
        let found = findings(&BTreeMap::from([("gate".to_owned(), seen)]));
        assert_eq!(found.iter().map(|finding| finding.severity).collect::<Vec<_>>(), expected, "{found:?}");
    }

    #[test]
    fn clocks_that_agree_and_clocks_that_do_not() {
        use Severity::{Ok, Warning};
        check(3.0, 4.0, [Ok, Ok]);
        // The stamp is of whole milliseconds.
        check(-0.7, 0.2, [Ok, Ok]);
        check(-3_600_000.0, 4.0, [Warning, Ok]);
        check(700.0, 4.0, [Warning, Ok]);
        check(3.0, -500.0, [Ok, Warning]);
        check(3.0, 60_000.0, [Ok, Warning]);
    }

    #[test]
    fn the_least_difference_counts() {
        let seen = |ours, camera| Seen { frames: 1, ours_after_broker: ours, broker_after_camera: camera };
        assert_eq!(
            seen(5.0, 40.0).and(seen(30.0, 3.0)),
            Seen { frames: 2, ours_after_broker: 5.0, broker_after_camera: 3.0 }
        );
    }
}
