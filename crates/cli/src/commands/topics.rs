//! `lumenbus topics plan|apply|check`.

use crate::arguments::{TopicsAction, TopicsArguments};
use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use lumenbus_bus::topics::{self, Cluster, Drift, Format, Growth, PlanOptions, TopicPlan};
use serde_json::{Value, json};

pub(crate) fn run(arguments: &TopicsArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let cluster = Cluster::open(&settings.bus)?;
    let plan = topics::plan(cluster.facts(), &settings.bus.topic_prefix, &options(arguments)?);
    let format = format(arguments, settings)?;
    match arguments.action {
        TopicsAction::Plan => {
            print(&topics::print_plan(&plan, format, &settings.bus.brokers));
            Ok(Outcome::Done)
        }
        TopicsAction::Check => {
            let drifts = drifts(&cluster, &plan)?;
            report(output, "topics check", &drifts, json!({ "topics": plan.topics.len() }), format)
        }
        TopicsAction::Apply if settings.bus.keeps_topics_as_they_are => {
            output.note("topics.create=false: nothing is created; this is what differs");
            let drifts = drifts(&cluster, &plan)?;
            report(output, "topics apply", &drifts, json!({ "created": [] }), format)
        }
        TopicsAction::Apply => {
            let growth = if arguments.grow { Growth::Grow } else { Growth::Keep };
            let applied = topics::apply(&cluster, &plan, growth)?;
            for (what, names) in [("created", &applied.created), ("altered", &applied.altered)] {
                for name in names {
                    output.result(&format!("{what} {name}"));
                }
            }
            let done = json!({ "created": applied.created, "altered": applied.altered });
            report(output, "topics apply", &applied.remaining, done, format)
        }
    }
}

fn drifts(cluster: &Cluster, plan: &TopicPlan) -> anyhow::Result<Vec<Drift>> {
    let names: Vec<_> = plan.topics.iter().map(|topic| topic.name.as_str()).collect();
    Ok(topics::check(plan, &cluster.actual(&names)?))
}

fn options(arguments: &TopicsArguments) -> Result<PlanOptions, Usage> {
    let mut options = PlanOptions {
        frame_partitions: arguments.partitions,
        replication: arguments.replication,
        ..PlanOptions::default()
    };
    if let Some(retention) = arguments.retention {
        options.frame_retention_millis = Some(i64::try_from(retention.as_millis()).unwrap_or(i64::MAX));
    }
    for group in &arguments.with {
        options.groups.insert(group.parse().map_err(|error| Usage(format!("--with: {error}")))?);
    }
    Ok(options)
}

fn format(arguments: &TopicsArguments, settings: &Settings) -> Result<Format, Usage> {
    match &arguments.format {
        Some(name) => name.parse().map_err(|error| Usage(format!("--format: {error}"))),
        None if settings.json => Ok(Format::Json),
        None => Ok(Format::Table),
    }
}

fn report(
    output: &mut Output,
    command: &str,
    drifts: &[Drift],
    mut summary: Value,
    format: Format,
) -> anyhow::Result<Outcome> {
    if drifts.is_empty() {
        output.result("every topic is as planned");
    } else if !output.is_json() {
        print(&topics::print_drift(drifts, format));
    }
    for drift in drifts {
        output.object(
            "drift",
            json!({
                "topic": drift.topic, "what": drift.kind.what(), "planned": drift.kind.planned(),
                "actual": drift.kind.actual(), "remedy": drift.remedy,
            }),
        );
    }
    summary["drift"] = json!(drifts.len());
    output.summary(command, summary);
    Ok(if drifts.is_empty() { Outcome::Done } else { Outcome::ProblemsFound })
}

fn print(text: &str) {
    use std::io::Write as _;
    // A closed pipe (`| head`) is the reader's choice.
    drop(writeln!(std::io::stdout(), "{}", text.trim_end()));
}
