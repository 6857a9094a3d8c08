//! Two destinations, each at its own pace: nothing goes that one of them does not have.

use crate::site::{Dicom, contents, number, numbered, received};
use lumenbus_bus::objects::{Bounds, TopicView};
use lumenbus_tests::backend::Kind;
use lumenbus_tests::cli::Ran;
use std::collections::BTreeMap;

fn bounds(dicom: &Dicom, topic: &str) -> BTreeMap<i32, Bounds> {
    TopicView::open(&dicom.site.bus, dicom.site.topic(topic)).unwrap().bounds().unwrap()
}

fn kept(dicom: &Dicom, topic: &str) -> i64 {
    bounds(dicom, topic).values().map(|log| log.end - log.start).sum()
}

/// Waiting objects by destination.
fn waiting(dicom: &Dicom) -> BTreeMap<String, u64> {
    let ran = dicom.run("queue list", &[]).code(0);
    let lines = ran.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    let rows = lines.filter(|line| line["type"] == "destination");
    rows.map(|row| (row["destination"].as_str().unwrap().to_owned(), row["objects"].as_u64().unwrap())).collect()
}

fn each_at_its_own_pace(kind: Kind) {
    let Some(mut dicom) = Dicom::together(kind) else { return };
    let from = tempfile::tempdir().unwrap();
    let send = |dicom: &Dicom, numbers: std::ops::Range<u64>| {
        let round = from.path().join(numbers.start.to_string());
        std::fs::create_dir(&round).unwrap();
        for number in numbers {
            std::fs::write(round.join(number.to_string()), numbered(number, 1_000_000)).unwrap();
        }
        drop(dicom.send(&[&round]).code(0));
    };
    let trim = |dicom: &Dicom, more: &str| -> Ran { dicom.run(&format!("queue trim {more}"), &[]).code(0) };
    let records = |ran: Ran| ["metadata_records", "pixel_records"].map(|name| number(&ran.summary(), name));
    let (fast, slow) = (format!("{}-fast", dicom.group), format!("{}-slow", dicom.group));
    let out = |dicom: &mut Dicom, group: &str| {
        dicom.group = group.to_owned();
        dicom.out = tempfile::tempdir().unwrap();
    };

    // Nobody is registered: everything stays.
    send(&dicom, 0..4);
    let ran = trim(&dicom, "--grace 0s");
    assert_eq!((ran.summary()["kept"].as_str(), records(ran)), (Some("no-destination"), [0, 0]));

    out(&mut dicom, &slow);
    assert_eq!(received(&dicom.receive("").code(0).summary()), [4, 0, 0]);
    out(&mut dicom, &fast);
    assert_eq!(received(&dicom.receive("").code(0).summary()), [4, 0, 0]);
    send(&dicom, 4..10);
    assert_eq!(received(&dicom.receive("").code(0).summary()), [6, 0, 0]);
    assert_eq!(waiting(&dicom), BTreeMap::from([(fast.clone(), 0), (slow.clone(), 6)]));

    // What is young may belong to an object that is being sent; what is old goes below the slower one only.
    assert_eq!(records(trim(&dicom, "--dry-run")), [4, 0]);
    assert_eq!(records(trim(&dicom, "--grace 0s --dry-run")), [4, 8]);
    assert_eq!((kept(&dicom, "dicom_metadata"), kept(&dicom, "dicom_pixels")), (10, 20));
    assert_eq!(records(trim(&dicom, "--grace 0s")), [4, 8]);
    assert_eq!((kept(&dicom, "dicom_metadata"), kept(&dicom, "dicom_pixels")), (6, 12));
    assert_eq!(records(trim(&dicom, "--grace 0s")), [0, 0]);

    // The slower one gets all of the rest.
    out(&mut dicom, &slow);
    assert_eq!(received(&dicom.receive("").code(0).summary()), [6, 0, 0]);
    let rest: Vec<_> = contents(&from.path().join("4"));
    assert_eq!(contents(&dicom.out()), rest);

    // One that is dropped holds nothing any more.
    out(&mut dicom, &fast);
    send(&dicom, 10..12);
    drop(dicom.receive("").code(0));
    let queue = dicom.run("queue list --max-age 1ms", &[]).code(3);
    assert_eq!(queue.summary()["beyond"], true);
    drop(dicom.run("queue list --max-bytes 100MiB --max-age 24h", &[]).code(0));
    assert_eq!(records(trim(&dicom, "--grace 0s")), [6, 12]);
    drop(dicom.run(&format!("queue drop {slow}"), &[]).code(0));
    assert_eq!(waiting(&dicom), BTreeMap::from([(fast, 0)]));
    assert_eq!(records(trim(&dicom, "--grace 0s")), [2, 4]);
    let ran = dicom.run(&format!("queue drop {slow}"), &[]).code(1);
    assert!(ran.stdout.contains("there is no destination"), "{}", ran.stdout);
}

#[test]
fn nothing_goes_that_a_destination_does_not_have_on_the_embedded_broker() {
    each_at_its_own_pace(Kind::Embedded);
}

#[test]
fn nothing_goes_that_a_destination_does_not_have_on_apache_kafka() {
    each_at_its_own_pace(Kind::Kafka1);
}
