//! `lumenbus broker`: the embedded broker alone, and a look into its data.

pub(crate) mod inspect;
pub(crate) mod metrics;

use crate::arguments::{BrokerAction, BrokerArguments, BrokerCommand};
use crate::demo;
use crate::exit::{Outcome, Usage};
use crate::output::Output;
use crate::settings::Settings;
use crate::{signals, units};
use anyhow::Context as _;
use lumenbus_broker::log::{KeepFree, StoreConfig};
use lumenbus_broker::{Broker, BrokerConfig, RunningBroker};
use lumenbus_pipeline::Shutdown;
use serde_json::json;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

/// Flushing is a part of housekeeping, which comes round once a second.
const MIN_FSYNC_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn run(command: &BrokerCommand, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    match (&command.action, &command.arguments) {
        (Some(BrokerAction::Inspect(arguments)), _) => inspect::run(arguments, output),
        (None, Some(arguments)) => serve(arguments, settings, output),
        (None, None) => Err(Usage("--data DIR is missing".to_owned()).into()),
    }
}

fn serve(arguments: &BrokerArguments, settings: &Settings, output: &mut Output) -> anyhow::Result<Outcome> {
    let shutdown = signals::shutdown(settings.quiet)?;
    let mut config = BrokerConfig::new(&arguments.data).listen(arguments.listen);
    // Nobody clears the folder up before this process has done it by itself.
    let in_use = arguments.is_leashed.then(|| demo::hold(&arguments.data)).transpose();
    let _in_use = in_use.with_context(|| format!("cannot use {}", arguments.data.display()))?;
    let wrong = |flag: &'static str| move |why: String| Usage(format!("{flag}: {why}"));
    config.advertised = arguments.advertise.as_deref().map(host_and_port).transpose().map_err(wrong("--advertise"))?;
    config.store.keep_free = keep_free(&arguments.keep_free).map_err(wrong("--keep-free"))?;
    let fsync: Fsync = arguments.fsync.parse().map_err(wrong("--fsync"))?;
    fsync.apply(&mut config.store);
    let endpoint = arguments.metrics.map(|listen| metrics::Endpoint::start(listen, output)).transpose()?;
    let broker = Broker::start_blocking(config)
        .with_context(|| format!("cannot start a broker on {} with {}", arguments.listen, arguments.data.display()))?;
    let address = broker.addr();
    if let Some(endpoint) = &endpoint {
        endpoint.show(&broker);
    }
    output.object("ready", json!({ "brokers": address.to_string(), "data": arguments.data.display().to_string() }));
    output.result(&format!("broker ready on {address}, data in {}; Ctrl-C stops it", arguments.data.display()));
    if !arguments.listen.ip().is_loopback() {
        output.note("this broker listens beyond loopback without encryption or passwords: keep its network closed");
    }
    if arguments.is_leashed {
        stop_with_stdin(&shutdown)?;
    }
    run_until_end(broker, &shutdown, arguments.duration.unwrap_or(units::FOREVER))?;
    output.summary("broker", json!({ "data": arguments.data.display().to_string() }));
    output.note("broker stopped cleanly");
    if arguments.is_leashed {
        std::fs::remove_dir_all(&arguments.data)
            .with_context(|| format!("cannot remove {}", arguments.data.display()))?;
    }
    Ok(Outcome::Done)
}

/// Until somebody wants it to end, the time is over, or it has ended by itself.
fn run_until_end(broker: RunningBroker, shutdown: &Arc<Shutdown>, duration: Duration) -> anyhow::Result<()> {
    let failed = Arc::clone(shutdown);
    broker.on_failure(move || {
        failed.request();
    });
    shutdown.sleep(duration);
    let what = match broker.has_failed() {
        true => "the broker has ended by a fault, see the log",
        false => "the broker could not stop cleanly; it will recover at its next start",
    };
    broker.shutdown_blocking().context(what)
}

/// Who started this broker holds the other end of standard input; it closes however that program ends.
fn stop_with_stdin(shutdown: &Arc<Shutdown>) -> anyhow::Result<()> {
    let shutdown = Arc::clone(shutdown);
    let wait = move || {
        // An error ends it as well.
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        shutdown.request();
    };
    std::thread::Builder::new().name("leash".to_owned()).spawn(wait).context("cannot watch standard input")?;
    Ok(())
}

pub(crate) fn host_and_port(text: &str) -> Result<(String, u16), String> {
    let parsed = text.rsplit_once(':').and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
    parsed.ok_or_else(|| format!("{text:?} is no address; write HOST:PORT"))
}

/// `10%`, `20GiB`; `0%` switches it off.
pub(crate) fn keep_free(text: &str) -> Result<KeepFree, String> {
    if let Some(percent) = text.strip_suffix('%') {
        let percent = percent.parse::<u8>().ok().filter(|percent| *percent < 100);
        let share = percent.map(|percent| f64::from(percent) / 100.0);
        let share = share.ok_or_else(|| format!("{text:?} is no share; write 0% to 99%"))?;
        return Ok(if share > 0.0 { KeepFree::Share(share) } else { KeepFree::Off });
    }
    Ok(KeepFree::Bytes(units::bytes(text)? as u64))
}

/// When records reach the disk itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fsync {
    /// Before each acknowledgement.
    Always,
    /// In the background, so often.
    Every(Duration),
}

impl Default for Fsync {
    fn default() -> Self {
        Self::Every(Duration::from_secs(10))
    }
}

impl FromStr for Fsync {
    type Err = String;

    /// `always`, `10s`.
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "always" {
            return Ok(Self::Always);
        }
        let every = units::duration(text).map_err(|_| format!("{text:?} is neither always nor a time such as 10s"))?;
        if every < MIN_FSYNC_INTERVAL {
            return Err(format!("{text:?} is shorter than 1s; write always to lose nothing, or 1s and more"));
        }
        Ok(Self::Every(every))
    }
}

impl Fsync {
    pub(crate) fn apply(self, store: &mut StoreConfig) {
        match self {
            Self::Always => store.defaults.flush_messages = 1,
            Self::Every(interval) => store.flush_interval = interval,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broker_that_ends_by_a_fault_ends_the_command() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = BrokerConfig::new(folder.path()).listen(([127, 0, 0, 1], 0).into());
        // Its housekeeping ends at once, and with it the broker.
        config.housekeeping_interval = Duration::ZERO;
        let broker = Broker::start_blocking(config).unwrap();
        let condition = metrics::condition(&broker);
        let error = run_until_end(broker, &Arc::new(Shutdown::default()), units::FOREVER).unwrap_err();
        assert!(error.to_string().contains("ended by a fault"), "{error}");
        assert!(matches!(condition(), lumenbus_ops::State::Failed(why) if why.contains("ended")));
    }

    #[test]
    fn fsync_is_always_or_a_time_from_one_second_up() {
        assert_eq!("10s".parse(), Ok(Fsync::default()));
        assert_eq!("1m30s".parse(), Ok(Fsync::Every(Duration::from_secs(90))));
        assert_eq!("always".parse(), Ok(Fsync::Always));
        for refused in ["never", "", "-1s", "0s", "999ms"] {
            assert!(refused.parse::<Fsync>().unwrap_err().contains("always"), "{refused}");
        }
        let store = |fsync: Fsync| {
            let mut store = StoreConfig::new("unused");
            fsync.apply(&mut store);
            (store.flush_interval.as_secs(), store.defaults.flush_messages)
        };
        assert_eq!((store(Fsync::default()), store(Fsync::Always)), ((10, i64::MAX), (10, 1)));
    }
}
