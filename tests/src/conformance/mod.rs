//! The promises of the bus as cases that run against every kind of broker: `conformance_suite!` makes the tests.

pub mod chunks;
pub mod clocks;
pub mod crashes;
pub mod fencing;
pub mod foreign;
pub mod gaps;
pub mod groups;
pub mod joining;
pub mod moves;
pub mod order;
pub mod policies;
pub mod retention;

use crate::backend::{Kind, Site};

/// Runs a case beside others.
pub fn run_together(kind: Kind, case: impl FnOnce(&Site)) {
    if let Some(site) = Site::together(kind) {
        case(&site);
    }
}

/// Runs a case that has the brokers to itself.
pub fn run_alone(kind: Kind, case: impl FnOnce(&mut Site)) {
    if let Some(mut site) = Site::alone(kind) {
        case(&mut site);
    }
}

/// Every case as a test against this kind of broker.
#[macro_export]
macro_rules! conformance_suite {
    ($kind:expr) => {
        $crate::conformance_suite! { $kind;
            order::several_cameras_and_streams
            order::several_consumers_in_one_process
            order::every_envelope
            groups::one_three_and_two_members
            groups::a_clean_handover_repeats_nothing
            groups::a_member_that_is_dropped_loses_nothing
            groups::a_member_that_is_killed_loses_nothing
            chunks::a_6_mb_picture_and_a_40_mb_raw_frame
            chunks::small_frames_in_batches
            gaps::every_loss_of_video_is_told
            gaps::every_loss_of_pictures_is_told_by_the_directory
            fencing::a_second_publisher_takes_over
            fencing::late_records_of_an_old_epoch_are_discarded
            joining::a_live_reader_begins_at_the_newest_keyframe
            joining::a_reader_of_the_whole_log_sees_every_epoch
            policies::newest_with_a_slow_reader
            policies::live_with_a_slow_reader
            policies::lossless_with_a_stalled_reader
            retention::a_slow_reader_is_passed
            moves::order_across_partitions
            moves::order_across_a_move_in_the_past
            clocks::cameras_with_a_wrong_hour
            clocks::a_clock_that_is_set
            foreign::records_of_somebody_else
            foreign::damaged_records_of_one_camera
            crashes::a_publisher_is_killed
            ;
            crashes::a_broker_is_killed_under_load
            crashes::everything_acknowledged_survives
        }
    };
    ($kind:expr; $($together:ident :: $case:ident)* ; $($alone:ident :: $lone_case:ident)*) => {
        $(#[test]
        fn $case() {
            $crate::conformance::run_together($kind, $crate::conformance::$together::$case);
        })*
        $(#[test]
        fn $lone_case() {
            $crate::conformance::run_alone($kind, $crate::conformance::$alone::$lone_case);
        })*
    };
}
