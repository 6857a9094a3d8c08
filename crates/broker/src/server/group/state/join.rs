//! Members join: newcomers, members of before, and static ones that come back.

use std::time::Instant;

use kafka_protocol::ResponseError;

use super::{Group, Phase};
use crate::server::group::member::{
    Admission, Answer, Caller, Join, JoinRefused, Joined, Member, ReturnOfLeader, Ticket, elect_protocol,
};

/// What becomes of a join that was not refused.
enum Admitted {
    /// It waits for the others, or gets what is settled already.
    Member(String),
    /// It is answered at once.
    Returned(Joined),
}

type Refused = (ResponseError, Option<String>);

impl Group {
    /// A member joins, or joins again. The answer follows by ticket.
    pub(crate) fn join(&mut self, now: Instant, ticket: Ticket, join: Join) {
        let id = join.member_id.clone();
        match self.admit(now, join) {
            Ok(Admitted::Member(member_id)) => self.joined(now, ticket, &member_id),
            Ok(Admitted::Returned(joined)) => self.answers.push(Answer::Join(ticket, Ok(joined))),
            Err((error, told)) => {
                let member_id = told.or(id).unwrap_or_default();
                self.answers.push(Answer::Join(ticket, Err(JoinRefused { error, member_id })));
            }
        }
    }

    /// Enters the member (or its new subscription) and begins a rebalance when that changes something.
    fn admit(&mut self, now: Instant, join: Join) -> Result<Admitted, Refused> {
        if !self.compatible(&join) {
            return Err((ResponseError::InconsistentGroupProtocol, None));
        }
        let Some(id) = join.member_id.clone() else {
            return self.admit_nameless(now, join);
        };
        if self.pending.remove(&id).is_some() {
            self.add_member(now, id.clone(), join);
            return Ok(Admitted::Member(id));
        }
        let caller = Caller { member_id: &id, instance_id: join.instance_id.as_deref(), generation: self.generation };
        self.check_identity(caller).map_err(|error| (error, None))?;
        let is_leader = id == self.leader;
        let member = self.members.get_mut(&id).expect("the member was checked above");
        let changed = update(member, now, join);
        match self.phase {
            Phase::Stable if changed || is_leader => self.begin_rebalance(now),
            Phase::Completing if changed => self.begin_rebalance(now),
            _ => {}
        }
        Ok(Admitted::Member(id))
    }

    /// Somebody without a member id: a static member that comes back, or a newcomer.
    fn admit_nameless(&mut self, now: Instant, join: Join) -> Result<Admitted, Refused> {
        let former = join.instance_id.as_deref().and_then(|instance_id| self.members.of_instance(instance_id));
        if let Some(former) = former.map(|member| member.id.clone()) {
            return Ok(self.admit_returned(now, &former, join));
        }
        if self.members.len() + self.pending.len() >= self.rules.max_members {
            return Err((ResponseError::GroupMaxSizeReached, None));
        }
        let id = join.new_id.clone();
        match join.admission {
            Admission::AtOnce => {
                self.add_member(now, id.clone(), join);
                Ok(Admitted::Member(id))
            }
            Admission::ByIdFirst => {
                self.pending.insert(id.clone(), now + join.session_timeout);
                Err((ResponseError::MemberIdRequired, Some(id)))
            }
        }
    }

    /// A static member comes back under a new id: what still speaks for it under the old one is fenced
    /// off. A settled group stays settled unless its assignor changes by this.
    fn admit_returned(&mut self, now: Instant, former: &str, join: Join) -> Admitted {
        self.turn_away(former, ResponseError::FencedInstanceId);
        let (id, return_of_leader) = (join.new_id.clone(), join.return_of_leader);
        self.members.rename(former, &id);
        let member = self.members.get_mut(&id).expect("the member was renamed above");
        member.owes_sync = false;
        member.client_id.clone_from(&join.client_id);
        member.client_host.clone_from(&join.client_host);
        update(member, now, join);
        let led_by = self.leader.clone();
        if led_by == former {
            self.leader.clone_from(&id);
        }
        match self.phase {
            Phase::Stable if elect_protocol(&self.members) == self.protocol => {
                self.is_unsaved = true;
                let joined = self.describe(&id);
                return Admitted::Returned(match return_of_leader {
                    ReturnOfLeader::SkipAssignment => Joined { skip_assignment: id == self.leader, ..joined },
                    ReturnOfLeader::AsFollower => Joined { leader: led_by, members: Vec::new(), ..joined },
                });
            }
            // Where the leader is assigning already, it assigns to the old id.
            Phase::Stable | Phase::Completing => self.begin_rebalance(now),
            Phase::Empty | Phase::Preparing { .. } => {}
        }
        Admitted::Member(id)
    }

    fn add_member(&mut self, now: Instant, id: String, join: Join) {
        if self.members.is_empty() {
            self.protocol_type.clone_from(&join.protocol_type);
        }
        self.members.push(Member::new(now, id, join));
        match self.phase {
            Phase::Preparing { earliest, latest } if earliest > now => {
                let earliest = (now + self.rules.initial_delay).min(latest);
                self.phase = Phase::Preparing { earliest, latest };
            }
            Phase::Preparing { .. } => {}
            Phase::Empty | Phase::Completing | Phase::Stable => self.begin_rebalance(now),
        }
    }

    /// One assignor at least must be understood by all members.
    fn compatible(&self, join: &Join) -> bool {
        if join.protocol_type.is_empty() || join.protocols.is_empty() {
            return false;
        }
        let is_same = |m: &Member| {
            Some(&m.id) == join.member_id.as_ref() || (m.instance_id.is_some() && m.instance_id == join.instance_id)
        };
        let others: Vec<_> = self.members.iter().filter(|m| !is_same(m)).collect();
        if others.is_empty() {
            return true;
        }
        let shared = |name: &str| others.iter().all(|m| m.supports(name));
        join.protocol_type == self.protocol_type && join.protocols.iter().any(|(n, _)| shared(n))
    }

    fn joined(&mut self, now: Instant, ticket: Ticket, id: &str) {
        if !matches!(self.phase, Phase::Preparing { .. }) {
            let joined = self.describe(id);
            self.answers.push(Answer::Join(ticket, Ok(joined)));
            return;
        }
        let member = self.members.get_mut(id).expect("only members that were admitted get here");
        if let Some(former) = member.joining.replace(ticket) {
            self.answers.push(Answer::Join(
                former,
                Err(JoinRefused { error: ResponseError::RebalanceInProgress, member_id: id.to_owned() }),
            ));
        }
        self.complete_when_ready(now);
    }
}

/// Enters what a member says of itself; whether its subscription changed.
fn update(member: &mut Member, now: Instant, join: Join) -> bool {
    let changed = member.protocols != join.protocols;
    member.session_timeout = join.session_timeout;
    member.rebalance_timeout = join.rebalance_timeout;
    member.protocols = join.protocols;
    member.alive(now);
    changed
}
