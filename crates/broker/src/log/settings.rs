//! The settings of a topic under Kafka's names: what each is for, and how it is written.

/// How the value of a setting is written (Kafka: `ConfigType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i8)]
pub enum SettingKind {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    Text = 2,
    /// A number of 32 bits.
    Int = 3,
    /// A number of 64 bits.
    Long = 5,
    /// A number with a fraction.
    Double = 6,
    /// Words with commas between them.
    List = 7,
}

/// One setting of a topic.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Kafka's name.
    pub name: &'static str,
    /// How its value is written.
    pub kind: SettingKind,
    /// The broker's name of the default that topics follow.
    pub broker_name: Option<&'static str>,
    /// What it is for, here.
    pub doc: &'static str,
    /// Set where Kafka has a use for it and this broker has none.
    idle: Option<Idle>,
}

/// A setting without effect.
#[derive(Debug, Clone, Copy)]
struct Idle {
    default: &'static str,
    allowed: Allowed,
}

/// What a setting without effect may be set to.
#[derive(Debug, Clone, Copy)]
enum Allowed {
    /// Anything that Kafka takes: there it has no effect either, as things are.
    Range(i64, i64),
    /// Its default: any other value would promise what does not happen.
    Default(&'static str),
}

/// The setting with this name.
#[must_use]
pub fn setting(name: &str) -> Option<&'static Setting> {
    let at = SETTINGS.binary_search_by(|setting| setting.name.cmp(name)).ok()?;
    SETTINGS.get(at)
}

/// The settings without effect, with their defaults.
pub(super) fn idle_settings() -> impl Iterator<Item = (&'static str, &'static str)> {
    SETTINGS.iter().filter_map(|setting| Some((setting.name, setting.idle?.default)))
}

/// Whether a setting without effect may have this value; answers its name.
pub(super) fn check_idle(name: &str, value: &str) -> Result<&'static str, &'static str> {
    let unknown = "unknown setting, or one this broker does not support";
    let setting = setting(name).ok_or(unknown)?;
    let idle = setting.idle.ok_or(unknown)?;
    let fits = match idle.allowed {
        Allowed::Range(low, high) => match value.parse::<i64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(()),
            Ok(_) => Err("out of the range Kafka allows"),
            Err(_) => Err("not a number of this setting's kind"),
        },
        Allowed::Default(_) if value == idle.default => Ok(()),
        Allowed::Default(reason) => Err(reason),
    };
    fits.map(|()| setting.name)
}

const fn real(name: &'static str, kind: SettingKind, broker_name: Option<&'static str>, doc: &'static str) -> Setting {
    Setting { name, kind, broker_name, doc, idle: None }
}

const fn idle(setting: Setting, default: &'static str, allowed: Allowed) -> Setting {
    Setting { idle: Some(Idle { default, allowed }), ..setting }
}

const NO_TIERS: Allowed = Allowed::Default("segments are kept in the data directory only; there is no remote storage");
const NO_REPLICAS: Allowed = Allowed::Default("a single node replicates nothing, so there is nothing to throttle");

/// All of Kafka 4's, in name order.
pub(super) static SETTINGS: &[Setting] = {
    use SettingKind::{Boolean, Double, Int, List, Long, Text};
    &[
        real(
            "cleanup.policy",
            List,
            Some("log.cleanup.policy"),
            "delete: old segments go by time and size; compact: only the newest record of each key is kept; or both.",
        ),
        idle(
            real(
                "compression.gzip.level",
                Int,
                Some("compression.gzip.level"),
                "No effect: producers compress, the broker never does.",
            ),
            "-1",
            Allowed::Range(-1, 9),
        ),
        idle(
            real(
                "compression.lz4.level",
                Int,
                Some("compression.lz4.level"),
                "No effect: producers compress, the broker never does.",
            ),
            "9",
            Allowed::Range(1, 17),
        ),
        real(
            "compression.type",
            Text,
            Some("compression.type"),
            "producer: batches are stored as their producers compressed them. Nothing else is supported.",
        ),
        idle(
            real(
                "compression.zstd.level",
                Int,
                Some("compression.zstd.level"),
                "No effect: producers compress, the broker never does.",
            ),
            "3",
            Allowed::Range(-131_072, 22),
        ),
        real(
            "delete.retention.ms",
            Long,
            Some("log.cleaner.delete.retention.ms"),
            "Milliseconds for which compaction keeps tombstones.",
        ),
        idle(
            real(
                "errors.deadletterqueue.group.enable",
                Boolean,
                None,
                "false: there are no share groups whose rejected records this topic could take.",
            ),
            "false",
            Allowed::Default("there are no share groups here, and so no dead letter queues"),
        ),
        idle(
            real(
                "file.delete.delay.ms",
                Long,
                Some("log.segment.delete.delay.ms"),
                "0: the files of deleted segments go at once.",
            ),
            "0",
            Allowed::Default("deleted segments go at once; only 0 is supported"),
        ),
        real(
            "flush.messages",
            Long,
            Some("log.flush.interval.messages"),
            "fsync after this many records; 1 means before every acknowledgement.",
        ),
        real(
            "flush.ms",
            Long,
            None,
            "fsync with the first append that comes this many milliseconds after the last one.",
        ),
        idle(
            real("follower.replication.throttled.replicas", List, None, "Empty: nothing is replicated."),
            "",
            NO_REPLICAS,
        ),
        real("index.interval.bytes", Int, Some("log.index.interval.bytes"), "Bytes between entries of the indexes."),
        idle(
            real("leader.replication.throttled.replicas", List, None, "Empty: nothing is replicated."),
            "",
            NO_REPLICAS,
        ),
        idle(
            real("local.retention.bytes", Long, Some("log.local.retention.bytes"), "No effect without remote storage."),
            "-2",
            Allowed::Range(-2, i64::MAX),
        ),
        idle(
            real("local.retention.ms", Long, Some("log.local.retention.ms"), "No effect without remote storage."),
            "-2",
            Allowed::Range(-2, i64::MAX),
        ),
        real(
            "max.compaction.lag.ms",
            Long,
            Some("log.cleaner.max.compaction.lag.ms"),
            "Records older than this many milliseconds are compacted whatever the dirty ratio.",
        ),
        idle(
            real(
                "max.decompressed.message.bytes",
                Int,
                Some("max.decompressed.message.bytes"),
                "No effect: batches are not decompressed when they are appended.",
            ),
            "2147483639",
            Allowed::Range(0, i32::MAX as i64),
        ),
        real(
            "max.message.bytes",
            Int,
            Some("message.max.bytes"),
            "Largest batch in bytes, as it was compressed, header included.",
        ),
        real(
            "message.timestamp.after.max.ms",
            Long,
            Some("log.message.timestamp.after.max.ms"),
            "Milliseconds by which a producer's timestamp may lie in the future.",
        ),
        real(
            "message.timestamp.before.max.ms",
            Long,
            Some("log.message.timestamp.before.max.ms"),
            "Milliseconds by which a producer's timestamp may lie in the past.",
        ),
        real(
            "message.timestamp.type",
            Text,
            Some("log.message.timestamp.type"),
            "CreateTime: the producer's time is kept; LogAppendTime: the broker's replaces it.",
        ),
        real(
            "min.cleanable.dirty.ratio",
            Double,
            Some("log.cleaner.min.cleanable.ratio"),
            "Share of uncompacted bytes at which a compaction begins, 0 to 1.",
        ),
        real(
            "min.compaction.lag.ms",
            Long,
            Some("log.cleaner.min.compaction.lag.ms"),
            "Records younger than this many milliseconds are not compacted.",
        ),
        real("min.insync.replicas", Int, Some("min.insync.replicas"), "1: a single node keeps one replica."),
        real("preallocate", Boolean, Some("log.preallocate"), "false: segments grow as they are written."),
        idle(
            real("remote.copy.lag.bytes", Long, Some("log.remote.copy.lag.bytes"), "No effect without remote storage."),
            "-1",
            Allowed::Range(-2, i64::MAX),
        ),
        idle(
            real("remote.copy.lag.ms", Long, Some("log.remote.copy.lag.ms"), "No effect without remote storage."),
            "0",
            Allowed::Range(-2, i64::MAX),
        ),
        idle(real("remote.log.copy.disable", Boolean, None, "false: there is no remote storage."), "false", NO_TIERS),
        idle(
            real("remote.log.delete.on.disable", Boolean, None, "false: there is no remote storage."),
            "false",
            NO_TIERS,
        ),
        idle(real("remote.storage.enable", Boolean, None, "false: there is no remote storage."), "false", NO_TIERS),
        real(
            "retention.bytes",
            Long,
            Some("log.retention.bytes"),
            "Bytes of a partition beyond which its oldest segments are deleted; -1: never.",
        ),
        real(
            "retention.ms",
            Long,
            Some("log.retention.ms"),
            "Milliseconds after which a segment is deleted, counted from its newest record; -1: never.",
        ),
        real(
            "segment.bytes",
            Int,
            Some("log.segment.bytes"),
            "A segment is closed before it grows beyond this many bytes.",
        ),
        real(
            "segment.index.bytes",
            Int,
            Some("log.index.size.max.bytes"),
            "A segment is closed when one of its indexes reaches this many bytes.",
        ),
        idle(
            real("segment.jitter.ms", Long, None, "0: segments are closed when they are due."),
            "0",
            Allowed::Default("segments are closed when they are due; only 0 is supported"),
        ),
        real("segment.ms", Long, Some("log.roll.ms"), "A segment is closed when it is this many milliseconds old."),
        real(
            "unclean.leader.election.enable",
            Boolean,
            Some("unclean.leader.election.enable"),
            "Kept for clients: a single node elects nobody.",
        ),
    ]
};
