//! Starting and stopping.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::access::{Peer, Principal};
use super::seldom::Seldom;
use super::statistics::{Connected, add, statistics};
use super::{ApiRequests, BrokerConfig, BrokerError, BrokerStatistics, Server, connection, descriptors};

const MAX_DEFAULT_THREADS: usize = 4;
/// Pause after the system refused a connection (usually: no file descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Committed offsets are looked over once in so many rounds of housekeeping.
const EXPIRY_ROUNDS: u64 = 600;

/// Starts brokers.
#[derive(Debug)]
pub struct Broker;

impl Broker {
    /// Opens the logs, listens, and serves clients on threads of its own, until
    /// [`RunningBroker::shutdown`] or until the value is dropped.
    ///
    /// # Errors
    /// [`BrokerError`] when the address or the data directory cannot be used.
    pub async fn start(config: BrokerConfig) -> Result<RunningBroker, BrokerError> {
        let started = spawn_blocking(|| Self::start_blocking(config)).await;
        started.map_err(|_| BrokerError::Stopped)?
    }

    /// The same for callers without an async runtime. Must not be called on one.
    ///
    /// # Errors
    /// As for [`Broker::start`].
    pub fn start_blocking(config: BrokerConfig) -> Result<RunningBroker, BrokerError> {
        Self::start_by(config, Server::open)
    }

    fn start_by(
        mut config: BrokerConfig,
        open: impl FnOnce(BrokerConfig, (String, u16)) -> Result<Server, BrokerError>,
    ) -> Result<RunningBroker, BrokerError> {
        config.limits.max_connections = descriptors::bound_connections(config.limits.max_connections);
        let runtime = runtime(&config).map_err(|source| BrokerError::Threads { source })?;
        let (listener, address) = listen(&runtime, config.listen)?;
        let advertised = advertised(&config, address);
        let server = Arc::new(open(config, advertised)?);
        let (life, watched) = watch::channel(Life::Serving);
        let serving = runtime.spawn(serve(Arc::clone(&server), listener, life));
        tracing::info!(%address, data = %server.config.store.data_dir.display(), "broker listens");
        let life = Watched(watched);
        Ok(RunningBroker { address, server, life, serving: Some(serving), runtime: Some(runtime) })
    }
}

/// Where a broker is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Serving,
    /// It was told to stop.
    Stopped,
    /// Something it cannot do without has ended.
    Failed,
}

/// The life of a broker as others see it.
#[derive(Debug, Clone)]
struct Watched(watch::Receiver<Life>);

impl Watched {
    fn now(&self) -> Life {
        let told = *self.0.borrow();
        // Nobody is left to tell: the task that serves has panicked.
        let is_gone = self.0.has_changed().is_err();
        if told == Life::Serving && is_gone { Life::Failed } else { told }
    }

    async fn end(&mut self) -> Life {
        // An error means that the task is gone.
        let _ = self.0.wait_for(|life| *life != Life::Serving).await;
        self.now()
    }
}

fn runtime(config: &BrokerConfig) -> io::Result<Runtime> {
    let processors = available_parallelism().map_or(1, usize::from);
    let threads = config.worker_threads.unwrap_or(processors.min(MAX_DEFAULT_THREADS));
    Builder::new_multi_thread().worker_threads(threads.max(1)).thread_name("broker").enable_all().build()
}

fn listen(runtime: &Runtime, address: SocketAddr) -> Result<(TcpListener, SocketAddr), BrokerError> {
    let _context = runtime.enter();
    let bound = || -> io::Result<(TcpListener, SocketAddr)> {
        let listener = StdListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        Ok((TcpListener::from_std(listener)?, address))
    };
    bound().map_err(|source| BrokerError::Listen { address, source })
}

/// The address clients are told: that of this machine's loopback when we listen on all addresses
/// and nothing else was configured.
fn advertised(config: &BrokerConfig, address: SocketAddr) -> (String, u16) {
    if let Some((host, port)) = &config.advertised {
        let port = if *port == 0 { address.port() } else { *port };
        return (host.clone(), port);
    }
    if address.ip().is_unspecified() {
        tracing::warn!("listening on all addresses but clients are told 127.0.0.1; set the advertised address");
        return (Ipv4Addr::LOCALHOST.to_string(), address.port());
    }
    (address.ip().to_string(), address.port())
}

/// A broker that serves clients. Dropping it stops it without waiting, as a crash would; the next
/// start recovers.
#[derive(Debug)]
pub struct RunningBroker {
    address: SocketAddr,
    server: Arc<Server>,
    life: Watched,
    serving: Option<JoinHandle<Result<(), BrokerError>>>,
    runtime: Option<Runtime>,
}

impl RunningBroker {
    /// The address it listens on.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// `host:port` for a client's `bootstrap.servers`.
    #[must_use]
    pub fn bootstrap_servers(&self) -> String {
        let (host, port) = &self.server.advertised;
        match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        }
    }

    /// The folder of its logs.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.server.config.store.data_dir
    }

    /// The APIs it speaks, and how often each version was asked for since the start.
    #[must_use]
    pub fn requests(&self) -> Vec<ApiRequests> {
        self.server.requests.snapshot()
    }

    /// How it is doing. Asks the file system, so it belongs on a thread that may block.
    #[must_use]
    pub fn statistics(&self) -> BrokerStatistics {
        statistics(&self.server)
    }

    /// Asks for [`RunningBroker::statistics`] without holding the broker: `None` once it has ended.
    pub fn observer(&self) -> impl Fn() -> Option<BrokerStatistics> + Send + Sync + use<> {
        let server = Arc::downgrade(&self.server);
        let life = self.life.clone();
        move || match life.now() {
            Life::Serving => server.upgrade().map(|server| statistics(&server)),
            Life::Stopped | Life::Failed => None,
        }
    }

    /// Completes when the broker has ended by itself, which it does only after a fault.
    pub async fn wait(&self) {
        self.life.clone().end().await;
    }

    /// Whether it has ended by itself. A shutdown then says why.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.life.now() == Life::Failed
    }

    /// Calls `tell` on a thread of the broker's if it ends by itself.
    pub fn on_failure(&self, tell: impl FnOnce() + Send + 'static) {
        let mut life = self.life.clone();
        let watch = async move {
            if life.end().await == Life::Failed {
                tell();
            }
        };
        if let Some(runtime) = &self.runtime {
            runtime.spawn(watch);
        }
    }

    /// Clean stop: no new connections, requests in progress are answered, logs are flushed and
    /// marked clean, so that the next start has nothing to recover.
    ///
    /// # Errors
    /// [`BrokerError`] when the logs could not be closed; the next start then recovers them.
    pub async fn shutdown(mut self) -> Result<(), BrokerError> {
        self.server.tell_to_stop();
        let result = match self.serving.take() {
            Some(serving) => serving.await.unwrap_or(Err(BrokerError::Stopped)),
            None => Err(BrokerError::Stopped),
        };
        drop(self);
        result
    }

    /// [`RunningBroker::shutdown`] for callers without an async runtime. Must not be called on one.
    ///
    /// # Errors
    /// As for [`RunningBroker::shutdown`].
    pub fn shutdown_blocking(mut self) -> Result<(), BrokerError> {
        self.server.tell_to_stop();
        match (self.runtime.take(), self.serving.take()) {
            (Some(runtime), Some(serving)) => {
                let result = runtime.block_on(serving);
                runtime.shutdown_background();
                result.unwrap_or(Err(BrokerError::Stopped))
            }
            _ => Err(BrokerError::Stopped),
        }
    }
}

impl Drop for RunningBroker {
    fn drop(&mut self) {
        // Waiting for the threads would block, which is forbidden on an async caller's thread.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(server: Arc<Server>, listener: TcpListener, life: watch::Sender<Life>) -> Result<(), BrokerError> {
    let mut timer = {
        let server = Arc::clone(&server);
        tokio::spawn(async move { server.groups.run().await })
    };
    let mut housekeeping = tokio::spawn(keep_house(Arc::clone(&server)));
    let mut connections = JoinSet::new();
    let ended = tokio::select! {
        () = server.stopping() => None,
        _ = &mut timer => Some("the clock of the groups"),
        _ = &mut housekeeping => Some("housekeeping"),
        () = accept(&server, &listener, &mut connections) => Some("listening"),
    };
    drop(listener);
    timer.abort();
    // A stop ends the housekeeping as well, and perhaps before this task hears of it.
    if let Some(ended) = ended.filter(|_| !server.is_stopping()) {
        tracing::error!("{ended} has ended by a fault; the broker ends as well, and recovers at its next start");
        server.tell_to_stop();
        drain(&server, &mut connections).await;
        life.send_replace(Life::Failed);
        return Err(BrokerError::Stopped);
    }
    drain(&server, &mut connections).await;
    if !housekeeping.is_finished() {
        let _ = housekeeping.await;
    }
    let closing = Arc::clone(&server);
    let closed = spawn_blocking(move || closing.store.close()).await;
    life.send_replace(Life::Stopped);
    match closed {
        Ok(closed) => {
            closed?;
            tracing::info!("broker stopped cleanly");
            Ok(())
        }
        Err(_) => Err(BrokerError::Stopped),
    }
}

/// What peers can cause to be logged, kind by kind.
#[derive(Debug, Default)]
struct Notices {
    refused: Seldom,
    not_accepted: Seldom,
    closed: Seldom,
}

async fn accept(server: &Arc<Server>, listener: &TcpListener, connections: &mut JoinSet<()>) {
    let notices = Arc::new(Notices::default());
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = connections.join_next() => continue,
        };
        match accepted {
            Ok((_, address)) if connections.len() >= server.limits.max_connections => {
                add(&server.counters.refused_connections, 1);
                if let Some(left_out) = notices.refused.due() {
                    tracing::warn!(%address, left_out, "connection refused: max_connections is reached");
                }
            }
            Ok((stream, address)) => {
                connections.spawn(converse(Arc::clone(server), Arc::clone(&notices), stream, address));
            }
            Err(error) => {
                if let Some(left_out) = notices.not_accepted.due() {
                    tracing::warn!(%error, left_out, "cannot accept a connection");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(server: Arc<Server>, notices: Arc<Notices>, stream: TcpStream, address: SocketAddr) {
    tracing::debug!(%address, "connected");
    let counted = Arc::clone(&server);
    let _connected = Connected::new(&counted.counters);
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%address, %error, "cannot set TCP_NODELAY");
    }
    let peer = Peer { address, principal: Principal::Anonymous };
    let (reader, writer) = stream.into_split();
    let ended = connection::serve(server, peer, reader, writer).await;
    match ended.is_suspicious().then(|| notices.closed.due()).flatten() {
        Some(left_out) => tracing::warn!(%address, reason = %ended, left_out, "connection closed"),
        None => tracing::debug!(%address, reason = %ended, "connection closed"),
    }
}

/// Lets connections finish what they are at, but not for ever.
async fn drain(server: &Server, connections: &mut JoinSet<()>) {
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(server.config.drain_timeout, all).await.is_err() {
        tracing::warn!(open = connections.len(), "connections cut at the stop");
        connections.shutdown().await;
    }
}

/// Retention, compaction, flushing and expiry, one round at a time on a thread that may block.
async fn keep_house(server: Arc<Server>) {
    let mut ticks = interval(server.config.housekeeping_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for round in 0_u64.. {
        tokio::select! {
            _ = ticks.tick() => {}
            () = server.stopping() => return,
        }
        let server = Arc::clone(&server);
        let done = spawn_blocking(move || house_round(&server, round)).await;
        if done.is_err() {
            // A round that panics would do so again, and nothing behind it be flushed or expire.
            tracing::error!("housekeeping failed");
            return;
        }
    }
}

fn house_round(server: &Server, round: u64) {
    let now_ms = server.now_ms();
    let report = server.store.run_housekeeping(now_ms);
    server.counters.kept_house(&report);
    for error in &report.errors {
        tracing::error!(error, "housekeeping");
    }
    if report.expired_segments + report.space_segments > 0 {
        tracing::info!(expired = report.expired_segments, for_space = report.space_segments, "segments deleted");
    }
    server.transactions.tick(server.world());
    if round % EXPIRY_ROUNDS == EXPIRY_ROUNDS - 1 {
        server.transactions.expire(server.world());
        expire_offsets(server, now_ms);
    }
}

fn expire_offsets(server: &Server, now_ms: i64) {
    let kept_ms = server.config.groups.offsets_retention.as_millis();
    let before_ms = now_ms.saturating_sub(i64::try_from(kept_ms).unwrap_or(i64::MAX));
    if let Err(error) = server.groups.expire(before_ms, now_ms) {
        tracing::error!(%error, "committed offsets cannot be expired");
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
