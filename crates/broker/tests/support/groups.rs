//! A member of group `g` that speaks the protocol step by step, and what the group has committed.

use std::net::SocketAddr;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::join_group_request::JoinGroupRequestProtocol;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use kafka_protocol::messages::sync_group_request::SyncGroupRequestAssignment;
use kafka_protocol::messages::*;
use kafka_protocol::protocol::StrBytes;

use super::{Client, PATIENCE, group, text, topic};

/// The group prepares its next generation; join again.
pub const REBALANCING: i16 = 27;

/// A member of group `g` that speaks the protocol step by step.
pub struct Member {
    pub client: Client,
    pub id: StrBytes,
    /// The name of a static member.
    pub instance: Option<StrBytes>,
    pub generation: i32,
    pub session_ms: i32,
    /// Of JoinGroup; the other requests are of the same age.
    pub version: i16,
    pub subscription: Bytes,
}

/// A consumer's subscription to one topic.
pub fn subscription(topic: &str) -> Bytes {
    let mut bytes = vec![0, 1, 0, 0, 0, 1, 0, u8::try_from(topic.len()).unwrap()];
    bytes.extend(topic.as_bytes());
    bytes.extend([0xff; 4]);
    bytes.extend([0; 4]);
    bytes.into()
}

impl Member {
    pub fn new(address: SocketAddr, version: i16) -> Self {
        Self {
            client: Client::connect(address),
            id: text(""),
            instance: None,
            generation: -1,
            session_ms: 10_000,
            version,
            subscription: subscription("t"),
        }
    }

    /// A static member.
    pub fn named(address: SocketAddr, instance: &str, version: i16) -> Self {
        Self { instance: Some(text(instance)), ..Self::new(address, version) }
    }

    /// Its version of an API whose version `first` is as old as JoinGroup 5, up to `last`.
    fn version_of(&self, first: i16, last: i16) -> i16 {
        match self.version {
            ..5 => self.version.min(first - 1),
            version => (first + version - 5).min(last),
        }
    }

    pub fn join_request(&self) -> JoinGroupRequest {
        let protocol =
            JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(self.subscription.clone());
        let request = JoinGroupRequest::default()
            .with_group_id(group("g"))
            .with_session_timeout_ms(self.session_ms)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        let request = if self.version >= 1 { request.with_rebalance_timeout_ms(10_000) } else { request };
        if self.version >= 8 { request.with_reason(Some(text("a test"))) } else { request }
    }

    pub fn send_join(&mut self) -> i32 {
        if self.id.is_empty() && self.version >= 4 && self.instance.is_none() {
            let refused = self.client.call(&self.join_request(), self.version);
            assert_eq!(refused.error_code, ResponseError::MemberIdRequired.code());
            self.id = refused.member_id;
        }
        let request = self.join_request();
        self.client.send(&request, self.version)
    }

    pub fn receive_join(&mut self, sent: i32) -> JoinGroupResponse {
        let answer = self.client.receive::<JoinGroupRequest>(sent, self.version);
        assert_eq!(answer.error_code, 0);
        self.id = answer.member_id.clone();
        self.generation = answer.generation_id;
        answer
    }

    pub fn join(&mut self) -> JoinGroupResponse {
        let sent = self.send_join();
        self.receive_join(sent)
    }

    pub fn sync_request(&self, assignments: &[(StrBytes, &'static str)]) -> SyncGroupRequest {
        let assignments = assignments.iter().map(|(id, data)| {
            SyncGroupRequestAssignment::default()
                .with_member_id(id.clone())
                .with_assignment(Bytes::from_static(data.as_bytes()))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group("g"))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone())
            .with_assignments(assignments.collect());
        match self.sync_version() >= 5 {
            true => request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range"))),
            false => request,
        }
    }

    pub fn sync_version(&self) -> i16 {
        self.version_of(3, 5)
    }

    pub fn sync(&mut self, assignments: &[(StrBytes, &'static str)]) -> (i16, Bytes) {
        let request = self.sync_request(assignments);
        let answer = self.client.call(&request, self.sync_version());
        (answer.error_code, answer.assignment)
    }

    pub fn beat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(group("g"))
            .with_generation_id(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone());
        self.client.call(&request, self.version_of(3, 4)).error_code
    }

    pub fn leave(&mut self) -> i16 {
        let version = self.version_of(3, 5);
        let request = LeaveGroupRequest::default().with_group_id(group("g"));
        if version < 3 {
            return self.client.call(&request.with_member_id(self.id.clone()), version).error_code;
        }
        let who =
            MemberIdentity::default().with_member_id(self.id.clone()).with_group_instance_id(self.instance.clone());
        let answer = self.client.call(&request.with_members(vec![who]), version);
        assert_eq!(answer.error_code, 0);
        match answer.members.first() {
            Some(member) => member.error_code,
            None => panic!("no answer for the member"),
        }
    }

    pub fn commit(&mut self, offset: i64) -> i16 {
        let request = commit_request("t", 0, offset, "")
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.id.clone())
            .with_group_instance_id(self.instance.clone());
        let version = if self.version >= 5 { 9 } else { 6 };
        self.client.call(&request, version).topics[0].partitions[0].error_code
    }

    /// Beats until the broker says something else.
    pub fn beat_until(&mut self, expected: i16) {
        let began = std::time::Instant::now();
        while self.beat() != expected {
            assert!(began.elapsed() < PATIENCE, "never answered {expected}");
        }
    }
}

pub fn commit_request(name: &str, index: i32, offset: i64, note: &str) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition::default()
        .with_partition_index(index)
        .with_committed_offset(offset)
        .with_committed_metadata(Some(text(note)));
    let topic = OffsetCommitRequestTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
    OffsetCommitRequest::default()
        .with_group_id(group("g"))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// `(topic, partition, offset, note)` of everything group `g` has committed.
pub fn committed(client: &mut Client) -> Vec<(String, i32, i64, String)> {
    let request = OffsetFetchRequest::default().with_group_id(group("g")).with_topics(None);
    let answer = client.call(&request, 7);
    assert_eq!(answer.error_code, 0);
    let topics = answer.topics.into_iter();
    topics
        .flat_map(|topic| {
            topic.partitions.into_iter().map(move |p| {
                let note = p.metadata.unwrap().to_string();
                (topic.name.to_string(), p.partition_index, p.committed_offset, note)
            })
        })
        .collect()
}
