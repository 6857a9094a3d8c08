//! `lumenbus doctor`: what is wrong, why, and what to do.

use super::size;
use crate::exit::Outcome;
use crate::output::Output;
use crate::settings::Settings;
use crate::units;
use clap::Args;
use lumenbus_codec::{has_h264_assembly, system_ffmpeg};
use lumenbus_ops::budget::Traffic;
use lumenbus_ops::doctor::{Diagnosis, DoctorConfig, Finding, Severity, SystemFfmpeg, diagnose};
use serde_json::json;
use std::fmt::Write as _;
use std::fs::File;
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 nothing to do, 3 problems found, 4 no broker can be used.\n\nExamples:\n  lumenbus doctor\n  lumenbus doctor --brokers kafka-1:9093 --kafka-config client.properties --group archive\n  lumenbus doctor --mbit 2.3 -X fetch.min.bytes=102400\n  lumenbus doctor --data ./lumenbus-data --json"
)]
pub(crate) struct DoctorArguments {
    /// Megabits per second of one camera, for the latency budget
    #[arg(long, value_name = "MBIT", default_value = "2.3")]
    mbit: f64,
    /// Frames per second of one camera, for the latency budget
    #[arg(long, value_name = "N", default_value = "30")]
    fps: f64,
    /// Cameras that one consumer reads from one broker, for the latency budget
    #[arg(long, value_name = "N", default_value = "1")]
    cameras: u32,
    /// What the settings together may add to a frame's way
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "50ms")]
    budget: Duration,
    /// Consumer group whose rights are checked
    #[arg(long, value_name = "NAME", default_value = "lumenbus-doctor")]
    group: String,
    /// How long frames are listened to, for clocks and rates
    #[arg(long, value_name = "TIME", value_parser = units::duration, default_value = "2s")]
    sample: Duration,
    /// Data folder of the embedded broker, when it is on this machine
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Free on the brokers' disks together, such as 2TB, when you know it
    #[arg(long, value_name = "SIZE", value_parser = size::disk)]
    free: Option<u64>,
}

pub(crate) fn run(arguments: &DoctorArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let config = config(arguments, settings)?;
    output.progress(|| format!("looking at {}", settings.bus.brokers));
    let ink = if std::io::stdout().is_terminal() && !settings.json { Ink::Colour } else { Ink::Plain };
    let diagnosis = diagnose(&config, |finding| {
        output.result(&text(finding, ink));
        output.object("finding", json!(finding));
        output.progress(|| "looking further".to_owned());
    });
    tell_sum(output, &diagnosis);
    Ok(match &diagnosis {
        Diagnosis { is_reachable: false, .. } => Outcome::BrokerUnreachable,
        diagnosis if diagnosis.problems() > 0 => Outcome::ProblemsFound,
        _ => Outcome::Done,
    })
}

fn config(arguments: &DoctorArguments, settings: &Settings) -> anyhow::Result<DoctorConfig> {
    let is_fine = |value: f64| value.is_finite() && value > 0.0;
    if !is_fine(arguments.mbit) || !is_fine(arguments.fps) {
        return Err(crate::exit::Usage("--mbit and --fps: write numbers above 0".to_owned()).into());
    }
    let mut config = DoctorConfig::new(settings.bus.clone());
    config.traffic = Traffic { mbit: arguments.mbit, fps: arguments.fps, cameras: arguments.cameras };
    config.budget_millis = arguments.budget.as_secs_f64() * 1e3;
    config.group.clone_from(&arguments.group);
    config.sample = arguments.sample.min(Duration::from_secs(600));
    config.data.clone_from(&arguments.data);
    config.free_bytes = arguments.free;
    config.has_h264_assembly = own_assembly();
    let owned =
        |(version, license): (&str, &str)| SystemFfmpeg { version: version.to_owned(), license: license.to_owned() };
    config.system_ffmpeg = system_ffmpeg().map(owned);
    config.client = format!("this client is librdkafka {}", rdkafka::util::get_rdkafka_version().1);
    Ok(config)
}

/// What this program holds, not what was there when some part of it was built.
fn own_assembly() -> Option<bool> {
    let found = std::env::current_exe().and_then(File::open).and_then(has_h264_assembly);
    found.unwrap_or_else(|error| {
        tracing::debug!(%error, "this program's own file cannot be read");
        None
    })
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Ink {
    Plain,
    Colour,
}

/// `warning  what` and, below it, why and what to do.
fn text(finding: &Finding, ink: Ink) -> String {
    let colour = match finding.severity {
        Severity::Ok => "32",
        Severity::Note => "36",
        Severity::Warning => "33",
        Severity::Error => "31",
    };
    let word = format!("{:<7}", finding.severity);
    let mut text = match ink {
        Ink::Plain => word,
        Ink::Colour => format!("\x1b[{colour}m{word}\x1b[0m"),
    };
    // Writing to a string cannot fail.
    write!(text, "  {}", finding.what).ok();
    if let Some(why) = &finding.why {
        write!(text, "\n           why: {why}").ok();
    }
    // A line of the budget ends in its remedy already.
    if let Some(remedy) = finding.remedy.as_ref().filter(|remedy| !finding.what.ends_with(remedy.as_str())) {
        write!(text, "\n         to do: {remedy}").ok();
    }
    text
}

fn tell_sum(output: &mut Output, diagnosis: &Diagnosis) {
    let count = |severity: Severity| diagnosis.findings.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let (notes, fine) = (count(Severity::Note), count(Severity::Ok));
    output.result("");
    output.result(&match errors + warnings {
        0 => format!("nothing to do: {fine} checks are fine, {notes} notes"),
        _ => format!("{errors} errors and {warnings} warnings; {fine} checks are fine, {notes} notes"),
    });
    output.summary(
        "doctor",
        json!({
            "is_reachable": diagnosis.is_reachable, "errors": errors, "warnings": warnings, "notes": notes, "ok": fine,
            "budget": diagnosis.budget,
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_says_what_why_and_what_to_do() {
        let finding = Finding {
            code: "isr".to_owned(),
            severity: Severity::Warning,
            what: "2 partitions lack copies".to_owned(),
            why: Some("a broker is away".to_owned()),
            remedy: Some("start it".to_owned()),
        };
        let plain = "warning  2 partitions lack copies\n           why: a broker is away\n         to do: start it";
        assert_eq!(text(&finding, Ink::Plain), plain);
        assert!(text(&finding, Ink::Colour).starts_with("\x1b[33mwarning\x1b[0m  2"));
    }
}
