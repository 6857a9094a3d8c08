//! The verifier: pure, record after record; what is known at the end is a [`Verdict`].

use super::key::{fingerprint, is_signed_by, record_hash};
use lumenbus_wire::audit::{AuditBody, CheckpointBody, CheckpointEntry, Hash, PublicKey, SealedRecord};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::RangeInclusive;

/// Most findings that are kept; further ones are counted.
const MAX_FINDINGS: usize = 1_000;
/// Hashes of an instance's newest records, to tell a repeat from a second chain.
const MAX_RECENT: usize = 1_024;
/// Most holes, and damaged records, of an instance that are told apart.
const MAX_HOLES: usize = 10_000;
/// Most instances with a state of their own: others' records are findings.
const MAX_INSTANCES: usize = 10_000;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// Bytes that are no audit record.
    NotARecord,
    /// A record under the key of another instance.
    WrongKey,
    /// A signature that is not the instance's: changed, or forged.
    Signature,
    /// An instance whose key is not among those to be trusted.
    Untrusted,
    /// Nobody knows the instance's key.
    NoKey,
    /// Records that are not there.
    Missing,
    /// A record that does not follow the one before it, though its number does.
    Chain,
    /// A record that is there twice.
    Repeated,
    /// A record at another place than its number says.
    OutOfOrder,
    /// Two records of one number, both signed: somebody else has the key, or the keys' folder was restored.
    Fork,
    /// An instance that began a second time: it lost its state, or somebody has the key.
    Restarted,
    /// The beginning is gone, and no checkpoint covers it.
    Beginning,
    /// The end is gone: a checkpoint had seen more.
    Tail,
    /// A record is not the one that a checkpoint had seen.
    Rewritten,
    /// A checkpoint that is not to be trusted.
    Checkpoint,
}

impl FindingKind {
    /// The name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotARecord => "not-a-record",
            Self::WrongKey => "wrong-key",
            Self::Signature => "signature",
            Self::Untrusted => "untrusted",
            Self::NoKey => "no-key",
            Self::Missing => "missing",
            Self::Chain => "chain",
            Self::Repeated => "repeated",
            Self::OutOfOrder => "out-of-order",
            Self::Fork => "fork",
            Self::Restarted => "restarted",
            Self::Beginning => "beginning",
            Self::Tail => "tail",
            Self::Rewritten => "rewritten",
            Self::Checkpoint => "checkpoint",
        }
    }
}

/// Something that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: FindingKind,
    /// Whose chain; empty where that is not known.
    pub instance: String,
    /// Offset of the record, where there is one.
    pub offset: Option<u64>,
    /// Number of the record in its chain, where that is known; of several the first.
    pub sequence: Option<u64>,
    /// In words.
    pub what: String,
}

/// Why an instance's key is believed to be its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is one that the verifier was told to trust.
    Pinned,
    /// A checkpoint names it.
    Checkpoint,
    /// Only because its first record says so: whoever wrote the whole chain may be anybody.
    FirstUse,
}

impl Trust {
    /// The name in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pinned => "pinned",
            Self::Checkpoint => "checkpoint",
            Self::FirstUse => "first-use",
        }
    }
}

/// An instance's chain as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceReport {
    /// The instance.
    pub instance: String,
    /// Records that are what they should be.
    pub records: u64,
    /// The first and the last number of them.
    pub sequences: Option<(u64, u64)>,
    /// Hash and offset of the last one.
    pub last: Option<(Hash, u64)>,
    /// Its key, where that is known.
    pub public_key: Option<PublicKey>,
    /// Why the key is believed.
    pub trust: Option<Trust>,
    /// Records that the instance itself says it could not write.
    pub lost: u64,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Records read.
    pub records: u64,
    /// By name.
    pub instances: Vec<InstanceReport>,
    /// The first thousand.
    pub findings: Vec<Finding>,
    /// How many there were.
    pub finding_count: u64,
    /// What is worth knowing and not wrong.
    pub notes: Vec<String>,
}

impl Verdict {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.finding_count == 0
    }

    /// What a checkpoint says of it; `None` where an instance has no verified record.
    #[must_use]
    pub fn checkpoint(&self, topic: &str, (log_start, log_end): (u64, u64), unix_nanos: i64) -> CheckpointBody {
        let entry = |report: &InstanceReport| {
            let ((first_sequence, sequence), (hash, offset)) = (report.sequences?, report.last?);
            let public_key = report.public_key?;
            let instance = report.instance.clone();
            Some(CheckpointEntry { instance, sequence, hash, offset, public_key, first_sequence })
        };
        let entries = self.instances.iter().filter_map(entry).collect();
        CheckpointBody { topic: topic.to_owned(), unix_nanos, log_start, log_end, entries }
    }
}

#[derive(Debug, Default)]
struct Chain {
    key: Option<(PublicKey, Trust)>,
    records: u64,
    first: Option<(u64, Option<Hash>)>,
    last: Option<(u64, Hash, u64)>,
    recent: VecDeque<(u64, Hash)>,
    /// Numbers that were passed over, as ranges; the offset where that was seen.
    holes: Vec<(RangeInclusive<u64>, u64)>,
    /// Numbers that records with a wrong signature claim to have.
    damaged: BTreeSet<u64>,
    lost: u64,
    is_keyless_told: bool,
}

/// Looks at records in log order.
#[derive(Debug, Default)]
pub struct Verifier {
    pinned: Option<BTreeSet<PublicKey>>,
    checkpoints: Vec<CheckpointBody>,
    chains: BTreeMap<String, Chain>,
    owners: BTreeMap<PublicKey, String>,
    records: u64,
    findings: Vec<Finding>,
    finding_count: u64,
}

impl Verifier {
    /// A verifier that trusts these keys; without any, each instance is believed its first record.
    #[must_use]
    pub fn new(pinned: &[PublicKey]) -> Self {
        let pinned = (!pinned.is_empty()).then(|| pinned.iter().copied().collect());
        Self { pinned, ..Self::default() }
    }

    /// Adds a checkpoint whose signature is right. With pinned keys its signer has to be one of them.
    pub fn add_checkpoint(&mut self, checkpoint: &super::Checkpoint) {
        if self.pinned.as_ref().is_some_and(|pinned| !pinned.contains(&checkpoint.signer)) {
            let what = format!(
                "the checkpoint is signed by a key that is not trusted ({}) and does not count; give it with --key",
                checkpoint.signer_fingerprint()
            );
            self.find(FindingKind::Checkpoint, "", (None, None), what);
            return;
        }
        self.checkpoints.push(checkpoint.body.clone());
    }

    fn find(&mut self, kind: FindingKind, instance: &str, at: (Option<u64>, Option<u64>), what: String) {
        self.finding_count += 1;
        if self.findings.len() < MAX_FINDINGS {
            let (offset, sequence) = at;
            self.findings.push(Finding { kind, instance: instance.to_owned(), offset, sequence, what });
        }
    }

    /// The next record of the log. Gives its body when it is signed by its instance and the body is whole, whatever is wrong
    /// with its place.
    pub fn see(&mut self, offset: u64, record_key: &[u8], value: &[u8]) -> Option<(AuditBody, Hash)> {
        self.records += 1;
        let under: String = String::from_utf8_lossy(record_key).chars().take(64).collect();
        let record = match SealedRecord::decode(value) {
            Ok(record) => record,
            Err(error) => {
                self.find(
                    FindingKind::NotARecord,
                    &under,
                    (Some(offset), None),
                    format!("not an audit record: {error}"),
                );
                return None;
            }
        };
        let body = match AuditBody::decode(&record.body) {
            Ok(body) => body,
            Err(error) => {
                let what =
                    format!("the record's body cannot be read: {error}; it was changed, or never an audit record");
                self.find(FindingKind::NotARecord, &under, (Some(offset), None), what);
                return None;
            }
        };
        let at = (Some(offset), Some(body.sequence));
        if body.instance.as_bytes() != record_key {
            let what = format!("record {} of {} lies under the key {under:?}", body.sequence, body.instance);
            self.find(FindingKind::WrongKey, &body.instance, at, what);
        }
        if !self.chains.contains_key(&body.instance) && self.chains.len() >= MAX_INSTANCES {
            let what = format!("more than {MAX_INSTANCES} instances: this one is not followed");
            self.find(FindingKind::NoKey, &body.instance, at, what);
            return None;
        }
        let key = self.key_for(&body, &record, offset)?;
        if !is_signed_by(&record, &key) {
            let chain = self.chains.entry(body.instance.clone()).or_default();
            if chain.damaged.len() < MAX_HOLES {
                chain.damaged.insert(body.sequence);
            }
            let what = format!(
                "record {} of {} is not signed by the instance's key {}: it was changed or forged",
                body.sequence,
                body.instance,
                fingerprint(&key)
            );
            self.find(FindingKind::Signature, &body.instance, at, what);
            return None;
        }
        let hash = record_hash(&record.body);
        self.place(&body, hash, offset);
        Some((body, hash))
    }

    /// The key that the record has to be signed by: the one that is known, one that is to be trusted, or the record's own.
    fn key_for(&mut self, body: &AuditBody, record: &SealedRecord, offset: u64) -> Option<PublicKey> {
        let at = (Some(offset), Some(body.sequence));
        let name = &body.instance;
        if let Some((key, _)) = self.chains.get(name).and_then(|chain| chain.key) {
            return Some(key);
        }
        let (known, is_keyless_told) =
            (self.vouched(body, record), self.chains.get(name).is_some_and(|c| c.is_keyless_told));
        let Some((key, trust)) = known else {
            let chain = self.chains.entry(name.clone()).or_default();
            chain.is_keyless_told = true;
            if !is_keyless_told {
                let what = format!(
                    "record {} of {name} cannot be verified: the record with the instance's key is not there; give the key with --key, or a checkpoint",
                    body.sequence
                );
                self.find(FindingKind::NoKey, name, at, what);
            }
            return None;
        };
        self.chains.entry(name.clone()).or_default().key = Some((key, trust));
        if trust == Trust::FirstUse && self.pinned.is_some() {
            let what = format!("{name} signs with a key that is not among the trusted ones ({})", fingerprint(&key));
            self.find(FindingKind::Untrusted, name, at, what);
        }
        if let Some(owner) = self.owners.get(&key).filter(|owner| *owner != name) {
            let what = format!("{name} signs with the key of {owner}");
            self.find(FindingKind::Untrusted, name, at, what);
        } else {
            self.owners.insert(key, name.clone());
        }
        Some(key)
    }

    /// A key for an instance of which none is known yet.
    fn vouched(&self, body: &AuditBody, record: &SealedRecord) -> Option<(PublicKey, Trust)> {
        let entries = self.checkpoints.iter().flat_map(|checkpoint| &checkpoint.entries);
        let of_checkpoint =
            entries.filter(|entry| entry.instance == body.instance).map(|entry| entry.public_key).next();
        let is_pinned = |key: &PublicKey| self.pinned.as_ref().is_some_and(|pinned| pinned.contains(key));
        if let Some(key) = of_checkpoint {
            let trust = if is_pinned(&key) { Trust::Pinned } else { Trust::Checkpoint };
            return Some((key, trust));
        }
        let mut pinned = self.pinned.iter().flatten();
        if let Some(key) = pinned.find(|key| is_signed_by(record, key)) {
            return Some((*key, Trust::Pinned));
        }
        // A first record that nobody trusted signed is told, and followed, so that what else is wrong is seen.
        body.public_key.map(|key| (key, Trust::FirstUse))
    }

    /// Whether a signed record is where it belongs.
    fn place(&mut self, body: &AuditBody, hash: Hash, offset: u64) {
        let (name, sequence) = (&body.instance, body.sequence);
        let at = (Some(offset), Some(sequence));
        self.compare_with_checkpoints(body, &hash, offset);
        let chain = self.chains.entry(name.clone()).or_default();
        if body.public_key.is_some_and(|key| chain.key.is_none_or(|(known, _)| known != key)) {
            let what = format!("the first record of {name} names another key than the one that signed it");
            self.find(FindingKind::Untrusted, name, at, what);
            return;
        }
        let Some((last, last_hash, _)) = chain.last else {
            chain.first = Some((sequence, body.previous));
            chain.take(body, hash, offset);
            return;
        };
        if sequence > last {
            let follows = body.previous == Some(last_hash);
            if sequence > last + 1 && chain.holes.len() < MAX_HOLES {
                chain.holes.push((last + 1..=sequence - 1, offset));
            }
            chain.take(body, hash, offset);
            if sequence == last + 1 && !follows {
                let what = format!("record {sequence} of {name} does not follow the record {last} that is there");
                self.find(FindingKind::Chain, name, at, what);
            }
            return;
        }
        let (kind, what) = chain.misplaced(sequence, &hash, name);
        self.find(kind, name, at, what);
    }

    fn compare_with_checkpoints(&mut self, body: &AuditBody, hash: &Hash, offset: u64) {
        let mut rewritten = None;
        for checkpoint in &self.checkpoints {
            let mut entries = checkpoint.entries.iter();
            let is_same = |entry: &&CheckpointEntry| entry.instance == body.instance && entry.sequence == body.sequence;
            if entries.find(is_same).is_some_and(|entry| entry.hash != *hash) {
                rewritten = Some(format!(
                    "record {} of {} is not the one that the checkpoint of {} had seen",
                    body.sequence,
                    body.instance,
                    moment(checkpoint.unix_nanos)
                ));
            }
        }
        if let Some(what) = rewritten {
            self.find(FindingKind::Rewritten, &body.instance, (Some(offset), Some(body.sequence)), what);
        }
    }

    /// The verdict, for a log that began and ended at these offsets when it was read.
    #[must_use]
    pub fn finish(mut self, (log_start, log_end): (u64, u64)) -> Verdict {
        let mut notes = Vec::new();
        let chains = std::mem::take(&mut self.chains);
        for (name, chain) in &chains {
            self.judge_holes(name, chain);
            self.judge_beginning(name, chain, log_start, &mut notes);
        }
        self.judge_tails(&chains, (log_start, log_end), &mut notes);
        let report = |(instance, chain): (String, Chain)| InstanceReport {
            instance,
            records: chain.records,
            sequences: chain.first.zip(chain.last).map(|(first, last)| (first.0, last.0)),
            last: chain.last.map(|(_, hash, offset)| (hash, offset)),
            public_key: chain.key.map(|(key, _)| key),
            trust: chain.key.map(|(_, trust)| trust),
            lost: chain.lost,
        };
        Verdict {
            records: self.records,
            instances: chains.into_iter().map(report).collect(),
            findings: self.findings,
            finding_count: self.finding_count,
            notes,
        }
    }

    fn judge_holes(&mut self, name: &str, chain: &Chain) {
        for (hole, offset) in &chain.holes {
            let mut from = *hole.start();
            // A record that is there with a wrong signature has been told already.
            let damaged: Vec<u64> = chain.damaged.range(hole.clone()).copied().collect();
            for stop in damaged.into_iter().chain([hole.end().saturating_add(1)]) {
                if from < stop {
                    let (last, at) = (stop - 1, (Some(*offset), Some(from)));
                    let which =
                        if from == last { format!("record {from}") } else { format!("records {from} to {last}") };
                    let what = format!("{which} of {name} missing before offset {offset}");
                    self.find(FindingKind::Missing, name, at, what);
                }
                from = stop.saturating_add(1);
            }
        }
    }

    fn judge_beginning(&mut self, name: &str, chain: &Chain, log_start: u64, notes: &mut Vec<String>) {
        let Some((first, previous)) = chain.first.filter(|(first, _)| *first > 1) else { return };
        let gone = if first == 2 { "record 1".to_owned() } else { format!("records 1 to {}", first - 1) };
        let before_log = |entry: &CheckpointEntry| entry.offset < log_start && entry.sequence >= first - 1;
        let covers = |entry: &CheckpointEntry| {
            let was_so = entry.first_sequence == first;
            let is_next = entry.sequence == first - 1 && Some(entry.hash) != previous;
            entry.instance == name && (was_so || before_log(entry)) && !is_next
        };
        let covering = self.checkpoints.iter().find(|checkpoint| checkpoint.entries.iter().any(covers));
        match covering {
            Some(checkpoint) if log_start > 0 => notes.push(format!(
                "{gone} of {name} lay before the log's start {log_start}; the checkpoint of {} covers them",
                moment(checkpoint.unix_nanos)
            )),
            _ => {
                let hint = if log_start == 0 {
                    "and nothing was deleted from the log's beginning by Kafka".to_owned()
                } else {
                    format!(
                        "the log starts at offset {log_start}; a checkpoint that covers them would make that plausible"
                    )
                };
                let what = format!("{gone} of {name} missing at the beginning; {hint}");
                self.find(FindingKind::Beginning, name, (None, Some(1)), what);
            }
        }
    }

    fn judge_tails(
        &mut self,
        chains: &BTreeMap<String, Chain>,
        (log_start, log_end): (u64, u64),
        notes: &mut Vec<String>,
    ) {
        for checkpoint in std::mem::take(&mut self.checkpoints) {
            let when = moment(checkpoint.unix_nanos);
            if log_end < checkpoint.log_end {
                let what = format!(
                    "the log ends at offset {log_end}; at the checkpoint of {when} it ended at {}: its tail was cut off, or the topic was made anew",
                    checkpoint.log_end
                );
                self.find(FindingKind::Tail, "", (Some(log_end), None), what);
            }
            for entry in &checkpoint.entries {
                let name = &entry.instance;
                let last = chains.get(name).and_then(|chain| chain.last).map_or(0, |(last, _, _)| last);
                if last >= entry.sequence {
                    continue;
                }
                if last == 0 && entry.offset < log_start {
                    notes.push(format!(
                        "all {} records of {name} that the checkpoint of {when} had seen lay before the log's start {log_start}",
                        entry.sequence
                    ));
                    continue;
                }
                let what = format!(
                    "{name} ends at record {last}; the checkpoint of {when} had seen record {} at offset {}",
                    entry.sequence, entry.offset
                );
                self.find(FindingKind::Tail, name, (None, Some(last + 1)), what);
            }
        }
    }
}

impl Chain {
    fn take(&mut self, body: &AuditBody, hash: Hash, offset: u64) {
        self.records += 1;
        self.lost = self.lost.saturating_add(body.lost_before);
        self.last = Some((body.sequence, hash, offset));
        if self.recent.len() == MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((body.sequence, hash));
    }

    /// What to call a signed record whose number is not above the last one's.
    fn misplaced(&mut self, sequence: u64, hash: &Hash, name: &str) -> (FindingKind, String) {
        if let Some(hole) = self.holes.iter().position(|(hole, _)| hole.contains(&sequence)) {
            let (range, offset) = self.holes.swap_remove(hole);
            let rest = [*range.start()..=sequence - 1, sequence + 1..=*range.end()];
            self.holes.extend(rest.into_iter().filter(|rest| !rest.is_empty()).map(|rest| (rest, offset)));
            self.records += 1;
            return (FindingKind::OutOfOrder, format!("record {sequence} of {name} lies behind later ones"));
        }
        match self.recent.iter().find(|(recent, _)| *recent == sequence) {
            Some((_, known)) if known == hash => {
                (FindingKind::Repeated, format!("record {sequence} of {name} is there again"))
            }
            Some(_) if sequence == 1 => {
                (FindingKind::Restarted, format!("{name} begins again with another first record"))
            }
            Some(_) => (
                FindingKind::Fork,
                format!(
                    "two records {sequence} of {name}, both signed: somebody else has its key, or its folder was restored"
                ),
            ),
            None if sequence == 1 => {
                (FindingKind::Restarted, format!("{name} begins again, or its first record is repeated"))
            }
            None => (FindingKind::Repeated, format!("a record {sequence} of {name} comes long after its place")),
        }
    }
}

fn moment(unix_nanos: i64) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(unix_nanos)).unwrap_or_default();
    format!("{at:.0}")
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;
