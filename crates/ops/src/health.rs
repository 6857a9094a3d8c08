//! Whether the process is alive and ready, by component.

use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

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

type Probe = Arc<dyn Fn() -> State + Send + Sync>;

#[derive(Clone)]
enum Component {
    Told(State),
    Asked(Probe),
}

/// The components of this process; clones are the same one.
#[derive(Clone, Default)]
pub struct Health {
    components: Arc<Mutex<BTreeMap<String, Component>>>,
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Vec::from_iter(self.lock().keys().cloned());
        f.debug_struct("Health").field("components", &names).finish()
    }
}

impl Health {
    /// Nothing is known yet: not ready.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Says how a component is.
    pub fn set(&self, component: &str, state: State) {
        self.put(component, Component::Told(state));
    }

    /// Asks a component how it is, each time that somebody wants to know. It may block for as long as a disk does.
    pub fn ask(&self, component: &str, probe: impl Fn() -> State + Send + Sync + 'static) {
        self.put(component, Component::Asked(Arc::new(probe)));
    }

    fn put(&self, component: &str, state: Component) {
        let mut components = self.lock();
        if components.len() >= MAX_COMPONENTS && !components.contains_key(component) {
            tracing::error!(component, "too many components of health; it is not shown");
            return;
        }
        components.insert(component.to_owned(), state);
    }

    /// A component that is no more; its state no longer counts.
    pub fn remove(&self, component: &str) {
        self.lock().remove(component);
    }

    /// Whether there is a component, and all of them work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        are_ready(&self.components())
    }

    /// Every component.
    #[must_use]
    pub fn components(&self) -> BTreeMap<String, State> {
        let components = self.lock().clone();
        let state = |component| match component {
            Component::Told(state) => state,
            Component::Asked(probe) => probe(),
        };
        components.into_iter().map(|(name, component)| (name, state(component))).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Component>> {
        self.components.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether there is a component, and all of them work.
pub(crate) fn are_ready(components: &BTreeMap<String, State>) -> bool {
    !components.is_empty() && components.values().all(State::is_ready)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

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
    fn a_component_that_is_asked_says_how_it_is_now() {
        let health = Health::new();
        let works = Arc::new(AtomicBool::new(true));
        let asked = Arc::clone(&works);
        health.ask("disk", move || match asked.load(Ordering::SeqCst) {
            true => State::Ok,
            false => State::Failed("full".to_owned()),
        });
        assert!(health.is_ready());
        works.store(false, Ordering::SeqCst);
        assert!(!health.is_ready());
        assert_eq!(health.components()["disk"], State::Failed("full".to_owned()));
        health.set("disk", State::Ok);
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
