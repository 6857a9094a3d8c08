//! `lumenbus broker inspect`: what lies in a data directory.

use crate::exit::Outcome;
use crate::output::Output;
use crate::units::show_bytes;
use clap::Args;
use lumenbus_broker::inspect::{
    Depth, GroupInspection, InspectOptions, Inspection, PartitionInspection, TopicInspection, Usage, inspect,
};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// What stands where there is nothing to say.
const NOTHING: &str = "-";

#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is changed, so it works while a broker runs on DIR; what the broker has not written yet is not seen.\nExit code 3 when something is damaged.\n\nExamples:\n  lumenbus broker inspect ./lumenbus-data\n  lumenbus broker inspect ./lumenbus-data --topic raw_video --segments\n  lumenbus broker inspect ./lumenbus-data --verify --json"
)]
pub(crate) struct InspectArguments {
    /// The data directory
    #[arg(value_name = "DIR")]
    data: PathBuf,
    /// Only this topic; may be repeated
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Every segment
    #[arg(long)]
    segments: bool,
    /// Read everything and check every batch's checksum
    #[arg(long)]
    verify: bool,
}

pub(crate) fn run(arguments: &InspectArguments, output: &mut Output) -> anyhow::Result<Outcome> {
    let mut options = InspectOptions::default();
    options.topics.clone_from(&arguments.topic);
    options.depth = match (arguments.verify, arguments.segments) {
        (true, _) => Depth::Everything,
        (false, true) => Depth::Segments,
        (false, false) => Depth::Ends,
    };
    let found = inspect(&arguments.data, &options)?;
    if output.is_json() {
        objects(&found, arguments.segments, output);
    } else {
        head(&arguments.data, &found, output);
        topics(&found, arguments.segments, output);
        groups(&found, output);
        for fault in &found.faults {
            output.result(&format!("damaged: {}: {}", fault.path.display(), fault.what));
        }
    }
    output.summary("broker inspect", summary(&arguments.data, &found));
    Ok(if found.faults.is_empty() { Outcome::Done } else { Outcome::ProblemsFound })
}

fn usage(found: &Inspection) -> (&'static str, &'static str) {
    match found.usage {
        Usage::Running => ("running", "a broker runs on it; what it has not written yet is not seen"),
        Usage::Stopped => ("stopped", "stopped cleanly"),
        Usage::Crashed => ("crashed", "the last broker did not stop cleanly; the next start recovers"),
    }
}

fn partitions(found: &Inspection) -> impl Iterator<Item = (&TopicInspection, &PartitionInspection)> {
    found.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |partition| (topic, partition)))
}

/// Topic, partition, producer's id and epoch, first offset.
fn open_transactions(found: &Inspection) -> impl Iterator<Item = (&str, i32, i64, i16, i64)> {
    partitions(found).flat_map(|(topic, partition)| {
        partition.producers.iter().filter_map(|producer| {
            let start = producer.transaction_start_offset?;
            Some((&*topic.name, partition.index, producer.id, producer.epoch, start))
        })
    })
}

fn head(data: &Path, found: &Inspection, output: &mut Output) {
    output.result(&format!("{}: cluster {}; {}", data.display(), found.cluster_id, usage(found).1));
    let bytes = partitions(found).map(|(_, partition)| partition.bytes).sum();
    let free = found.disk.map_or_else(String::new, |(free, total)| {
        format!(", {} of {} free on the disk", show_bytes(free), show_bytes(total))
    });
    output.result(&format!("{} in {} topics{free}", show_bytes(bytes), found.topics.len()));
}

fn moment(timestamp_ms: Option<i64>) -> String {
    let at = timestamp_ms.and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok());
    at.map_or_else(|| NOTHING.to_owned(), |at| format!("{at:.0}"))
}

fn topics(found: &Inspection, with_segments: bool, output: &mut Output) {
    let titles = ["TOPIC", "PARTITION", "START", "END", "EPOCH", "SEGMENTS", "SIZE", "FROM", "TO", "PRODUCERS"];
    let rows = partitions(found).map(|(topic, partition)| {
        [
            topic.name.clone(),
            partition.index.to_string(),
            partition.start_offset.to_string(),
            partition.end_offset.to_string(),
            partition.leader_epoch.map_or_else(|| NOTHING.to_owned(), |epoch| epoch.to_string()),
            partition.segment_count.to_string(),
            show_bytes(partition.bytes),
            moment(partition.first_timestamp_ms),
            moment(partition.last_timestamp_ms),
            partition.producers.len().to_string(),
        ]
    });
    section(output, titles, &rows.collect::<Vec<_>>());
    for topic in &found.topics {
        let settings: Vec<_> = topic.settings.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !settings.is_empty() {
            output.result(&format!("settings of {}: {}", topic.name, settings.join(", ")));
        }
        if topic.is_deleting {
            output.result(&format!("{} is being deleted; the next start finishes it", topic.name));
        }
    }
    if with_segments {
        segments(found, output);
    }
    for (topic, partition, id, epoch, start) in open_transactions(found) {
        output
            .result(&format!("open transaction: {topic}-{partition} from offset {start}, producer {id} epoch {epoch}"));
    }
}

fn segments(found: &Inspection, output: &mut Output) {
    let titles = ["TOPIC", "PARTITION", "SEGMENT", "NEXT", "SIZE", "INDEXES", "FROM", "TO"];
    let rows = partitions(found).flat_map(|(topic, partition)| {
        partition.segments.iter().map(|segment| {
            [
                topic.name.clone(),
                partition.index.to_string(),
                segment.base_offset.to_string(),
                segment.next_offset.to_string(),
                show_bytes(segment.bytes),
                show_bytes(segment.index_bytes),
                moment(segment.first_timestamp_ms),
                moment(segment.last_timestamp_ms),
            ]
        })
    });
    section(output, titles, &rows.collect::<Vec<_>>());
}

fn groups(found: &Inspection, output: &mut Output) {
    let titles = ["GROUP", "MEMBERS", "TOPIC", "PARTITION", "COMMITTED", "LAG", "WHEN"];
    let rows = found.groups.iter().flat_map(|group| {
        let offsets = group.offsets.iter().map(|offset| {
            [
                offset.topic.clone(),
                offset.partition.to_string(),
                offset.offset.to_string(),
                offset.lag.map_or_else(|| NOTHING.to_owned(), |lag| lag.to_string()),
                moment(Some(offset.committed_ms)),
            ]
        });
        let nothing = group.offsets.is_empty().then(|| [NOTHING; 5].map(str::to_owned));
        offsets.chain(nothing).map(|[topic, partition, offset, lag, when]| {
            [group.name.clone(), group.members.len().to_string(), topic, partition, offset, lag, when]
        })
    });
    section(output, titles, &rows.collect::<Vec<_>>());
}

/// A table with a line in front of it; nothing where there are no rows.
fn section<const N: usize>(output: &mut Output, titles: [&str; N], rows: &[[String; N]]) {
    if !rows.is_empty() {
        output.result("");
        output.columns(titles, rows);
    }
}

fn objects(found: &Inspection, with_segments: bool, output: &mut Output) {
    for topic in &found.topics {
        output.object(
            "topic",
            json!({
                "topic": topic.name, "id": topic.id, "partitions": topic.partitions.len(),
                "settings": topic.settings, "deleting": topic.is_deleting,
            }),
        );
        for partition in &topic.partitions {
            output.object("partition", of_partition(topic, partition));
            let segments = partition.segments.iter().filter(|_| with_segments);
            for segment in segments {
                output.object(
                    "segment",
                    json!({
                        "topic": topic.name, "partition": partition.index, "base_offset": segment.base_offset,
                        "next_offset": segment.next_offset, "bytes": segment.bytes,
                        "index_bytes": segment.index_bytes, "first_timestamp_ms": segment.first_timestamp_ms,
                        "last_timestamp_ms": segment.last_timestamp_ms, "batches": segment.batches,
                        "records": segment.records,
                    }),
                );
            }
        }
    }
    for group in &found.groups {
        output.object("group", of_group(group));
    }
    for fault in &found.faults {
        output.object("fault", json!({ "path": fault.path.display().to_string(), "what": fault.what }));
    }
}

fn of_partition(topic: &TopicInspection, partition: &PartitionInspection) -> Value {
    let producers = partition.producers.iter().map(|producer| {
        json!({
            "id": producer.id, "epoch": producer.epoch, "last_sequence": producer.last_sequence,
            "last_timestamp_ms": producer.last_timestamp_ms,
            "transaction_start_offset": producer.transaction_start_offset,
        })
    });
    json!({
        "topic": topic.name, "partition": partition.index, "start_offset": partition.start_offset,
        "end_offset": partition.end_offset, "leader_epoch": partition.leader_epoch,
        "recovery_point": partition.recovery_point, "segments": partition.segment_count, "bytes": partition.bytes,
        "first_timestamp_ms": partition.first_timestamp_ms, "last_timestamp_ms": partition.last_timestamp_ms,
        "producers": producers.collect::<Vec<_>>(), "producers_as_of": partition.producers_as_of,
    })
}

fn of_group(group: &GroupInspection) -> Value {
    let members = group.members.iter().map(|member| {
        json!({
            "id": member.id, "instance_id": member.instance_id, "client_id": member.client_id,
            "client_host": member.client_host,
        })
    });
    let offsets = group.offsets.iter().map(|offset| {
        json!({
            "topic": offset.topic, "partition": offset.partition, "offset": offset.offset, "lag": offset.lag,
            "committed_ms": offset.committed_ms, "metadata": offset.metadata,
        })
    });
    json!({
        "group": group.name, "protocol_type": group.protocol_type, "protocol": group.protocol,
        "generation": group.generation, "members": members.collect::<Vec<_>>(),
        "offsets": offsets.collect::<Vec<_>>(),
    })
}

fn summary(data: &Path, found: &Inspection) -> Value {
    let (free_bytes, disk_bytes) = found.disk.unzip();
    let bytes: u64 = partitions(found).map(|(_, partition)| partition.bytes).sum();
    json!({
        "data": data.display().to_string(), "cluster_id": found.cluster_id, "usage": usage(found).0,
        "topics": found.topics.len(), "partitions": partitions(found).count(), "groups": found.groups.len(),
        "open_transactions": open_transactions(found).count(), "bytes": bytes, "free_bytes": free_bytes,
        "disk_bytes": disk_bytes, "faults": found.faults.len(),
    })
}
