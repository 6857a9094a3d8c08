//! `lumenbus audit verify` and `checkpoint`.

use super::walk::{PATIENCE, open};
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use clap::Args;
use lumenbus_ops::audit::{Checkpoint, SigningKey, Trust, Verdict, Verifier, fingerprint, read_public_key};
use serde_json::json;
use std::path::PathBuf;

#[derive(Debug, Args)]
pub(crate) struct VerifyArguments {
    /// Public keys to trust, such as DIR/INSTANCE.pub; without any, each chain is believed its first record
    #[arg(long, num_args = 1.., value_name = "FILE")]
    key: Vec<PathBuf>,
    /// Checkpoints that were kept elsewhere
    #[arg(long, num_args = 1.., value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct CheckpointArguments {
    #[command(flatten)]
    verify: VerifyArguments,
    /// Where to write it
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Private key to sign with; made on first use, with its public key beside it
    #[arg(long, value_name = "FILE")]
    signing_key: PathBuf,
}

pub(super) fn verify(arguments: &VerifyArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let judged = judge(arguments, settings, output)?;
    report(&judged, output);
    output.summary("audit verify", summary(&judged));
    Ok(if judged.verdict.is_clean() { Outcome::Done } else { Outcome::ProblemsFound })
}

/// A checkpoint of a trail that is not clean would vouch for what is wrong, so there is none.
pub(super) fn checkpoint(
    arguments: &CheckpointArguments,
    settings: &Settings,
    output: &mut Output,
) -> anyhow::Result<Outcome> {
    let judged = judge(&arguments.verify, settings, output)?;
    report(&judged, output);
    if !judged.verdict.is_clean() {
        output.note("no checkpoint is made of a trail that is not as it should be");
        output.summary("audit checkpoint", summary(&judged));
        return Ok(Outcome::ProblemsFound);
    }
    let key = SigningKey::open_or_create(&arguments.signing_key)?;
    let now = i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX);
    let body = judged.verdict.checkpoint(&judged.topic, judged.bounds, now);
    Checkpoint::write(&arguments.out, &body, &key)?;
    let signer = fingerprint(&key.public());
    output.result(&format!(
        "{} signed by {signer}; keep it where nobody who runs this can change it",
        arguments.out.display()
    ));
    let mut told = summary(&judged);
    told["out"] = json!(arguments.out.display().to_string());
    told["signer"] = json!(signer);
    output.summary("audit checkpoint", told);
    Ok(Outcome::Done)
}

struct Judged {
    verdict: Verdict,
    topic: String,
    bounds: (u64, u64),
    has_keys: bool,
}

fn judge(arguments: &VerifyArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Judged> {
    let keys = arguments.key.iter().map(|path| read_public_key(path)).collect::<Result<Vec<_>, _>>()?;
    let mut verifier = Verifier::new(&keys);
    for path in &arguments.checkpoint {
        verifier.add_checkpoint(&Checkpoint::read(path)?);
    }
    let reader = open(settings)?;
    let mut records = 0_u64;
    let bounds = reader.read_to_end(0, PATIENCE, |entry| {
        verifier.see(entry.offset, &entry.key, &entry.value);
        records += 1;
        output.progress(|| format!("{records} records"));
    })?;
    let topic = reader.topic().to_string();
    Ok(Judged { verdict: verifier.finish(bounds), topic, bounds, has_keys: !keys.is_empty() })
}

fn report(judged: &Judged, output: &mut Output) {
    let verdict = &judged.verdict;
    for finding in &verdict.findings {
        output.result(&format!("{}: {}", finding.kind.as_str(), finding.what));
        output.object(
            "finding",
            json!({
                "kind": finding.kind.as_str(), "instance": finding.instance, "offset": finding.offset,
                "sequence": finding.sequence, "what": finding.what,
            }),
        );
    }
    for note in &verdict.notes {
        output.result(&format!("note: {note}"));
        output.object("note", json!({ "what": note }));
    }
    for one in &verdict.instances {
        let key = one.public_key.map(|key| fingerprint(&key));
        let trust = one.trust.map(Trust::as_str);
        let (first, last) = one.sequences.unwrap_or((0, 0));
        output.object(
            "instance",
            json!({
                "instance": one.instance, "records": one.records, "first": first, "last": last,
                "key": key, "trust": trust, "lost": one.lost,
            }),
        );
    }
    let row = |one: &lumenbus_ops::audit::InstanceReport| {
        let (first, last) = one.sequences.unwrap_or((0, 0));
        let key = one.public_key.map_or_else(|| "unknown".to_owned(), |key| fingerprint(&key));
        let trust = one.trust.map_or("-", Trust::as_str).to_owned();
        [one.instance.clone(), one.records.to_string(), format!("{first}..{last}"), key, trust, one.lost.to_string()]
    };
    let rows: Vec<_> = verdict.instances.iter().map(row).collect();
    output.columns(["instance", "records", "numbers", "key", "trust", "lost"], &rows);
    if !judged.has_keys && !verdict.instances.is_empty() {
        output.note(
            "no key was pinned: a trail that somebody wrote from its first record on would look as good; give --key",
        );
    }
    let words =
        if verdict.is_clean() { "nothing is wrong".to_owned() } else { format!("{} findings", verdict.finding_count) };
    output.result(&format!(
        "{} records in {}, offsets {} to {}: {words}",
        verdict.records, judged.topic, judged.bounds.0, judged.bounds.1
    ));
}

fn summary(judged: &Judged) -> serde_json::Value {
    json!({
        "topic": judged.topic, "records": judged.verdict.records, "instances": judged.verdict.instances.len(),
        "findings": judged.verdict.finding_count, "is_clean": judged.verdict.is_clean(),
        "log_start": judged.bounds.0, "log_end": judged.bounds.1, "has_pinned_keys": judged.has_keys,
    })
}
