//! Carries spans to the collector.

use super::TraceError;
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

/// For one batch.
const TIMEOUT: Duration = Duration::from_secs(5);

/// OTLP's exporter needs tokio; the SDK calls it from a thread that has none.
pub(super) struct Exporter {
    otlp: Arc<opentelemetry_otlp::SpanExporter>,
    runtime: Option<Runtime>,
    endpoint: String,
    /// Whether the last batch failed: trouble is told once, not once a second.
    is_troubled: AtomicBool,
}

impl Exporter {
    pub(super) fn new(endpoint: &str, service: &str) -> Result<Self, TraceError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("lumenbus-traces")
            .enable_all()
            .build()
            .map_err(TraceError::Start)?;
        let wrong = |error: opentelemetry_otlp::ExporterBuildError| TraceError::Endpoint {
            endpoint: endpoint.to_owned(),
            reason: error.to_string(),
        };
        let mut otlp = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(endpoint)
            .with_timeout(TIMEOUT)
            .build()
            .map_err(wrong)?;
        otlp.set_resource(&Resource::builder().with_service_name(service.to_owned()).build());
        let endpoint = endpoint.to_owned();
        Ok(Self { otlp: Arc::new(otlp), runtime: Some(runtime), endpoint, is_troubled: AtomicBool::new(false) })
    }

    fn tell(&self, result: &OTelSdkResult) {
        match result {
            Ok(()) if self.is_troubled.swap(false, Ordering::Relaxed) => {
                tracing::info!(endpoint = %self.endpoint, "traces are taken again");
            }
            Err(error) if !self.is_troubled.swap(true, Ordering::Relaxed) => {
                tracing::warn!(%error, endpoint = %self.endpoint, "the collector does not take traces; they are dropped");
            }
            _ => {}
        }
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let Some(runtime) = &self.runtime else { return Err(OTelSdkError::AlreadyShutdown) };
        let otlp = Arc::clone(&self.otlp);
        let sent = runtime.spawn(async move { otlp.export(batch).await }).await;
        let result = sent.unwrap_or_else(|error| Err(OTelSdkError::InternalFailure(error.to_string())));
        self.tell(&result);
        result
    }
}

impl Drop for Exporter {
    fn drop(&mut self) {
        // It may be dropped within a runtime of somebody else, where waiting is not allowed.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}
