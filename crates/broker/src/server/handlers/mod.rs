//! One module per family of APIs. A handler gets a decoded request and gives back a response;
//! what is wrong with one topic or partition is an error code in it, never the end of a connection.

pub(crate) mod acls;
pub(crate) mod alter_configs;
pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod fetch;
pub(crate) mod fetch_response;
pub(crate) mod group;
pub(crate) mod groups;
pub(crate) mod list_offsets;
pub(crate) mod log_dirs;
pub(crate) mod metadata;
pub(crate) mod offset_fetch;
pub(crate) mod offsets;
pub(crate) mod partitions;
pub(crate) mod produce;
pub(crate) mod producers;
pub(crate) mod records;
mod repeats;
mod sent;
pub(crate) mod topics;
pub(crate) mod txn;
pub(crate) mod txn_offsets;

use kafka_protocol::ResponseError;
use kafka_protocol::protocol::StrBytes;

use crate::log::LogError;
use crate::server::is_internal;

/// No offset.
pub(crate) const NO_OFFSET: i64 = -1;
/// No time, and "latest" in ListOffsets.
pub(crate) const NO_TIMESTAMP: i64 = -1;

/// The protocol's code for a result.
pub(crate) fn code<T>(result: Result<T, ResponseError>) -> i16 {
    result.err().map_or(0, |error| error.code())
}

/// Why something was not done: the protocol's code, and words where the response has room for them.
pub(crate) type Refusal = (i16, Option<StrBytes>);

/// A refusal with its reason.
pub(crate) fn refusal(error: ResponseError, reason: &'static str) -> Refusal {
    (error.code(), Some(reason.into()))
}

/// Clients may read the broker's own topics, and nothing else.
pub(crate) fn refuse_internal(topic: &str) -> Result<(), Refusal> {
    match is_internal(topic) {
        true => Err(refusal(ResponseError::InvalidTopicException, "this topic belongs to the broker")),
        false => Ok(()),
    }
}

/// A string for a response.
pub(crate) fn text(text: impl Into<String>) -> StrBytes {
    StrBytes::from_string(text.into())
}

/// A storage failure's code and message; what the disk did wrong is also logged.
pub(crate) fn log_failure(error: &LogError) -> Refusal {
    (log_error(error).code(), Some(text(error.to_string())))
}

/// The same for responses without room for words.
pub(crate) fn log_error(error: &LogError) -> ResponseError {
    let told = ResponseError::try_from_code(error.kafka_code()).unwrap_or(ResponseError::UnknownServerError);
    match error {
        // Said when the partition went offline; clients ask on, some of them often.
        LogError::Offline { .. } => tracing::debug!(%error, "refused"),
        _ if told == ResponseError::KafkaStorageError => tracing::error!(%error, "the log failed"),
        _ => {}
    }
    told
}
