//! Who and which: camera, stream, epoch, seq.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Longest camera id, stream name: fits a Kafka key, a file name and a URL path segment.
const MAX_ID_BYTES: usize = 64;
/// Kafka's own limit for a topic name.
const MAX_TOPIC_BYTES: usize = 249;

/// A name outside its alphabet or length.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// Nothing was given.
    #[error("{what} is empty; give 1 to {max} characters of A-Z a-z 0-9 . _ -")]
    Empty {
        /// What was being named.
        what: &'static str,
        /// Longest permitted length in bytes.
        max: usize,
    },
    /// Too many bytes.
    #[error("{what} {shown:?}… has {bytes} bytes; the limit is {max}")]
    TooLong {
        /// What was being named.
        what: &'static str,
        /// The beginning of the name.
        shown: String,
        /// Its length in bytes.
        bytes: usize,
        /// Longest permitted length in bytes.
        max: usize,
    },
    /// A character that is not in `[A-Za-z0-9._-]`, or a name of dots only.
    #[error("{what} {name:?} may only hold A-Z a-z 0-9 . _ - and not be . or ..; put free text into the display name")]
    Alphabet {
        /// What was being named.
        what: &'static str,
        /// The name as given.
        name: String,
    },
}

fn check_name(what: &'static str, name: &str, max: usize) -> Result<(), IdError> {
    if name.is_empty() {
        return Err(IdError::Empty { what, max });
    }
    if name.len() > max {
        let shown = name.chars().take(16).collect();
        return Err(IdError::TooLong { what, shown, bytes: name.len(), max });
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    if !name.bytes().all(legal) || name == "." || name == ".." {
        return Err(IdError::Alphabet { what, name: name.to_owned() });
    }
    Ok(())
}

macro_rules! name_type {
    ($(#[$doc:meta])* $type:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        ///
        /// Cloning shares the text.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Checks the alphabet `[A-Za-z0-9._-]` and the length.
            pub fn new(name: &str) -> Result<Self, IdError> {
                check_name($what, name, $max)?;
                Ok(Self(Arc::from(name)))
            }

            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = IdError;
            fn from_str(name: &str) -> Result<Self, IdError> {
                Self::new(name)
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name_type!(
    /// A camera's id: `[A-Za-z0-9._-]{1,64}`, also the Kafka record key.
    CameraId, "camera id", MAX_ID_BYTES
);
name_type!(
    /// One of a camera's streams on a topic; `main` unless it has several.
    StreamName, "stream name", MAX_ID_BYTES
);
name_type!(
    /// Processes that share one list of cameras: `[A-Za-z0-9._-]{1,64}`, also the Kafka record key of their beats.
    FleetName, "fleet name", MAX_ID_BYTES
);
name_type!(
    /// A Kafka topic name: `[A-Za-z0-9._-]{1,249}`.
    TopicName, "topic name", MAX_TOPIC_BYTES
);

impl StreamName {
    /// The name that is left out on the wire.
    pub const MAIN: &'static str = "main";

    /// The default stream.
    #[must_use]
    pub fn main() -> Self {
        Self(Arc::from(Self::MAIN))
    }

    /// Whether this is the default stream.
    #[must_use]
    pub fn is_main(&self) -> bool {
        &*self.0 == Self::MAIN
    }
}

impl Default for StreamName {
    fn default() -> Self {
        Self::main()
    }
}

/// A stream: camera, topic and name. It has its own epochs, seqs and gaps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId {
    /// The camera, which is also the record key.
    pub camera: CameraId,
    /// The topic its records are in.
    pub topic: TopicName,
    /// Its name within camera and topic.
    pub name: StreamName,
}

impl StreamId {
    /// The camera's `main` stream on a topic.
    #[must_use]
    pub fn main(camera: CameraId, topic: TopicName) -> Self {
        Self { camera, topic, name: StreamName::main() }
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.camera)?;
        if self.name.is_main() { Ok(()) } else { write!(f, "/{}", self.name) }
    }
}

/// A publisher session of a stream; a higher epoch supersedes a lower one.
///
/// Layout: `(unix milliseconds << 16) | 16 random bits`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The next epoch: later than `last` whatever the clock says.
    ///
    /// `now_millis` is Unix time; `random` tells two sessions of one millisecond apart.
    #[must_use]
    pub fn next(last: Option<Self>, now_millis: u64, random: u16) -> Self {
        let floor = last.map_or(0, |epoch| epoch.millis() + 1);
        Self((now_millis.max(floor) << 16) | u64::from(random))
    }

    /// The Unix time in milliseconds at which the session began (or later, after a clock step back).
    #[must_use]
    pub fn millis(self) -> u64 {
        self.0 >> 16
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A frame's number within its epoch, in decode order, from 0; given before any drop decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(pub u64);

impl Seq {
    /// The following number.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A frame within its stream. Ordered as the log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId {
    /// The publisher session.
    pub epoch: Epoch,
    /// The number within it.
    pub seq: Seq,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_to_their_alphabet() {
        for good in ["a", "gate-7", "A.b_c-9", &"x".repeat(64)] {
            assert_eq!(CameraId::new(good).unwrap().as_str(), good);
        }
        for bad in ["", ".", "..", "a b", "gäte", "a/b", "a\0", &"x".repeat(65)] {
            assert!(CameraId::new(bad).is_err(), "{bad:?}");
        }
        assert!(TopicName::new(&"t".repeat(249)).is_ok());
        assert!(TopicName::new(&"t".repeat(250)).is_err());
    }

    #[test]
    fn an_epoch_is_later_than_the_last_even_when_the_clock_is_not() {
        let first = Epoch::next(None, 1_000, 7);
        assert_eq!(first.millis(), 1_000);
        let stepped_back = Epoch::next(Some(first), 400, 0);
        assert!(stepped_back > first);
        let later = Epoch::next(Some(first), 2_000, 0);
        assert_eq!(later.millis(), 2_000);
    }

    #[test]
    fn a_long_name_is_not_echoed_whole() {
        let message = CameraId::new(&"y".repeat(5_000)).unwrap_err().to_string();
        assert!(message.len() < 120, "{message}");
    }
}
