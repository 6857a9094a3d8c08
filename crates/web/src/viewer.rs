//! The viewer as a whole: starts, says where it is, stops.

use crate::config::ViewerConfig;
use crate::error::ViewerError;
use crate::feed::{FeedConfig, Feeds};
use crate::http::{App, AppParts, Hosts, Server, listen, router};
use crate::hub::{Hub, ViewerSnapshot};
use crate::recordings::Recordings;
use crate::studies::Studies;
use crate::tls::{Tls, machine_name};
use crate::token::Token;
use lumenbus_bus::ClientStatistics;
use lumenbus_ops::{Health, State, SubscriberMetrics};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

const WORKERS: usize = 2;
const BLOCKING_WORKERS: usize = 8;
/// Figures and states are told this often.
const TICK: Duration = Duration::from_secs(1);
/// Changes of the list that come together are told together. Nothing announces the last one of a burst: only time tells.
const GATHER: Duration = Duration::from_millis(50);
/// How long clients may take to hear that the viewer stops.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// A running viewer; it stops when dropped, which may take a second and must not happen on an async runtime.
pub struct Viewer {
    hub: Arc<Hub>,
    address: SocketAddr,
    token: Option<Token>,
    fingerprint: Option<String>,
    is_tls: bool,
    closing: watch::Sender<bool>,
    feeds: Feeds,
    subscribers: SubscriberMetrics,
    recordings: Arc<Recordings>,
    studies: Option<Arc<Studies>>,
    runtime: Option<Runtime>,
}

impl fmt::Debug for Viewer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Viewer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Viewer {
    /// Listens and begins to read; a broker that is away is waited for.
    ///
    /// # Errors
    /// A port in use, a certificate that cannot be used, or an address beyond loopback without a token.
    pub fn start(config: ViewerConfig) -> Result<Self, ViewerError> {
        if config.token.is_none() && !config.listen.ip().is_loopback() {
            return Err(ViewerError::TokenMissing { listen: config.listen });
        }
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(WORKERS)
            .max_blocking_threads(BLOCKING_WORKERS)
            .thread_name("viewer")
            .enable_all()
            .build()
            .map_err(|source| ViewerError::Thread { source })?;
        let tls = config.tls.as_ref().map(|tls| Tls::set_up(tls, config.listen.ip())).transpose()?;
        let listener = {
            let _on = runtime.enter();
            listen(&config)?
        };
        let address = listener.local_addr().unwrap_or(config.listen);
        let hub = Arc::new(Hub::new(&config));
        let subscribers = SubscriberMetrics::new(&config.metrics);
        let feeds = Feeds::start(Arc::clone(&hub), feed_config(&config, &subscribers))
            .map_err(|source| ViewerError::Thread { source })?;
        let (closing, is_closing) = watch::channel(false);
        let recordings = Arc::new(Recordings::new(config.bus.clone()));
        let studies = config.studies.as_ref().map(|studies| Studies::start(&config.bus, studies)).transpose();
        let studies = studies.map_err(|source| ViewerError::Thread { source })?;
        let app = Arc::new(App::new(AppParts {
            hub: Arc::clone(&hub),
            title: config.title,
            token: config.token.clone(),
            hosts: Hosts::new(config.allowed_hosts.into_iter().chain(machine_names())),
            is_tls: tls.is_some(),
            actions: config.actions,
            facts: config.health_facts,
            closing: is_closing.clone(),
            recordings: Arc::clone(&recordings),
            studies: studies.clone(),
        }));
        runtime.spawn(keep_figures(Arc::clone(&app), config.configured, config.health.clone()));
        runtime.spawn(keep_list(Arc::clone(&hub)));
        let acceptor = tls.as_ref().map(|tls| tls.acceptor.clone());
        let server = Server::new(
            router(app, lumenbus_ops::http::routes(config.metrics, config.health)),
            acceptor,
            config.limits,
            is_closing,
        );
        runtime.spawn(server.run(listener));
        let fingerprint = tls.as_ref().filter(|tls| tls.is_self_signed).map(|tls| tls.fingerprint.clone());
        let is_tls = tls.is_some();
        Ok(Self {
            hub,
            address,
            token: config.token,
            fingerprint,
            is_tls,
            closing,
            feeds,
            subscribers,
            recordings,
            studies,
            runtime: Some(runtime),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The page's address, with the token.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_at(&shown_host(self.address.ip()))
    }

    fn url_at(&self, host: &str) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        let token = self.token.as_ref().map(|token| format!("?token={}", token.secret())).unwrap_or_default();
        format!("{scheme}://{host}:{}/{token}", self.address.port())
    }

    /// What to tell the user at the start: the address, the certificate's fingerprint, the way in from elsewhere.
    #[must_use]
    pub fn start_message(&self) -> String {
        let (port, machine) = (self.address.port(), machine_name().unwrap_or_else(|| "MACHINE".to_owned()));
        let mut lines = vec![format!("viewer on {}", self.url())];
        if self.address.ip().is_unspecified() {
            lines.push(format!("  from elsewhere: {}", self.url_at(&machine)));
        }
        if let Some(fingerprint) = &self.fingerprint {
            lines.push(
                "  the certificate is the viewer's own; before you accept it, compare its SHA-256 fingerprint:"
                    .to_owned(),
            );
            lines.push(format!("  {fingerprint}"));
        }
        let here = if self.address.ip().is_unspecified() { Ipv4Addr::LOCALHOST.into() } else { self.address.ip() };
        if self.address.ip().is_loopback() || !self.is_tls {
            let token = self.token.as_ref().map(|token| format!("?token={}", token.secret())).unwrap_or_default();
            let scheme = if self.is_tls { "https" } else { "http" };
            let host = bracketed(here);
            lines.push(format!("  from another computer: ssh -L {port}:{host}:{port} {machine}"));
            lines.push(format!("  and there open {scheme}://localhost:{port}/{token}"));
        }
        lines.join("\n")
    }

    /// The Kafka clients' own figures, for `lumenbus_ops::client_metrics`; empty without `BusConfig::statistics_interval`.
    #[must_use]
    pub fn client_statistics(&self) -> Arc<dyn Fn() -> Vec<Arc<ClientStatistics>> + Send + Sync> {
        let subscribers = self.subscribers.clone();
        Arc::new(move || subscribers.sample().map(|sample| sample.clients).unwrap_or_default())
    }

    /// Everything at one moment.
    #[must_use]
    pub fn snapshot(&self) -> ViewerSnapshot {
        self.hub.snapshot()
    }

    /// Stops reading, tells clients, and ends its threads.
    pub fn close(mut self) {
        self.stop();
    }

    fn stop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        self.closing.send_replace(true);
        self.recordings.close();
        if let Some(studies) = &self.studies {
            studies.close();
        }
        self.feeds.close();
        runtime.shutdown_timeout(CLOSE_TIME);
    }
}

impl Drop for Viewer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn feed_config(config: &ViewerConfig, metrics: &SubscriberMetrics) -> FeedConfig {
    FeedConfig {
        bus: config.bus.clone(),
        cameras: config.cameras.clone(),
        buffer_bytes: config.limits.feed_bytes,
        max_frame_bytes: config.limits.max_frame_bytes,
        tracer: config.tracer.clone(),
        metrics: metrics.clone(),
    }
}

fn machine_names() -> Vec<String> {
    let names = machine_name().into_iter().flat_map(|name| [format!("{name}.local"), name]);
    names.collect()
}

/// A host that can be opened: nobody can connect to "any address".
fn shown_host(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) if address.is_unspecified() => bracketed(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(address) if address.is_unspecified() => bracketed(Ipv6Addr::LOCALHOST.into()),
        address => bracketed(address),
    }
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}

type Configured = Arc<dyn Fn() -> Vec<crate::ConfiguredCamera> + Send + Sync>;

async fn keep_figures(app: Arc<App>, configured: Configured, health: Health) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        app.hub.configured(&configured());
        app.hub.tick(&app.action_list());
        health.set("viewer", app.hub.disconnected().map_or(State::Ok, State::Degraded));
    }
}

async fn keep_list(hub: Arc<Hub>) {
    loop {
        hub.changed().await;
        tokio::time::sleep(GATHER).await;
        hub.tell_streams();
    }
}
