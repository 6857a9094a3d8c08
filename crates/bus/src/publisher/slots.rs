//! A slab of what is on its way, so that a delivery report finds it by a number.

/// Values under small numbers that are used again; it grows to the most ever held and no further.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    entries: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { entries: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    pub(crate) fn insert(&mut self, value: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.entries[slot as usize] = Some(value);
            return slot;
        }
        let slot = u32::try_from(self.entries.len()).expect("the windows bound what is on its way");
        self.entries.push(Some(value));
        slot
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.entries.get_mut(slot as usize)?.as_mut()
    }

    pub(crate) fn remove(&mut self, slot: u32) -> Option<T> {
        let value = self.entries.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        Some(value)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.entries.iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn a_slot_keeps_its_value_until_it_is_removed(steps in prop::collection::vec((any::<bool>(), 0..20_usize), 0..200)) {
            let (mut slots, mut model, mut next, mut most) = (Slots::default(), BTreeMap::new(), 0, 0);
            for (insert, pick) in steps {
                if insert {
                    prop_assert_eq!(model.insert(slots.insert(next), next), None);
                    next += 1;
                } else if let Some((&slot, _)) = model.iter().nth(pick) {
                    prop_assert_eq!(slots.remove(slot), model.remove(&slot));
                    prop_assert_eq!(slots.remove(slot), None);
                }
                most = most.max(model.len());
                prop_assert_eq!(slots.len(), model.len());
                prop_assert!(slots.entries.len() <= most);
            }
            for (slot, value) in model {
                prop_assert_eq!(slots.get_mut(slot).copied(), Some(value));
            }
        }
    }
}
