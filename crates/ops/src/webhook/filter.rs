//! Which events a receiver wants.

use lumenbus_bus::subscriber::CameraFilter;
use lumenbus_frame::UnknownName;
use lumenbus_wire::{CameraEvent, HealthState, PresencePhase};
use std::fmt;
use std::str::FromStr;

/// A kind of event, or one state of a kind: `health`, `health:dark`, `presence:begin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KindPattern {
    kind: &'static str,
    state: Option<&'static str>,
}

/// Kinds with their states.
fn kinds() -> [(&'static str, Vec<&'static str>); 2] {
    let phases = [PresencePhase::Begin, PresencePhase::End];
    [
        ("health", HealthState::ALL.map(HealthState::as_str).to_vec()),
        ("presence", phases.map(PresencePhase::as_str).to_vec()),
    ]
}

impl FromStr for KindPattern {
    type Err = UnknownName;

    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let (kind, state) = text.split_once(':').map_or((text, None), |(kind, state)| (kind, Some(state)));
        let found = kinds().into_iter().find(|(known, _)| *known == kind).and_then(|(kind, states)| match state {
            None => Some(Self { kind, state: None }),
            Some(state) => {
                let state = states.iter().find(|known| **known == state)?;
                Some(Self { kind, state: Some(state) })
            }
        });
        found.ok_or_else(|| UnknownName {
            what: "kind of event",
            name: text.chars().take(64).collect(),
            known: kinds()
                .map(|(kind, states)| format!("{kind}, {kind}:{}", states.join(&format!(", {kind}:"))))
                .join(", "),
        })
    }
}

impl fmt::Display for KindPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)?;
        self.state.map_or(Ok(()), |state| write!(f, ":{state}"))
    }
}

/// Events by camera and kind; by default all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of which cameras.
    pub cameras: CameraFilter,
    /// Of which kinds; none: of all.
    pub kinds: Vec<KindPattern>,
}

impl EventFilter {
    /// Whether an event is wanted.
    #[must_use]
    pub fn matches(&self, event: &CameraEvent) -> bool {
        let is_of = |pattern: &KindPattern| {
            pattern.kind == event.kind.as_str() && pattern.state.is_none_or(|state| state == event.kind.state())
        };
        let is_kind = self.kinds.is_empty() || self.kinds.iter().any(is_of);
        is_kind && self.cameras.matches(event.stream.camera.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::webhook::test_event;

    #[test]
    fn kinds_and_states() {
        let event = test_event(0);
        let matches = |kinds: &[&str], camera: &str| {
            let kinds = kinds.iter().map(|kind| kind.parse().unwrap()).collect();
            EventFilter { cameras: CameraFilter::new([camera]).unwrap(), kinds }.matches(&event)
        };
        assert!(matches(&[], "*") && matches(&["health"], "te*") && matches(&["presence", "health:ok"], "test"));
        assert!(!matches(&["presence"], "*") && !matches(&["health:dark"], "*") && !matches(&[], "gate"));
        for text in ["health", "presence:end", "health:moved"] {
            assert_eq!(text.parse::<KindPattern>().unwrap().to_string(), text);
        }
        for wrong in ["", "healthy", "health:", "health:begin", "presence:dark", ":ok"] {
            let error = wrong.parse::<KindPattern>().unwrap_err().to_string();
            assert!(error.contains("health:dark") && error.contains("presence:begin"), "{error}");
        }
    }
}
