//! The promises of the bus as cases that run against every kind of broker: `conformance_suite!` makes the tests.

pub mod chunks;
pub mod clocks;
pub mod control;
pub mod crashes;
pub mod fencing;
pub mod foreign;
pub mod gaps;
pub mod groups;
pub mod index_topic;
pub mod joining;
pub mod moments;
pub mod moves;
pub mod order;
pub mod playing;
pub mod policies;
pub mod retention;
pub mod seeking;

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
            seeking::moments_are_found_by_the_index
            seeking::moments_are_found_without_an_index
            seeking::a_moment_that_occurs_twice
            seeking::moments_before_a_clock_was_set_back
            seeking::sessions_that_the_index_does_not_know
            seeking::wrong_entries_are_passed_over
            seeking::a_recording_of_chunks_moves_and_sessions
            seeking::stills_between_their_entries
            seeking::moments_of_a_publisher_that_was_killed
            moments::an_entry_that_hides_a_session
            moments::a_camera_that_stopped_among_others
            moments::large_records_backwards
            moments::keyframes_before_a_session
            playing::a_move_that_only_the_directory_tells
            playing::a_move_while_the_end_is_played
            playing::a_move_whose_beginning_retention_took
            index_topic::an_index_that_may_not_be_created
            index_topic::an_index_with_fewer_partitions
            index_topic::an_index_that_is_deleted
            control::a_keyframe_is_asked_for
            control::a_topic_for_requests_that_comes_late
            control::stale_foreign_and_too_many_requests
            control::requests_across_a_restart_of_the_publisher
            control::a_reader_that_joins_late_asks
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
