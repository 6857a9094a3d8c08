//! Webhooks: what they are told, by options or by a settings file, and keeping them running in `up`.

mod options;
mod posts;
mod tell;

pub(crate) use options::{Receiver, WebhookOptions, name, timeout};
pub(crate) use posts::{WebhookChanges, WebhookStatus, Webhooks};
pub(crate) use tell::{WebhookBoard, changes_json, changes_line, status_json};
