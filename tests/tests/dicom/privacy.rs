//! No value of a patient in keys, headers, logs, reports, or names of what is not delivered.

use crate::site::{files, objects};
use lumenbus_bus::objects::TopicView;
use lumenbus_bus::{BusConfig, TopicPrefix};
use lumenbus_dicom::cut::{Input, SplitLimits, Splitter};
use lumenbus_dicom::record::ObjectId;
use lumenbus_tests::cli::{Background, BrokerProcess, lumenbus};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

/// A value that is shorter may stand anywhere by chance.
const SHORTEST: usize = 5;

/// Every value of group 10, and what names a study, series or instance.
fn values(file: &[u8]) -> BTreeSet<String> {
    let mut splitter = Splitter::new(ObjectId::random(), Input::File, SplitLimits::default());
    let mut ignore = |_| Ok::<_, Infallible>(());
    splitter.push(file, &mut ignore).unwrap();
    let metadata = splitter.finish(&mut ignore).unwrap();
    let is_told = |tag: u32| {
        tag >> 16 == 0x0010 || [0x0008_0018, 0x0008_0050, 0x0020_000D, 0x0020_000E, 0x0008_0090].contains(&tag)
    };
    let told = metadata.attributes.list.iter().filter(|attribute| is_told(attribute.tag.0));
    let texts = told.filter_map(|attribute| String::from_utf8(attribute.value.as_ref()?.to_vec()).ok());
    let trimmed = texts.map(|text| text.trim_matches([' ', '\0']).to_owned());
    trimmed.filter(|text| text.len() >= SHORTEST && !text.contains(char::is_control)).collect()
}

#[test]
fn no_value_of_a_patient_is_in_keys_headers_logs_or_reports() {
    let Some(data) = objects() else { return };
    let mut forbidden = BTreeSet::new();
    // Names that say nothing: what a sender tells of is the name that it was given.
    let from = tempfile::tempdir().unwrap();
    for (count, path) in files(&data).into_keys().enumerate() {
        let file = std::fs::read(data.join(path)).unwrap();
        forbidden.extend(values(&file));
        std::fs::write(from.path().join(format!("{count}.dcm")), file).unwrap();
    }
    assert!(forbidden.len() > 50, "the patients of the set have values: {}", forbidden.len());

    let folder = tempfile::tempdir().unwrap();
    let broker = BrokerProcess::start_in(&folder.path().join("broker"), &["-vv", "--keep-free", "0%"]);
    let out = folder.path().join("out");
    // Every place is taken, so that everything is told as not delivered, too.
    std::fs::create_dir(&out).unwrap();
    let mut said = Vec::new();
    let mut run = |code: i32, words: &[&str], path: Option<&Path>| {
        for form in [&["--json", "-vv"][..], &["-vv"]] {
            let mut command = lumenbus(["dicom", "--brokers", broker.address()]);
            command.args(form).args(words).args(path).env("LUMENBUS_AUDIT_KEYS", folder.path().join("keys"));
            let ran = Background::start(command).finish().code(code);
            said.push(ran.stdout + &ran.stderr);
        }
    };
    run(0, &["send"], Some(from.path()));
    run(0, &["receive", "--until-end", "--out"], Some(&out));
    for entry in std::fs::read_dir(&out).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with(".lumenbus-receiving") {
            std::fs::remove_dir_all(&path).unwrap();
            std::fs::write(path, "in the way").unwrap();
        }
    }
    run(3, &["receive", "--until-end", "--from", "start", "--out"], Some(&out));
    run(0, &["queue", "list"], None);
    run(0, &["queue", "trim", "--grace", "0s"], None);

    let bus = BusConfig { topic_prefix: TopicPrefix::default(), ..BusConfig::new(broker.address()) };
    let mut records = 0;
    for base in ["dicom_metadata", "dicom_pixels", "dicom_failed", "lumenbus.destinations", "lumenbus.audit"] {
        let view = TopicView::open(&bus, bus.topic_prefix.topic(base)).unwrap();
        let bounds = view.bounds().unwrap();
        view.read(&bounds, Duration::from_secs(60), |record| {
            let mut outside = record.key().to_vec();
            outside.extend(record.header("lbd").unwrap_or_default());
            if base == "dicom_failed" || base == "lumenbus.destinations" {
                outside.extend(record.value().unwrap_or_default());
            }
            said.push(String::from_utf8_lossy(&outside).into_owned());
            records += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    }
    assert!(records > 300, "{records} records were looked at");
    let names = std::fs::read_dir(out.join(".lumenbus-receiving")).unwrap();
    said.extend(names.map(|name| name.unwrap().file_name().to_string_lossy().into_owned()));
    let ran = broker.stop();
    said.push(ran.stdout + &ran.stderr);
    let said = said.join("\n");
    let words: BTreeSet<&str> = said.split(|c: char| !c.is_alphanumeric() && !".-_".contains(c)).collect();
    // Short numbers stand in hashes and in fractions of seconds by chance: they count as words of their own.
    let is_number = |value: &str| value.len() < 12 && value.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_told = |value: &str| if is_number(value) { words.contains(value) } else { said.contains(value) };
    let told: Vec<_> = forbidden.iter().filter(|value| is_told(value)).collect();
    assert!(told.is_empty(), "{told:?}");
}
