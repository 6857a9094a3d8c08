//! Where events go and which.

use crate::credentials::first_line;
use crate::detection::OptionError;
use crate::exit::Usage;
use crate::units;
use clap::Args;
use lumenbus_bus::BusConfig;
use lumenbus_ops::webhook::{EventFilter, RetryPolicy, Secret, TIMEOUTS, Target, WebhookConfig, group_of};
use std::path::PathBuf;
use std::time::Duration;

/// Holds the address where none is given.
const ADDRESS: &str = "LUMENBUS_WEBHOOK_URL";
/// Holds the secret where no file is named.
pub(crate) const SECRET: &str = "LUMENBUS_WEBHOOK_SECRET";

/// Who gets events.
#[derive(Debug, Args)]
pub(crate) struct Receiver {
    /// The receiver's address [or LUMENBUS_WEBHOOK_URL]; what is secret in it goes into --to-file
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// File whose first line is the receiver's address
    #[arg(long, value_name = "FILE", conflicts_with = "to")]
    to_file: Option<PathBuf>,
    /// File whose first line is the secret that requests are signed with [or the secret itself in LUMENBUS_WEBHOOK_SECRET]
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// PEM file of the certificates to trust for https [default: the system's]
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// Longest time of an attempt, 100ms to 60s
    #[arg(long, value_parser = timeout, default_value = "10s", value_name = "TIME")]
    pub(crate) timeout: Duration,
}

/// A time that an attempt may take.
pub(crate) fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = units::duration(text)?;
    if TIMEOUTS.contains(&timeout) {
        return Ok(timeout);
    }
    Err("write a time from 100ms to 60s".to_owned())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|text| !text.is_empty())
}

impl Receiver {
    pub(crate) fn target(&self) -> anyhow::Result<Target> {
        let address = match (&self.to, &self.to_file) {
            (Some(address), _) => address.clone(),
            (None, Some(file)) => first_line(file, "address")?,
            (None, None) => variable(ADDRESS).ok_or_else(|| {
                Usage("events go nowhere; use --to URL, --to-file FILE or LUMENBUS_WEBHOOK_URL".to_owned())
            })?,
        };
        Ok(Target::new(&address, self.ca_file.clone()).map_err(|error| Usage(error.to_string()))?)
    }

    pub(crate) fn secret(&self) -> anyhow::Result<Option<Secret>> {
        let text = match &self.secret_file {
            Some(file) => Some(first_line(file, "secret")?),
            None => variable(SECRET),
        };
        Ok(text.map(Secret::new).transpose().map_err(|error| Usage(error.to_string()))?)
    }
}

/// A webhook as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebhookOptions {
    pub(crate) name: String,
    pub(crate) target: Target,
    pub(crate) secret: Option<Secret>,
    pub(crate) filter: EventFilter,
    pub(crate) group: Option<String>,
    pub(crate) from: String,
    pub(crate) timeout: Duration,
    pub(crate) refusals: u32,
}

impl WebhookOptions {
    /// Every event from now on.
    pub(crate) fn new(name: String, target: Target) -> Self {
        let (timeout, refusals) = (Duration::from_secs(10), RetryPolicy::default().refusals);
        let (secret, filter, group, from) = (None, EventFilter::default(), None, "live".to_owned());
        Self { name, target, secret, filter, group, from, timeout, refusals }
    }

    pub(crate) fn group(&self) -> String {
        self.group.clone().unwrap_or_else(|| group_of(&self.name))
    }

    /// What the library takes; moments are of now.
    pub(crate) fn config(&self, bus: BusConfig) -> Result<WebhookConfig, OptionError> {
        let mut config = WebhookConfig::new(bus, &self.name, self.target.clone());
        config.group = self.group();
        if config.group.is_empty() {
            return Err(OptionError { option: "group", why: "a group has a name, such as webhook-guards".to_owned() });
        }
        config.start = units::start(&self.from).map_err(|why| OptionError { option: "from", why })?;
        config.secret.clone_from(&self.secret);
        config.filter.clone_from(&self.filter);
        (config.timeout, config.policy.refusals) = (self.timeout, self.refusals);
        Ok(config)
    }
}

/// A webhook's name: that of its group and in metrics.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let is_legal = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=lumenbus_ops::webhook::MAX_NAME_BYTES).contains(&text.len()) && text.bytes().all(is_legal) {
        return Ok(text.to_owned());
    }
    Err("write 1 to 64 characters of A-Z a-z 0-9 . _ -".to_owned())
}
