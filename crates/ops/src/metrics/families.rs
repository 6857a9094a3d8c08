//! Families of constant values, as a collector gives them.

use super::buckets::Reading;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder};
use prometheus_client::encoding::{EncodeLabel as _, NoLabelSet};
use prometheus_client::metrics::MetricType;
use std::fmt;

/// One series: labels and value.
#[derive(Debug, Clone)]
pub struct Row {
    labels: Labels,
    value: f64,
}

#[derive(Debug, Clone, Default)]
struct Labels(Vec<(&'static str, String)>);

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| (*name, value.as_str()).encode(encoder.encode_label()))
    }
}

impl Row {
    /// A value without labels.
    #[must_use]
    pub fn new(value: f64) -> Self {
        Self { labels: Labels::default(), value }
    }

    /// A count, exact up to 2⁵³.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "Prometheus's values are floats")]
    pub fn count(value: u64) -> Self {
        Self::new(value as f64)
    }

    /// The same with one more label.
    #[must_use]
    pub fn label(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.labels.0.push((name, value.into()));
        self
    }
}

/// One histogram.
#[derive(Debug, Clone)]
pub struct Distribution {
    /// Its only label.
    pub label: (&'static str, String),
    /// All values together.
    pub sum_seconds: f64,
    /// Upper bound in seconds and own count of each bucket; the last bound is infinite.
    pub buckets: Vec<(f64, u64)>,
}

/// Writes families; one without rows is left out.
#[derive(Debug)]
pub struct Families<'a> {
    encoder: DescriptorEncoder<'a>,
}

impl<'a> Families<'a> {
    /// Into what a collector is given.
    #[must_use]
    pub fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self { encoder }
    }

    /// Values that go up and down.
    ///
    /// # Errors
    /// When the text cannot be written.
    pub fn gauges(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = Row>) -> fmt::Result {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        rows.try_for_each(|row| match row.labels.0.as_slice() {
            [] => family.encode_gauge(&row.value),
            _ => family.encode_family(&row.labels)?.encode_gauge(&row.value),
        })
    }

    /// Counts that only grow; `name` is without `_total`.
    ///
    /// # Errors
    /// When the text cannot be written.
    pub fn counters(&mut self, name: &str, help: &str, rows: impl IntoIterator<Item = Row>) -> fmt::Result {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        rows.try_for_each(|row| match row.labels.0.as_slice() {
            [] => family.encode_counter::<NoLabelSet, f64, f64>(&row.value, None),
            _ => family.encode_family(&row.labels)?.encode_counter::<NoLabelSet, f64, f64>(&row.value, None),
        })
    }

    /// Histograms in seconds.
    pub(crate) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = (&'static str, String, Reading)>,
    ) -> fmt::Result {
        let row = |(label, value, reading): (&'static str, String, Reading)| Distribution {
            label: (label, value),
            sum_seconds: reading.sum_seconds(),
            buckets: reading.buckets(),
        };
        self.distributions(name, help, rows.into_iter().map(row))
    }

    /// Histograms in seconds that somebody else has counted.
    ///
    /// # Errors
    /// When the text cannot be written.
    pub fn distributions(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = Distribution>,
    ) -> fmt::Result {
        let mut rows = rows.into_iter().peekable();
        if rows.peek().is_none() {
            return Ok(());
        }
        let mut family = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        rows.try_for_each(|Distribution { label, sum_seconds, buckets }| {
            let count = buckets.iter().map(|(_, count)| count).sum();
            let labels = Labels(vec![label]);
            family.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum_seconds, count, &buckets, None)
        })
    }
}

/// Families that are written anew at each scrape.
#[must_use]
pub fn collector(encode: impl Fn(&mut Families<'_>) -> fmt::Result + Send + Sync + 'static) -> Box<dyn Collector> {
    Box::new(Written(encode))
}

struct Written<F>(F);

impl<F> fmt::Debug for Written<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Written").finish_non_exhaustive()
    }
}

impl<F: Fn(&mut Families<'_>) -> fmt::Result + Send + Sync + 'static> Collector for Written<F> {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        (self.0)(&mut Families::new(encoder))
    }
}
