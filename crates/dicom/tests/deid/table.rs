use lumenbus_dicom::deid::{Action, EDITION, rows};
use std::collections::HashMap;

#[test]
fn every_row_of_the_edition_is_there() {
    assert_eq!(EDITION, "2026d");
    let mut counts: HashMap<Action, usize> = HashMap::new();
    for row in rows() {
        *counts.entry(row.basic).or_default() += 1;
    }
    let expected = [
        (Action::X, 417),
        (Action::D, 93),
        (Action::U, 55),
        (Action::Z, 42),
        (Action::XD, 23),
        (Action::XZ, 11),
        (Action::XZD, 8),
        (Action::ZD, 6),
        (Action::XZU, 2),
    ];
    assert_eq!(rows().len(), 657);
    for (action, count) in expected {
        assert_eq!(counts[&action], count, "{action:?}");
    }
}

#[test]
fn the_columns_of_the_options_are_filled() {
    let text = include_str!("../../data/ps3.15-e1-1.tsv");
    let lines: Vec<Vec<&str>> =
        text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect()).collect();
    let count = |column: &str, action: &str| {
        let index = lines[0].iter().position(|name| *name == column).unwrap();
        lines[1..].iter().filter(|fields| fields.get(index) == Some(&action)).count()
    };
    for (column, keep, clean) in [
        ("safe_private", 0, 1),
        ("uids", 60, 0),
        ("device", 48, 11),
        ("institution", 10, 0),
        ("patient", 14, 5),
        ("full_dates", 169, 0),
        ("modified_dates", 0, 169),
        ("descriptors", 0, 141),
        ("structured", 0, 4),
        ("graphics", 0, 4),
    ] {
        assert_eq!((count(column, "K"), count(column, "C")), (keep, clean), "{column}");
    }
}
