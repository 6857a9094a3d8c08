//! `lumenbus events`: what happened at cameras, for people and for other programs.

use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::webhook::{Receiver, WebhookOptions, name};
use crate::{signals, units};
use clap::{Args, Subcommand};
use jiff::{Timestamp, tz::TimeZone};
use lumenbus_bus::results::{EventRead, EventReader};
use lumenbus_bus::subscriber::CameraFilter;
use lumenbus_ops::webhook::{self, Answer, Ending, EventFilter, KindPattern, Told, Webhook};
use lumenbus_wire::{CameraEvent, EventKind};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How often signals are looked at.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
#[command(
    after_help = "Events are in the topic lumenbus.events: the health of cameras, and what comes and goes in their pictures.\n`lumenbus detect` and [[detect]] write them.\n\nExamples:\n  lumenbus events list --from -1h\n  lumenbus events list --follow --camera 'gate-*' --kind health\n  lumenbus events test --to https://hooks.example/lumenbus --secret-file hook.secret\n  lumenbus events forward --to https://hooks.example/lumenbus --secret-file hook.secret --name hooks"
)]
pub(crate) struct EventsArguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print what happened
    List(ListArguments),
    /// POST each event to a server, until stopped
    Forward(ForwardArguments),
    /// POST an event that never was to a server, and say what it answered
    Test(TestArguments),
}

impl EventsArguments {
    pub(crate) fn name(&self) -> &'static str {
        match self.what {
            What::List(_) => "events list",
            What::Forward(_) => "events forward",
            What::Test(_) => "events test",
        }
    }
}

/// Which events.
#[derive(Debug, Args)]
struct Choice {
    /// Only these cameras; * and ? stand for any characters; may be repeated
    #[arg(long, value_name = "GLOB")]
    camera: Vec<String>,
    /// Only this kind: health, presence, or one state of it, such as health:dark or presence:begin; may be repeated
    #[arg(long, value_name = "KIND")]
    kind: Vec<KindPattern>,
}

impl Choice {
    fn filter(&self) -> Result<EventFilter, Usage> {
        let cameras = CameraFilter::new(&self.camera).map_err(|error| Usage(format!("--camera: {error}")))?;
        Ok(EventFilter { cameras, kinds: self.kind.clone() })
    }
}

#[derive(Debug, Args)]
#[command(
    after_help = "TIME is 2026-05-01T14:03:00Z, 14:03 (local time) or -10m.\n\nExamples:\n  lumenbus events list --from -1h\n  lumenbus events list --follow --kind presence:begin --json"
)]
struct ListArguments {
    #[command(flatten)]
    choice: Choice,
    /// Begin with what was written then: start, live or TIME [default: start]
    #[arg(long, value_name = "TIME", default_value = "start", hide_default_value = true)]
    from: String,
    /// Go on as events come
    #[arg(long)]
    follow: bool,
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    duration: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Each event is one POST with its JSON as body. An event counts as delivered when the answer is 2xx; until then it is sent\nagain, with growing rests, and those behind it wait. One that is refused (3xx, 4xx but 408, 425 and 429) --refusals times\nis passed over; 410 ends it all. What was delivered is remembered in Kafka under the name: after a crash the last events\nmay come again, with the same X-Lumenbus-Event-Id.\nX-Lumenbus-Signature is t=SECONDS,v1=HEX: HMAC-SHA-256 of \"SECONDS.BODY\" with the secret.\n\nExamples:\n  lumenbus events forward --to https://hooks.example/lumenbus --secret-file hook.secret --name hooks\n  lumenbus events forward --to http://127.0.0.1:8000/ --name local --kind health --from start --until-end"
)]
struct ForwardArguments {
    #[command(flatten)]
    receiver: Receiver,
    #[command(flatten)]
    choice: Choice,
    /// What the receiver is called: what it has is remembered under this name
    #[arg(long, value_parser = name, value_name = "NAME")]
    name: String,
    /// Consumer group, nobody else's [default: webhook-NAME]
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
    /// Where a new name begins: live, start or TIME [default: live]
    #[arg(long, value_name = "TIME", default_value = "live", hide_default_value = true)]
    from: String,
    /// Pass over an event that was refused so many times; 0: never
    #[arg(long, value_name = "N", default_value_t = 8)]
    refusals: u32,
    /// Stop when all that is there has been delivered
    #[arg(long)]
    until_end: bool,
    /// Stop after this time
    #[arg(long = "for", value_parser = units::duration, value_name = "TIME")]
    duration: Option<Duration>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "The event is of the camera \"test\" and has \"test\": true; its request has the header X-Lumenbus-Test. No broker is needed.\nExit code 3 when the answer is not 2xx.\n\nExamples:\n  lumenbus events test --to https://hooks.example/lumenbus --secret-file hook.secret"
)]
struct TestArguments {
    #[command(flatten)]
    receiver: Receiver,
}

pub(crate) fn run(arguments: &EventsArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    match &arguments.what {
        What::List(list) => list.run(settings, output),
        What::Forward(forward) => forward.run(settings, output),
        What::Test(test) => test.run(output),
    }
}

impl ListArguments {
    fn run(&self, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
        let filter = self.choice.filter()?;
        let start = units::start(&self.from).map_err(|why| Usage(format!("--from: {why}")))?;
        lumenbus_bus::probe(&settings.bus).map_err(lumenbus_bus::BusError::from)?;
        let shutdown = signals::shutdown(settings.quiet)?;
        let mut reader = EventReader::open_at(&settings.bus, start)?;
        let end = self.duration.map(|duration| Instant::now() + duration);
        let (mut events, mut is_complete) = (0_u64, self.follow);
        while !shutdown.is_requested() && end.is_none_or(|end| Instant::now() < end) {
            match reader.next(LOOK)? {
                EventRead::Event(event) if filter.matches(&event) => {
                    events += 1;
                    output.result(&line(&event));
                    output.object("event", event_json(&event));
                }
                EventRead::AtEnd if !self.follow => {
                    is_complete = true;
                    break;
                }
                _ => {}
            }
        }
        output.summary("events list", json!({ "events": events }));
        Ok(if is_complete || self.duration.is_some() { Outcome::Done } else { Outcome::Interrupted })
    }
}

/// `2026-11-23 14:03:05  gate-7  health: covered → ok after 12.0 s`
fn line(event: &CameraEvent) -> String {
    let nanos = i128::from(event.capture_unix_nanos);
    let at = Timestamp::from_nanosecond(nanos).map_or_else(
        |_| event.capture_unix_nanos.to_string(),
        |at| at.to_zoned(TimeZone::system()).strftime("%F %T").to_string(),
    );
    let after = |lasted: &Option<u64>| match lasted {
        Some(millis) => format!(" after {}.{} s", millis / 1_000, millis % 1_000 / 100),
        None => String::new(),
    };
    let what = match &event.kind {
        EventKind::Health { state, previous, lasted_millis } => {
            format!("health: {previous} → {state}{}", after(lasted_millis))
        }
        EventKind::Presence { class, phase, count, score, lasted_millis } => {
            format!("presence: {class} {}, {count} (score {score:.2}){}", phase.as_str(), after(lasted_millis))
        }
        _ => event.kind.as_str().to_owned(),
    };
    format!("{at}  {}  {what}", event.stream.camera)
}

/// As on the topic.
fn event_json(event: &CameraEvent) -> Value {
    event.encode_json().ok().and_then(|value| serde_json::from_slice(&value).ok()).unwrap_or_default()
}

impl ForwardArguments {
    fn options(&self) -> anyhow::Result<WebhookOptions> {
        let mut options = WebhookOptions::new(self.name.clone(), self.receiver.target()?);
        options.secret = self.receiver.secret()?;
        options.filter = self.choice.filter()?;
        (options.group, options.from) = (self.group.clone(), self.from.clone());
        (options.timeout, options.refusals) = (self.receiver.timeout, self.refusals);
        Ok(options)
    }

    fn run(&self, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
        let options = self.options()?;
        let wrong = |error: crate::detection::OptionError| Usage(format!("--{}: {}", error.option, error.why));
        let mut config = options.config(settings.bus.clone()).map_err(wrong)?;
        config.until_end = self.until_end;
        let webhook = Webhook::new(config)?;
        lumenbus_bus::probe(&settings.bus).map_err(lumenbus_bus::BusError::from)?;
        let shutdown = signals::shutdown(settings.quiet)?;
        let end = self.duration.map(|duration| Instant::now() + duration);
        let is_stopped = || shutdown.is_requested() || end.is_some_and(|end| Instant::now() >= end);
        let target = options.target.to_string();
        let mut delivered = 0_u64;
        let ending = webhook.run(&is_stopped, &mut |told| {
            delivered += u64::from(matches!(told, Told::Delivered { .. }));
            tell(&told, &target, webhook.group(), delivered, output);
        })?;
        let stats = webhook.stats();
        if ending == Ending::Gone {
            output.note(&format!("{target} answered 410: it wants nothing more; the event stays the next one"));
        }
        output.note(&format!(
            "{} events delivered to {target}, {} refused and passed over, {} not for it, {} failed attempts",
            stats.delivered, stats.passed_over, stats.filtered, stats.failed_attempts
        ));
        output.summary(
            "events forward",
            json!({
                "target": target, "group": webhook.group(), "delivered": stats.delivered,
                "passed_over": stats.passed_over, "filtered": stats.filtered,
                "failed_attempts": stats.failed_attempts, "gone": ending == Ending::Gone,
            }),
        );
        Ok(match ending {
            Ending::Gone => Outcome::ProblemsFound,
            _ if stats.passed_over > 0 => Outcome::ProblemsFound,
            Ending::Stopped if self.until_end => Outcome::Interrupted,
            _ => Outcome::Done,
        })
    }
}

fn tell(told: &Told<'_>, target: &str, group: &str, delivered: u64, output: &mut Output) {
    match told {
        Told::Joined => {
            output.note(&format!("events go to {target} as group {group}; Ctrl-C stops it"));
            output.object("ready", json!({ "target": target, "group": group }));
        }
        Told::Delivered { event, attempts } => {
            output.progress(|| format!("{delivered} events delivered"));
            output.object("delivered", json!({ "id": event.id.to_string(), "attempts": attempts }));
        }
        Told::Failed { event, attempts, answer, rest } => {
            let seconds = rest.as_secs_f64();
            output.note(&format!("event {}: {target} {answer}; again in {seconds:.1} s", event.id));
            let why = answer.to_string();
            let id = event.id.to_string();
            output.object("failed", json!({ "id": id, "attempts": attempts, "why": why, "rest_seconds": seconds }));
        }
        Told::PassedOver { event, attempts, answer } => {
            output.note(&format!("event {}: {target} {answer}; passed over after {attempts} attempts", event.id));
            let (id, why) = (event.id.to_string(), answer.to_string());
            output.object("passed_over", json!({ "id": id, "attempts": attempts, "why": why }));
        }
        _ => {}
    }
}

impl TestArguments {
    fn run(&self, output: &mut Output) -> anyhow::Result<Outcome> {
        let (target, secret) = (self.receiver.target()?, self.receiver.secret()?);
        let began = Instant::now();
        let answer = webhook::send_test(&target, secret.as_ref(), self.receiver.timeout)?;
        let millis = began.elapsed().as_millis();
        output.result(&format!("{target} {answer} ({millis} ms)"));
        let status = match &answer {
            Answer::Status { code, .. } => Some(*code),
            Answer::Failed(_) => None,
        };
        let is_accepted = status.is_some_and(|code| (200..300).contains(&code));
        let why = (!is_accepted).then(|| answer.to_string());
        output.summary(
            "events test",
            json!({ "target": target.to_string(), "status": status, "accepted": is_accepted, "why": why, "signed": secret.is_some() }),
        );
        Ok(if is_accepted { Outcome::Done } else { Outcome::ProblemsFound })
    }
}
