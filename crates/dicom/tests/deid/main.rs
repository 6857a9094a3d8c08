//! De-identification: the table, what survives, what is refused, and what another program makes of the output.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod file;
mod masks;
mod others;
mod seeds;
mod table;

use bytes::Bytes;
use lumenbus_dicom::deid::{Deidentifier, ObjectReport, Profile, ProfileOption, ProjectKey, Verdict};

/// An engine with a key that every test shares.
fn engine(profile: Profile) -> Deidentifier {
    Deidentifier::new(ProjectKey::from_bytes(&[42; 32]).unwrap(), profile).unwrap()
}

fn released(engine: &Deidentifier, file: &Bytes) -> (Bytes, ObjectReport) {
    let outcome = engine.deidentify(file).unwrap();
    match outcome.verdict {
        Verdict::Released(bytes) => (bytes, outcome.report),
        Verdict::Quarantined => panic!("quarantined: {:?}", outcome.report.quarantine),
    }
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

#[test]
fn contradictions_are_refused() {
    let key = || ProjectKey::from_bytes(&[0; 32]).unwrap();
    let dates = Profile::default().with(ProfileOption::RetainFullDates).with(ProfileOption::RetainModifiedDates);
    assert!(Deidentifier::new(key(), dates).is_err());
    assert!(Deidentifier::new(key(), Profile::default().with(ProfileOption::CleanGraphics)).is_err());
    let mut nowhere = Profile::default().with(ProfileOption::RetainModifiedDates);
    nowhere.shift_range_days = 0;
    assert!(Deidentifier::new(key(), nowhere).is_err());
    assert!(ProjectKey::from_bytes(b"short").is_err());
    assert!(!format!("{:?}", key()).contains('0'), "the key is not shown");
}
