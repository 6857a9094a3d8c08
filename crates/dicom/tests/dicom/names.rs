//! No value of any attribute leads out of the folder.

use crate::made::{element, file_meta, image};
use crate::round_trip;
use lumenbus_dicom::layout::{DEFAULT_LAYOUT, Layout, MAX_COMPONENT_BYTES};
use lumenbus_dicom::record::Metadata;
use lumenbus_dicom::syntax::EXPLICIT_LITTLE;
use proptest::prelude::*;
use std::path::{Component, Path, PathBuf};

fn object(set: &[u8], patient: &[u8]) -> Metadata {
    let values = [
        element(0x0008_0005, "CS", Some(set.len()), set),
        element(0x0008_0018, "UI", Some(4), b"1.2\0"),
        element(0x0010_0020, "LO", Some(patient.len()), patient),
    ];
    round_trip(&[file_meta(EXPLICIT_LITTLE), values.concat()].concat(), 4096).0
}

fn path(set: &[u8], patient: &[u8]) -> PathBuf {
    let layout = Layout::parse("{PatientID}/{SOPInstanceUID}.dcm").unwrap();
    layout.path(&object(set, patient))
}

#[test]
fn values_become_names() {
    let check = |set: &[u8], patient: &[u8], expected: &str| {
        assert_eq!(path(set, patient), Path::new(expected).join("1.2.dcm"), "{patient:02x?}");
    };
    check(b"ISO_IR 100", b"M\xfcller ", "Müller");
    check(b"ISO_IR 192", "Müller".as_bytes(), "Müller");
    check(b"ISO_IR 6", b"M\xfcller", "M=3DFCller");
    check(b"ISO_IR 192", b"..", "=2E=2E");
    check(b"ISO_IR 192", b"/etc/passwd", "=2Fetc=2Fpasswd");
    check(b"ISO_IR 192", b"C:\\x", "C=3A=5Cx");
    check(b"ISO_IR 192", b"", "_PatientID");
    check(b"ISO_IR 192", b"  ", "_PatientID");
    check(b"ISO_IR 192", b"aux", "=_aux");
}

#[test]
fn long_values_keep_their_beginning_and_differ() {
    let (one, other) = (path(b"ISO_IR 192", &[b'x'; 1000]), path(b"ISO_IR 192", &[b'x'; 1001]));
    assert_ne!(one, other);
    for path in [&one, &other] {
        assert!(path.to_str().unwrap().starts_with("xxxxxxx"));
        assert!(path.iter().all(|name| name.len() <= MAX_COMPONENT_BYTES));
    }
}

#[test]
fn objects_with_one_name_are_told_apart_by_their_bytes() {
    let layout = Layout::parse("{PatientID}.dcm").unwrap();
    let (one, other) = (object(b"ISO_IR 192", b"pat1"), object(b"ISO_IR 192", b"PAT1"));
    assert_ne!(layout.path(&one), layout.path(&other));
    assert_eq!(Layout::folded(&layout.path(&one)), Layout::folded(&layout.path(&other)));
    let distinct = [layout.path_distinct(&one), layout.path_distinct(&other)];
    assert_ne!(Layout::folded(&distinct[0]), Layout::folded(&distinct[1]));
    assert_eq!(distinct[0], layout.path_distinct(&one));
    let name = distinct[0].to_str().unwrap();
    assert!(name.starts_with("pat1~") && name.ends_with(".dcm") && name.len() == 4 + 17 + 4, "{name}");
}

#[test]
fn objects_that_say_nothing_have_names_too() {
    let layout = Layout::parse(DEFAULT_LAYOUT).unwrap();
    let (metadata, _) = round_trip(b"no object at all", 5);
    let path = layout.path(&metadata);
    assert!(path.starts_with("_PatientID/_StudyInstanceUID"), "{path:?}");
    let (other, _) = round_trip(b"another of that kind", 5);
    assert_ne!(path, layout.path(&other));
    let whole = round_trip(&[file_meta(EXPLICIT_LITTLE), image(2, 1)].concat(), 100).0;
    assert_eq!(layout.path(&whole), Path::new("Pé 1/1.2.3/1.2.826.0.1.3680043.8.498.1.dcm"));
}

proptest! {
    #[test]
    fn no_value_leads_out(
        set in prop::sample::select(vec!["ISO_IR 6", "ISO_IR 100", "ISO_IR 192"]),
        patient in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..400),
            "[./\\\\:\0 a~=ü\u{202e}]{0,300}".prop_map(String::into_bytes),
        ],
    ) {
        let metadata = object(set.as_bytes(), &patient);
        let layout = Layout::parse("{PatientID}/{PatientID}{Modality}{PatientID}.dcm").unwrap();
        for path in [layout.path(&metadata), layout.path_distinct(&metadata)] {
            let components: Vec<Component<'_>> = path.components().collect();
            prop_assert_eq!(components.len(), 2, "{:?}", path);
            for component in components {
                let Component::Normal(name) = component else { panic!("{component:?}") };
                let name = name.to_str().unwrap();
                prop_assert!(name.len() <= MAX_COMPONENT_BYTES && !name.is_empty());
                prop_assert!(!name.contains(['/', '\\', ':', '\0']) && !name.starts_with('.') && !name.ends_with([' ', '.']));
                prop_assert!(!name.chars().any(char::is_control));
            }
        }
    }
}
