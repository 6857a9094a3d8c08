//! DICOM objects through Kafka: each file comes out byte for byte, once, or not at all, and said.

#![expect(clippy::unwrap_used, reason = "a test")]

mod destinations;
mod failures;
mod hostile;
mod kills;
mod privacy;
mod site;
mod strangers;

use lumenbus_tests::backend::Kind;
use site::{Dicom, contents, number, objects, received};

fn everything_comes_back(kind: Kind) {
    let Some(from) = objects() else { return };
    let Some(dicom) = Dicom::together(kind) else { return };
    let sent = contents(&from);
    let mut distinct = sent.clone();
    distinct.dedup();
    assert!(sent.len() > 100, "the data set is there: {}", sent.len());

    let summary = dicom.send(&[&from]).code(0).summary();
    assert_eq!((number(&summary, "sent"), number(&summary, "refused")), (sent.len(), 0), "{summary}");
    let summary = dicom.receive("").code(0).summary();
    assert_eq!(received(&summary), [distinct.len(), sent.len() - distinct.len(), 0]);
    assert_eq!(contents(&dicom.out()), distinct);
    dicom.assert_no_half_file();

    // The same again from two senders at a time: their records lie between each other's.
    let senders = [(); 2].map(|()| dicom.start_sending(&[&from]));
    for sender in senders {
        drop(sender.finish().code(0));
    }
    let summary = dicom.receive("").code(0).summary();
    assert_eq!(received(&summary), [0, 2 * sent.len(), 0]);
    // A replay of it all changes nothing.
    let summary = dicom.receive("--from start").code(0).summary();
    assert_eq!(received(&summary), [0, 3 * sent.len(), 0]);
    assert_eq!(contents(&dicom.out()), distinct);
    dicom.assert_no_half_file();
    for more in [&[&*from][..], &[]] {
        let summary = dicom.run("verify", &[more, &[&*dicom.out()]].concat()).code(0).summary();
        assert_eq!(number(&summary, "identical"), distinct.len());
    }
}

#[test]
fn every_file_of_the_data_set_comes_back_through_the_embedded_broker() {
    everything_comes_back(Kind::Embedded);
}

#[test]
fn every_file_of_the_data_set_comes_back_through_apache_kafka() {
    everything_comes_back(Kind::Kafka1);
}

#[test]
fn what_cannot_be_sent_is_refused_before_anything_is_published() {
    let Some(dicom) = Dicom::together(Kind::Embedded) else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good"), site::numbered(1, 100)).unwrap();
    std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
    drop(std::os::unix::net::UnixListener::bind(folder.path().join("socket")).unwrap());
    let ran = dicom.send(&[folder.path()]).code(3);
    let summary = ran.summary();
    assert_eq!(["sent", "refused", "passed_over"].map(|name| number(&summary, name)), [1, 0, 2]);
    assert!(ran.stdout.contains("not-a-file") && ran.stdout.contains("unreadable"), "{}", ran.stdout);
    let ran = dicom.send(&[folder.path(), &folder.path().join("nothing-*")]).code(2);
    assert!(ran.stdout.contains("nothing matches it"), "{}", ran.stdout);
    assert_eq!(received(&dicom.receive("").code(0).summary()), [1, 0, 0]);
}

#[test]
fn differences_are_told_by_kind_and_name() {
    let (left, right) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (folder, name, value) in
        [(&left, "same", 1), (&right, "moved", 1), (&left, "a", 2), (&right, "a", 3), (&left, "b", 4), (&right, "c", 5)]
    {
        std::fs::write(folder.path().join(name), [value]).unwrap();
    }
    let mut command = lumenbus_tests::cli::lumenbus(["dicom", "verify"]);
    command.args([left.path(), right.path()]);
    let ran = lumenbus_tests::cli::Background::start(command).finish().code(3);
    assert_eq!(ran.stdout, "differing: a\nmissing: b\nextra: c\n1 identical, 1 differing, 1 missing, 1 extra\n");
}
