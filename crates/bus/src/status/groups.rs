//! Consumer groups: what they have committed, how far behind that is, and how old.
//!
//! The binding can ask for a group's offsets only as a consumer of that group, so there is a client a group. Groups
//! that are known to read our topics keep theirs; the others are looked at in turn.

use super::reader::{Quiet, Until, client_config, connect, drain};
use super::sample::{Place, look_at};
use super::{ClusterStatus, GroupPartition, GroupStatus};
use crate::diagnosis::{Attempt, code_of, explain};
use crate::offsets::{known, list_of};
use crate::{BusConfig, BusError, SystemClock};
use lumenbus_frame::Clock as _;
use rdkafka::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::{Duration, Instant};

/// Groups of a cluster that are remembered.
const MAX_GROUPS: usize = 1_000;
/// Clients kept between reads.
const MAX_CLIENTS: usize = 16;
/// Groups looked at in one read of which it is not known that they read our topics.
const MAX_STRANGERS: usize = 8;
/// After this it is asked again whether a group reads our topics: a new one shows up within this time.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Records looked at in one read for their age.
const MAX_AGES: usize = 32;

/// What a group has committed of our topics.
type Committed = BTreeMap<(String, i32), i64>;

#[derive(Default)]
struct Known {
    client: Option<BaseConsumer<Quiet>>,
    committed: Committed,
    asked_at: Option<Instant>,
}

impl Known {
    fn is_due(&self) -> bool {
        self.asked_at.is_none_or(|asked_at| asked_at.elapsed() >= ASK_AGAIN)
    }
}

pub(super) struct Groups {
    bus: BusConfig,
    named: BTreeSet<String>,
    known: BTreeMap<String, Known>,
    /// When records at committed offsets were appended: a group that stands still is not read again.
    appended: HashMap<Place, i64>,
}

/// A group as the brokers list it.
struct Listed {
    state: String,
    members: usize,
}

impl Groups {
    pub(super) fn new(bus: BusConfig, named: &[String]) -> Self {
        let named = named.iter().take(MAX_GROUPS).cloned().collect();
        Self { bus, named, known: BTreeMap::new(), appended: HashMap::new() }
    }

    pub(super) fn read(
        &mut self,
        consumer: &BaseConsumer<Quiet>,
        cluster: &ClusterStatus,
        until: &Until,
    ) -> Result<Vec<GroupStatus>, BusError> {
        let listed = self.list(consumer, until)?;
        let is_there = |group: &String| listed.contains_key(group) || self.named.contains(group);
        self.known.retain(|group, _| is_there(group));
        for group in self.named.iter().chain(listed.keys()) {
            self.known.entry(group.clone()).or_default();
        }
        self.ask(cluster, until);
        let mut found = self.status(cluster, &listed);
        self.add_ages(consumer, cluster, &mut found, until);
        Ok(found)
    }

    fn list(&self, consumer: &BaseConsumer<Quiet>, until: &Until) -> Result<BTreeMap<String, Listed>, BusError> {
        let list = match consumer.fetch_group_list(None, until.left()) {
            Ok(list) => list,
            // Not asked, or not for us: what is named is looked at all the same.
            Err(error)
                if matches!(code_of(&error), Some(Code::UnsupportedFeature | Code::ClusterAuthorizationFailed)) =>
            {
                tracing::debug!(%error, "groups cannot be listed");
                return Ok(BTreeMap::new());
            }
            Err(error) => return Err(explain(error, &Attempt::asking(&self.bus.brokers))),
        };
        let ours = list.groups().iter().filter(|group| matches!(group.protocol_type(), "consumer" | ""));
        let row = |group: &rdkafka::groups::GroupInfo| {
            let listed = Listed { state: group.state().to_owned(), members: group.members().len() };
            (group.name().to_owned(), listed)
        };
        Ok(ours.take(MAX_GROUPS).map(row).collect())
    }

    /// Asks the groups that read our topics, and some of the others, for their offsets.
    fn ask(&mut self, cluster: &ClusterStatus, until: &Until) {
        let partition = |topic: &super::TopicStatus| {
            let name = topic.name.clone();
            topic.partitions.iter().map(move |partition| (name.clone(), partition.partition)).collect::<Vec<_>>()
        };
        let partitions: Vec<_> = cluster.topics.iter().flat_map(partition).collect();
        if partitions.is_empty() {
            return;
        }
        let mut clients = self.known.values().filter(|known| known.client.is_some()).count();
        let mut strangers = 0;
        for (group, known) in &mut self.known {
            let is_reader = !known.committed.is_empty() || self.named.contains(group);
            if until.is_over() || (!is_reader && (strangers >= MAX_STRANGERS || !known.is_due())) {
                continue;
            }
            strangers += usize::from(!is_reader);
            clients -= usize::from(known.client.is_some());
            match committed(&self.bus, group, known.client.take(), &partitions, until) {
                Ok((client, committed)) => {
                    known.asked_at = Some(Instant::now());
                    known.committed = committed;
                    let stays = !known.committed.is_empty() && clients < MAX_CLIENTS;
                    known.client = stays.then_some(client);
                    clients += usize::from(stays);
                }
                Err(error) => tracing::debug!(%error, group, "offsets of a group"),
            }
        }
    }

    fn status(&self, cluster: &ClusterStatus, listed: &BTreeMap<String, Listed>) -> Vec<GroupStatus> {
        let ends = ends(cluster);
        let partition = |((topic, partition), committed): (&(String, i32), &i64)| {
            let end = ends.get(&(topic.as_str(), *partition)).copied();
            let lag = end.map(|end| end.saturating_sub(*committed).max(0));
            let age_millis = lag.filter(|lag| *lag == 0);
            GroupPartition { topic: topic.clone(), partition: *partition, committed: *committed, end, lag, age_millis }
        };
        let is_shown = |(group, known): &(&String, &Known)| !known.committed.is_empty() || self.named.contains(*group);
        let group = |(group, known): (&String, &Known)| GroupStatus {
            group: group.clone(),
            state: listed.get(group).map(|listed| listed.state.clone()),
            members: listed.get(group).map(|listed| listed.members),
            partitions: known.committed.iter().map(partition).collect(),
        };
        self.known.iter().filter(is_shown).map(group).collect()
    }

    /// Reads when the records were appended that wait; those of the most behind first.
    fn add_ages(
        &mut self,
        consumer: &BaseConsumer<Quiet>,
        cluster: &ClusterStatus,
        groups: &mut [GroupStatus],
        until: &Until,
    ) {
        let begins = begins(cluster);
        let place = |partition: &GroupPartition| {
            let begin = begins.get(&(partition.topic.as_str(), partition.partition)).copied().unwrap_or(0);
            (partition.topic.clone(), partition.partition, partition.committed.max(begin))
        };
        let waits = |partition: &&GroupPartition| partition.lag.is_some_and(|lag| lag > 0);
        let mut waiting: Vec<_> = groups.iter().flat_map(|group| &group.partitions).filter(waits).collect();
        waiting.sort_by_key(|partition| std::cmp::Reverse(partition.lag));
        let wanted: Vec<Place> = waiting.into_iter().map(place).collect();
        let still_wanted: HashSet<_> = wanted.iter().collect();
        self.appended.retain(|place, _| still_wanted.contains(place));
        let unknown = wanted.into_iter().filter(|place| !self.appended.contains_key(place)).take(MAX_AGES).collect();
        for (place, sample) in look_at(consumer, &unknown, until) {
            self.appended.extend(sample.unix_millis.map(|millis| (place, millis)));
        }
        let now = SystemClock.unix_nanos() / 1_000_000;
        for partition in groups.iter_mut().flat_map(|group| &mut group.partitions) {
            let appended = self.appended.get(&place(partition));
            partition.age_millis = partition.age_millis.or(appended.map(|appended| (now - appended).max(0)));
        }
    }
}

/// One group's offsets in these partitions, and the client that asked for them.
fn committed(
    bus: &BusConfig,
    group: &str,
    client: Option<BaseConsumer<Quiet>>,
    partitions: &[(String, i32)],
    until: &Until,
) -> Result<(BaseConsumer<Quiet>, Committed), BusError> {
    let failed = |error| explain(error, &Attempt::joining(&bus.brokers, group));
    let client = client.map_or_else(|| connect(&client_config(bus, group), bus), Ok)?;
    drain(&client);
    let list = list_of(partitions, Offset::Invalid).map_err(failed)?;
    let list = client.committed_offsets(list, until.left()).map_err(failed)?;
    Ok((client, known(&list).into_iter().collect()))
}

fn ends(cluster: &ClusterStatus) -> HashMap<(&str, i32), i64> {
    by_partition(cluster, |partition| partition.end_offset)
}

fn begins(cluster: &ClusterStatus) -> HashMap<(&str, i32), i64> {
    by_partition(cluster, |partition| partition.begin_offset)
}

fn by_partition(
    cluster: &ClusterStatus,
    offset: impl Fn(&super::PartitionStatus) -> Option<i64>,
) -> HashMap<(&str, i32), i64> {
    let offset = &offset;
    let rows = cluster.topics.iter().flat_map(|topic| {
        let row = move |partition| offset(partition).map(|offset| ((topic.name.as_str(), partition.partition), offset));
        topic.partitions.iter().filter_map(row)
    });
    rows.collect()
}
