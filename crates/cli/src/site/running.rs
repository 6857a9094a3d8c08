//! The parts of a box, started in order and stopped in the opposite one.

use crate::commands::broker::metrics::condition;
use crate::detection::{CrewChanges, CrewStatus, Crews};
use crate::exit::Usage;
use crate::observe::{self, LOOK_INTERVAL, STATISTICS_INTERVAL, clients_of, show_publisher};
use crate::output::Output;
use crate::settings::Settings;
use crate::site::sharing::{ShareSettings, show_share};
use crate::site::{BrokerSettings, Site, TracesSettings, ViewerSettings};
use crate::studies::StudiesOptions;
use crate::viewer::{ViewerOptions, announce, configured, viewer_config};
use crate::webhook::{WebhookChanges, WebhookStatus, Webhooks};
use anyhow::Context as _;
use lumenbus_broker::{Broker, BrokerConfig, BrokerError, RunningBroker};
use lumenbus_bus::publisher::{Publisher, PublisherConfig, StreamSummary};
use lumenbus_bus::{BusConfig, FrameTracer};
use lumenbus_frame::CameraId;
use lumenbus_ops::http::{self, Server};
use lumenbus_ops::webhook::webhook_metrics;
use lumenbus_ops::{ClusterWatch, Health, Metrics, OwnDisk, Stages, State, TraceConfig, Tracing};
use lumenbus_pipeline::fleet::{CameraState, CameraStatus, Changes, Fleet, FleetConfig, FleetError, Totals};
use lumenbus_web::Viewer;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How long a clean end waits for Kafka.
const FINISH: Duration = Duration::from_secs(20);

/// What runs.
pub(crate) struct Running {
    pub(crate) bus: BusConfig,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) viewer: Option<Viewer>,
    pub(crate) broker: Option<RunningBroker>,
    crews: Crews,
    webhooks: Webhooks,
    health: Health,
    metrics: Metrics,
    stages: Stages,
    watch: Arc<ClusterWatch>,
    metrics_server: Option<Server>,
    tracing: Option<Tracing>,
}

/// How it ended.
pub(crate) struct Stopped {
    pub(crate) totals: Totals,
    pub(crate) cameras: Vec<(CameraId, Result<StreamSummary, FleetError>)>,
    pub(crate) crews: Vec<CrewStatus>,
    pub(crate) webhooks: Vec<WebhookStatus>,
}

/// What [`Running::apply`] changed.
#[derive(Debug)]
pub(crate) struct Applied {
    pub(crate) cameras: Changes,
    pub(crate) crews: CrewChanges,
    pub(crate) webhooks: WebhookChanges,
}

impl Running {
    /// Starts everything but cameras and detection, which come with [`Running::apply`]: whatever cannot start is told before
    /// any frame is published.
    pub(crate) fn start(
        site: &Site,
        settings: &Settings,
        viewer: (&ViewerOptions, &StudiesOptions),
        output: &mut Output,
    ) -> anyhow::Result<Self> {
        let mut bus = settings.bus.clone();
        bus.statistics_interval = Some(STATISTICS_INTERVAL);
        let own = site.broker.as_ref().filter(|_| !settings.has_brokers);
        let broker = own.map(start_broker).transpose()?;
        if let Some(broker) = &broker {
            bus.brokers = broker.bootstrap_servers();
        }
        match Self::start_on(bus, broker.as_ref(), site, output) {
            Ok(mut running) => {
                if let Some(broker) = &broker {
                    running.health.ask("broker", condition(broker));
                }
                running.broker = broker;
                let started = running.start_viewer(&site.viewer, settings, viewer, output);
                running.show_clients();
                // What runs is stopped cleanly, so that the next start has nothing to recover.
                match started {
                    Ok(()) => Ok(running),
                    Err(error) => running.stop().and(Err(error)),
                }
            }
            Err(error) => broker.map_or(Ok(()), stop_broker).and(Err(error)),
        }
    }

    fn start_on(
        bus: BusConfig,
        broker: Option<&RunningBroker>,
        site: &Site,
        output: &mut Output,
    ) -> anyhow::Result<Self> {
        let tracing = start_tracing(&site.traces)?;
        let mut config = PublisherConfig::new(bus.clone());
        let (metrics, health) = (Metrics::new(), Health::new());
        let stages = Stages::new(&metrics);
        config.tracer = Some(stages.tracer(tracing.clone().map(|tracing| Arc::new(tracing) as Arc<dyn FrameTracer>)));
        let publisher = Arc::new(Publisher::open(config)?);
        let fleet = Arc::new(start_fleet(site.share.as_ref(), &bus, &publisher)?);
        let tracer = tracing.clone().map(|tracing| Arc::new(tracing) as Arc<dyn FrameTracer>);
        let crews = Crews::new(bus.clone(), tracer);
        let webhooks = Webhooks::new(bus.clone());
        health.set("kafka", State::Starting);
        show_publisher(&metrics, &publisher);
        show_share(&metrics, &fleet);
        show_webhooks(&metrics, &webhooks);
        let data = broker.map(|broker| broker.data_dir().to_owned());
        let own_disk = data.map(|data| Arc::new(move || OwnDisk::of(&data)) as Arc<_>);
        let watch = Arc::new(ClusterWatch::start(bus.clone(), LOOK_INTERVAL, own_disk, &metrics)?);
        let serve = |listen| http::serve(listen, http::routes(metrics.clone(), health.clone()));
        let metrics_server = site.metrics.map(serve).transpose()?;
        if let Some(server) = &metrics_server {
            output.object("metrics", json!({ "listen": server.addr().to_string() }));
            output.result(&format!("metrics on http://{}/metrics", server.addr()));
        }
        Ok(Self {
            bus,
            fleet,
            publisher,
            viewer: None,
            broker: None,
            crews,
            webhooks,
            health,
            metrics,
            stages,
            watch,
            metrics_server,
            tracing,
        })
    }

    fn start_viewer(
        &mut self,
        site: &ViewerSettings,
        settings: &Settings,
        (options, studies): (&ViewerOptions, &StudiesOptions),
        output: &mut Output,
    ) -> anyhow::Result<()> {
        if !site.is_enabled {
            return Ok(());
        }
        let options = merged(site, options);
        let mut config = viewer_config(&options, settings)?;
        config.bus = self.bus.clone();
        let mut studies = studies.clone();
        studies.show_patient_data |= site.show_patient_data;
        config.studies = Some(studies.config("up", &self.bus));
        (config.metrics, config.health) = (self.metrics.clone(), self.health.clone());
        config.stages = self.stages.clone();
        config.health_facts = Arc::<ClusterWatch>::clone(&self.watch);
        let fleet = Arc::downgrade(&self.fleet);
        config.configured = Arc::new(move || fleet.upgrade().map_or_else(Vec::new, |fleet| configured(&fleet)));
        let viewer = Viewer::start(config).context("cannot start the viewer")?;
        announce(&viewer, &options, output);
        self.viewer = Some(viewer);
        Ok(())
    }

    /// The figures of the publisher's Kafka client, and of the viewer's where there is one.
    fn show_clients(&self) {
        let viewer = self.viewer.as_ref().map(Viewer::client_statistics);
        observe::show_clients(&self.metrics, viewer.into_iter().chain([clients_of(&self.publisher)]).collect());
    }

    /// Makes cameras, detection and webhooks as the file says.
    pub(crate) fn apply(&mut self, site: &Site) -> Applied {
        Applied {
            cameras: self.fleet.apply(site.cameras.clone()),
            crews: self.crews.apply(&site.detects),
            webhooks: self.webhooks.apply(&site.webhooks),
        }
    }

    /// How webhooks are doing.
    pub(crate) fn webhooks(&self) -> Vec<WebhookStatus> {
        self.webhooks.status()
    }

    /// How detection is doing.
    pub(crate) fn crews(&self) -> Vec<CrewStatus> {
        self.crews.status()
    }

    /// Keeps `/readyz` true to what is.
    pub(crate) fn note_health(&self, cameras: &[CameraStatus], crews: &[CrewStatus], webhooks: &[WebhookStatus]) {
        let overview = self.watch.overview();
        // Before the first look there is nothing to say.
        if self.watch.looks() > 0 {
            self.health.set("kafka", overview.reason.clone().map_or(State::Ok, State::Failed));
        }
        let is_away =
            |camera: &&CameraStatus| matches!(camera.state, CameraState::Offline { .. } | CameraState::Failed { .. });
        let away = cameras.iter().filter(is_away).count();
        let state = match away {
            0 => State::Ok,
            _ => State::Degraded(format!("{away} of {} cameras give no pictures", cameras.len())),
        };
        self.health.set("cameras", state);
        let trouble = |crew: &CrewStatus| Some(format!("{}: {}", crew.group, crew.trouble()?));
        let troubles: Vec<_> = crews.iter().filter_map(trouble).collect();
        let state = if troubles.is_empty() { State::Ok } else { State::Degraded(troubles.join("; ")) };
        self.health.set("detection", state);
        let trouble = |webhook: &WebhookStatus| Some(format!("{}: {}", webhook.name, webhook.state.trouble()?));
        let troubles: Vec<_> = webhooks.iter().filter_map(trouble).collect();
        let state = if troubles.is_empty() { State::Ok } else { State::Degraded(troubles.join("; ")) };
        self.health.set("webhooks", state);
    }

    /// Ends every stream, then what carried it.
    pub(crate) fn stop(self) -> anyhow::Result<Stopped> {
        let Self {
            bus: _,
            fleet,
            publisher,
            viewer,
            broker,
            crews,
            webhooks,
            health: _,
            metrics: _,
            stages: _,
            watch,
            metrics_server,
            tracing,
        } = self;
        let cameras = fleet.finish(FINISH);
        let totals = fleet.totals();
        drop(fleet);
        // They may have looked at the last frames; what they did not, the next start does.
        let crews = crews.stop();
        let webhooks = webhooks.stop();
        // It has shown the end of every stream.
        drop((viewer, metrics_server, watch));
        // Whoever still holds it (a camera that hangs) leaves it to the end of the process.
        if let Some(publisher) = Arc::into_inner(publisher) {
            drop(publisher.close(FINISH));
        }
        if let Some(tracing) = tracing {
            tracing.shutdown();
        }
        broker.map_or(Ok(()), stop_broker)?;
        Ok(Stopped { totals, cameras, crews, webhooks })
    }
}

/// Flag over environment over file.
fn merged(site: &ViewerSettings, options: &ViewerOptions) -> ViewerOptions {
    let mut merged = options.clone();
    merged.listen = merged.listen.or(site.listen);
    merged.token_file = merged.token_file.or_else(|| site.token_file.clone());
    merged.https = merged.https.or_else(|| site.https.clone());
    merged.allow_host.extend(site.allow_hosts.iter().cloned());
    merged
}

fn start_fleet(
    share: Option<&ShareSettings>,
    bus: &BusConfig,
    publisher: &Arc<Publisher>,
) -> Result<Fleet, FleetError> {
    let (publisher, config) = (Arc::clone(publisher), FleetConfig::new(bus.topic_prefix.clone()));
    match share {
        Some(share) => Fleet::start_shared(publisher, config, &share.config(bus)),
        None => Ok(Fleet::start(publisher, config)),
    }
}

fn show_webhooks(metrics: &Metrics, webhooks: &Webhooks) {
    let webhooks = webhooks.clone();
    webhook_metrics(metrics, move || {
        let row = |webhook: WebhookStatus| (webhook.name, webhook.stats, webhook.state);
        webhooks.status().into_iter().map(row).collect()
    });
}

fn start_tracing(settings: &TracesSettings) -> anyhow::Result<Option<Tracing>> {
    let Some(endpoint) = &settings.endpoint else { return Ok(None) };
    let mut config = TraceConfig::new(endpoint.clone());
    config.sample_ratio = settings.sample_ratio;
    Ok(Some(Tracing::start(&config).map_err(|error| Usage(format!("[traces]: {error}")))?))
}

fn stop_broker(broker: RunningBroker) -> anyhow::Result<()> {
    broker.shutdown_blocking().context("the broker could not stop cleanly; it will recover at its next start")
}

fn start_broker(settings: &BrokerSettings) -> anyhow::Result<RunningBroker> {
    let mut config = BrokerConfig::new(&settings.data).listen(settings.listen);
    config.advertised.clone_from(&settings.advertise);
    config.store.keep_free = settings.keep_free;
    settings.fsync.apply(&mut config.store);
    Broker::start_blocking(config).map_err(|error| match error {
        BrokerError::Listen { address, source } => anyhow::Error::from(source).context(format!(
            "the embedded broker cannot listen on {address}; stop what uses it, or set another address as listen in \
             [broker], or name that broker as brokers"
        )),
        other => {
            let what = format!("cannot start the embedded broker with its data in {}", settings.data.display());
            anyhow::Error::from(other).context(what)
        }
    })
}
