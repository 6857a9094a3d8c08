//! Epochs: moves, new clients, ends.

use super::*;

#[test]
fn a_move_ends_the_old_epoch_and_points_to_the_new_partition() {
    let mut bench = bench(limits());
    bench.submit_many(2, 10);
    let moved = Moved { epoch: Epoch(2 << 16), partition: 9 };
    bench.core.move_to(moved);
    bench.submit(frame(10, false));
    bench.submit(frame(10, true));
    bench.submit(frame(10, false));
    bench.settle();
    let seen: Vec<_> =
        bench.log.iter().map(|record| (record.partition, record.header().id, record.control())).collect();
    let id = |epoch: u64, seq| lumenbus_frame::FrameId { epoch: Epoch(epoch << 16), seq: Seq(seq) };
    let end = Control::End { last_seq: Some(Seq(2)) };
    assert_eq!(
        seen,
        [
            (3, id(1, 0), None),
            (3, id(1, 1), None),
            (3, id(1, 2), None),
            (3, id(1, 3), Some(end)),
            (3, id(2, 0), Some(Control::Moved(moved))),
            (9, id(2, 0), None),
            (9, id(2, 1), None),
        ]
    );
    bench.account();
}

#[test]
fn nothing_goes_to_the_new_partition_before_moved_is_in_the_log() {
    let mut bench = bench(limits());
    bench.submit(frame(10, true));
    bench.core.move_to(Moved { epoch: Epoch(2 << 16), partition: 9 });
    bench.submit(frame(10, true));
    while bench.client.taken.borrow().front().is_some_and(|record| record.partition == 3) {
        assert!(bench.client.taken.borrow().iter().all(|record| record.partition == 3));
        bench.acknowledge();
    }
    assert_eq!(bench.client.taken.borrow().front().map(|record| record.partition), Some(9));
}

#[test]
fn a_new_client_means_a_new_epoch_with_what_waited() {
    let mut bench = bench(limits());
    bench.submit_many(2, 10);
    bench.settle();
    bench.submit(frame(10, false));
    bench.client.is_full.set(true);
    bench.submit(frame(10, false));
    bench.submit(frame(10, true));
    bench.submit(frame(10, false));
    bench.lose_record();
    bench.restart(&mut 4);
    bench.client.is_full.set(false);
    bench.settle();
    let end = &bench.log[2];
    assert_eq!(end.control(), Some(Control::End { last_seq: Some(Seq(3)) }));
    assert_eq!(end.header().gaps, [Gap::new(Seq(2), Seq(3), GapReason::DeliveryFailed)]);
    let ids: Vec<_> =
        bench.log[3..].iter().map(|record| record.header().id).map(|id| (id.epoch.0 >> 16, id.seq.0)).collect();
    assert_eq!(ids, [(5, 0), (5, 1)]);
    assert_eq!(bench.core.submitted(), 6);
    bench.account();
}

#[test]
fn gaps_of_an_epoch_that_cannot_be_ended_ride_in_the_next_one() {
    let mut bench = bench(limits());
    bench.submit(frame(10, true));
    bench.settle();
    bench.submit(frame(10, false));
    bench.lose_record();
    bench.restart(&mut 4);
    bench.pump();
    bench.lose_record();
    bench.submit(frame(10, true));
    let gap = Gap { epoch: Some(Epoch(1 << 16)), ..Gap::new(Seq(1), Seq(1), GapReason::DeliveryFailed) };
    assert_eq!(bench.client.taken.borrow()[0].header().gaps, [gap]);
    bench.settle();
    bench.submit(frame(10, false));
    bench.settle();
    assert_eq!(bench.log.last().unwrap().header().gaps, []);
}

#[test]
fn finishing_writes_end_with_what_is_still_untold() {
    let mut bench = bench(limits());
    bench.submit_many(3, 10);
    bench.core.lose(2, GapReason::SourceLost);
    bench.finish();
    let end = bench.log.last().unwrap();
    assert_eq!(end.control(), Some(Control::End { last_seq: Some(Seq(4)) }));
    assert_eq!(end.header().gaps, [Gap::new(Seq(3), Seq(4), GapReason::SourceLost)]);
    assert!(bench.core.is_finished() && bench.core.is_end_written());
}

#[test]
fn end_is_written_again_when_it_was_lost_but_not_for_ever() {
    let mut bench = bench(limits());
    bench.submit(frame(10, true));
    bench.settle();
    bench.core.begin_finish();
    bench.pump();
    let mut attempts = 0;
    while bench.lose_record() {
        attempts += 1;
    }
    assert_eq!(attempts, 3);
    bench.core.pump(bench.now, &bench.client, &bench.total);
    assert!(bench.core.is_finished() && !bench.core.is_end_written());
}
