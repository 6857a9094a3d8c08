//! How good a detector is on footage whose contents are known.
//!
//! [`Labels`] say what is in a clip; a [`BoxScore`] counts what was found of it in the labelled pictures, and
//! [`score_presence`] compares when something was seen at all. Figures depend on the pictures alone, so they can be
//! held by tests.
//!
//! ```
//! use lumenbus_vision::Bounds;
//! use lumenbus_vision::evaluate::{BoxScore, Labels};
//!
//! let labels = Labels::parse(
//!     r#"{"version": 1, "clip": "yard.mp4", "sha256": "", "width": 640, "height": 480, "frames_per_second": 10,
//!         "frames": [{"seq": 40, "boxes": [{"x": 10, "y": 10, "width": 30, "height": 80, "class": "person"}]}],
//!         "presence": []}"#,
//! )?;
//! let mut score = BoxScore::new(0.3);
//! score.add(&labels.frames[0].boxes, &[Bounds::new(12.0, 8.0, 30.0, 80.0), Bounds::new(300.0, 8.0, 30.0, 80.0)]);
//! assert_eq!((score.precision(), score.recall()), (0.5, 1.0));
//! # Ok::<(), lumenbus_vision::evaluate::LabelError>(())
//! ```

mod boxes;
mod labels;
mod presence;

pub use boxes::{BoxScore, Matches, match_boxes};
pub use labels::{Interval, LabelError, LabelledBox, LabelledFrame, Labels};
pub use presence::{PRESENCE_AREA, PresenceEvent, PresenceScore, presence_intervals, score_presence, shows_somebody};
