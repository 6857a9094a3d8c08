//! `lumenbus subscribe`.

mod meaning;
mod progress;
mod report;

use crate::arguments::{FormChoice, SubscribeArguments};
use crate::exit::Outcome;
use crate::observe::{Observation, traced};
use crate::output::Output;
use crate::settings::Settings;
use crate::signals;
use lumenbus_bus::control::{ControlSender, JoinAid};
use lumenbus_bus::index::IndexReader;
use lumenbus_bus::playback::Player;
use lumenbus_bus::subscriber::{Event, Policy, Preroll, Start, Subscriber, SubscriberConfig};
use lumenbus_bus::topics::Cluster;
use lumenbus_bus::{BusError, Directory, SystemClock};
use lumenbus_frame::{Clock as _, GapReason, StreamId, TopicName};
use lumenbus_pipeline::Shutdown;
use lumenbus_pipeline::sink::{self, Form, Sink, SinkOptions};
use lumenbus_pipeline::subscribe::{Ending, SubscribeLimits, SubscribeReport, run_backwards, run_subscription};
use lumenbus_pipeline::tally::{StreamTally, Tally};
use meaning::{Direction, Meaning};
use progress::Progress;
use report::{Stdout, tell, tell_event, tell_join};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Arc;

/// Frame topics that are read when none is named.
pub(crate) const FRAME_TOPICS: [&str; 3] = ["raw_video", "raw_images", "raw_pixels"];
/// Streams whose keyframes are looked up before reading begins; of more, reading begins at the moment itself.
const MAX_LOOKED_UP: usize = 64;

pub(crate) fn run(arguments: &SubscribeArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    if let Some(target) = &arguments.out {
        sink::check_form(target)?;
    }
    let meaning = Meaning::of(arguments, &jiff::Zoned::now())?;
    let shutdown = signals::shutdown(settings.quiet)?;
    let mut limits = SubscribeLimits {
        duration: arguments.duration,
        until_end: arguments.until_end,
        range: meaning.range,
        appended_by_unix_millis: None,
        speed: meaning.speed,
        frames: arguments.frames,
    };
    if arguments.group.is_some() {
        limits.range.from_unix_nanos = None;
    }
    let mut observed = Observation::start(&arguments.observe, settings, output)?;
    let mut reading = Reading { arguments, settings, meaning: &meaning, limits, shutdown: &shutdown };
    let (report, records) = match meaning.direction {
        Direction::Forwards => reading.forwards(&mut observed, output)?,
        Direction::Backwards => (reading.backwards(&mut observed, output)?, Value::Null),
    };
    observed.finish();
    tell(output, &report, &records, meaning.stdout);
    let has_problems = report.tally.streams().any(|(_, tally)| has_problems(tally, meaning.policy))
        || report.sink.as_ref().is_some_and(|sink| sink.undecodable > 0);
    Ok(match report.ending {
        _ if has_problems => Outcome::ProblemsFound,
        // Without a limit Ctrl-C is the way to end; then it is no interruption.
        Ending::Interrupted if is_limited(arguments) => Outcome::Interrupted,
        _ => Outcome::Done,
    })
}

struct Reading<'a> {
    arguments: &'a SubscribeArguments,
    settings: &'a Settings,
    meaning: &'a Meaning,
    limits: SubscribeLimits,
    shutdown: &'a Shutdown,
}

impl Reading<'_> {
    fn forwards(
        &mut self,
        observed: &mut Observation,
        output: &mut Output,
    ) -> anyhow::Result<(SubscribeReport, Value)> {
        let mut config = self.subscriber_config()?;
        config.tracer = observed.tracer();
        let mut aid = self.join_aid(&config)?;
        let mut subscriber = Subscriber::open(config)?;
        if let Some(aid) = &mut aid {
            aid.begin(&subscriber);
        }
        observed.subscriber(subscriber.gauges(), self.settings)?;
        let sink = self.sink(observed)?;
        let mut teller = self.teller(observed, output);
        let report = run_subscription(&mut subscriber, sink, &self.limits, self.shutdown, |event, tally| {
            if let Some(aid) = &mut aid {
                aid.see(event);
            }
            teller.see(event, tally);
        })?;
        let stats = subscriber.into_stats();
        let records = json!({
            "repeats": stats.repeats, "fenced": stats.fenced, "foreign": stats.foreign, "damaged": stats.damaged,
        });
        Ok((report, records))
    }

    fn backwards(&mut self, observed: &mut Observation, output: &mut Output) -> anyhow::Result<SubscribeReport> {
        let topics = frame_topics(&self.arguments.topic, self.settings)?;
        let mut player = Player::open(&self.arguments.observe.bus(self.settings))?;
        let streams = self.streams(player.index().directory(), &topics);
        let sink = self.sink(observed)?;
        let mut teller = self.teller(observed, output);
        let see = |event: &Event, tally: &Tally| teller.see(event, tally);
        Ok(run_backwards(&mut player, &streams, sink, &self.limits, self.shutdown, see)?)
    }

    fn teller<'b>(&self, observed: &'b mut Observation, output: &'b mut Output) -> Teller<'b> {
        let progress = Progress::new(self.limits, self.meaning.is_live());
        let is_live = self.meaning.is_live();
        Teller { observed, output, progress, stdout: self.meaning.stdout, is_live, joined: HashSet::new() }
    }

    fn sink(&self, observed: &Observation) -> anyhow::Result<Option<Box<dyn Sink>>> {
        let form = match self.arguments.form {
            FormChoice::Pictures => Form::Pictures,
            FormChoice::Coded => Form::Coded,
        };
        let overwrite = self.arguments.overwrite;
        let options = SinkOptions { overwrite, form, range: self.limits.range, ..SinkOptions::default() };
        let sink = self.arguments.out.as_deref().map(|target| sink::open(target, &options)).transpose()?;
        Ok(sink.map(|sink| traced(sink, observed.tracing())))
    }

    fn subscriber_config(&mut self) -> anyhow::Result<SubscriberConfig> {
        let (arguments, topics) = (self.arguments, frame_topics(&self.arguments.topic, self.settings)?);
        let mut config = SubscriberConfig::new(arguments.observe.bus(self.settings), topics);
        config.cameras = self.meaning.filter.clone();
        config.group.clone_from(&arguments.group);
        config.start = self.meaning.start;
        config.policy = self.meaning.policy;
        config.preroll = if needs_preroll(arguments) { Preroll::Deliver } else { Preroll::Skip };
        config.buffer_bytes = arguments.buffer;
        config.consumers = usize::from(arguments.consumers);
        if arguments.group.is_none() {
            self.look_up(&mut config)?;
        }
        Ok(config)
    }

    /// Begins where the keyframe before the first moment is in the log, and reads to where the last one is: by the
    /// cameras' clocks, which need not be the broker's.
    fn look_up(&mut self, config: &mut SubscriberConfig) -> anyhow::Result<()> {
        let range = self.limits.range;
        let until = range.until_unix_nanos.filter(|until| *until < SystemClock.unix_nanos());
        if range.from_unix_nanos.is_none() && until.is_none() {
            return Ok(());
        }
        let mut index = IndexReader::open(&config.bus)?;
        let streams = self.streams(index.directory(), &config.topics);
        if streams.len() > MAX_LOOKED_UP {
            return Ok(());
        }
        for stream in &streams {
            if let Some(from) = range.from_unix_nanos
                && let Start::At { unix_millis } = &mut config.start
            {
                for found in index.find(stream, from)? {
                    let appended = found.append_unix_millis.unwrap_or(found.capture_unix_nanos / 1_000_000);
                    *unix_millis = appended.min(*unix_millis);
                }
            }
            if let Some(until) = until {
                let found = index.find(stream, until)?;
                let appended = found.iter().filter_map(|found| found.append_unix_millis);
                self.limits.appended_by_unix_millis = appended.chain(self.limits.appended_by_unix_millis).max();
            }
        }
        Ok(())
    }

    fn streams(&self, directory: &Directory, topics: &[TopicName]) -> Vec<StreamId> {
        let cameras =
            directory.cameras().into_iter().filter(|(camera, _)| self.meaning.filter.matches(camera.as_str()));
        let streams = cameras.flat_map(|(camera, entry)| {
            entry.streams.into_iter().map(move |stream| StreamId {
                camera: camera.clone(),
                topic: stream.topic,
                name: stream.name,
            })
        });
        streams.filter(|stream| topics.contains(&stream.topic)).collect()
    }

    /// Who joins at an old keyframe asks for a new one, where frames are decoded.
    fn join_aid(&self, config: &SubscriberConfig) -> anyhow::Result<Option<JoinAid>> {
        if !self.meaning.is_live() || self.arguments.group.is_some() || self.arguments.out.is_none() {
            return Ok(None);
        }
        let sender = ControlSender::open(&config.bus, "subscribe")?;
        Ok(Some(JoinAid::new(Arc::new(sender), Arc::clone(&config.clock))))
    }
}

/// Looks at every event before the sink does.
struct Teller<'a> {
    observed: &'a mut Observation,
    output: &'a mut Output,
    progress: Progress,
    stdout: Stdout,
    is_live: bool,
    /// Streams that were told of.
    joined: HashSet<Arc<StreamId>>,
}

impl Teller<'_> {
    fn see(&mut self, event: &Event, tally: &Tally) {
        self.observed.event(event);
        self.progress.see(event);
        if let Event::Frame(frame) = event
            && self.is_live
            && !self.joined.contains(&frame.stream)
        {
            self.joined.insert(Arc::clone(&frame.stream));
            tell_join(self.output, frame, self.stdout);
        }
        if self.stdout == Stdout::Report {
            tell_event(self.output, event);
        }
        let progress = &self.progress;
        self.output.progress(|| progress.line(tally));
    }
}

/// Frames that are missing, but for those that the policy was to leave out.
fn has_problems(tally: &StreamTally, policy: Policy) -> bool {
    let is_wanted =
        |reason: GapReason| policy != Policy::Lossless && matches!(reason, GapReason::Lagging | GapReason::Superseded);
    // Whoever comes in the middle of a GOP has lost nothing.
    let is_problem = |reason: GapReason| reason != GapReason::Joining && !is_wanted(reason);
    tally.open_gaps > 0 || tally.missing.iter().any(|(reason, frames)| *frames > 0 && is_problem(*reason))
}

fn is_limited(arguments: &SubscribeArguments) -> bool {
    arguments.duration.is_some() || arguments.frames.is_some() || arguments.until_end || arguments.to.is_some()
}

fn needs_preroll(arguments: &SubscribeArguments) -> bool {
    arguments.out.as_deref().is_some_and(sink::needs_preroll) && arguments.form == FormChoice::Pictures
}

/// Full names of the topics that are named, or of those with frames that exist.
pub(crate) fn frame_topics(named: &[TopicName], settings: &Settings) -> anyhow::Result<Vec<TopicName>> {
    let prefix = &settings.bus.topic_prefix;
    if !named.is_empty() {
        return Ok(named.iter().map(|topic| prefix.topic(topic.as_str())).collect());
    }
    let wanted = FRAME_TOPICS.map(|topic| prefix.topic(topic));
    let names: Vec<_> = wanted.iter().map(TopicName::as_str).collect();
    let existing = Cluster::open(&settings.bus)?.actual(&names)?;
    let found: Vec<_> = wanted.iter().filter(|topic| existing.contains_key(topic.as_str())).cloned().collect();
    if found.is_empty() {
        let topic = names.join(", ");
        return Err(BusError::UnknownTopic { topic, brokers: settings.bus.brokers.clone() }.into());
    }
    Ok(found)
}
