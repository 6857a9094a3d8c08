//! Starting the demo's parts, as many at a time as can be, and ending them so that the books can be closed.

use crate::demo::books::{AgainstJpeg, Books, DetectionBook, Stretch, shown_stretches};
use crate::demo::broker::BrokerChild;
use crate::demo::buttons::Buttons;
use crate::demo::cameras::{self, FLOWER, PLAZA_FPS, PLAZA_H264, PLAZA_JPEG};
use crate::demo::judge::{Judge, Meters};
use crate::demo::reader::{Ledger, Reader};
use crate::demo::stage::{Stage, Tender};
use crate::detection::{CrewStatus, Crews, DetectOptions};
use crate::observe::{STATISTICS_INTERVAL, clients_of, show_clients, show_publisher};
use crate::settings::Settings;
use crate::viewer::configured;
use anyhow::{Context as _, bail};
use lumenbus_bus::publisher::StreamSummary;
use lumenbus_bus::topics::{self, Cluster, Growth, PlanOptions};
use lumenbus_bus::{BusConfig, Publisher, PublisherConfig};
use lumenbus_ops::{ClusterWatch, OwnDisk, Stages};
use lumenbus_pipeline::fleet::{CameraConfig, Fleet, FleetConfig};
use lumenbus_web::{ComparedSsim, Comparison, QualityJudge, Viewer, ViewerConfig, ViewerSnapshot};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

/// What the demo writes to.
const FRAME_TOPICS: [&str; 2] = ["raw_video", "raw_images"];
/// The data lies in a temporary folder: what is older goes, in segments of a minute.
const RETENTION_MILLIS: i64 = 10 * 60 * 1_000;
const SEGMENT_MILLIS: i64 = 60 * 1_000;
/// For what was published to arrive after the end.
const FINISH: Duration = Duration::from_secs(20);

/// The first table does not wait longer than this.
const SETTLE: Duration = Duration::from_secs(3);
/// How often the health screen's facts are looked up.
const LOOK_INTERVAL: Duration = Duration::from_secs(3);

/// The demo while it runs.
pub(crate) struct Demo {
    began: Instant,
    bus: BusConfig,
    stage: Arc<Stage>,
    reader: Reader,
    viewer: Viewer,
    /// From the start of the command until the page could be opened.
    viewer_after: Duration,
    publisher: Arc<Publisher>,
    tender: Tender,
    judge: Judge,
    /// Nobody, where it is not wanted.
    crews: Crews,
    cameras: usize,
}

impl Demo {
    /// Starts broker, topics, viewer, cameras and reader; `began` is when the command did.
    ///
    /// `on_viewer` is told of the viewer as soon as it is there: a browser takes a while to start.
    pub(crate) fn start(
        began: Instant,
        settings: &Settings,
        mut viewer: ViewerConfig,
        detection: &[DetectOptions],
        on_viewer: impl FnOnce(&Viewer),
    ) -> anyhow::Result<Self> {
        let (ended, ends) = sync_channel(1);
        let broker = BrokerChild::start(ended.clone())?;
        let bus = bus(settings, &broker);
        let slow_camera = (cameras::id(FLOWER), bus.topic_prefix.topic(FRAME_TOPICS[0]));
        let stage = Arc::new(Stage::new(bus.clone(), broker, slow_camera));
        tracing::debug!(after = ?began.elapsed(), "the broker is ready");
        let cameras = cameras::cameras();
        let count = cameras.len();
        let meters = Arc::<Meters>::default();
        equip(&mut viewer, &bus, &stage, &cameras, &meters)?;
        let (metrics, stages) = (viewer.metrics.clone(), viewer.stages.clone());
        let viewer = Viewer::start(viewer).context("cannot start the viewer")?;
        let viewer_after = began.elapsed();
        // Now already: a browser takes longer to come than all that follows.
        on_viewer(&viewer);
        let publisher = open_publisher(&bus, &stages)?;
        show_publisher(&metrics, &publisher);
        show_clients(&metrics, vec![clients_of(&publisher), viewer.client_statistics()]);
        tracing::debug!(after = ?began.elapsed(), "topics and publisher are ready");
        let fleet = Fleet::start(Arc::clone(&publisher), FleetConfig::new(bus.topic_prefix.clone()));
        if let Some((camera, error)) = fleet.apply(cameras).refused.into_iter().next() {
            return Err(anyhow::Error::new(error).context(format!("the demo's camera {camera} cannot be used")));
        }
        stage.set_fleet(fleet);
        // The cameras need not wait for it: it begins with the first record.
        let reader = Reader::open(&bus, FRAME_TOPICS.map(|topic| bus.topic_prefix.topic(topic)).to_vec())?;
        tracing::debug!(after = ?began.elapsed(), "cameras and reader are ready");
        let tender = Tender::start(&stage, ended, ends).context("cannot watch the broker")?;
        let judge = Judge::start(&bus, FRAME_TOPICS.map(|topic| bus.topic_prefix.topic(topic)).to_vec(), meters)?;
        // The last to come: it must not keep a picture from being shown.
        let mut crews = Crews::new(bus.clone(), None);
        if let Some((_, why)) = crews.apply(detection).refused.first() {
            bail!("detection cannot begin: {why}");
        }
        Ok(Self { began, bus, stage, reader, viewer, viewer_after, publisher, tender, judge, crews, cameras: count })
    }

    /// Whether every camera has given something, or should have: encoders write to the terminal when they begin.
    pub(crate) fn is_settled(&self) -> bool {
        self.began.elapsed() > SETTLE || self.reader.ledger().tally.streams().count() >= self.cameras
    }

    /// Where its broker is.
    pub(crate) fn brokers(&self) -> &str {
        &self.bus.brokers
    }

    /// What can be done to it.
    pub(crate) fn stage(&self) -> &Arc<Stage> {
        &self.stage
    }

    /// What was read so far.
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// The page.
    pub(crate) fn viewer(&self) -> &Viewer {
        &self.viewer
    }

    /// How detection is doing.
    pub(crate) fn crews(&self) -> Vec<CrewStatus> {
        self.crews.status()
    }

    /// How long frames took for each part of the way to the reader, and until they were acknowledged.
    pub(crate) fn stretches(&self, ledger: &Ledger) -> Vec<Stretch> {
        let acknowledged = Stretch::acknowledged(&self.publisher.stats().ack_latency);
        ledger.stretches().into_iter().chain(acknowledged).collect()
    }

    /// How close the two streams that are compared come to their footage; `None` until that is known.
    pub(crate) fn ssim(&self) -> Option<ComparedSsim> {
        self.judge.ssim()
    }

    /// From the start of the command until a browser had shown a picture.
    pub(crate) fn first_shown(&self, snapshot: &ViewerSnapshot) -> Option<Duration> {
        snapshot.first_shown.map(|after| self.viewer_after + after)
    }

    /// Ends every stream, waits until everything was read, and takes the parts away.
    pub(crate) fn finish(self) -> Books {
        let snapshot = self.viewer.snapshot();
        let first_shown = self.first_shown(&snapshot);
        // Of the streams that are open.
        let acknowledged = Stretch::acknowledged(&self.publisher.stats().ack_latency);
        let ssim = self.ssim();
        let Self { began, stage, reader, viewer, publisher, tender, judge, crews, .. } = self;
        let lasted = began.elapsed();
        drop(tender);
        drop(judge);
        stage.detach_slow_reader();
        stage.ensure_broker(FINISH);
        let detection = crews.stop().first().map(DetectionBook::of);
        let (summaries, mut failures) = end_streams(&stage);
        if !reader.wait_for_ends(summaries.iter(), FINISH) {
            failures.push(("reader".to_owned(), "it did not see the end of every stream in time".to_owned()));
        }
        viewer.close();
        // The last one who has it closes it; without a broker it would only worry.
        drop(publisher);
        let ledger = reader.ledger();
        if let Some(error) = &ledger.failure {
            failures.push(("reader".to_owned(), error.to_string()));
        }
        let streams = Books::balance(&summaries, &ledger.tally);
        let stretches = ledger.stretches().into_iter().chain(acknowledged).chain(shown_stretches(&snapshot)).collect();
        let books = Books {
            lasted,
            against_jpeg: AgainstJpeg::of(&streams, PLAZA_H264, PLAZA_JPEG, PLAZA_FPS, ssim),
            streams,
            failures,
            slow: stage.slow_books(),
            broker_kills: stage.kills(),
            detection,
            slowest_recovery: stage.slowest_recovery(),
            stretches,
            first_frame: ledger.first_frame.map(|at| at.duration_since(began)),
            first_shown,
            program: program(),
        };
        drop(ledger);
        drop(reader);
        stage.stop_broker();
        books
    }
}

/// The publisher, and what it writes to.
fn open_publisher(bus: &BusConfig, stages: &Stages) -> anyhow::Result<Arc<Publisher>> {
    let mut config = PublisherConfig::new(bus.clone());
    config.tracer = Some(stages.tracer(None));
    let (publisher, topics) = std::thread::scope(|scope| {
        let publisher = scope.spawn(|| Publisher::open(config));
        let topics = create_topics(bus);
        (publisher.join(), topics)
    });
    topics?;
    let Ok(publisher) = publisher else { bail!("the publisher could not be opened: its thread panicked") };
    Ok(Arc::new(publisher?))
}

/// Gives the viewer what only the demo has: buttons, facts, figures.
fn equip(
    viewer: &mut ViewerConfig,
    bus: &BusConfig,
    stage: &Arc<Stage>,
    cameras: &[CameraConfig],
    meters: &Arc<Meters>,
) -> anyhow::Result<()> {
    viewer.bus = bus.clone();
    viewer.title = "lumenbus demo".to_owned();
    let ids = cameras.iter().map(|camera| camera.id.clone()).collect();
    viewer.actions = Some(Arc::new(Buttons::new(Arc::clone(stage), ids)));
    let judge: Arc<dyn QualityJudge> = Arc::<Meters>::clone(meters);
    let (coded, jpeg) = (cameras::id(PLAZA_H264), cameras::id(PLAZA_JPEG));
    viewer.comparison = Some(Comparison { coded, jpeg, judge: Some(judge) });
    let folder = stage.folder();
    let disk = Arc::new(move || OwnDisk::of(&folder));
    let watch = ClusterWatch::start(bus.clone(), LOOK_INTERVAL, Some(disk), &viewer.metrics);
    viewer.health_facts = Arc::new(watch.context("cannot watch the broker")?);
    let stage = Arc::downgrade(stage);
    let configured =
        move || stage.upgrade().and_then(|stage| stage.fleet()).map_or_else(Vec::new, |fleet| configured(&fleet));
    viewer.configured = Arc::new(configured);
    Ok(())
}

/// Ends every stream; how it went, and which did not end as it should.
fn end_streams(stage: &Stage) -> (Vec<StreamSummary>, Vec<(String, String)>) {
    let (mut summaries, mut failures) = (Vec::new(), Vec::new());
    let Some(fleet) = stage.take_fleet() else { return (summaries, failures) };
    for (camera, ended) in fleet.finish(FINISH) {
        match ended {
            Ok(summary) => {
                if !summary.is_end_written {
                    let open = summary.unresolved_frames;
                    failures.push((camera.to_string(), format!("its end is not in the log, {open} frames are open")));
                }
                summaries.push(summary);
            }
            Err(error) => failures.push((camera.to_string(), error.to_string())),
        }
    }
    (summaries, failures)
}

/// The demo's own broker needs neither encryption nor passwords, whatever is set for the one of every day.
fn bus(settings: &Settings, broker: &BrokerChild) -> BusConfig {
    let mut bus = BusConfig::new(broker.address().to_string());
    bus.topic_prefix = settings.bus.topic_prefix.clone();
    bus.profile = settings.bus.profile;
    bus.statistics_interval = Some(STATISTICS_INTERVAL);
    let is_about_access = |name: &str| ["security.", "sasl.", "ssl."].iter().any(|part| name.starts_with(part));
    let properties = settings.bus.properties.iter().filter(|(name, _)| !is_about_access(name));
    bus.properties = properties.map(|(name, value)| (name.clone(), value.clone())).collect();
    bus
}

fn create_topics(bus: &BusConfig) -> anyhow::Result<()> {
    let cluster = Cluster::open(bus).context("the demo's broker does not answer")?;
    let options = PlanOptions { frame_retention_millis: Some(RETENTION_MILLIS), ..PlanOptions::default() };
    let mut plan = topics::plan(cluster.facts(), &bus.topic_prefix, &options);
    let wanted = FRAME_TOPICS.iter().chain(&[topics::CAMERAS]).map(|topic| bus.topic_prefix.topic(topic));
    let wanted: Vec<String> = wanted.map(|topic| topic.as_str().to_owned()).collect();
    plan.topics.retain(|topic| wanted.contains(&topic.name));
    for topic in &mut plan.topics {
        if topic.configs.contains_key("retention.ms") {
            topic.configs.insert("segment.ms", SEGMENT_MILLIS.to_string());
        }
    }
    topics::apply(&cluster, &plan, Growth::Keep)?;
    Ok(())
}

/// This program's name as it was typed: what is printed can be typed again.
fn program() -> String {
    let typed = std::env::args().next().filter(|typed| !typed.is_empty() && !typed.contains(' '));
    typed.unwrap_or_else(|| "lumenbus".to_owned())
}
