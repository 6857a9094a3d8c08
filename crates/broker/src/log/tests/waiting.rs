use super::*;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

fn is_woken(waiter: &Waiter) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    matches!(pin!(waiter.woken()).poll(&mut context), Poll::Ready(()))
}

#[test]
fn a_wake_up_between_looking_and_waiting_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[]);
    let waiter = Waiter::new(1);
    let _watch = log.watch(&waiter, Isolation::Uncommitted);
    assert!(!is_woken(&waiter));
    append_values(&log, &[b"x"]);
    assert!(is_woken(&waiter));
    assert!(!is_woken(&waiter), "once");
}

#[test]
fn bytes_add_up_over_partitions_before_the_wake_up() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let topic = store.create_topic("t", 2, &Overrides::new()).unwrap();
    let size = BatchSpec::values(&[b"x"], NOW).bytes().len() as u64;
    let waiter = Waiter::new(3 * size);
    let watches: Vec<_> = topic.partitions().iter().map(|log| log.watch(&waiter, Isolation::Uncommitted)).collect();
    for partition in [0, 1, 0] {
        assert!(!is_woken(&waiter));
        append_values(&topic.partition(partition).unwrap(), &[b"x"]);
    }
    assert!(is_woken(&waiter));
    waiter.rearm(2 * size);
    append_values(&topic.partition(0).unwrap(), &[b"x"]);
    assert!(!is_woken(&waiter));
    drop(watches);
    append_values(&topic.partition(0).unwrap(), &[b"x"]);
    assert!(!is_woken(&waiter), "a dropped registration is over");
}

#[test]
fn a_repeat_wakes_nobody_and_a_deletion_everybody() {
    let dir = tempfile::tempdir().unwrap();
    let (store, log) = with_topic(dir.path(), &[]);
    let batch = || BatchSpec::values(&[b"x"], NOW).producer(1, 0, 0).bytes();
    append(&log, batch()).unwrap();
    let waiter = Waiter::new(1 << 20);
    let _watch = log.watch(&waiter, Isolation::Uncommitted);
    append(&log, batch()).unwrap();
    assert!(!is_woken(&waiter));
    store.delete_records("t", 0, -1).unwrap();
    assert!(is_woken(&waiter));
    store.delete_topic("t").unwrap();
    assert!(is_woken(&waiter));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_wake_up_is_lost_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let (_store, log) = with_topic(dir.path(), &[]);
    let writer = {
        let log = Arc::clone(&log);
        std::thread::spawn(move || {
            for i in 0..5000 {
                append_values(&log, &[&value(i, 0)]);
            }
        })
    };
    let mut next = 0;
    while next < 5000 {
        let waiter = Waiter::new(1);
        let _watch = log.watch(&waiter, Isolation::Uncommitted);
        let slice = log.read(next, 1 << 20, FirstBatch::Whole).unwrap();
        if slice.records.is_empty() {
            // Hangs for ever when a wake-up is lost.
            waiter.woken().await;
        } else {
            next = last_offset(&slice.records) + 1;
        }
    }
    writer.join().unwrap();
}
