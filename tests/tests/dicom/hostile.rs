//! Bytes and values that nobody should send, through the program.

use crate::site::{Dicom, contents, files, number, numbered, object, objects, received};
use lumenbus_tests::backend::Kind;
use lumenbus_tests::cli::{Background, Ran, lumenbus};
use lumenbus_tests::soak::Dice;
use std::io::Write as _;
use std::path::{Component, Path};

/// What a program may take whatever it is given; this is not an optimised build.
const MOST_BYTES: u64 = 160 << 20;

#[test]
fn no_value_leads_out_of_the_folder() {
    let Some(dicom) = Dicom::together(Kind::Embedded) else { return };
    let from = tempfile::tempdir().unwrap();
    let long = "x".repeat(1000);
    let values = [
        "../../../../tmp/evil",
        "/etc/passwd",
        "..",
        ".",
        "~root",
        "a/b\\c:d",
        "CON",
        "nul.dcm",
        ".lumenbus-receiving",
        "lock\0/..",
        "new\nline\r\x1b[2J",
        "-rf",
        "trailing. ",
        "$(reboot)`id`",
        "\u{ff}\u{0}",
        "",
        &long,
    ];
    for (count, value) in values.iter().enumerate() {
        let uid = format!("1.2.3.{count}/../../{value}");
        let elements = [
            (0x0008_0018, "UI", uid.as_bytes()),
            (0x0010_0020, "LO", value.as_bytes()),
            (0x0020_000D, "UI", value.as_bytes()),
        ];
        std::fs::write(from.path().join(count.to_string()), object(&elements, &count.to_be_bytes())).unwrap();
    }
    // Names that only upper and lower case tell apart, and one name for two objects.
    for (count, id) in (0_u8..).zip(["Same", "same", "same"]) {
        let elements = [(0x0008_0018, "UI", &b"1.9"[..]), (0x0010_0020, "LO", id.as_bytes())];
        std::fs::write(from.path().join(format!("same{count}")), object(&elements, &[count; 8])).unwrap();
    }
    drop(dicom.send(&[from.path()]).code(0));
    let count = values.len() + 3;
    for (round, layout) in
        ["{PatientID}/{StudyInstanceUID}/{SOPInstanceUID}.dcm", "{SOPInstanceUID}{PatientID}", "a/{PatientID}"]
            .into_iter()
            .enumerate()
    {
        let out = dicom.out.path().join(format!("in/there/{round}"));
        let ran =
            dicom.run(&format!("receive --until-end --group {}-{round} --layout {layout} --out", dicom.group), &[&out]);
        assert_eq!(received(&ran.code(0).summary()), [count, 0, 0]);
        assert_eq!(contents(&out), contents(from.path()));
        let wanted = layout.split('/').count();
        for path in files(&out).keys() {
            let names = path.components().filter(|component| matches!(component, Component::Normal(_))).count();
            assert_eq!(names, wanted, "{path:?}");
        }
    }
    let beside: Vec<_> = std::fs::read_dir(dicom.out.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(beside, ["in"]);
    let refused = ["../{PatientID}", "/{PatientID}", "", "{PatientID}/x", "{Pixels}", "{PatientID", "a//{PatientID}"];
    for layout in refused {
        let mut command = lumenbus(["dicom", "receive", "--layout", layout, "--out"]);
        drop(
            Background::start({
                command.arg(dicom.out());
                command
            })
            .finish()
            .code(2),
        );
    }
    assert!(!dicom.out().exists());
}

/// Runs to the end; with the most memory that was seen, where the system tells.
fn with_peak(background: Background) -> (Ran, u64) {
    let status = format!("/proc/{}/status", background.id());
    let mut peak = 0;
    // The last look is shortly before the end.
    while let Some(line) = std::fs::read_to_string(&status)
        .ok()
        .and_then(|text| text.lines().find(|line| line.starts_with("VmHWM:")).map(str::to_owned))
    {
        let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        peak = peak.max(kib << 10);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    (background.finish(), peak)
}

fn byte(dice: &mut Dice) -> u8 {
    dice.below(256).to_le_bytes()[0]
}

fn mutate(file: &mut Vec<u8>, dice: &mut Dice) {
    for _ in 0..=dice.below(3) {
        if file.is_empty() {
            return;
        }
        // Headers are where it hurts.
        let reach = if dice.below(5) > 0 { file.len().min(2048) } else { file.len() };
        let at = usize::try_from(dice.below(reach as u64)).unwrap();
        match dice.below(6) {
            0 => file[at] ^= 1 << dice.below(8),
            1 => file.truncate(at),
            2 => file.insert(at, byte(dice)),
            3 => drop(file.remove(at)),
            4 => file[at..].iter_mut().take(4).for_each(|byte| *byte = 0xFF),
            _ => {
                let piece = file[at..file.len().min(at + 40)].to_vec();
                drop(file.splice(at..at, piece));
            }
        }
    }
}

/// A deflated data set of 256 MiB of zeros in one value that promises more.
fn bomb(to: &Path) {
    let head = |syntax: &[u8]| {
        let mut file = [&[0; 128][..], b"DICM"].concat();
        file.extend([2, 0, 0x10, 0]);
        file.extend(b"UI");
        file.extend(u16::try_from(syntax.len()).unwrap().to_le_bytes());
        file.extend(syntax);
        file
    };
    let mut file = std::fs::File::create(to).unwrap();
    file.write_all(&head(b"1.2.840.10008.1.2.1.99")).unwrap();
    let mut deflated = flate2::write::DeflateEncoder::new(file, flate2::Compression::fast());
    deflated.write_all(&[0x10, 0, 0x20, 0, b'L', b'O', 4, 0, b'B', b'O', b'M', b'B']).unwrap();
    deflated.write_all(&[0x11, 0, 0, 0x10, b'U', b'T', 0, 0, 0xF0, 0xFF, 0xFF, 0x7F]).unwrap();
    let zeros = vec![0; 1 << 20];
    for _ in 0..256 {
        deflated.write_all(&zeros).unwrap();
    }
    drop(deflated.finish().unwrap());
}

#[test]
fn five_hundred_mutations_and_a_bomb_come_back_within_bounds() {
    let Some(data) = objects() else { return };
    let Some(dicom) = Dicom::together(Kind::Embedded) else { return };
    let from = tempfile::tempdir().unwrap();
    let all = files(&data).into_keys().map(|path| std::fs::read(data.join(path)).unwrap());
    let good: Vec<_> = all.filter(|file| file.len() < 100_000).collect();
    let mut dice = Dice(7);
    for count in 0..500 {
        let mut file = good[usize::try_from(dice.below(good.len() as u64)).unwrap()].clone();
        mutate(&mut file, &mut dice);
        std::fs::write(from.path().join(format!("{count}.dcm")), file).unwrap();
    }
    bomb(&from.path().join("bomb.dcm"));
    let mut distinct = contents(from.path());
    distinct.dedup();
    let (ran, sender_peak) = with_peak(dicom.start_sending(&[from.path()]));
    let summary = ran.code(0).summary();
    assert_eq!((number(&summary, "sent"), number(&summary, "refused")), (501, 0), "{summary}");
    let (ran, receiver_peak) = with_peak(dicom.start_receiving("--until-end"));
    assert_eq!(received(&ran.code(0).summary()), [distinct.len(), 501 - distinct.len(), 0]);
    assert_eq!(contents(&dicom.out()), distinct);
    dicom.assert_no_half_file();
    eprintln!("most memory: sender {} MiB, receiver {} MiB", sender_peak >> 20, receiver_peak >> 20);
    assert!(sender_peak < MOST_BYTES && receiver_peak < MOST_BYTES, "{sender_peak} {receiver_peak}");
}

#[test]
fn records_of_others_cost_their_objects_only() {
    use lumenbus_bus::objects::{Budget, Deliveries, Outgoing, RecordCompression, RecordWriter};
    let Some(dicom) = Dicom::together(Kind::Embedded) else { return };
    let from = tempfile::tempdir().unwrap();
    std::fs::write(from.path().join("good"), numbered(3, 50_000)).unwrap();
    drop(dicom.send(&[from.path()]).code(0));
    let writer = RecordWriter::open(&dicom.site.bus, RecordCompression::None, &Budget::new(1 << 24)).unwrap();
    let topic = dicom.site.topic("dicom_metadata").to_string();
    let mut dice = Dice(11);
    let deliveries = Deliveries::new();
    let mut strange = 0;
    for round in 0..40_u8 {
        let length = dice.below(3000);
        let bytes: Vec<u8> = (0..length).map(|_| byte(&mut dice)).collect();
        // Half of them look right at their beginning: parts of objects whose other parts never come, too.
        let id = [round; 16];
        let parts: [u32; 4] = [0, 1, u32::MAX, u32::try_from(bytes.len()).unwrap()];
        let numbers: Vec<u8> = parts.iter().flat_map(|number| number.to_be_bytes()).collect();
        let right = [&[1, 2][..], &id, &numbers, &[0; 8]].concat();
        let header = if round % 2 == 0 { &right[..] } else { &bytes[..bytes.len().min(42)] };
        let headers: &[(&str, &[u8])] = if round % 5 == 0 { &[] } else { &[("lbd", header)] };
        let outgoing = Outgoing { topic: &topic, partition: 0, key: "?", headers, value: Some(&bytes) };
        writer.send(&outgoing, &deliveries).unwrap();
        strange += 1;
    }
    drop(writer.wait(&topic, &deliveries).unwrap());
    drop(dicom.send(&[from.path()]).code(0));
    let ran = dicom.receive("").code(3);
    assert_eq!(received(&ran.summary()), [1, 1, strange], "{}", ran.stdout);
    assert_eq!(contents(&dicom.out()), contents(from.path()));
}
