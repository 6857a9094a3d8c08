//! The writing side: a bounded queue, and a thread that appends what waits in it as whole transactions.

use super::chain::{Link, StateFile, Tail, go_on_from, seal};
use super::event::Source;
use super::key::SigningKey;
use super::{AuditError, AuditEvent};
use bytes::Bytes;
use lumenbus_bus::journal::{JournalReader, JournalWriter};
use lumenbus_bus::topics::AUDIT;
use lumenbus_bus::{BusConfig, BusError};
use lumenbus_wire::audit::{AUDIT_CONTENT_TYPE, AuditBody, Hash, is_instance_name};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

/// Most records in a transaction, and the bytes after which no further one is added.
const MAX_BATCH: usize = 256;
const MAX_BATCH_BYTES: usize = 512 * 1024;
/// What a record in the queue takes at least.
const RECORD_BYTES: usize = 512;
/// Pauses after a failure: the first, doubling to the last.
const FIRST_REST: Duration = Duration::from_millis(50);
const LAST_REST: Duration = Duration::from_secs(2);

/// Where a writer's trail goes, and what it may cost.
#[derive(Debug, Clone)]
pub struct AuditConfig {
    /// Kafka.
    pub bus: BusConfig,
    /// Folder of the instance's key and state; made for its owner alone where it is missing. It has to outlive the
    /// process: a chain that lost its key ends.
    pub keys: PathBuf,
    /// Name of the instance, 1 to 64 characters of `A-Z a-z 0-9 . _ -`: one per process that runs at a time, the same after
    /// a restart. No patient data, no secret.
    pub instance: String,
    /// Program and version, such as `lumenbus 0.1.0 dicom send`.
    pub program: String,
    /// Bytes of records that may wait.
    pub queue_bytes: usize,
    /// How long a record may wait for its confirmation before whoever needs it hears that it failed.
    pub patience: Duration,
}

impl AuditConfig {
    /// With 8 MiB of queue and 30 seconds of patience.
    #[must_use]
    pub fn new(bus: BusConfig, keys: impl Into<PathBuf>, instance: &str) -> Self {
        Self {
            bus,
            keys: keys.into(),
            instance: instance.to_owned(),
            program: concat!("lumenbus ", env!("CARGO_PKG_VERSION")).to_owned(),
            queue_bytes: 8 << 20,
            patience: Duration::from_secs(30),
        }
    }
}

/// What happens when the trail cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// The caller hears of it and does not do what it wanted to (fail closed).
    Required,
    /// It is counted, and the instance's next record says how many are missing.
    BestEffort,
}

/// Where a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The record's number in the instance's chain.
    pub sequence: u64,
    /// Its hash.
    pub hash: Hash,
}

/// What a writer has done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AuditCounts {
    /// Records that Kafka confirmed.
    pub written: u64,
    /// Best-effort records that were given up.
    pub lost: u64,
    /// Required records that were given up; their callers know.
    pub refused: u64,
    /// Records that wait.
    pub waiting: u64,
    /// Transactions that failed and were looked into.
    pub failures: u64,
}

/// Writes an instance's audit trail. Threads may share it.
///
/// Opening needs no broker: a thread opens the log, finds the chain's end and goes on from there.
///
/// ```no_run
/// use lumenbus_bus::BusConfig;
/// use lumenbus_ops::audit::{Action, Actor, AuditConfig, AuditEvent, AuditWriter, Need, ObjectKind};
///
/// let audit = AuditWriter::open(AuditConfig::new(BusConfig::new("127.0.0.1:9092"), "keys", "gateway-1"))?;
/// let received = AuditEvent::new(Action::Receive, Actor::ae_title("CT_1"))
///     .object(ObjectKind::SopInstance, "1.2.840.113619.2.1")
///     .peer("10.0.0.7:41122")
///     .detail("bytes", 39_205);
/// // Success is told to the sender only when this has returned.
/// audit.record(received, Need::Required)?.wait()?;
/// # Ok::<(), lumenbus_ops::audit::AuditError>(())
/// ```
#[derive(Debug)]
pub struct AuditWriter {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A record on its way.
#[derive(Debug)]
#[must_use = "a record that is required is waited for"]
pub struct AuditTicket {
    cell: Arc<Cell>,
    shared: Arc<Shared>,
    deadline: Instant,
}

#[derive(Debug)]
struct Shared {
    source: Source,
    queue_bytes: usize,
    patience: Duration,
    queue: Mutex<Queue>,
    /// Something came into the queue, left it, or it was closed.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Item>,
    bytes: usize,
    is_closed: bool,
    /// Best-effort records given up since the last record that says so.
    untold: u64,
    counts: AuditCounts,
    trouble: Option<String>,
}

#[derive(Debug)]
struct Item {
    body: AuditBody,
    bytes: usize,
    need: Need,
    cell: Arc<Cell>,
}

#[derive(Debug, Clone)]
enum State {
    Waiting,
    /// On its way to Kafka: it cannot be called back.
    Taken,
    Written(Receipt),
    GivenUp,
    /// The waiting caller went away.
    Withdrawn,
}

#[derive(Debug)]
struct Cell {
    state: Mutex<State>,
    changed: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cell {
    fn set(&self, state: State) {
        *lock(&self.state) = state;
        self.changed.notify_all();
    }

    /// Takes a record out of the queue for good; not one whose caller has gone.
    fn take(&self) -> bool {
        let mut state = lock(&self.state);
        let is_waiting = matches!(*state, State::Waiting);
        if is_waiting {
            *state = State::Taken;
        }
        is_waiting
    }
}

impl AuditWriter {
    /// Opens the instance's key, making it on first use, and starts the thread.
    ///
    /// # Errors
    /// A bad name, files that cannot be used, another process under the same name.
    pub fn open(config: AuditConfig) -> Result<Self, AuditError> {
        if !is_instance_name(&config.instance) {
            return Err(AuditError::Instance { name: config.instance.chars().take(80).collect() });
        }
        let file = |source| AuditError::File { path: config.keys.clone(), source };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.keys).map_err(file)?;
        let path = |kind: &str| config.keys.join(format!("{}.{kind}", config.instance));
        let lock = lock_file(&config.instance, path("lock"))?;
        let key = SigningKey::open_or_create(&path("key"))?;
        let state = StateFile::new(path("chain"));
        let remembered = state.read(&key)?;
        let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let source = Source { instance: config.instance.clone(), program: config.program, host };
        let shared = Arc::new(Shared {
            source,
            queue_bytes: config.queue_bytes,
            patience: config.patience,
            queue: Mutex::default(),
            changed: Condvar::new(),
        });
        let scribe = Scribe { shared: Arc::clone(&shared), bus: config.bus, key, state, link: remembered, _lock: lock };
        let thread = std::thread::Builder::new().name("lb-audit".to_owned()).spawn(move || scribe.run());
        let thread = Mutex::new(Some(thread.map_err(AuditError::Thread)?));
        Ok(Self { shared, thread })
    }

    /// The instance's name.
    #[must_use]
    pub fn instance(&self) -> &str {
        &self.shared.source.instance
    }

    /// Puts an event into the queue, with the present time. With [`Need::BestEffort`] it never waits; with
    /// [`Need::Required`] it waits for room in the queue, within the writer's patience.
    ///
    /// # Errors
    /// [`AuditError::NotWritten`] when there was no room for a required record in time, [`AuditError::Closed`].
    pub fn record(&self, event: AuditEvent, need: Need) -> Result<AuditTicket, AuditError> {
        let nanos = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let body = event.into_body(&self.shared.source, i64::try_from(nanos).unwrap_or(i64::MAX));
        let deadline = Instant::now() + self.shared.patience;
        let bytes = RECORD_BYTES + body.dicom_message.len() + body.reason.len();
        let cell = Arc::new(Cell { state: Mutex::new(State::Waiting), changed: Condvar::new() });
        let ticket = AuditTicket { cell: Arc::clone(&cell), shared: Arc::clone(&self.shared), deadline };
        let mut queue = lock(&self.shared.queue);
        loop {
            if queue.is_closed {
                return Err(AuditError::Closed);
            }
            if queue.bytes + bytes <= self.shared.queue_bytes || queue.waiting.is_empty() {
                break;
            }
            if need == Need::BestEffort {
                queue.counts.lost += 1;
                queue.untold += 1;
                cell.set(State::GivenUp);
                return Ok(ticket);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                queue.counts.refused += 1;
                return Err(self.shared.not_written(&queue));
            }
            queue = self.shared.changed.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        queue.bytes += bytes;
        queue.counts.waiting += 1;
        queue.waiting.push_back(Item { body, bytes, need, cell });
        self.shared.changed.notify_all();
        Ok(ticket)
    }

    /// What was done so far.
    #[must_use]
    pub fn counts(&self) -> AuditCounts {
        lock(&self.shared.queue).counts
    }

    /// What is in the way of writing; `None`: nothing that is known.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        lock(&self.shared.queue).trouble.clone()
    }

    /// Takes nothing more, writes what waits within the writer's patience, and gives the rest up.
    pub fn close(&self) -> AuditCounts {
        lock(&self.shared.queue).is_closed = true;
        self.shared.changed.notify_all();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the audit trail's thread ended with a panic");
        }
        self.counts()
    }
}

impl Drop for AuditWriter {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn millis(&self) -> u64 {
        u64::try_from(self.patience.as_millis()).unwrap_or(u64::MAX)
    }

    fn reason(queue: &Queue) -> String {
        queue.trouble.clone().unwrap_or_else(|| "Kafka has not answered yet".to_owned())
    }

    fn not_written(&self, queue: &Queue) -> AuditError {
        AuditError::NotWritten { millis: self.millis(), reason: Self::reason(queue) }
    }
}

impl AuditTicket {
    /// Waits until Kafka has confirmed the record.
    ///
    /// # Errors
    /// [`AuditError::NotWritten`]: it is not in the trail and will not be. [`AuditError::Unconfirmed`]: it may be.
    pub fn wait(self) -> Result<Receipt, AuditError> {
        let mut state = lock(&self.cell.state);
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            match &*state {
                State::Written(receipt) => return Ok(*receipt),
                State::Waiting | State::Taken if !left.is_zero() => {
                    state = self.cell.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
                }
                State::Taken => {
                    drop(state);
                    let reason = Shared::reason(&lock(&self.shared.queue));
                    return Err(AuditError::Unconfirmed { millis: self.shared.millis(), reason });
                }
                State::Waiting => {
                    *state = State::Withdrawn;
                    drop(state);
                    let mut queue = lock(&self.shared.queue);
                    queue.counts.refused += 1;
                    return Err(self.shared.not_written(&queue));
                }
                State::GivenUp | State::Withdrawn => {
                    drop(state);
                    return Err(self.shared.not_written(&lock(&self.shared.queue)));
                }
            }
        }
    }
}

fn lock_file(instance: &str, path: PathBuf) -> Result<File, AuditError> {
    let opened = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = opened.map_err(|source| AuditError::File { path: path.clone(), source })?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(AuditError::Locked { instance: instance.to_owned(), path }),
        Err(error) => Err(AuditError::File { path, source: error.into() }),
    }
}

/// The thread.
struct Scribe {
    shared: Arc<Shared>,
    bus: BusConfig,
    key: SigningKey,
    state: StateFile,
    /// The newest record that is known to be in the log.
    link: Option<Link>,
    /// Held while the thread lives.
    _lock: File,
}

/// Records that are on their way, with their places.
struct Batch {
    items: Vec<Item>,
    receipts: Vec<Receipt>,
    values: Vec<Bytes>,
    /// How many lost records the first one tells of.
    told: u64,
}

impl Scribe {
    fn run(mut self) {
        let mut journal = None;
        let mut batch: Option<Batch> = None;
        let mut rest = FIRST_REST;
        let mut closing: Option<Instant> = None;
        loop {
            closing = closing.or_else(|| self.is_closed().then(|| Instant::now() + self.shared.patience));
            let is_late = closing.is_some_and(|deadline| Instant::now() >= deadline);
            if is_late {
                self.give_up(batch.take());
                return;
            }
            let step = self.step(&mut journal, &mut batch, closing.is_some());
            match step {
                Ok(true) => rest = FIRST_REST,
                Ok(false) => return,
                Err(error) => {
                    journal = None;
                    self.tell(&error);
                    let queue = lock(&self.shared.queue);
                    // Closing shortens the pause; nothing else does.
                    let pause = |queue: &mut Queue| !queue.is_closed;
                    drop(self.shared.changed.wait_timeout_while(queue, rest, pause));
                    rest = (rest * 2).min(LAST_REST);
                    if closing.is_some() {
                        std::thread::sleep(FIRST_REST);
                    }
                }
            }
        }
    }

    fn is_closed(&self) -> bool {
        lock(&self.shared.queue).is_closed
    }

    /// One transaction, or opening the journal; `false`: closed, and nothing waits.
    fn step(
        &mut self,
        journal: &mut Option<JournalWriter>,
        batch: &mut Option<Batch>,
        is_closing: bool,
    ) -> Result<bool, AuditError> {
        if is_closing && batch.is_none() && lock(&self.shared.queue).waiting.is_empty() {
            return Ok(false);
        }
        let writer = match journal.take() {
            Some(writer) => writer,
            None => {
                let writer = self.open()?;
                if let Some(unsure) = batch.take() {
                    *batch = self.settle(unsure)?;
                }
                writer
            }
        };
        if batch.is_none() {
            *batch = self.next_batch()?;
        }
        let Some(sent) = &*batch else {
            *journal = Some(writer);
            return Ok(true);
        };
        let appended = writer.append(&self.shared.source.instance, AUDIT_CONTENT_TYPE, &sent.values)?;
        *journal = Some(writer);
        if let Some(done) = batch.take() {
            let last = done.receipts.last().expect("a batch is not empty");
            self.link = Some(Link { sequence: last.sequence, hash: last.hash, offset: appended.last_offset });
            self.written(done);
        }
        Ok(true)
    }

    /// Fences what wrote before, and finds where the chain ends. Nothing of ours can come into the log between the two.
    fn open(&mut self) -> Result<JournalWriter, AuditError> {
        let instance = &self.shared.source.instance;
        let patience = self.shared.patience.clamp(Duration::from_secs(1), Duration::from_secs(15));
        let writer = JournalWriter::open(&self.bus, AUDIT, instance, patience)?;
        let reader = JournalReader::open(&self.bus, AUDIT)?;
        let (start, end) = reader.bounds()?;
        let hint = self.link.map_or(0, |link| link.offset);
        // A log that ends before what we remember is another one, or was cut: all of it is read.
        let from = if hint < end { hint.max(start) } else { start };
        let mut tail = Tail::new(instance, &self.key);
        // A transaction of an instance that died is in the way for ten seconds.
        reader.read_to_end(from, Duration::from_secs(20), |entry| tail.see(entry.offset, &entry.key, &entry.value))?;
        let found = tail.newest();
        let next = go_on_from(self.link, found);
        if next != found {
            let (sequence, found) = (next.map_or(0, |link| link.sequence), found.map_or(0, |link| link.sequence));
            tracing::error!(
                instance,
                sequence,
                found,
                log_start = start,
                "the audit log has lost records that it had confirmed, or retention took them; the chain goes on, and verifying shows the hole"
            );
        }
        self.link = next;
        lock(&self.shared.queue).trouble = None;
        Ok(writer)
    }

    /// What became of a batch whose confirmation did not come: all of it is in the log, or nothing.
    fn settle(&mut self, batch: Batch) -> Result<Option<Batch>, AuditError> {
        let last = batch.receipts.last().expect("a batch is not empty");
        if self.link.is_some_and(|link| link.sequence == last.sequence && link.hash == last.hash) {
            self.written(batch);
            return Ok(None);
        }
        // Sealed anew: another process may have gone on with the chain meanwhile.
        self.seal(batch.items).map(Some)
    }

    fn written(&mut self, batch: Batch) {
        let mut queue = lock(&self.shared.queue);
        queue.counts.written += batch.items.len() as u64;
        queue.untold = queue.untold.saturating_sub(batch.told);
        drop(queue);
        if let Some(link) = &self.link
            && let Err(error) = self.state.write(&self.key, link)
        {
            // Being behind the log does no harm.
            tracing::warn!(%error, "the audit chain's state was not remembered");
        }
        for (item, receipt) in batch.items.iter().zip(batch.receipts) {
            item.cell.set(State::Written(receipt));
        }
    }

    /// Waits for records, for a while; `None`: none came.
    fn next_batch(&self) -> Result<Option<Batch>, AuditError> {
        let queue = lock(&self.shared.queue);
        let is_idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.is_closed;
        let idle = Duration::from_millis(500);
        let waited = self.shared.changed.wait_timeout_while(queue, idle, is_idle);
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        let (mut items, mut bytes) = (Vec::new(), 0);
        while items.len() < MAX_BATCH && bytes < MAX_BATCH_BYTES {
            let Some(item) = queue.waiting.pop_front() else { break };
            queue.bytes -= item.bytes;
            queue.counts.waiting -= 1;
            if item.cell.take() {
                bytes += item.bytes;
                items.push(item);
            }
        }
        drop(queue);
        self.shared.changed.notify_all();
        if items.is_empty() {
            return Ok(None);
        }
        self.seal(items).map(Some)
    }

    fn seal(&self, mut items: Vec<Item>) -> Result<Batch, AuditError> {
        let told = lock(&self.shared.queue).untold;
        let mut last = self.link.map(|link| (link.sequence, link.hash));
        let (mut receipts, mut values) = (Vec::new(), Vec::new());
        let mut result = Ok(());
        items.retain_mut(|item| {
            item.body.lost_before = if values.is_empty() { told } else { 0 };
            match seal(item.body.clone(), last, &self.key) {
                Ok((record, (sequence, hash))) => {
                    last = Some((sequence, hash));
                    receipts.push(Receipt { sequence, hash });
                    values.push(record.encode());
                    true
                }
                Err(error) => {
                    item.cell.set(State::GivenUp);
                    result = Err(error);
                    false
                }
            }
        });
        match result {
            Err(error) if items.is_empty() => Err(error),
            Err(error) => {
                tracing::error!(%error, "an event cannot be written down");
                Ok(Batch { items, receipts, values, told })
            }
            Ok(()) => Ok(Batch { items, receipts, values, told }),
        }
    }

    fn tell(&self, error: &AuditError) {
        let text = error.to_string();
        let mut queue = lock(&self.shared.queue);
        queue.counts.failures += 1;
        if queue.trouble.as_ref() != Some(&text) {
            tracing::warn!(%error, "the audit trail cannot be written; trying again");
        }
        queue.trouble = Some(text);
        if matches!(error, AuditError::Bus(BusError::Kafka { .. })) {
            tracing::debug!(?error, "writing the audit trail");
        }
    }

    fn give_up(&self, batch: Option<Batch>) {
        let mut queue = lock(&self.shared.queue);
        let items = batch.into_iter().flat_map(|batch| batch.items).chain(std::mem::take(&mut queue.waiting));
        let mut lost = 0_u64;
        for item in items.collect::<Vec<_>>() {
            // Its caller gave it up before, and counted it.
            if matches!(*lock(&item.cell.state), State::Withdrawn) {
                continue;
            }
            lost += 1;
            match item.need {
                Need::BestEffort => queue.counts.lost += 1,
                Need::Required => queue.counts.refused += 1,
            }
            item.cell.set(State::GivenUp);
        }
        (queue.bytes, queue.counts.waiting) = (0, 0);
        let trouble = queue.trouble.clone().unwrap_or_default();
        tracing::error!(records = lost, trouble, "audit records were given up at the end");
    }
}
