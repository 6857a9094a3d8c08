//! Byte-bounded frame queues that drop whole GOPs and say so.
//!
//! Data flow: encode → **lane** → publish. One [`Lane`] per stream holds frames that Kafka has not taken yet.
//! When it overflows, a frame expires or a delivery fails, the lane drops up to the next keyframe, as one gap;
//! the [`GapLedger`] keeps each gap until a record that carries it is acknowledged.
//! Pure: `now` is an argument.
//!
//! ```
//! use bytes::Bytes;
//! use lumenbus_frame::{CaptureTime, Codec, EncodedFrame};
//! use lumenbus_lanes::{Admission, Lane};
//!
//! let mut lane = Lane::new(1_000);
//! let picture = |bytes| EncodedFrame::new(Codec::Jpeg, CaptureTime::arrival(0), Bytes::from(vec![0; bytes]));
//! assert!(matches!(lane.push(picture(700), 0), Admission::Queued(_)));
//! assert!(matches!(lane.push(picture(700), 0), Admission::Queued(_)), "the older picture makes room");
//! let kept = lane.pop(0).expect("the newer one is there");
//! assert_eq!(kept.seq.0, 1);
//! assert_eq!(lane.gaps_before(kept.seq).count(), 1, "and the loss is explained");
//! ```

mod gate;
mod lane;
mod ledger;

pub use gate::{FrameGate, Passage};
pub use lane::{Admission, Lane, Need, QueuedFrame};
pub use ledger::{DropCounts, GapLedger, LedgerMark};
