//! Whether the process is alive and ready, by component.

use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Components that are kept apart; further ones are refused, loudly.
const MAX_COMPONENTS: usize = 64;

/// How a component is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", content = "reason", rename_all = "lowercase")]
pub enum State {
    /// Not there yet.
    Starting,
    /// As it should be.
    Ok,
    /// Works, but not as it should; the process counts as ready.
    Degraded(String),
    /// Does not work; the process is not ready.
    Failed(String),
}

impl State {
    fn is_ready(&self) -> bool {
        matches!(self, Self::Ok | Self::Degraded(_))
    }
}

/// The components of this process; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<String, State>>>,
}

impl Health {
    /// Nothing is known yet: not ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says how a component is.
    pub fn set(&self, component: &str, state: State) {
        let mut components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        if components.len() >= MAX_COMPONENTS && !components.contains_key(component) {
            tracing::error!(component, "too many components of health; it is not shown");
            return;
        }
        components.insert(component.to_owned(), state);
    }

    /// A component that is no more; its state no longer counts.
    pub fn remove(&self, component: &str) {
        self.components.lock().unwrap_or_else(PoisonError::into_inner).remove(component);
    }

    /// Whether there is a component, and all of them work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let components = self.components.lock().unwrap_or_else(PoisonError::into_inner);
        !components.is_empty() && components.values().all(State::is_ready)
    }

    /// Every component.
    #[must_use]
    pub fn components(&self) -> BTreeMap<String, State> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_every_component_and_at_least_one() {
        let health = Health::new();
        assert!(!health.is_ready());
        health.set("broker", State::Starting);
        health.set("viewer", State::Ok);
        assert!(!health.is_ready());
        health.set("broker", State::Degraded("slow".to_owned()));
        assert!(health.is_ready());
        health.clone().set("broker", State::Failed("gone".to_owned()));
        assert!(!health.is_ready());
        health.remove("broker");
        assert!(health.is_ready());
    }

    #[test]
    fn components_are_bounded() {
        let health = Health::new();
        for number in 0..1_000 {
            health.set(&number.to_string(), State::Ok);
        }
        assert_eq!(health.components().len(), MAX_COMPONENTS);
    }

    #[test]
    fn a_state_says_why_in_json() {
        let state = serde_json::to_value(State::Failed("gone".to_owned())).unwrap();
        assert_eq!(state, serde_json::json!({ "state": "failed", "reason": "gone" }));
        assert_eq!(serde_json::to_value(State::Ok).unwrap(), serde_json::json!({ "state": "ok" }));
    }
}
