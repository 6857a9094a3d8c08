//! A transactional producer that speaks the protocol step by step, and a reader of committed records.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::SocketAddr;

use bytes::Bytes;
use kafka_protocol::messages::add_partitions_to_txn_request::AddPartitionsToTxnTopic;
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::txn_offset_commit_request::{
    TxnOffsetCommitRequestPartition, TxnOffsetCommitRequestTopic,
};
use kafka_protocol::messages::*;
use kafka_protocol::records::RecordBatchDecoder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{Client, fetch_request, group, idempotent_batch, only_partition, produce_request, text, topic};

const TRANSACTIONAL: u8 = 0x10;

pub fn transactional_id(id: &str) -> TransactionalId {
    TransactionalId(text(id))
}

/// A batch of an idempotent producer, marked as part of its transaction.
pub fn transactional_batch(values: &[&[u8]], producer: (i64, i16), sequence: i32) -> Bytes {
    let mut batch = idempotent_batch(values, producer, sequence).to_vec();
    batch[22] |= TRANSACTIONAL;
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.into()
}

/// A transactional producer.
pub struct Producer {
    pub client: Client,
    pub id: String,
    /// Producer id and epoch.
    pub producer: (i64, i16),
    sequences: HashMap<(String, i32), i32>,
}

impl Producer {
    /// Connects without a producer id yet.
    pub fn connect(address: SocketAddr, id: &str) -> Self {
        Self { client: Client::connect(address), id: id.to_owned(), producer: (-1, -1), sequences: HashMap::new() }
    }

    /// A producer that may begin.
    pub fn ready(address: SocketAddr, id: &str) -> Self {
        let mut producer = Self::connect(address, id);
        assert_eq!(producer.init(60_000), 0);
        producer
    }

    /// InitProducerId; its error.
    pub fn init(&mut self, timeout_ms: i32) -> i16 {
        self.init_as(timeout_ms, (-1, -1))
    }

    /// InitProducerId of a producer that says who it is.
    pub fn init_as(&mut self, timeout_ms: i32, (id, epoch): (i64, i16)) -> i16 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(transactional_id(&self.id)))
            .with_transaction_timeout_ms(timeout_ms)
            .with_producer_id(id.into())
            .with_producer_epoch(epoch);
        let answer = self.client.call(&request, 4);
        if answer.error_code == 0 {
            self.producer = (*answer.producer_id, answer.producer_epoch);
            self.sequences.clear();
        }
        answer.error_code
    }

    /// AddPartitionsToTxn; one error for each partition.
    pub fn add(&mut self, name: &str, indexes: &[i32]) -> Vec<i16> {
        let request = self.add_request(name, indexes);
        let answer = self.client.call(&request, 3).results_by_topic_v3_and_below.remove(0);
        answer.results_by_partition.iter().map(|result| result.partition_error_code).collect()
    }

    pub fn add_request(&self, name: &str, indexes: &[i32]) -> AddPartitionsToTxnRequest {
        let wanted = AddPartitionsToTxnTopic::default().with_name(topic(name)).with_partitions(indexes.to_vec());
        AddPartitionsToTxnRequest::default()
            .with_v3_and_below_transactional_id(transactional_id(&self.id))
            .with_v3_and_below_producer_id(self.producer.0.into())
            .with_v3_and_below_producer_epoch(self.producer.1)
            .with_v3_and_below_topics(vec![wanted])
    }

    fn produce_request(&self, name: &str, index: i32, values: &[&[u8]]) -> ProduceRequest {
        let sequence = self.sequences.get(&(name.to_owned(), index)).copied().unwrap_or_default();
        let batch = transactional_batch(values, self.producer, sequence);
        produce_request(name, index, batch, -1).with_transactional_id(Some(transactional_id(&self.id)))
    }

    /// Produce within the transaction, numbered as a client would.
    pub fn produce(&mut self, name: &str, index: i32, values: &[&[u8]]) -> PartitionProduceResponse {
        let request = self.produce_request(name, index, values);
        let answer = self.client.call(&request, 9).responses[0].partition_responses[0].clone();
        if answer.error_code == 0 {
            *self.sequences.entry((name.to_owned(), index)).or_default() += i32::try_from(values.len()).unwrap();
        }
        answer
    }

    /// Adds the partition and produces to it.
    pub fn write(&mut self, name: &str, index: i32, values: &[&[u8]]) -> i64 {
        assert_eq!(self.add(name, &[index]), [0]);
        let answer = self.produce(name, index, values);
        assert_eq!(answer.error_code, 0);
        answer.base_offset
    }

    /// EndTxn; its error.
    pub fn end(&mut self, commit: bool) -> i16 {
        let request = self.end_request(commit);
        self.client.call(&request, 3).error_code
    }

    pub fn end_request(&self, commit: bool) -> EndTxnRequest {
        EndTxnRequest::default()
            .with_transactional_id(transactional_id(&self.id))
            .with_producer_id(self.producer.0.into())
            .with_producer_epoch(self.producer.1)
            .with_committed(commit)
    }

    /// A whole transaction of one value in partitions 0 and 1 of a topic, on a broker that may die meanwhile. The first
    /// error, which is also that of EndTxn.
    pub fn try_transaction(&mut self, name: &str, value: &[u8], commit: bool) -> std::io::Result<i16> {
        for index in 0..2 {
            let request = self.add_request(name, &[index]);
            let added = self.client.try_call(&request, 3)?;
            let added = &added.results_by_topic_v3_and_below[0].results_by_partition[0];
            let request = self.produce_request(name, index, &[value]);
            let produced = self.client.try_call(&request, 9)?;
            let produced = &produced.responses[0].partition_responses[0];
            if added.partition_error_code != 0 || produced.error_code != 0 {
                return Ok(added.partition_error_code.max(produced.error_code));
            }
            *self.sequences.entry((name.to_owned(), index)).or_default() += 1;
        }
        let request = self.end_request(commit);
        Ok(self.client.try_call(&request, 3)?.error_code)
    }

    /// AddOffsetsToTxn; its error.
    pub fn add_offsets(&mut self, name: &str) -> i16 {
        let request = AddOffsetsToTxnRequest::default()
            .with_transactional_id(transactional_id(&self.id))
            .with_producer_id(self.producer.0.into())
            .with_producer_epoch(self.producer.1)
            .with_group_id(group(name));
        self.client.call(&request, 3).error_code
    }

    /// TxnOffsetCommit of partition 0 of a topic by a member (generation, id) of a group.
    pub fn commit_offset(&mut self, name: &str, offset: i64, member: (i32, &str)) -> i16 {
        let partition = TxnOffsetCommitRequestPartition::default()
            .with_committed_offset(offset)
            .with_committed_leader_epoch(-1)
            .with_committed_metadata(Some(text("within")));
        let wanted = TxnOffsetCommitRequestTopic::default().with_name(topic("t")).with_partitions(vec![partition]);
        let request = TxnOffsetCommitRequest::default()
            .with_transactional_id(transactional_id(&self.id))
            .with_group_id(group(name))
            .with_producer_id(self.producer.0.into())
            .with_producer_epoch(self.producer.1)
            .with_generation_id(member.0)
            .with_member_id(text(member.1))
            .with_topics(vec![wanted]);
        self.client.call(&request, 3).topics[0].partitions[0].error_code
    }
}

/// A fetch of one partition at isolation level read_committed.
pub fn committed_request(name: &str, index: i32, offset: i64) -> FetchRequest {
    fetch_request(&[(name, index, offset)]).with_isolation_level(1)
}

impl Client {
    /// Reads one partition at isolation level read_committed, without waiting.
    pub fn fetch_committed(&mut self, name: &str, index: i32, offset: i64) -> PartitionData {
        only_partition(self.call(&committed_request(name, index, offset), 12))
    }

    /// The values that a reader of committed records delivers, from the partition's beginning.
    pub fn read_committed(&mut self, name: &str, index: i32) -> Vec<Bytes> {
        let mut next = 0;
        let mut values = Vec::new();
        loop {
            let found = self.fetch_committed(name, index, next);
            assert_eq!(found.error_code, 0);
            if found.records.as_ref().unwrap().is_empty() {
                assert!(next >= found.last_stable_offset);
                return values;
            }
            next = deliver(found, next, &mut values);
        }
    }
}

/// What a client makes of a fetch: it skips aborted transactions and markers. Gives back the next offset.
pub fn deliver(found: PartitionData, from: i64, values: &mut Vec<Bytes>) -> i64 {
    let mut aborted: Vec<_> = found.aborted_transactions.unwrap_or_default();
    aborted.sort_by_key(|one| one.first_offset);
    let mut aborted = aborted.into_iter().peekable();
    let mut skipped = BTreeSet::new();
    let mut next = from;
    let batches = RecordBatchDecoder::decode_all(&mut found.records.unwrap()).unwrap();
    for record in batches.into_iter().flat_map(|batch| batch.records) {
        while let Some(one) = aborted.next_if(|one| one.first_offset <= record.offset) {
            skipped.insert(*one.producer_id);
        }
        if record.control {
            let is_abort = record.key.as_deref() == Some(&[0, 0, 0, 0]);
            skipped.retain(|id| !(is_abort && *id == record.producer_id));
        } else if record.offset >= from && !(record.transactional && skipped.contains(&record.producer_id)) {
            values.push(record.value.unwrap());
        }
        next = next.max(record.offset + 1);
    }
    next
}

/// What became of one transaction, as far as its producer knows.
pub struct Tried {
    pub value: Bytes,
    pub commit: bool,
    pub answered: bool,
}

/// Commits and aborts transactions over partitions 0 and 1 of a topic until the broker dies.
pub fn transact_until_killed(address: SocketAddr, name: &str, id: &str, round: u64) -> Vec<Tried> {
    let mut random = StdRng::seed_from_u64(round);
    let mut one = Producer::ready(address, id);
    let mut tried = Vec::new();
    loop {
        let value = Bytes::from(format!("{id} {round} {}", tried.len()));
        let commit = random.random_bool(0.6);
        let ended = one.try_transaction(name, &value, commit);
        tried.push(Tried { value, commit, answered: ended.is_ok() });
        match ended {
            Ok(code) => assert_eq!(code, 0),
            Err(_) => return tried,
        }
    }
}

/// After kills: what was committed is there once, in both partitions; what was aborted is seen in none.
pub fn check_transactions(address: SocketAddr, name: &str, ids: &[&str], tried: &[Tried]) {
    for id in ids {
        // Ends what was left open.
        Producer::ready(address, id);
    }
    let mut reader = Client::connect(address);
    let seen = [0, 1].map(|index| {
        let found = reader.fetch_committed(name, index, 0);
        assert_eq!(found.last_stable_offset, found.high_watermark, "nothing is left open");
        reader.read_committed(name, index)
    });
    let known: HashMap<&Bytes, &Tried> = tried.iter().map(|one| (&one.value, one)).collect();
    let sets = seen.each_ref().map(|values| values.iter().collect::<HashSet<_>>());
    assert_eq!(sets[0], sets[1], "a transaction is in both partitions or in none");
    for (values, set) in seen.iter().zip(&sets) {
        assert_eq!(values.len(), set.len(), "each once");
        assert!(set.iter().all(|value| known[value].commit), "an aborted record was seen");
    }
    let lost = tried.iter().filter(|one| one.commit && one.answered && !sets[0].contains(&one.value));
    assert_eq!(lost.count(), 0, "a committed record was lost");
}
