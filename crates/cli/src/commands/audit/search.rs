//! `lumenbus audit search`.

use super::walk::{PATIENCE, open, read};
use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::units;
use clap::Args;
use jiff::Zoned;
use lumenbus_ops::audit::{Action, AuditBody, Outcome as Went, to_json};
use serde_json::json;

/// A record is written at most this long after the time in it: how much earlier the reading begins than `--from`.
const MARGIN_MILLIS: i64 = 3_600_000;

/// Which records.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// Part of the actor's, the peer's or the instance's name
    #[arg(long, value_name = "TEXT")]
    who: Option<String>,
    /// An action (start, stop, begin, send, receive, reject, access, export, import, deidentify, delete, configure, login, logout, alert, read-audit), or the object's reference
    #[arg(long, value_name = "TEXT")]
    what: Option<String>,
    /// Not before: TIME
    #[arg(long, allow_hyphen_values = true, value_name = "WHEN")]
    from: Option<String>,
    /// Not after: TIME
    #[arg(long, allow_hyphen_values = true, value_name = "WHEN")]
    to: Option<String>,
    /// success, minor-failure, serious-failure, major-failure; failure: any of the last three
    #[arg(long, value_name = "OUTCOME")]
    outcome: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SearchArguments {
    #[command(flatten)]
    filter: Filter,
}

/// A filter with its times and names read.
pub(super) struct Wanted<'a> {
    filter: &'a Filter,
    action: Option<Action>,
    outcome: Option<Went>,
    pub(super) from_millis: Option<i64>,
    to_millis: Option<i64>,
}

impl Filter {
    pub(super) fn resolve(&self) -> Result<Wanted<'_>, Usage> {
        let now = Zoned::now();
        let moment = |name: &str, text: &Option<String>| {
            let parsed = text.as_deref().map(|text| units::moment(text, &now)).transpose();
            parsed.map_err(|error| Usage(format!("{name}: {error}")))
        };
        let outcome = self.outcome.as_deref().filter(|outcome| *outcome != "failure").map(str::parse::<Went>);
        let outcome = outcome.transpose().map_err(|error| Usage(format!("--outcome: {error}, failure")))?;
        let (from_millis, to_millis) = (moment("--from", &self.from)?, moment("--to", &self.to)?);
        let action = self.what.as_deref().and_then(|what| what.parse().ok());
        Ok(Wanted { filter: self, action, outcome, from_millis, to_millis })
    }
}

impl Wanted<'_> {
    /// Where to begin to read, as a time of the log's.
    pub(super) fn begin_millis(&self) -> Option<i64> {
        self.from_millis.map(|from| from.saturating_sub(MARGIN_MILLIS))
    }

    pub(super) fn is_met(&self, body: &AuditBody) -> bool {
        let millis = body.unix_nanos.div_euclid(1_000_000);
        let who =
            |who: &String| [&body.actor, &body.peer, &body.instance].iter().any(|name| name.contains(who.as_str()));
        let what = |what: &String| match self.action {
            Some(action) => body.action == action,
            None => !what.is_empty() && body.object.contains(what.as_str()),
        };
        let is_outcome = match (self.outcome, self.filter.outcome.is_some()) {
            (Some(outcome), _) => body.outcome == outcome,
            (None, true) => body.outcome != Went::Success,
            (None, false) => true,
        };
        is_outcome
            && self.filter.who.as_ref().is_none_or(who)
            && self.filter.what.as_ref().is_none_or(what)
            && self.from_millis.is_none_or(|from| millis >= from)
            && self.to_millis.is_none_or(|to| millis <= to)
    }
}

pub(super) fn run(arguments: &SearchArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let wanted = arguments.filter.resolve()?;
    let reader = open(settings)?;
    let begin = wanted.begin_millis().map(|millis| reader.offset_at(millis)).transpose()?.unwrap_or(0);
    let (mut found, mut looked_at, mut unread) = (0_u64, 0_u64, 0_u64);
    reader.read_to_end(begin, PATIENCE, |entry| {
        looked_at += 1;
        let Some((body, hash)) = read(&entry.value) else {
            unread += 1;
            return;
        };
        if wanted.is_met(&body) {
            found += 1;
            output.result(&line(&body));
            output.object("record", to_json(&body, &hash, entry.offset));
        }
    })?;
    if unread > 0 {
        output.note(&format!("{unread} records cannot be read; `lumenbus audit verify` says which"));
    }
    output.note(&format!("{found} of {looked_at} records; signatures were not looked at"));
    output.summary("audit search", json!({ "found": found, "looked_at": looked_at, "unread": unread }));
    Ok(if unread > 0 { Outcome::ProblemsFound } else { Outcome::Done })
}

fn line(body: &AuditBody) -> String {
    let time = jiff::Timestamp::from_nanosecond(i128::from(body.unix_nanos)).unwrap_or_default();
    let part = |before: &str, text: &str| if text.is_empty() { String::new() } else { format!(" {before}{text}") };
    // A record may hold what a terminal would obey.
    let text = format!(
        "{time:.3} {} {}{}{} {}{} [{} {}]",
        body.actor,
        body.action,
        part("", &body.object),
        part("from ", &body.peer),
        body.outcome,
        part("", &body.reason),
        body.instance,
        body.sequence
    );
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
