//! The parts of a box, started in order and stopped in the opposite one.

use crate::settings::Settings;
use crate::site::{BrokerSettings, Site};
use anyhow::Context as _;
use lumenbus_broker::{Broker, BrokerConfig, BrokerError, RunningBroker};
use lumenbus_bus::BusConfig;
use lumenbus_bus::publisher::{Publisher, PublisherConfig, StreamSummary};
use lumenbus_frame::CameraId;
use lumenbus_pipeline::fleet::{Changes, Fleet, FleetConfig, FleetError, Totals};
use std::sync::Arc;
use std::time::Duration;

/// How long a clean end waits for Kafka.
const FINISH: Duration = Duration::from_secs(20);

/// What runs.
pub(crate) struct Running {
    pub(crate) bus: BusConfig,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) publisher: Arc<Publisher>,
    pub(crate) broker: Option<RunningBroker>,
}

/// How it ended.
pub(crate) struct Stopped {
    pub(crate) totals: Totals,
    pub(crate) cameras: Vec<(CameraId, Result<StreamSummary, FleetError>)>,
}

impl Running {
    /// Starts the broker, where it is the box's own, and the publisher; cameras come with [`Running::apply`].
    pub(crate) fn start(site: &Site, settings: &Settings) -> anyhow::Result<Self> {
        let mut bus = settings.bus.clone();
        let own = site.broker.as_ref().filter(|_| !settings.has_brokers);
        let broker = own.map(start_broker).transpose()?;
        if let Some(broker) = &broker {
            bus.brokers = broker.bootstrap_servers();
        }
        let publisher = Arc::new(Publisher::open(PublisherConfig::new(bus.clone()))?);
        let config = FleetConfig::new(bus.topic_prefix.clone());
        let fleet = Arc::new(Fleet::start(Arc::clone(&publisher), config));
        Ok(Self { bus, fleet, publisher, broker })
    }

    /// Makes the cameras as the file says.
    pub(crate) fn apply(&self, site: &Site) -> Changes {
        self.fleet.apply(site.cameras.clone())
    }

    /// Ends every stream, then what carried it.
    pub(crate) fn stop(self) -> anyhow::Result<Stopped> {
        let Self { bus: _, fleet, publisher, broker } = self;
        let cameras = fleet.finish(FINISH);
        let totals = fleet.totals();
        drop(fleet);
        // Whoever still holds it (a camera that hangs) leaves it to the end of the process.
        if let Some(publisher) = Arc::into_inner(publisher) {
            drop(publisher.close(FINISH));
        }
        if let Some(broker) = broker {
            broker
                .shutdown_blocking()
                .context("the broker could not stop cleanly; it will recover at its next start")?;
        }
        Ok(Stopped { totals, cameras })
    }
}

fn start_broker(settings: &BrokerSettings) -> anyhow::Result<RunningBroker> {
    let mut config = BrokerConfig::new(&settings.data).listen(settings.listen);
    config.advertised.clone_from(&settings.advertise);
    config.store.keep_free = settings.keep_free;
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
