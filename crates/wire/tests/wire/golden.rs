//! The bytes in `fixtures/wire/v1` are frozen: this build writes them and reads them.
//!
//! `UPDATE_GOLDEN=1 cargo test -p lumenbus-wire golden_bytes` writes them anew; that is right
//! only for a form that is new.

use crate::samples::{self, Sample};
use bytes::Bytes;
use lumenbus_frame::TraceContext;
use lumenbus_wire::{
    AnalysisResult, Assembled, CameraEntry, CameraEvent, ChunkAssembler, ControlRequest, Features, FleetBeat,
    FrameRecord, Header, IndexEntry, MAX_FRAME_BYTES, Opened, RawRecord, ResultForm, WireError, open_record,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const MANIFEST: &str = "manifest.json";
const DIRECTORY: &str = "directory.value";
const INDEX: &str = "index.value";
const FIRST_INDEX: &str = "index-first.value";
const CONTROL: &str = "control.value";
const BEAT: &str = "fleet-beat.value";
/// In the forms of [`ResultForm::ALL`].
const RESULTS: [&str; 2] = ["result-json.value", "result-protobuf.value"];
const FAILED_RESULTS: [&str; 2] = ["result-failed-json.value", "result-failed-protobuf.value"];
const FEATURES: [&str; 2] = ["features.value", "features-blind.value"];
const EVENTS: [&str; 2] = ["event-health.value", "event-presence.value"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/wire/v1")
}

fn header_json(header: &Header) -> Value {
    serde_json::from_str(&header.to_json()).unwrap()
}

fn frame_json(frame: &FrameRecord) -> Value {
    json!({
        "codec": frame.codec.as_str(),
        "header": header_json(&frame.header),
        "payload_hex": hex(&frame.payload),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a reader in any language must make of the record.
fn meaning(sample: &Sample) -> Value {
    match sample.open() {
        Ok(Opened::Frame(frame)) => json!({ "kind": "frame", "frames": [frame_json(&frame)] }),
        Ok(Opened::Chunk { header, .. }) => {
            json!({ "kind": "chunk", "header": header_json(&header) })
        }
        Ok(Opened::Batch { header, items }) => {
            let frames: Vec<Value> = items
                .into_iter()
                .map(|item| FrameRecord {
                    header: item.header,
                    header_bytes: item.header_bytes,
                    codec: item.codec,
                    payload: item.payload,
                })
                .map(|frame| frame_json(&frame))
                .collect();
            json!({ "kind": "batch", "header": header_json(&header), "frames": frames })
        }
        Ok(Opened::Control(control)) => {
            json!({ "kind": "control", "header": header_json(&control.header) })
        }
        Ok(other) => panic!("{}: {other:?}", sample.name),
        Err(error) => json!({ "kind": "error", "error": error_name(&error) }),
    }
}

fn error_name(error: &WireError) -> &'static str {
    match error {
        WireError::Version { .. } => "version",
        WireError::Sealed { .. } => "sealed",
        other => panic!("{other}"),
    }
}

fn manifest_row(sample: &Sample) -> Value {
    let mut row = json!({
        "name": sample.name,
        "content_type": sample.content_type,
        "lb": sample.lb.as_ref().map(|_| format!("{}.lb", sample.name)),
        "value": format!("{}.value", sample.name),
        "value_bytes": sample.value.len(),
        "value_crc32c": format!("{:08x}", crc32c::crc32c(&sample.value)),
    });
    if let Some(trace) = sample.traceparent {
        row["traceparent"] = json!(trace.to_string());
    }
    let meaning = meaning(sample);
    row.as_object_mut().unwrap().extend(meaning.as_object().unwrap().clone());
    row
}

fn results() -> [([&'static str; 2], AnalysisResult); 2] {
    [(RESULTS, samples::analysis_result()), (FAILED_RESULTS, samples::failed_analysis_result())]
}

fn features() -> [(&'static str, Features); 2] {
    [(FEATURES[0], samples::features()), (FEATURES[1], samples::blind_features())]
}

fn events() -> [(&'static str, CameraEvent); 2] {
    [(EVENTS[0], samples::health_event()), (EVENTS[1], samples::presence_event())]
}

/// File name → bytes of everything in the folder.
fn wanted() -> BTreeMap<String, Bytes> {
    let mut files = BTreeMap::new();
    let samples = samples::all();
    for sample in &samples {
        files.insert(format!("{}.value", sample.name), sample.value.clone());
        if let Some(lb) = &sample.lb {
            files.insert(format!("{}.lb", sample.name), lb.clone());
        }
    }
    files.insert(DIRECTORY.to_owned(), samples::directory().encode().unwrap());
    files.insert(CONTROL.to_owned(), samples::control_request().encode());
    files.insert(BEAT.to_owned(), samples::fleet_beat().encode());
    files.insert(INDEX.to_owned(), samples::index_entry().encode());
    files.insert(FIRST_INDEX.to_owned(), samples::first_index_entry().encode());
    for (names, result) in results() {
        for (name, form) in names.into_iter().zip(ResultForm::ALL) {
            files.insert(name.to_owned(), result.encode(form).unwrap());
        }
    }
    for (name, features) in features() {
        files.insert(name.to_owned(), features.encode_json().unwrap());
    }
    for (name, event) in events() {
        files.insert(name.to_owned(), event.encode_json().unwrap());
    }
    let manifest = json!({
        "wire_version": lumenbus_wire::WIRE_VERSION,
        "records": samples.iter().map(manifest_row).collect::<Vec<_>>(),
        "chunked_frames": [
            ["chunk-0", "chunk-1", "chunk-2"],
            ["chunk-protobuf-0", "chunk-protobuf-1", "chunk-protobuf-2"],
        ],
        "directory": DIRECTORY,
        "index": [INDEX, FIRST_INDEX],
        "control_request": CONTROL,
        "fleet_beat": BEAT,
        "results": results().map(|(names, _)| names),
        "features": FEATURES,
        "events": EVENTS,
    });
    let text = serde_json::to_string_pretty(&manifest).unwrap() + "\n";
    files.insert(MANIFEST.to_owned(), text.into());
    files
}

fn read_folder() -> BTreeMap<String, Bytes> {
    let files = std::fs::read_dir(folder()).unwrap().map(Result::unwrap);
    let named =
        |file: std::fs::DirEntry| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap().into());
    files.map(named).collect()
}

#[test]
fn this_build_writes_the_golden_bytes() {
    let wanted = wanted();
    if std::env::var_os("UPDATE_GOLDEN").is_some_and(|set| set == "1") {
        std::fs::create_dir_all(folder()).unwrap();
        for (name, bytes) in &wanted {
            std::fs::write(folder().join(name), bytes).unwrap();
        }
    }
    let found = read_folder();
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (name, bytes) in &wanted {
        if name == MANIFEST {
            let json = |bytes: &Bytes| serde_json::from_slice::<Value>(bytes).unwrap();
            assert_eq!(json(&found[name]), json(bytes));
        } else {
            assert_eq!(&found[name], bytes, "{name}");
        }
    }
}

/// The records as they lie in the folder, without this build's idea of what they should be.
fn stored() -> Vec<(Value, Option<Bytes>, Bytes)> {
    let files = read_folder();
    let manifest: Value = serde_json::from_slice(&files[MANIFEST]).unwrap();
    let rows = manifest["records"].as_array().unwrap().clone();
    let file = |name: &Value| name.as_str().map(|name| files[name].clone());
    rows.into_iter()
        .map(|row| {
            let (lb, value) = (file(&row["lb"]), file(&row["value"]).unwrap());
            (row, lb, value)
        })
        .collect()
}

fn open(row: &Value, lb: Option<Bytes>, value: Bytes) -> Result<Opened, WireError> {
    let content_type = row["content_type"].as_str().unwrap();
    open_record(RawRecord { content_type: Some(content_type.as_bytes()), header: lb, value: Some(value) })
}

#[test]
fn this_build_reads_the_golden_bytes() {
    for (row, lb, value) in stored() {
        assert_eq!(row["value_crc32c"], format!("{:08x}", crc32c::crc32c(&value)));
        let (kind, header) = match open(&row, lb, value) {
            Ok(Opened::Frame(frame)) => {
                assert_eq!(row["frames"][0], frame_json(&frame), "{}", row["name"]);
                ("frame", None)
            }
            Ok(Opened::Batch { header, items }) => {
                assert_eq!(row["frames"].as_array().unwrap().len(), items.len());
                ("batch", Some(header))
            }
            Ok(Opened::Chunk { header, .. }) => ("chunk", Some(header)),
            Ok(Opened::Control(control)) => ("control", Some(control.header)),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                assert_eq!(row["error"], error_name(&error));
                ("error", None)
            }
        };
        assert_eq!(row["kind"], kind, "{}", row["name"]);
        if let Some(header) = header {
            assert_eq!(row["header"], header_json(&header), "{}", row["name"]);
        }
    }
    let entry = CameraEntry::decode(&read_folder()[DIRECTORY]).unwrap();
    assert_eq!(entry, samples::directory());
    for (name, entry) in [(INDEX, samples::index_entry()), (FIRST_INDEX, samples::first_index_entry())] {
        assert_eq!(IndexEntry::decode(&read_folder()[name]).unwrap(), entry);
    }
    let request = ControlRequest::decode(&read_folder()[CONTROL]).unwrap();
    assert_eq!(request, samples::control_request());
    let beat = FleetBeat::decode(&read_folder()[BEAT]).unwrap();
    assert_eq!(beat, Some(samples::fleet_beat()));
    for (names, result) in results() {
        for (name, form) in names.into_iter().zip(ResultForm::ALL) {
            let content_type = Some(form.content_type().as_bytes());
            assert_eq!(AnalysisResult::decode(content_type, &read_folder()[name]).unwrap(), result, "{name}");
        }
    }
    for (name, features) in features() {
        assert_eq!(Features::decode_json(&read_folder()[name]).unwrap(), features, "{name}");
    }
    for (name, event) in events() {
        assert_eq!(CameraEvent::decode_json(&read_folder()[name]).unwrap(), Some(event), "{name}");
    }
}

#[test]
fn a_golden_trace_is_read_and_changes_nothing_else() {
    let records = stored();
    let named = |name: &str| records.iter().find(|(row, ..)| row["name"] == name).unwrap();
    let (row, lb, value) = named("native-traced");
    let (plain, plain_lb, plain_value) = named("native-delta");
    assert_eq!((lb, value, &row["frames"]), (plain_lb, plain_value, &plain["frames"]));
    let text = row["traceparent"].as_str().unwrap();
    let trace: TraceContext = text.parse().unwrap();
    assert_eq!((trace.to_string().as_str(), trace.is_sampled()), (text, true));
    assert!(records.iter().filter(|(row, ..)| row.get("traceparent").is_some()).count() == 1);
}

#[test]
fn golden_chunks_become_the_frame() {
    let mut assembler = ChunkAssembler::new(MAX_FRAME_BYTES);
    let mut frames = Vec::new();
    for (offset, (row, lb, value)) in (0..).zip(stored()) {
        let Ok(Opened::Chunk { header, header_bytes, part }) = open(&row, lb, value) else {
            continue;
        };
        match assembler.push(header, header_bytes, offset, part) {
            Assembled::Pending => {}
            Assembled::Complete { record, .. } => frames.push(record),
            other => panic!("{}: {other:?}", row["name"]),
        }
    }
    assert_eq!(frames.len(), 2);
    for frame in frames {
        assert_eq!(frame.payload, Bytes::from_static(b"\xff\xd8 picture \x00\x01\x02\xff\xd9"));
        let mut expected = samples::keyframe();
        expected.payload_crc32c = Some(crc32c::crc32c(&frame.payload));
        assert_eq!(frame.header, expected);
    }
}

#[test]
fn a_future_major_version_names_both_versions() {
    let samples = samples::all();
    let future = samples.iter().find(|sample| sample.name == "future-major").unwrap();
    let message = future.open().unwrap_err().to_string();
    assert!(message.contains("version 2") && message.contains("version 1"), "{message}");
    // Also where everything after the version has another shape.
    let message = Header::decode(&[8, 9, 0xff, 0xff]).unwrap_err().to_string();
    assert!(message.contains("version 9") && message.contains("version 1"), "{message}");
    for (content_type, value) in [
        (lumenbus_wire::content_type::ENVELOPE_JSON, &br#"{"header":{"version":3},"x":1}"#[..]),
        // {"header": {"version": 3}}
        (lumenbus_wire::content_type::ENVELOPE_MSGPACK, b"\x81\xa6header\x81\xa7version\x03"),
        (lumenbus_wire::content_type::ENVELOPE_PROTOBUF, b"\x0a\x02\x08\x03\x12\x0aimage/jpeg"),
    ] {
        let row = json!({ "content_type": content_type });
        let error = open(&row, None, Bytes::from_static(value)).unwrap_err();
        assert!(matches!(error, WireError::Version { found: 3, supported: 1 }), "{error}");
    }
    let error = CameraEntry::decode(&[8, 2]).unwrap_err();
    assert!(matches!(error, WireError::Version { found: 2, supported: 1 }), "{error}");
}

#[test]
fn unknown_fields_survive_beside_the_header() {
    let samples = samples::all();
    let sample = samples.iter().find(|sample| sample.name == "native-unknown-fields").unwrap();
    let Opened::Frame(frame) = sample.open().unwrap() else { panic!("not a frame") };
    assert_eq!(Some(&frame.header_bytes), sample.lb.as_ref());
    assert_ne!(frame.header_bytes, frame.header.to_bytes());

    // Inside a Protobuf envelope, and beside its own fields.
    let lb = sample.lb.clone().unwrap();
    let mut value = Vec::new();
    prost::encoding::bytes::encode(1, &lb, &mut value);
    prost::encoding::string::encode(2, &"video/h265".to_owned(), &mut value);
    prost::encoding::bytes::encode(3, &sample.value, &mut value);
    let value = samples::with_unknown_fields(&value);
    let row = json!({ "content_type": lumenbus_wire::content_type::ENVELOPE_PROTOBUF });
    let Opened::Frame(frame) = open(&row, None, value).unwrap() else { panic!("not a frame") };
    assert_eq!(frame.header_bytes, lb);
    assert_eq!(frame.payload, sample.value);
}

#[test]
fn an_ordinary_delta_header_has_at_most_64_bytes() {
    let bytes = samples::worst_delta().to_bytes();
    assert!(bytes.len() <= 64, "{} bytes", bytes.len());
    assert_eq!(Header::decode(&bytes).unwrap(), samples::worst_delta());
}
