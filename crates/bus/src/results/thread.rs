//! The thread that has the transactions.
//!
//! The transaction under way never holds anything of a partition whose revocation is over: a result is written only after a
//! look at whether its partition was given up, and giving up says so first and then waits for the transaction to end.

use super::inbox::{Command, Explained, Inbox, Item, Taken};
use super::producer::{Refusal, TransactionalProducer};
use super::{Output, ResultRecord, ResultWriterConfig};
use crate::BusError;
use crate::diagnosis::{Attempt, explain};
use crate::subscriber::{GroupOffsets, Receipt};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What moved without a result is committed this often.
const OFFSETS_INTERVAL: Duration = Duration::from_secs(1);
/// Results in a transaction.
const MAX_RESULTS: u64 = 4_096;
/// Frames and other events in a transaction.
const MAX_RECEIPTS: usize = 16_384;

/// What the transaction under way holds.
#[derive(Default)]
struct Batch {
    /// Since its first result.
    began: Option<Instant>,
    results: u64,
    features: u64,
    events: u64,
    receipts: Vec<Receipt>,
}

impl Batch {
    fn records(&self) -> u64 {
        self.results + self.features + self.events
    }

    fn count(&mut self, output: Output) {
        let counter = match output {
            Output::Results => &mut self.results,
            Output::Features => &mut self.features,
            Output::Events => &mut self.events,
        };
        *counter += 1;
    }
}

pub(super) struct Transactions {
    config: ResultWriterConfig,
    inbox: Arc<Inbox>,
    /// Absent after it failed.
    producer: Option<TransactionalProducer>,
    /// Absent before the first subscriber and after a transaction was given up.
    offsets: Option<GroupOffsets>,
    batch: Batch,
    last_commit: Instant,
}

impl Transactions {
    pub(super) fn open(config: ResultWriterConfig, inbox: Arc<Inbox>) -> Result<Self, BusError> {
        let producer = Some(TransactionalProducer::open(&config)?);
        Ok(Self { config, inbox, producer, offsets: None, batch: Batch::default(), last_commit: Instant::now() })
    }

    /// Until the inbox is closed.
    pub(super) fn run(mut self) {
        let closing = Closing(Arc::clone(&self.inbox));
        loop {
            match self.inbox.take(self.due()) {
                Taken::Command(command) => self.obey(command),
                Taken::Nothing => self.commit(),
                Taken::Closed => break,
            }
            if self.is_full() || Instant::now() >= self.due() {
                self.commit();
            }
            if let Some(producer) = &self.producer {
                producer.poll();
            }
        }
        if self.batch.began.is_some() {
            self.give_up("the writer was closed".to_owned(), None);
        }
        drop(closing);
    }

    fn due(&self) -> Instant {
        let quiet = self.last_commit + OFFSETS_INTERVAL;
        self.batch.began.map_or(quiet, |began| began + self.config.batch)
    }

    fn is_full(&self) -> bool {
        self.batch.records() >= MAX_RESULTS || self.batch.receipts.len() >= MAX_RECEIPTS
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Item(item) => self.item(item),
            Command::End(answer) => {
                self.commit();
                // Whoever asked may have gone.
                let _ = answer.send(());
            }
            Command::Attach(offsets, answer) => {
                let _ = answer.send(self.attach(offsets));
            }
        }
    }

    fn attach(&mut self, offsets: GroupOffsets) -> Result<(), BusError> {
        if self.batch.began.is_some() {
            self.give_up("another subscriber took over".to_owned(), None);
        }
        self.batch = Batch::default();
        if self.producer.is_none() {
            self.producer = Some(TransactionalProducer::open(&self.config)?);
        }
        self.offsets = Some(offsets);
        self.last_commit = Instant::now();
        self.inbox.mend();
        Ok(())
    }

    fn item(&mut self, Item { records, receipt }: Item) {
        if self.offsets.is_none() {
            return;
        }
        if receipt.is_stale() {
            let results = records.iter().filter(|record| record.output == Output::Results).count();
            self.inbox.count(|stats| stats.given_away += results as u64);
            return;
        }
        for record in &records {
            match self.write(record) {
                Ok(()) => self.batch.count(record.output),
                Err(error) => {
                    let refusal = Refusal::of(&error, record.key.len() + record.value.len());
                    let refusal = refusal.or_else(|| self.failure());
                    return self.give_up(error.to_string(), refusal);
                }
            }
        }
        self.batch.receipts.push(receipt);
    }

    fn write(&mut self, result: &ResultRecord) -> Result<(), KafkaError> {
        if self.batch.began.is_none() {
            self.begin()?;
        }
        self.producer.as_ref().map_or(Err(KafkaError::Canceled), |producer| producer.send(result))
    }

    /// Whether the transaction has failed for good. What it takes of the offsets is aborted with it.
    fn failure(&self) -> Option<Refusal> {
        let (producer, offsets) = (self.producer.as_ref()?, self.offsets.as_ref()?);
        let (list, group) = (offsets.take().ok()?, offsets.metadata()?);
        Refusal::of(&producer.failure(&list, &group)?, 0)
    }

    fn begin(&mut self) -> Result<(), KafkaError> {
        let begun = self.producer.as_ref().map_or(Err(KafkaError::Canceled), TransactionalProducer::begin);
        match &begun {
            Ok(()) => self.batch.began = Some(Instant::now()),
            // It would refuse the next one as well.
            Err(_) => self.producer = None,
        }
        begun
    }

    /// Ends the transaction; without a result only where offsets have moved.
    fn commit(&mut self) {
        self.last_commit = Instant::now();
        let Some(offsets) = &self.offsets else { return };
        let is_begun = self.batch.began.is_some();
        let Some(group) = offsets.metadata() else {
            if is_begun {
                self.give_up("the partitions were taken away".to_owned(), None);
            }
            self.batch = Batch::default();
            return;
        };
        for receipt in self.batch.receipts.drain(..) {
            receipt.done();
        }
        let done = offsets.take().and_then(|list| {
            if !is_begun && list.count() == 0 {
                return Ok(false);
            }
            if !is_begun {
                self.begin()?;
            }
            let Some(producer) = &self.producer else { return Ok(false) };
            producer.commit(&list, &group)?;
            Ok(true)
        });
        match done {
            Ok(is_committed) => {
                let Batch { results, features, events, .. } = std::mem::take(&mut self.batch);
                self.inbox.count(|stats| {
                    stats.results += results;
                    stats.features += features;
                    stats.events += events;
                    stats.transactions += u64::from(is_committed);
                });
            }
            Err(error) => self.give_up(error.to_string(), Refusal::of(&error, 0)),
        }
        self.last_commit = Instant::now();
    }

    /// Aborts; whoever submits hears of it and begins again from what was committed.
    fn give_up(&mut self, reason: String, refusal: Option<Refusal>) {
        tracing::warn!(reason, "a transaction with results was given up; its frames are looked at again");
        let is_clean = match &self.producer {
            Some(producer) if self.batch.began.is_some() => producer.abort(),
            _ => Ok(()),
        };
        // After the abort every report has come.
        let reported = self.producer.as_ref().and_then(TransactionalProducer::take_refusal);
        let refusal = reported.or(refusal).map(|refusal| self.explained(refusal));
        if let Err(error) = is_clean {
            // Its transaction ends by its timeout; nobody reads beyond it before.
            tracing::debug!(%error, "a transaction could not be aborted");
            self.producer = None;
        }
        self.batch = Batch::default();
        self.offsets = None;
        self.inbox.count(|stats| stats.aborted += 1);
        self.inbox.break_off(reason, refusal);
    }

    fn explained(&self, Refusal { error, record_bytes, topic: refused }: Refusal) -> Explained {
        let ResultWriterConfig { bus, topic, group, .. } = &self.config;
        let topic = refused.unwrap_or_else(|| topic.to_string());
        let (brokers, group) = (bus.brokers.clone(), group.clone());
        let is_about_group = error.rdkafka_error_code() == Some(RDKafkaErrorCode::GroupAuthorizationFailed);
        Box::new(move || {
            let attempt = if is_about_group {
                Attempt::joining(&brokers, &group)
            } else {
                Attempt::writing(&brokers, &topic).of_bytes(record_bytes)
            };
            explain(error.clone(), &attempt)
        })
    }
}

/// Lets nobody wait for a thread that is gone.
struct Closing(Arc<Inbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}
