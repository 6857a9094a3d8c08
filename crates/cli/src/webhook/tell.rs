//! Webhooks in words and as JSON.

use super::{WebhookChanges, WebhookStatus};
use lumenbus_ops::webhook::WebhookState;
use serde_json::{Value, json};
use std::collections::HashMap;

/// Remembers what is needed to tell changes.
#[derive(Debug, Default)]
pub(crate) struct WebhookBoard {
    states: HashMap<String, WebhookState>,
}

impl WebhookBoard {
    /// Takes in what is now; those that are in another state than the last time.
    pub(crate) fn update<'a>(&mut self, webhooks: &'a [WebhookStatus]) -> Vec<&'a WebhookStatus> {
        self.states.retain(|name, _| webhooks.iter().any(|webhook| webhook.name == *name));
        let mut changed = Vec::new();
        for webhook in webhooks {
            let before = self.states.insert(webhook.name.clone(), webhook.state.clone());
            if before.as_ref() != Some(&webhook.state) {
                changed.push(webhook);
            }
        }
        changed
    }

    /// A line a webhook, such as `guards · https://hooks.example: 12 events delivered`.
    #[expect(clippy::unused_self, reason = "one of the boards")]
    pub(crate) fn lines(&self, webhooks: &[WebhookStatus]) -> Vec<String> {
        let line = |webhook: &WebhookStatus| {
            let WebhookStatus { name, target, stats, state, .. } = webhook;
            let passed_over = match stats.passed_over {
                0 => String::new(),
                events => format!(", {events} refused and passed over"),
            };
            let trouble = state.trouble().map_or_else(String::new, |trouble| format!("; {trouble}"));
            format!("{name} · {target}: {} events delivered{passed_over}{trouble}", stats.delivered)
        };
        webhooks.iter().map(line).collect()
    }
}

pub(crate) fn status_json(webhook: &WebhookStatus) -> Value {
    let WebhookStatus { name, target, group, state, stats } = webhook;
    json!({
        "webhook": name, "target": target, "group": group, "state": state.as_str(), "reason": state.trouble(),
        "delivered": stats.delivered, "passed_over": stats.passed_over, "filtered": stats.filtered,
        "failed_attempts": stats.failed_attempts,
    })
}

pub(crate) fn changes_json(changes: &WebhookChanges) -> Value {
    json!({
        "added": changes.added, "changed": changes.changed, "removed": changes.removed,
        "unchanged": changes.unchanged, "refused": changes.refused.iter().map(|(name, _)| name).collect::<Vec<_>>(),
    })
}

/// `webhooks: added guards`; `None` when nothing changed.
pub(crate) fn changes_line(changes: &WebhookChanges) -> Option<String> {
    let rows = [("added", &changes.added), ("changed", &changes.changed), ("removed", &changes.removed)];
    let told = rows.iter().filter(|(_, names)| !names.is_empty());
    let parts: Vec<_> = told.map(|(what, names)| format!("{what} {}", names.join(", "))).collect();
    (!parts.is_empty()).then(|| format!("webhooks: {}", parts.join("; ")))
}
