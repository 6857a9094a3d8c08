//! Many cameras through one publisher, against the embedded broker: changes while running, failures, a pulled cable.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use bytes::Bytes;
use lumenbus::bus::publisher::PublisherStats;
use lumenbus::bus::subscriber::{DeliveredFrame, Event, FrameRole, Start, Subscriber, SubscriberConfig};
use lumenbus::bus::{BusConfig, Directory, Publisher, PublisherConfig};
use lumenbus::codec::DecoderConfig;
use lumenbus::frame::{CameraId, Codec, Epoch, FrameId, FrameRate, GapReason, StreamId};
use lumenbus::pipeline::decode::{DecodedFrame, Decoding};
use lumenbus::pipeline::fleet::{
    CameraCodec, CameraConfig, CameraSource, CameraState, CameraStatus, Fleet, FleetConfig, FleetError, Retry,
};
use lumenbus::pipeline::publish::SNAPSHOTS;
use lumenbus::pipeline::subscribe::encoded;
use lumenbus::pipeline::tally::Tally;
use lumenbus::pipeline::video::Gop;
use lumenbus_broker::{Broker, BrokerConfig, RunningBroker};
use lumenbus_source::read_marker;
use lumenbus_tests::load::await_that;
use lumenbus_tests::rtsp::ScriptedCamera;
use lumenbus_wire::{CameraEntry, StreamState};
use std::collections::BTreeMap;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Ends only what hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// A camera and the frames it published.
type Ended = (CameraId, Result<u64, FleetError>);

struct Site {
    fleet: Fleet,
    publisher: Arc<Publisher>,
    bus: BusConfig,
    folder: TempDir,
    // Last: it goes after its clients.
    _broker: RunningBroker,
}

fn site() -> Site {
    let folder = tempfile::tempdir().unwrap();
    let config = BrokerConfig::new(folder.path().join("broker")).listen(([127, 0, 0, 1], 0).into());
    let broker = Broker::start_blocking(config).unwrap();
    let bus = BusConfig::new(broker.bootstrap_servers());
    let publisher = Arc::new(Publisher::open(PublisherConfig::new(bus.clone())).unwrap());
    let mut config = FleetConfig::new(bus.topic_prefix.clone());
    config.retry = Retry { first: Duration::from_millis(20), longest: Duration::from_millis(50) };
    let fleet = Fleet::start(Arc::clone(&publisher), config);
    Site { fleet, publisher, bus, folder, _broker: broker }
}

fn id(text: &str) -> CameraId {
    text.parse().unwrap()
}

fn pattern(camera: &str) -> CameraConfig {
    CameraConfig::new(id(camera), CameraSource::Spec("test:160x128@50".to_owned()))
}

impl Site {
    fn status(&self, camera: &str) -> CameraStatus {
        self.fleet.status().into_iter().find(|status| status.id == id(camera)).unwrap()
    }

    fn wait(&self, camera: &str, what: &str, is_there: impl Fn(&CameraStatus) -> bool) -> CameraStatus {
        let since = Instant::now();
        loop {
            let status = self.status(camera);
            if is_there(&status) {
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "{camera} is never {what}: {status:?}");
            // A fleet is asked; it calls nobody.
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The camera's entry in the directory, as soon as it is as wanted.
    fn entry(&self, directory: &Directory, camera: &str, is_there: impl Fn(&CameraEntry) -> bool) -> CameraEntry {
        let since = Instant::now();
        loop {
            directory.sync().unwrap();
            let entry = directory.entry(&id(camera));
            if let Some(entry) = entry.filter(&is_there) {
                return entry;
            }
            assert!(since.elapsed() < PATIENCE, "{camera} in the directory: {:?}", directory.entry(&id(camera)));
        }
    }

    /// Waits until so many more frames of the camera are in the log.
    fn wait_for_frames(&self, camera: &str, more: u64) -> Epoch {
        let acknowledged = |status: &CameraStatus| status.stats.as_ref().map_or(0, |stats| stats.acknowledged_frames);
        let from = acknowledged(&self.status(camera));
        self.wait(camera, "live", |status| acknowledged(status) >= from + more).stats.unwrap().epoch
    }

    /// Ends everything and reads the whole log: what was published is there or explained.
    fn finish_and_check(self) -> (Vec<Ended>, Tally, Vec<DeliveredFrame>) {
        let Self { fleet, publisher, bus, folder: _folder, _broker } = self;
        let ended = fleet.finish(PATIENCE);
        let totals = fleet.totals();
        assert_eq!((totals.unfinished_streams, totals.unresolved_frames), (0, 0), "{totals:?}");
        assert_eq!(
            totals.submitted_frames,
            totals.acknowledged_frames + totals.repeated_frames + totals.dropped_frames(),
            "{totals:?}"
        );
        drop(fleet);
        assert!(Arc::into_inner(publisher).unwrap().close(PATIENCE).is_empty());

        let (tally, frames) = read_all(&bus, totals.ended_streams);
        let (mut delivered, mut explained, mut published) = (0, 0, 0);
        for (stream, tally) in tally.streams() {
            assert_eq!((tally.open_gaps, tally.unexplained_frames()), (0, 0), "{stream}: {tally:?}");
            delivered += tally.frames;
            explained += tally.missing_frames();
            published += tally.ended.values().sum::<u64>();
        }
        assert_eq!(delivered + explained, published);
        assert_eq!((delivered, published), (totals.acknowledged_frames, totals.submitted_frames));
        let outcome =
            |ended: Result<lumenbus::bus::publisher::StreamSummary, _>| ended.map(|s| s.stats.submitted_frames);
        (ended.into_iter().map(|(id, ended)| (id, outcome(ended))).collect(), tally, frames)
    }
}

/// Everything in the log until so many epochs have ended.
fn read_all(bus: &BusConfig, ends: u64) -> (Tally, Vec<DeliveredFrame>) {
    let mut config = SubscriberConfig::new(bus.clone(), vec!["raw_video".parse().unwrap()]);
    config.start = Start::Earliest;
    let mut subscriber = Subscriber::open(config).unwrap();
    let (mut tally, mut frames, mut ended) = (Tally::default(), Vec::new(), 0);
    let since = Instant::now();
    while ended < ends {
        assert!(since.elapsed() < PATIENCE, "{ended} of {ends} ends came");
        let Some(event) = subscriber.recv(Duration::from_secs(1)).unwrap() else { continue };
        tally.count(&event);
        match event {
            Event::Frame(frame) if frame.role != FrameRole::Preroll => frames.push(frame),
            Event::End { .. } => ended += 1,
            _ => {}
        }
    }
    (tally, frames)
}

fn names(ids: &[CameraId]) -> Vec<&str> {
    ids.iter().map(CameraId::as_str).collect()
}

#[test]
fn changes_touch_only_what_changed() {
    let site = site();
    let later = site.folder.path().join("later.mjpeg");
    let mut late = CameraConfig::new(id("late"), CameraSource::Spec(later.display().to_string()));
    late.codec = CameraCodec::H264;
    late.is_looped = true;
    let changes = site.fleet.apply(vec![pattern("stays"), pattern("changes"), pattern("goes"), late.clone()]);
    assert_eq!(names(&changes.added), ["stays", "changes", "goes", "late"]);
    let stays = site.wait_for_frames("stays", 5);
    let changes_epoch = site.wait_for_frames("changes", 5);
    site.wait_for_frames("goes", 5);
    // A camera that cannot be opened says so and bothers nobody.
    let late_status = site.wait("late", "tried again", |status| status.restarts >= 2);
    assert!(matches!(&late_status.state, CameraState::Failed { reason } if reason.contains("later.mjpeg")));

    let mut changed = pattern("changes");
    changed.bitrate = Some(300_000);
    let twice = pattern("new");
    let wrong = CameraConfig::new(id("wrong"), CameraSource::Spec("test:nonsense".to_owned()));
    let changes = site.fleet.apply(vec![late, pattern("new"), pattern("stays"), changed, twice, wrong]);
    assert_eq!(names(&changes.added), ["new"]);
    assert_eq!(names(&changes.changed), ["changes"]);
    assert_eq!(names(&changes.removed), ["goes"]);
    assert_eq!(names(&changes.unchanged), ["late", "stays"]);
    let refused: Vec<_> = changes.refused.iter().map(|(id, error)| (id.as_str(), error)).collect();
    assert!(
        matches!(refused[..], [("new", FleetError::Duplicate { .. }), ("wrong", FleetError::Source { .. })]),
        "{refused:?}"
    );
    site.wait("changes", "under a new epoch", |status| {
        status.stats.as_ref().is_some_and(|stats| stats.epoch > changes_epoch && stats.acknowledged_frames >= 5)
    });
    assert_eq!(site.wait_for_frames("stays", 5), stays, "what did not change keeps its epoch");
    site.wait_for_frames("new", 5);
    // Written elsewhere and moved, as a file that comes whole.
    let whole = site.folder.path().join("whole");
    std::fs::write(&whole, include_bytes!("../../crates/source/tests/data/two.mjpeg")).unwrap();
    std::fs::rename(whole, later).unwrap();
    site.wait_for_frames("late", 3);

    let (ended, tally, _) = site.finish_and_check();
    assert_eq!(ended.iter().filter(|(_, ended)| ended.is_ok()).count(), ended.len(), "{ended:?}");
    let epochs = |camera: &str| {
        let of = |(stream, tally): (&Arc<StreamId>, &lumenbus::pipeline::tally::StreamTally)| {
            (stream.camera == id(camera)).then_some(tally.ended.len())
        };
        tally.streams().find_map(of).unwrap()
    };
    assert_eq!((epochs("stays"), epochs("changes"), epochs("goes"), epochs("late")), (1, 2, 1, 1));
}

/// Names are for people: pictures do not stop for one, and what is taken away does not stay in the directory.
#[test]
fn a_camera_is_described_anew_while_it_runs() {
    let site = site();
    let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let mut named = pattern("named");
    (named.name, named.group) = (Some("Gate".to_owned()), Some("yard".to_owned()));
    named.labels = vec![label("floor", "0"), label("side", "north")];
    let mut ends = pattern("ends");
    ends.source = CameraSource::Spec("test:160x128@50,frames=7".to_owned());
    site.fleet.apply(vec![named.clone(), ends.clone()]);
    let epoch = site.wait_for_frames("named", 5);
    site.wait("ends", "over", |status| matches!(status.state, CameraState::Stopped { .. }));
    let directory = Directory::open_reading(&site.bus).unwrap();
    let entry = site.entry(&directory, "named", |_| true);
    assert_eq!((entry.name.as_str(), entry.group.as_str()), ("Gate", "yard"));
    assert_eq!(entry.labels, named.labels);

    (named.name, named.group, named.labels) = (Some("Main gate".to_owned()), None, vec![label("floor", "1")]);
    ends.name = Some("Short".to_owned());
    let changes = site.fleet.apply(vec![named.clone(), ends.clone()]);
    assert_eq!(names(&changes.described), ["named", "ends"]);
    assert!(changes.changed.is_empty() && !changes.is_empty(), "{changes:?}");
    assert_eq!(site.status("named").name.as_deref(), Some("Main gate"));
    let entry = site.entry(&directory, "named", |entry| entry.name == "Main gate");
    assert_eq!((entry.group.as_str(), entry.labels), ("", named.labels.clone()));
    assert_eq!((entry.streams.len(), entry.streams[0].epoch), (1, epoch));
    // Also when its stream has ended.
    let entry = site.entry(&directory, "ends", |entry| entry.name == "Short");
    assert_eq!(entry.streams[0].state, StreamState::Ended);
    assert_eq!(site.wait_for_frames("named", 5), epoch, "pictures do not stop");

    // What is written later of the stream keeps it, and does not bring back what was before.
    let unnamed = pattern("named");
    assert_eq!(names(&site.fleet.apply(vec![unnamed, ends]).described), ["named"]);
    site.fleet.unplug(&id("named")).unwrap();
    let is_offline = |entry: &CameraEntry| entry.streams[0].state == StreamState::Offline;
    let entry = site.entry(&directory, "named", is_offline);
    assert_eq!((entry.name.as_str(), entry.labels.len()), ("", 0), "{entry:?}");
    let (_, tally, _) = site.finish_and_check();
    assert!(tally.streams().all(|(_, tally)| tally.ended.len() == 1), "each camera had one epoch");
}

#[test]
fn a_camera_that_is_disabled_ends_and_comes_back() {
    let site = site();
    let running = pattern("gate");
    let disabled = CameraConfig { enabled: false, ..running.clone() };
    site.fleet.apply(vec![running.clone()]);
    let epoch = site.wait_for_frames("gate", 5);
    assert_eq!(names(&site.fleet.apply(vec![disabled]).changed), ["gate"]);
    assert!(matches!(site.status("gate").state, CameraState::Stopped { .. }));
    let directory = Directory::open_reading(&site.bus).unwrap();
    site.entry(&directory, "gate", |entry| entry.streams[0].state == StreamState::Ended);
    assert_eq!(names(&site.fleet.apply(vec![running]).changed), ["gate"]);
    assert!(site.wait_for_frames("gate", 5) > epoch);
    site.finish_and_check();
}

#[test]
fn a_pulled_cable_is_a_gap_that_adds_up() {
    let site = site();
    let clip = Bytes::from_static(include_bytes!("../../crates/source/tests/data/h265_open_gop.mp4"));
    let mut camera = CameraConfig::new(id("cable"), CameraSource::Bytes { name: Arc::from("clip"), bytes: clip });
    camera.is_looped = true;
    site.fleet.apply(vec![camera, pattern("other")]);
    let epoch = site.wait_for_frames("cable", 10);
    site.fleet.unplug(&id("cable")).unwrap();
    let away = site.wait("cable", "away", |status| status.state.as_str() == "offline");
    assert_eq!(away.state.reason().map(|reason| &**reason), Some("unplugged"));
    site.wait_for_frames("other", 20);
    site.fleet.plug(&id("cable")).unwrap();
    assert_eq!(site.wait_for_frames("cable", 10), epoch, "the stream stays the same");
    assert!(site.fleet.unplug(&id("nobody")).is_err());
    let directory = Directory::open_reading(&site.bus).unwrap();
    site.entry(&directory, "cable", |entry| entry.streams[0].state == StreamState::Live);

    let (_, tally, frames) = site.finish_and_check();
    let of_cable = |stream: &StreamId| stream.camera == id("cable");
    let (_, cable) = tally.streams().find(|(stream, _)| of_cable(stream)).unwrap();
    assert!(cable.missing[&GapReason::SourceLost] > 5, "{cable:?}");
    let cable: Vec<_> = frames.iter().filter(|frame| of_cable(&frame.stream)).collect();
    assert!(cable.iter().all(|frame| frame.codec == Codec::H265));
    let after = cable.windows(2).find(|pair| pair[1].id().seq.0 > pair[0].id().seq.0 + 1).unwrap()[1];
    assert!(after.header.is_keyframe && after.header.is_discontinuity, "{after:?}");
    let pts: Vec<_> = cable.iter().filter(|frame| frame.header.is_keyframe).filter_map(|f| f.header.pts).collect();
    assert!(pts.is_sorted(), "pts go on after the cable is back: {pts:?}");
}

#[test]
fn an_unplugged_camera_on_the_network_is_left_alone() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = CameraSource::Spec(format!("rtsp://{}/cam", listener.local_addr().unwrap()));
    let site = site();
    site.fleet.apply(vec![CameraConfig::new(id("network"), source)]);
    let camera = || ScriptedCamera::play(listener.accept().unwrap().0);
    let mut before = camera();
    before.picture().unwrap();
    let is_live = |status: &CameraStatus| status.state == CameraState::Live;
    let epoch = site.wait("network", "live", is_live).stats.unwrap().epoch;
    site.fleet.unplug(&id("network")).unwrap();
    let since = Instant::now();
    while before.picture().is_ok() {
        assert!(since.elapsed() < PATIENCE, "its pictures are still taken");
    }
    site.fleet.plug(&id("network")).unwrap();
    let mut after = camera();
    after.picture().unwrap();
    let status = site.wait("network", "live again", is_live);
    assert_eq!(status.stats.unwrap().epoch, epoch, "the stream stays the same");
    let (_, _, frames) = site.finish_and_check();
    let pts: Vec<_> = frames.iter().filter_map(|frame| frame.header.pts).collect();
    assert!(pts.len() == frames.len() && pts.is_sorted_by(|a, b| a < b), "pts go on: {pts:?}");
}

#[test]
fn a_source_that_ends_ends_its_stream_and_one_that_never_began_says_why() {
    let site = site();
    let mut disabled = pattern("disabled");
    disabled.enabled = false;
    let mut ends = pattern("ends");
    ends.source = CameraSource::Spec("test:160x128@50,frames=7".to_owned());
    let never = CameraConfig::new(id("never"), CameraSource::Spec("/nonexistent/clip.mp4".to_owned()));
    site.fleet.apply(vec![disabled, ends, never]);
    let ended = site.wait("ends", "over", |status| matches!(status.state, CameraState::Stopped { .. }));
    assert_eq!(ended.stats.unwrap().submitted_frames, 7);
    assert!(matches!(site.status("disabled").state, CameraState::Stopped { .. }));
    site.wait("never", "tried", |status| status.restarts > 0);
    let (ended, _, _) = site.finish_and_check();
    assert_eq!(ended.len(), 2, "{ended:?}");
    assert!(matches!(ended[0].1, Ok(7)));
    assert!(matches!(&ended[1].1, Err(FleetError::NeverLive { reason, .. }) if reason.contains("clip.mp4")));
}

#[test]
fn a_stop_while_a_camera_is_opened_again_is_no_failure_of_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let source = CameraSource::Spec(format!("rtsp://{}/cam", listener.local_addr().unwrap()));
    let site = site();
    site.fleet.apply(vec![CameraConfig::new(id("hangs"), source)]);
    // Closes at once; and then says nothing.
    drop(listener.accept().unwrap());
    let _silent = listener.accept().unwrap();
    let before = site.status("hangs");
    let CameraState::Failed { reason: why } = before.state else { panic!("{before:?}") };
    let ended = site.fleet.finish(PATIENCE);
    assert!(matches!(&ended[0].1, Err(FleetError::NeverLive { reason, .. }) if *reason == why), "{ended:?} {why}");
}

#[test]
fn a_stream_that_somebody_else_took_is_not_fought_for() {
    let site = site();
    site.fleet.apply(vec![pattern("contested"), pattern("other")]);
    site.wait_for_frames("contested", 3);
    let other = Publisher::open(PublisherConfig::new(site.bus.clone())).unwrap();
    let options = lumenbus::bus::StreamOptions::new(Codec::H264);
    let theirs = other.main_stream(id("contested"), "raw_video", options).unwrap();
    let lost = site.wait("contested", "given up", |status| matches!(status.state, CameraState::Failed { .. }));
    assert!(lost.state.reason().unwrap().contains("taken over"), "{lost:?}");
    site.wait_for_frames("other", 10);
    assert_eq!(site.status("contested").restarts, 0);
    let ended = site.fleet.finish(PATIENCE);
    assert!(matches!(&ended[0].1, Err(FleetError::Bus { .. })), "{ended:?}");
    assert!(ended[1].1.is_ok());
    theirs.finish(PATIENCE).unwrap();
}

/// The counters that are written into the pictures of a stream, and the capture times, by frame.
fn counters(frames: &[DeliveredFrame]) -> BTreeMap<FrameId, (u32, i64)> {
    let (mut decoding, mut pictures) = (Decoding::new(DecoderConfig::default()), Vec::new());
    for frame in frames {
        decoding.push(frame.id(), &encoded(frame), &mut pictures).unwrap();
    }
    decoding.finish(&mut pictures);
    let counter = |decoded: &DecodedFrame| {
        let marker = read_marker(&decoded.picture).unwrap_or_else(|| panic!("no marker in {:?}", decoded.id));
        (decoded.id, (marker.counter, decoded.picture.capture.unix_nanos))
    };
    pictures.iter().map(counter).collect()
}

impl Site {
    /// The video with so many stills at least, both whole: ends everything and reads it.
    fn finish_with_stills(self, camera: &str, stills: u64) -> (Vec<DeliveredFrame>, Vec<DeliveredFrame>) {
        let made = |stats: &PublisherStats| {
            let of_stills = stats.streams.iter().find(|stats| stats.stream.name.as_str() == SNAPSHOTS);
            of_stills.map_or(0, |stats| stats.acknowledged_frames)
        };
        await_that("so many stills", || made(&self.publisher.stats()) >= stills);
        let directory = Directory::open_reading(&self.bus).unwrap();
        let entry = self.entry(&directory, camera, |entry| entry.streams.len() == 2);
        let mut streams: Vec<_> =
            entry.streams.iter().map(|stream| (stream.topic.as_str(), stream.name.as_str())).collect();
        streams.sort_unstable();
        assert_eq!(streams, [("raw_images", SNAPSHOTS), ("raw_video", "main")]);

        let Self { fleet, publisher, bus, folder: _folder, _broker } = self;
        let ended = fleet.finish(PATIENCE);
        let video_frames = ended[0].1.as_ref().unwrap().stats.submitted_frames;
        let totals = fleet.totals();
        assert_eq!(
            (totals.ended_streams, totals.unfinished_streams, totals.unresolved_frames),
            (2, 0, 0),
            "{totals:?}"
        );
        drop(fleet);
        drop(Arc::into_inner(publisher).unwrap().close(PATIENCE));
        let topics = ["raw_video", "raw_images"].map(|topic| topic.parse().unwrap());
        let mut config = SubscriberConfig::new(bus, topics.to_vec());
        config.start = Start::Earliest;
        let mut subscriber = Subscriber::open(config).unwrap();
        let (mut video, mut stills) = (Vec::new(), Vec::new());
        let since = std::time::Instant::now();
        while (video.len() + stills.len()) as u64 != totals.submitted_frames {
            assert!(since.elapsed() < PATIENCE, "{} and {} frames of {totals:?}", video.len(), stills.len());
            let Some(event) = subscriber.recv(Duration::from_secs(1)).unwrap() else { continue };
            let Event::Frame(frame) = event else { continue };
            if frame.stream.name.is_main() { &mut video } else { &mut stills }.push(frame);
        }
        assert_eq!(video.len() as u64, video_frames);
        (video, stills)
    }
}

/// Each still is the picture of the frame that it names.
fn check_stills(video: &[DeliveredFrame], stills: &[DeliveredFrame]) -> Vec<FrameId> {
    let (in_video, in_stills) = (counters(video), counters(stills));
    assert_eq!(in_stills.len(), stills.len());
    let named = |still: &DeliveredFrame| {
        assert_eq!((still.codec, &still.payload[..2]), (Codec::Jpeg, &[0xff, 0xd8][..]));
        let of = still.header.of.unwrap().id;
        assert_eq!(in_stills[&still.id()], in_video[&of], "{still:?} of {of:?}");
        of
    };
    let named: Vec<_> = stills.iter().map(named).collect();
    assert!(named.is_sorted(), "{named:?}");
    named
}

#[test]
fn stills_within_a_long_gop_are_of_the_frames_that_they_name() {
    let site = site();
    let mut camera = pattern("gate");
    camera.source = CameraSource::Spec("test:320x240@25".to_owned());
    (camera.snapshots, camera.video.gop) = (Some(Duration::from_millis(200)), Some(Gop::Time(Duration::from_secs(60))));
    site.fleet.apply(vec![camera]);
    let (video, stills) = site.finish_with_stills("gate", 4);
    let named = check_stills(&video, &stills);
    assert_eq!(named[0], video[0].id(), "the first keyframe gives a still at once");
    assert!(named.iter().filter(|of| !is_keyframe(&video, **of)).count() >= 2, "{named:?}");
}

fn is_keyframe(video: &[DeliveredFrame], id: FrameId) -> bool {
    video.iter().any(|frame| frame.id() == id && frame.header.is_keyframe)
}

/// A camera's second stream goes its own way: other epochs, other frames, changed and removed by itself.
#[test]
fn a_second_stream_of_a_camera_goes_its_own_way() {
    let site = site();
    let main = pattern("gate");
    let sub = CameraConfig { stream: "sub".parse().unwrap(), ..pattern("gate") };
    let changes = site.fleet.apply(vec![main.clone(), sub.clone(), sub.clone()]);
    assert_eq!(names(&changes.added), ["gate", "gate"]);
    assert!(matches!(changes.refused[..], [(_, FleetError::Duplicate { .. })]), "{changes:?}");
    let epoch = site.wait_for_frames("gate", 5);
    let live = |name: &str| {
        let status = site.fleet.status().into_iter().find(|status| status.stream_name.as_str() == name);
        status.is_some_and(|status| status.stats.is_some_and(|stats| stats.acknowledged_frames > 5))
    };
    await_that("the second stream is live", || live("sub"));
    let directory = Directory::open_reading(&site.bus).unwrap();
    let entry = site.entry(&directory, "gate", |entry| entry.streams.len() == 2);
    assert!(entry.streams.iter().all(|stream| stream.state == StreamState::Live), "{entry:?}");
    let changes = site.fleet.apply(vec![main]);
    assert_eq!((names(&changes.removed), names(&changes.unchanged)), (vec!["gate"], vec!["gate"]));
    site.entry(&directory, "gate", |entry| {
        entry.streams.iter().any(|stream| stream.name.as_str() == "sub" && stream.state == StreamState::Ended)
    });
    assert_eq!(site.wait_for_frames("gate", 5), epoch);
    let (_, tally, _) = site.finish_and_check();
    assert_eq!(tally.streams().count(), 2);
}

/// Two pictures, then rubbish in which pictures seem to begin.
fn rubbish() -> Bytes {
    let mut bytes = include_bytes!("../../crates/source/tests/data/two.mjpeg").to_vec();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for at in 0..20_000_u32 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
        if at % 500 == 0 {
            bytes.extend([0xff, 0xd8, 0xff, 0xe0]);
        }
    }
    bytes.into()
}

#[test]
fn a_camera_of_rubbish_at_full_speed_hurts_no_other() {
    let site = site();
    let mut bad = CameraConfig::new(id("bad"), CameraSource::Bytes { name: Arc::from("rubbish"), bytes: rubbish() });
    (bad.codec, bad.is_looped) = (CameraCodec::H264, true);
    bad.fps = Some(FrameRate::per_second(240));
    let good: Vec<_> = (0..16).map(|number| format!("good-{number:02}")).collect();
    let slow = |id: &String| {
        let mut camera = pattern(id);
        camera.source = CameraSource::Spec("test:128x64@10".to_owned());
        camera
    };
    site.fleet.apply(good.iter().map(slow).chain([bad]).collect());
    let damaged = site.wait("bad", "damaged", |status| status.report.lost > 10 && status.report.frames > 10);
    for camera in &good {
        let has_frames =
            |status: &CameraStatus| status.stats.as_ref().is_some_and(|stats| stats.acknowledged_frames >= 20);
        let status = site.wait(camera, "live", has_frames);
        assert_eq!((status.restarts, status.report.lost), (0, 0), "{status:?}");
    }
    site.wait("bad", "read on", |status| status.report.lost > damaged.report.lost);
    let (_, tally, _) = site.finish_and_check();
    let missing = |(stream, tally): (&Arc<StreamId>, &lumenbus::pipeline::tally::StreamTally)| {
        (tally.missing_frames() > 0).then(|| stream.camera.to_string())
    };
    assert_eq!(tally.streams().filter_map(missing).collect::<Vec<_>>(), ["bad"]);
}
