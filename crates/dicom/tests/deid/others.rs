//! Files of others, and what pydicom says of what came out.

use crate::engine;
use crate::file::{EXPLICIT, Elements};
use bytes::Bytes;
use lumenbus_dicom::deid::{MaskRule, Profile, ProfileOption, StudyReport, Verdict};
use proptest::prelude::*;
use std::path::{Path, PathBuf};

/// The public DICOM files beside the repository; without them the tests that need them are skipped.
fn data() -> Option<PathBuf> {
    let folder = std::env::var_os("LUMENBUS_DATA")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data"), PathBuf::from);
    let folder = folder.join("dicom");
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(std::env::var_os("LUMENBUS_REQUIRE_ALL").is_none(), "no DICOM files in {}", folder.display());
    eprintln!("SKIPPED: no DICOM files in {}", folder.display());
    None
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if path.extension().is_some_and(|extension| extension == "dcm") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Everything that pydicom can say against a file: values that their VR does not allow, and what must be there.
const JUDGE: &str = r#"
import sys, pathlib, pydicom
pydicom.config.settings.reading_validation_mode = pydicom.config.RAISE
count = 0
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    try:
        ds = pydicom.dcmread(path)
        for element in ds.iterall():
            assert not element.tag.is_private, element.tag
            if element.VR != "SQ" and element.tag.group != 0x7FE0:
                # Values that were kept are as they were made; what was written must be valid.
                if element.VR in ("DA", "DT", "TM", "UI", "PN", "AS", "AE"):
                    pydicom.valuerep.validate_value(element.VR, element.value, pydicom.config.RAISE) if isinstance(element.value, str) else None
        assert ds.preamble == b"\0" * 128
        assert ds.PatientIdentityRemoved == "YES"
        assert ds.DeidentificationMethodCodeSequence[0].CodeValue == "113100"
        assert ds.LongitudinalTemporalInformationModified in ("REMOVED", "MODIFIED")
        assert str(ds.file_meta.MediaStorageSOPInstanceUID) == str(ds.SOPInstanceUID)
        assert ds.SOPInstanceUID.startswith("2.25.") and ds.StudyInstanceUID.startswith("2.25.")
        assert (ds.get("PatientID") or "P").startswith("P")
        count += 1
    except Exception as error:
        print(path.name, type(error).__name__, error)
        sys.exit(1)
print(count)
"#;

fn judge(folder: &Path) -> Option<usize> {
    let Some(python) = std::env::var_os("LUMENBUS_PYTHON") else {
        assert!(std::env::var_os("LUMENBUS_REQUIRE_ALL").is_none(), "LUMENBUS_PYTHON is not set");
        eprintln!("SKIPPED: LUMENBUS_PYTHON is not set, pydicom did not look at the output");
        return None;
    };
    let output = std::process::Command::new(python).args(["-c", JUDGE]).arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    Some(said.trim().parse().unwrap())
}

#[test]
fn files_of_others_come_out_valid_or_are_refused_with_a_reason() {
    let Some(data) = data() else { return };
    let mut looked_at = Profile::default().with(ProfileOption::RetainModifiedDates);
    // What is in their pixels has been looked at: nothing.
    looked_at.masks = vec![MaskRule::default()];
    for profile in [Profile::default(), looked_at] {
        let engine = engine(profile);
        let out = tempfile::tempdir().unwrap();
        let mut report = StudyReport::new("all");
        let files = files(&data);
        for path in &files {
            let file = Bytes::from(std::fs::read(path).unwrap());
            match engine.deidentify(&file) {
                Ok(outcome) => {
                    report.add(&outcome.report);
                    if let Verdict::Released(bytes) = outcome.verdict {
                        assert!(outcome.report.quarantine.is_empty());
                        let name = path.strip_prefix(&data).unwrap().to_string_lossy().replace('/', "_");
                        std::fs::write(out.path().join(name), bytes).unwrap();
                    }
                }
                Err(error) => {
                    assert!(error.to_string().len() > 10, "{error}");
                    report.add_refused(&error);
                }
            }
        }
        let refused: u64 = report.refused.values().sum();
        println!(
            "{} released, {} quarantined, {refused} refused: {:?}",
            report.released, report.quarantined, report.refused
        );
        println!("{:?}", report.reasons);
        assert_eq!(report.released + report.quarantined + refused, files.len() as u64);
        if let Some(read) = judge(out.path()) {
            assert_eq!(read as u64, report.released);
        }
    }
}

#[test]
fn pydicom_reads_what_was_made_here() {
    let out = tempfile::tempdir().unwrap();
    let mut elements = Elements::ct();
    elements.text(0x0008_0020, "DA", "20240229").text(0x0008_0030, "TM", "101112").text(0x0010_1010, "AS", "044Y");
    let Verdict::Released(bytes) = engine(Profile::default()).deidentify(&elements.file(EXPLICIT)).unwrap().verdict
    else {
        panic!("quarantined");
    };
    std::fs::write(out.path().join("made.dcm"), bytes).unwrap();
    if let Some(read) = judge(out.path()) {
        assert_eq!(read, 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn damaged_files_are_an_outcome_and_no_panic(
        places in prop::collection::vec((0usize..1000, any::<u8>()), 1..8),
        cut in 132usize..1000,
    ) {
        let mut item = Elements::default();
        item.text(0x0008_1150, "UI", crate::file::CT).text(0x0008_1155, "UI", "1.2.3");
        let mut elements = Elements::ct();
        elements.items(0x0008_1140, vec![item]).text(0x0008_0020, "DA", "20240229").text(0x0010_1010, "AS", "044Y");
        elements.fragments(vec![Vec::new(), vec![0xFF, 0xD8, 0xFF, 0xD9]]);
        let mut file = elements.file("1.2.840.10008.1.2.4.50").to_vec();
        for (place, byte) in places {
            let place = 132 + place % (file.len() - 132);
            file[place] = byte;
        }
        file.truncate(cut.max(132));
        let engine = engine(Profile::default().with(ProfileOption::RetainModifiedDates));
        if let Ok(outcome) = engine.deidentify(&file.into())
            && let Verdict::Released(out) = outcome.verdict
        {
            prop_assert!(engine.deidentify(&out).is_ok(), "what is written can be read");
        }
    }
}
