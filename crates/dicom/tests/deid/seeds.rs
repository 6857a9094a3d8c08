//! Every element gets a value of its own that says who the patient is; none is found afterwards.

use crate::file::{BIG_ENDIAN, CT, DEFLATED, EXPLICIT, Elements, IMPLICIT};
use crate::{contains, engine, released};
use lumenbus_dicom::deid::{Done, Profile, ProfileOption, Rule, ShowValues, Verdict};

/// What was planted and must be gone: where, and the bytes.
#[derive(Default)]
struct Seeds {
    planted: Vec<(String, Vec<u8>)>,
    next: u32,
}

impl Seeds {
    /// A value of a VR that occurs nowhere else.
    fn value(&mut self, place: &str, vr: &str) -> Option<Vec<u8>> {
        self.next += 1;
        let number = self.next;
        let (year, month, day) = (1930 + number / 300, 1 + number / 28 % 12, 1 + number % 28);
        let value = match vr {
            "UI" => format!("1.3.6.1.4.1.8888.{number}.7"),
            "DA" => format!("{year}{month:02}{day:02}"),
            "DT" => format!("{year}{month:02}{day:02}112233.{number:06}"),
            "TM" => format!("112233.{number:06}"),
            "AS" => format!("{:03}W", 300 + number % 600),
            "DS" => format!("77.{number:05}88"),
            "IS" => format!("77{number:05}88"),
            "CS" | "AE" => format!("SEED{number}"),
            "US" | "SQ" => return None,
            _ => format!("Seed{number}x^Vorname"),
        };
        // Four characters of an age are in too many other values to be looked for.
        if vr != "AS" {
            self.planted.push((format!("{place} {vr}"), value.clone().into_bytes()));
        }
        Some(value.into_bytes())
    }

    fn survivors(&self, bytes: &[u8]) -> Vec<String> {
        self.planted.iter().filter(|(_, value)| contains(bytes, value)).map(|(place, _)| place.clone()).collect()
    }
}

/// Every row of the table that is one tag, private elements, curves, overlays, unknown tags, and kinds of text, dates and
/// UIDs that the table does not list.
fn planted(seeds: &mut Seeds, depth: usize) -> Elements {
    let mut elements = Elements::default();
    for line in include_str!("../../data/ps3.15-e1-1.tsv").lines().filter(|line| !line.starts_with('#')).skip(1) {
        let fields: Vec<_> = line.split('\t').collect();
        let Ok(tag) = u32::from_str_radix(fields[0], 16) else { continue };
        let unknown = if fields[2].ends_with("Sequence") { "SQ" } else { "LO" };
        let vr = if fields[1].is_empty() { unknown } else { fields[1] };
        if tag >> 16 < 8 {
            continue;
        }
        if vr == "SQ" {
            let mut item = if depth == 0 && tag == 0x0040_A730 { planted(seeds, 1) } else { Elements::default() };
            for (tag, vr) in [(0x0008_0090, "PN"), (0x0008_1155, "UI"), (0x0010_0020, "LO"), (0x0011_1001, "LO")] {
                item.bytes(tag, vr, &seeds.value(fields[2], vr).unwrap());
            }
            item.text(0x0011_0010, "LO", "SEEDCREATOR");
            elements.items(tag, vec![item]);
        } else if let Some(value) = seeds.value(fields[2], vr) {
            elements.bytes(tag, vr, &value);
        }
    }
    for (tag, vr) in [
        (0x0009_0010, "LO"),
        (0x0009_1001, "PN"),
        (0x0009_1002, "UN"),
        (0x0009_1003, "UI"),
        (0x0029_1003, "OB"),
        (0x5000_2500, "LO"),
        (0x5002_3000, "OB"),
        (0x6000_1500, "LO"),
        (0x6002_0022, "LO"),
        (0x6000_3000, "OB"),
        (0x0018_0004, "LO"),
        (0x000A_1234, "LT"),
        (0x0040_A160, "UT"),
        (0x0028_4000, "LT"),
        (0x0040_A021, "UI"),
        (0x0018_1078, "DT"),
    ] {
        let value = seeds.value(&format!("{tag:08X}"), vr).unwrap();
        elements.bytes(tag, vr, &value);
    }
    elements
}

fn object(seeds: &mut Seeds) -> Elements {
    let mut elements = planted(seeds, 0);
    // Kept or decided about apart: a document is quarantined, an unlisted LO stays unless it says something of the patient.
    elements.0.remove(&0x0042_0011);
    elements.0.remove(&0x0018_0004);
    elements.0.extend(Elements::ct().0);
    for value in
        ["Quixlby", "Zanthor", "PID-774411", "19610704", "774411", "1961-07-04", "quixlby", "QUIXLBY", "zanthor"]
    {
        seeds.planted.push((format!("identity {value}"), value.as_bytes().to_vec()));
    }
    for value in ["1.3.6.1.4.1.9999", "1.3.6.1.4.1.8888", "SEED", "Seed"] {
        seeds.planted.push((format!("any {value}"), value.as_bytes().to_vec()));
    }
    // What the table does not list, with what the object itself says of the patient.
    elements.text(0x0010_0030, "DA", "19610704");
    elements.text(0x0008_0070, "LO", "Maker for QUIXLBY").text(0x0018_1210, "SH", "zanthor");
    elements.text(0x0018_0015, "CS", "QUIXLBY").text(0x0018_0060, "DS", "774411").text(0x0018_1316, "DS", "Zanthor");
    elements.text(0x0018_5101, "CS", "PID774411").text(0x0028_0034, "IS", "1").text(0x0008_0102, "SH", "1961-07-04 x");
    elements.bytes(0x0028_2000, "OB", b"profile of Quixlby and more");
    let mut nested = Elements::default();
    nested.text(0x0008_0100, "SH", "X-1").text(0x0008_0102, "SH", "DCM").text(
        0x0008_0104,
        "LO",
        "CT of Zanthor's knee",
    );
    let mut outer = Elements::default();
    outer.items(0x0054_0220, vec![nested]);
    elements.items(0x0018_0012, vec![outer.clone()]).items(0x5200_9229, vec![outer]);
    elements.text(0x0018_1020, "LO", "syngo 4.2");
    elements
}

#[test]
fn no_planted_value_survives() {
    for syntax in [EXPLICIT, IMPLICIT, BIG_ENDIAN, DEFLATED] {
        let mut seeds = Seeds::default();
        let file = object(&mut seeds).file(syntax);
        let engine = engine(Profile::default());
        let (out, report) = released(&engine, &file);
        assert_eq!(seeds.survivors(&out), Vec::<String>::new(), "{syntax}");
        assert!(seeds.planted.len() > 700, "{}", seeds.planted.len());
        assert!(out[..128].iter().all(|byte| *byte == 0));
        assert!(contains(&out, CT.as_bytes()));
        // What is no identity is still there.
        assert!(contains(&out, b"X-1 "), "{syntax}");
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(seeds.survivors(text.as_bytes()), Vec::<String>::new(), "a report has no values");
        let again = engine.deidentify(&file).unwrap();
        assert_eq!(format!("{:?}", again.report), format!("{report:?}"));
        assert!(matches!(again.verdict, Verdict::Released(bytes) if bytes == out));
        // What came out can be read as strictly as what went in.
        released(&engine, &out);
    }
}

#[test]
fn options_keep_what_they_say_and_nothing_else() {
    let mut elements = Elements::ct();
    elements.text(0x0008_0020, "DA", "20240229").text(0x0008_0022, "DA", "20240305").text(
        0x0010_0030,
        "DA",
        "19610704",
    );
    elements.text(0x0008_1030, "LO", "CT Chest of Mr. Rumpelstilz").text(0x0010_1010, "AS", "094Y");
    elements.text(0x0018_1000, "LO", "SN-5551").text(0x0008_0080, "LO", "Spital am Bach");
    elements.text(0x7053_0010, "LO", "Philips PET Private Group").text(0x7053_1000, "DS", "0.0021");
    elements.text(0x7053_1003, "ST", "Rumpelstilz.dat");
    let file = elements.file(EXPLICIT);
    let kept = |options: &[ProfileOption]| {
        let profile = options.iter().fold(Profile::default(), |profile, option| profile.with(*option));
        let (out, report) = released(&engine(profile), &file);
        assert!(!contains(&out, b"Rumpelstilz") && !contains(&out, b"PID-774411") && !contains(&out, b"19610704"));
        let there = ["20240229", "SN-5551", "Spital am Bach", "090Y", "CT Chest", "0.0021", "1.3.6.1.4.1.9999.1.1"];
        let there: Vec<_> = there.into_iter().filter(|text| contains(&out, text.as_bytes())).collect();
        (there, report.method_codes)
    };
    use ProfileOption as P;
    assert_eq!(kept(&[]), (vec![], vec!["113100"]));
    assert_eq!(kept(&[P::RetainFullDates]), (vec!["20240229"], vec!["113100", "113106"]));
    assert_eq!(kept(&[P::RetainModifiedDates]), (vec![], vec!["113100", "113107"]));
    assert_eq!(kept(&[P::RetainDeviceIdentity]), (vec!["SN-5551"], vec!["113100", "113109"]));
    assert_eq!(kept(&[P::RetainInstitutionIdentity]), (vec!["Spital am Bach"], vec!["113100", "113112"]));
    assert_eq!(kept(&[P::RetainPatientCharacteristics]), (vec!["090Y"], vec!["113100", "113108"]));
    assert_eq!(kept(&[P::CleanDescriptors]), (vec!["CT Chest"], vec!["113100", "113105"]));
    assert_eq!(kept(&[P::RetainSafePrivate]), (vec!["0.0021"], vec!["113100", "113111"]));
    assert_eq!(kept(&[P::RetainUids]), (vec!["1.3.6.1.4.1.9999.1.1"], vec!["113100", "113110"]));
}

#[test]
fn dates_of_a_patient_keep_their_distance() {
    let engine = engine(Profile::default().with(ProfileOption::RetainModifiedDates));
    let dates = |patient: &str| {
        let mut elements = Elements::ct();
        elements.text(0x0010_0020, "LO", patient);
        elements.text(0x0008_0020, "DA", "20240229").text(0x0008_0022, "DA", "20240305").text(
            0x0008_0030,
            "TM",
            "101112",
        );
        let (out, _) = released(&engine, &elements.file(EXPLICIT));
        assert!(contains(&out, b"101112") && contains(&out, b"MODIFIED"));
        let at = |tag: [u8; 4]| {
            let place = out.windows(6).position(|window| window[..4] == tag && &window[4..] == b"DA").unwrap();
            let text = std::str::from_utf8(&out[place + 8..place + 16]).unwrap();
            let number = |range: std::ops::Range<usize>| text[range].parse::<i16>().unwrap();
            let (month, day) = (number(4..6).try_into().unwrap(), number(6..8).try_into().unwrap());
            jiff::civil::date(number(0..4), month, day)
        };
        (at([8, 0, 0x20, 0]), at([8, 0, 0x22, 0]))
    };
    let (first, second) = dates("A-1");
    assert_eq!((second - first).get_days(), 5);
    let back = (jiff::civil::date(2024, 2, 29) - first).get_days();
    assert!((1..=3650).contains(&back), "{back}");
    assert_eq!(dates("A-1"), (first, second));
    assert_ne!(dates("A-2").0, first, "another patient, other days");
}

#[test]
fn uids_are_the_same_wherever_they_stand() {
    let engine = engine(Profile::default());
    let make = |instance: &str, reference: &str| {
        let mut elements = Elements::ct();
        elements.text(0x0008_0018, "UI", instance);
        let mut item = Elements::default();
        item.text(0x0008_1150, "UI", CT).text(0x0008_1155, "UI", reference);
        elements.items(0x0008_1140, vec![item]).text(0x0020_0052, "UI", "1.2.840.10008.1.4.1.1");
        released(&engine, &elements.file(EXPLICIT))
    };
    let (first, first_report) = make("1.3.6.1.4.1.9999.7.1", "1.3.6.1.4.1.9999.7.2");
    let (second, second_report) = make("1.3.6.1.4.1.9999.7.2", "1.3.6.1.4.1.9999.7.1");
    assert_eq!(first_report.study_instance_uid, second_report.study_instance_uid);
    assert!(contains(&first, second_report.sop_instance_uid.as_bytes()));
    assert!(contains(&second, first_report.sop_instance_uid.as_bytes()));
    assert!(first_report.sop_instance_uid.starts_with("2.25."));
    assert!(contains(&first, b"1.2.840.10008.1.4.1.1"), "everybody's frame of reference stays");
}

#[test]
fn a_dry_run_shows_values_only_when_asked() {
    let engine = engine(Profile::default());
    let file = Elements::ct().file(EXPLICIT);
    let without = engine.dry_run(&file, ShowValues::No).unwrap();
    assert!(without.changes.iter().all(|change| change.before.is_none()));
    let with = engine.dry_run(&file, ShowValues::Yes).unwrap();
    let name = with.changes.iter().find(|change| change.keyword == "PatientName").unwrap();
    assert_eq!(name.before.as_deref(), Some("Quixlby^Zanthor"));
    assert_eq!((name.done, name.rule), (Done::Pseudonym, Rule::Table));
}
