//! The members of a group, in the order they first joined and found by id.

use std::collections::HashMap;

use super::member::Member;

/// The members of one group.
#[derive(Debug, Default)]
pub(crate) struct Members {
    list: Vec<Member>,
    positions: HashMap<String, usize>,
    /// Static members by their name.
    instances: HashMap<String, usize>,
}

impl Members {
    pub(crate) fn len(&self) -> usize {
        self.list.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Member> {
        self.list.iter()
    }

    /// Ids stay as they are; [`Members::rename`] changes one.
    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, Member> {
        self.list.iter_mut()
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.positions.contains_key(id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Member> {
        self.positions.get(id).and_then(|at| self.list.get_mut(*at))
    }

    /// The static member of this name.
    pub(crate) fn of_instance(&self, instance_id: &str) -> Option<&Member> {
        self.instances.get(instance_id).and_then(|at| self.list.get(*at))
    }

    pub(crate) fn push(&mut self, member: Member) {
        self.enter(self.list.len(), &member);
        self.list.push(member);
    }

    /// Gives a member another id in its place.
    pub(crate) fn rename(&mut self, id: &str, new_id: &str) {
        if let Some(at) = self.positions.remove(id) {
            self.list[at].id = new_id.to_owned();
            self.positions.insert(new_id.to_owned(), at);
        }
    }

    pub(crate) fn retain(&mut self, stays: impl FnMut(&Member) -> bool) {
        let before = self.list.len();
        self.list.retain(stays);
        if self.list.len() == before {
            return;
        }
        self.positions.clear();
        self.instances.clear();
        let list = std::mem::take(&mut self.list);
        for (at, member) in list.iter().enumerate() {
            self.enter(at, member);
        }
        self.list = list;
    }

    fn enter(&mut self, at: usize, member: &Member) {
        self.positions.insert(member.id.clone(), at);
        if let Some(instance_id) = &member.instance_id {
            self.instances.insert(instance_id.clone(), at);
        }
    }
}
