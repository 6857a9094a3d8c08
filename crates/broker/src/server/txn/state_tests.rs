use super::*;

const NOW: i64 = 1_000_000;
const TIMEOUT: i32 = 60_000;

fn at(partition: i32) -> TopicPartition {
    ("t".to_owned(), partition)
}

fn producer(id: i64, epoch: i16) -> ProducerRef {
    ProducerRef { id, epoch }
}

/// A transactional id of producer 7, epoch 3, in a status.
fn with(status: Status) -> Transaction {
    let partitions = match status {
        Status::Ongoing | Status::PrepareCommit | Status::PrepareAbort => [at(0), at(1)].into(),
        _ => BTreeSet::new(),
    };
    Transaction { producer: producer(7, 3), status, partitions, ..Transaction::new(7, TIMEOUT, NOW) }
}

fn next(init: Result<Init, ResponseError>) -> Transaction {
    match init {
        Ok(Init::Next(next)) => next,
        other => panic!("{other:?}"),
    }
}

const IDLE: [Status; 3] = [Status::Empty, Status::CompleteCommit, Status::CompleteAbort];
const DECIDED: [Status; 2] = [Status::PrepareCommit, Status::PrepareAbort];
const OUTCOMES: [Outcome; 2] = [Outcome::Commit, Outcome::Abort];

#[test]
fn a_new_id_begins_with_epoch_zero() {
    let new = Transaction::new(7, TIMEOUT, NOW);
    assert_eq!((new.producer, new.status, new.started_ms), (producer(7, 0), Status::Empty, NO_TIME));
}

#[test]
fn init_bumps_the_epoch_where_nothing_is_open() {
    for status in IDLE {
        let new = next(with(status).init(None, 5, NOW + 1));
        assert_eq!((new.producer, new.status, new.timeout_ms), (producer(7, 4), Status::Empty, 5));
        assert_eq!((new.started_ms, new.updated_ms), (NO_TIME, NOW + 1));
        assert_eq!(new.previous, ProducerRef::NONE);
    }
    for status in DECIDED {
        assert_eq!(with(status).init(None, 5, NOW), Err(ResponseError::ConcurrentTransactions));
    }
}

#[test]
fn init_aborts_an_open_transaction_and_shuts_its_producer_out() {
    let Ok(Init::AbortFirst(aborting)) = with(Status::Ongoing).init(None, 5, NOW + 1) else { panic!() };
    assert_eq!((aborting.producer, aborting.status), (producer(7, 4), Status::PrepareAbort));
    assert_eq!(aborting.partitions.len(), 2);
    let aborted = aborting.completed(Outcome::Abort, NOW + 2);
    assert_eq!(next(aborted.init(None, 5, NOW + 3)).producer, producer(7, 5));
    // Who had it open must not simply go on.
    assert_eq!(aborted.init(Some(producer(7, 3)), 5, NOW + 3), Err(ResponseError::ProducerFenced));
}

#[test]
fn a_producer_that_names_itself_goes_on_and_may_ask_twice() {
    for status in IDLE {
        let new = next(with(status).init(Some(producer(7, 3)), TIMEOUT, NOW));
        assert_eq!((new.producer, new.previous), (producer(7, 4), producer(7, 3)));
        assert_eq!(new.init(Some(producer(7, 3)), TIMEOUT, NOW), Ok(Init::Repeat), "its answer was lost");
        assert_eq!(next(new.init(Some(producer(7, 4)), TIMEOUT, NOW)).producer, producer(7, 5));
        for stranger in [producer(7, 2), producer(7, 5), producer(8, 4), producer(6, i16::MAX - 1)] {
            assert_eq!(new.init(Some(stranger), TIMEOUT, NOW), Err(ResponseError::ProducerFenced), "{stranger:?}");
        }
    }
    for status in [Status::Ongoing, Status::PrepareCommit, Status::PrepareAbort] {
        assert_eq!(with(status).init(Some(producer(8, 3)), TIMEOUT, NOW), Err(ResponseError::ProducerFenced));
    }
}

#[test]
fn used_up_epochs_lead_to_a_new_id() {
    let last = producer(7, i16::MAX - 1);
    let worn = Transaction { producer: last, ..with(Status::CompleteCommit) };
    let almost = Transaction { producer: producer(7, i16::MAX - 2), ..with(Status::Empty) };
    assert_eq!(next(almost.init(None, TIMEOUT, NOW)).producer, last);
    for expected in [None, Some(last)] {
        assert_eq!(worn.init(expected, TIMEOUT, NOW), Ok(Init::NewId));
        let new = worn.rotated(70, expected, TIMEOUT, NOW);
        assert_eq!((new.producer, new.status), (producer(70, 0), Status::Empty));
        let again = new.init(Some(last), TIMEOUT, NOW);
        assert_eq!(again.is_ok(), expected.is_some(), "only who asked by name may ask twice");
    }
    assert_eq!(worn.init(Some(producer(7, 5)), TIMEOUT, NOW), Err(ResponseError::ProducerFenced));
    // Even then an open transaction can be taken away.
    let open = Transaction { producer: last, ..with(Status::Ongoing) };
    let Ok(Init::AbortFirst(aborting)) = open.init(None, TIMEOUT, NOW) else { panic!() };
    assert_eq!(aborting.producer.epoch, i16::MAX);
    assert_eq!(aborting.completed(Outcome::Abort, NOW).init(None, TIMEOUT, NOW), Ok(Init::NewId));
}

#[test]
fn partitions_are_added_in_every_status_but_decided() {
    for status in IDLE {
        let open = with(status).add(producer(7, 3), [at(5)], NOW + 9).unwrap().unwrap();
        assert_eq!((open.status, open.started_ms, open.updated_ms), (Status::Ongoing, NOW + 9, NOW + 9));
        assert_eq!(open.partitions, [at(5)].into());
        let more = open.add(producer(7, 3), [at(5), at(6)], NOW + 10).unwrap().unwrap();
        assert_eq!((more.partitions.len(), more.started_ms), (2, NOW + 9), "the time counts from the first");
        assert_eq!(more.add(producer(7, 3), [at(6)], NOW + 11), Ok(None));
    }
    for status in DECIDED {
        assert_eq!(with(status).add(producer(7, 3), [at(5)], NOW), Err(ResponseError::ConcurrentTransactions));
    }
}

#[test]
fn only_the_present_producer_may_do_anything() {
    for status in Status::ALL {
        let transaction = with(status);
        for (stranger, error, write_error) in [
            (producer(8, 3), ResponseError::InvalidProducerIdMapping, ResponseError::InvalidProducerIdMapping),
            (producer(7, 2), ResponseError::ProducerFenced, ResponseError::InvalidProducerEpoch),
            (producer(7, 4), ResponseError::ProducerFenced, ResponseError::InvalidProducerEpoch),
        ] {
            assert_eq!(transaction.add(stranger, [at(0)], NOW), Err(error));
            assert_eq!(transaction.check_write(stranger, &at(0)), Err(write_error));
            for outcome in OUTCOMES {
                assert_eq!(transaction.end(stranger, outcome, NOW), Err(error));
            }
        }
    }
}

#[test]
fn writes_need_an_open_transaction_and_their_partition_in_it() {
    for status in Status::ALL {
        let expected = if status == Status::Ongoing { Ok(()) } else { Err(ResponseError::InvalidTxnState) };
        assert_eq!(with(status).check_write(producer(7, 3), &at(0)), expected, "{status:?}");
        assert_eq!(with(status).check_write(producer(7, 3), &at(2)), Err(ResponseError::InvalidTxnState));
    }
}

#[test]
fn ends_in_every_order() {
    use Status::{CompleteAbort, CompleteCommit, Empty, Ongoing, PrepareAbort, PrepareCommit};
    let end = |status, outcome| with(status).end(producer(7, 3), outcome, NOW + 1);
    for outcome in OUTCOMES {
        let decided = end(Ongoing, outcome).unwrap().unwrap();
        assert_eq!((decided.decided(), decided.partitions.len()), (Some(outcome), 2));
        let done = decided.completed(outcome, NOW + 2);
        assert_eq!((done.decided(), done.partitions.len(), done.producer), (None, 0, producer(7, 3)));
        assert_eq!(done.end(producer(7, 3), outcome, NOW), Ok(None), "asked twice");
        assert_eq!(end(Empty, outcome), Err(ResponseError::InvalidTxnState));
    }
    assert_eq!(end(PrepareCommit, Outcome::Commit), Err(ResponseError::ConcurrentTransactions));
    assert_eq!(end(PrepareAbort, Outcome::Abort), Err(ResponseError::ConcurrentTransactions));
    for (status, outcome) in [
        (PrepareCommit, Outcome::Abort),
        (PrepareAbort, Outcome::Commit),
        (CompleteCommit, Outcome::Abort),
        (CompleteAbort, Outcome::Commit),
    ] {
        assert_eq!(end(status, outcome), Err(ResponseError::InvalidTxnState), "{status:?} {outcome:?}");
    }
}

#[test]
fn open_transactions_time_out_and_idle_ids_expire() {
    let open = with(Status::Empty).add(producer(7, 3), [at(0)], NOW).unwrap().unwrap();
    let ends_ms = NOW + i64::from(TIMEOUT);
    assert_eq!(open.timed_out(ends_ms - 1), None);
    let aborting = open.timed_out(ends_ms).unwrap();
    assert_eq!((aborting.status, aborting.producer), (Status::PrepareAbort, producer(7, 4)));
    for status in Status::ALL.into_iter().filter(|status| *status != Status::Ongoing) {
        assert_eq!(Transaction { started_ms: 0, ..with(status) }.timed_out(i64::MAX), None, "{status:?}");
    }
    for status in Status::ALL {
        assert!(!with(status).is_idle_since(NOW));
        assert_eq!(with(status).is_idle_since(NOW + 1), IDLE.contains(&status), "{status:?}");
    }
}
