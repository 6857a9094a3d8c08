//! Exit codes and the last words.

use crate::output::{Output, say};
use crate::site::FileError;
use lumenbus_bus::{BrokerProblem, BusError};
use lumenbus_dicom::transport::TransportError;
use lumenbus_ops::audit::AuditError;
use lumenbus_ops::webhook::WebhookError;
use lumenbus_pipeline::publish::FeedError;
use lumenbus_pipeline::sink::SinkError;
use lumenbus_pipeline::subscribe::SubscribeError;
use lumenbus_source::SourceError;
use lumenbus_vision::worker::WorkError;
use serde_json::json;
use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Done.
    Done,
    /// It ran and found problems: gaps, differences.
    ProblemsFound,
    /// It ran and found that no broker can be used.
    BrokerUnreachable,
    /// Stopped by Ctrl-C or SIGTERM; what was begun is finished.
    Interrupted,
}

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;
const PROBLEMS: u8 = 3;
const BROKER_TROUBLE: u8 = 4;
pub(crate) const INTERRUPTED: u8 = 130;

/// An argument that only shows itself to be wrong later.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// What clap found; help and version are no errors.
pub(crate) fn usage(error: &clap::Error) -> ExitCode {
    // Nobody is left to tell when standard error is closed.
    drop(error.print());
    if error.use_stderr() { ExitCode::from(WRONG_USAGE) } else { ExitCode::SUCCESS }
}

/// The last words of a command that failed; with `--json` also as its summary.
pub(crate) fn finish(outcome: anyhow::Result<Outcome>, output: &mut Output, command: &str) -> ExitCode {
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::ProblemsFound) => ExitCode::from(PROBLEMS),
        Ok(Outcome::BrokerUnreachable) => ExitCode::from(BROKER_TROUBLE),
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            let (exit, code) = classify(&error);
            let text = message(&error);
            let shown = code.map_or_else(String::new, |code| format!(" [{code}]"));
            output.close_line();
            say("ERROR", &format!("lumenbus: {text}{shown}"));
            output.summary(command, json!({ "error": { "code": code, "message": text, "exit_code": exit } }));
            ExitCode::from(exit)
        }
    }
}

/// The library's error, wherever it is wrapped.
fn find<E: std::error::Error + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.chain().find_map(|cause| cause.downcast_ref::<E>())
}

/// These are transparent: their cause is not in the chain.
fn bus_error(error: &anyhow::Error) -> Option<&BusError> {
    find(error)
        .or_else(|| match find(error)? {
            AuditError::Bus(error) => Some(error),
            _ => None,
        })
        .or_else(|| match find(error)? {
            FeedError::Bus(error) => Some(error),
            _ => None,
        })
        .or_else(|| match find(error)? {
            SubscribeError::Bus(error) => Some(error),
            _ => None,
        })
        .or_else(|| match find(error)? {
            TransportError::Bus(error) => Some(error),
            _ => None,
        })
        .or_else(|| match find(error)? {
            WorkError::Bus(error) | WorkError::Features(error) => Some(error),
            _ => None,
        })
        .or_else(|| match find(error)? {
            WebhookError::Bus(error) => Some(error),
            _ => None,
        })
}

/// Whether what was typed is at fault, though it only shows when it is used.
fn is_wrong_usage(error: &anyhow::Error) -> bool {
    let is_property = |error: &BusError| {
        matches!(
            error,
            BusError::Property { .. }
                | BusError::Broker(BrokerProblem::Properties { .. } | BrokerProblem::BadAddress { .. })
        )
    };
    find::<Usage>(error).is_some()
        || find::<FileError>(error).is_some()
        || bus_error(error).is_some_and(is_property)
        || matches!(find(error), Some(SourceError::Specification { .. }))
        || matches!(find(error), Some(TransportError::Nothing { .. }))
        || matches!(find(error), Some(SinkError::Form { .. }))
        || matches!(find(error), Some(WebhookError::Target(_) | WebhookError::Timeout(_)))
}

fn classify(error: &anyhow::Error) -> (u8, Option<&'static str>) {
    if is_wrong_usage(error) {
        return (WRONG_USAGE, bus_error(error).map(BusError::code));
    }
    match bus_error(error) {
        Some(bus) if bus.is_broker_trouble() => (BROKER_TROUBLE, Some(bus.code())),
        Some(bus) => (FAILED, Some(bus.code())),
        None => (FAILED, find::<AuditError>(error).map(AuditError::code)),
    }
}

/// The error with its causes, each once: some messages already end in their cause.
fn message(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |told, cause| {
        let cause = cause.to_string();
        match told {
            told if told.is_empty() => cause,
            told if told.contains(&cause) => told,
            told => format!("{told}: {cause}"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn a_cause_is_not_told_twice() {
        let error = anyhow::anyhow!("disk full").context("cannot write a.h264: disk full").context("sink");
        assert_eq!(message(&error), "sink: cannot write a.h264: disk full");
    }

    #[test]
    fn wrong_usage_has_its_own_code() {
        let error = Err::<(), _>(Usage("--to is before --from".to_owned())).context("x").unwrap_err();
        assert_eq!(classify(&error).0, WRONG_USAGE);
        assert_eq!(classify(&anyhow::anyhow!("x")).0, FAILED);
    }

    #[test]
    fn errors_of_the_bus_keep_their_code_in_every_wrapping() {
        let late = || BusError::Timeout { operation: "asking", brokers: "127.0.0.1:1".to_owned(), millis: 1 };
        let wrapped: [anyhow::Error; 4] = [
            late().into(),
            FeedError::Bus(late()).into(),
            SubscribeError::Bus(late()).into(),
            WorkError::Bus(late()).into(),
        ];
        for error in wrapped {
            assert_eq!(classify(&error), (BROKER_TROUBLE, Some("LB-E0207")), "{error:?}");
            assert_eq!(classify(&error.context("x")), (BROKER_TROUBLE, Some("LB-E0207")));
        }
        assert_eq!(classify(&WorkError::Panicked.into()), (FAILED, None));
    }
}
