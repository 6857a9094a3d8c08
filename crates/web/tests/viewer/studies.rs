//! DICOM studies over HTTP: there with the topics only, masked, on record before anything is sent.

use crate::support::{Answer, PATIENCE, World, get, post};
use lumenbus_dicom::cut::Input;
use lumenbus_dicom::transport::Sender;
use lumenbus_ops::audit::AuditEvent;
use lumenbus_web::{AccessTrail, StudiesConfig};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Takes events while it is told to.
#[derive(Default)]
struct Trail {
    is_away: Mutex<bool>,
    events: Mutex<Vec<String>>,
}

impl AccessTrail for Trail {
    fn confirm(&self, event: AuditEvent) -> Result<(), String> {
        if *self.is_away.lock().unwrap() {
            return Err("the trail is away".to_owned());
        }
        self.events.lock().unwrap().push(format!("{event:?}"));
        Ok(())
    }
}

fn world(show_patient_data: bool) -> (World, Arc<Trail>) {
    let trail = Arc::new(Trail::default());
    let given = Arc::clone(&trail);
    let world = World::with(|config| config.studies = Some(StudiesConfig { show_patient_data, trail: given }));
    (world, trail)
}

/// Explicit VR, little endian.
fn element(tag: u32, vr: &str, value: &[u8]) -> Vec<u8> {
    let mut bytes = [((tag >> 16) as u16).to_le_bytes(), ((tag & 0xFFFF) as u16).to_le_bytes()].concat();
    bytes.extend_from_slice(vr.as_bytes());
    let padding = value.len() % 2;
    let length = value.len() + padding;
    if vr == "OB" {
        bytes.extend_from_slice(&[0, 0]);
        bytes.extend_from_slice(&u32::try_from(length).unwrap().to_le_bytes());
    } else {
        bytes.extend_from_slice(&u16::try_from(length).unwrap().to_le_bytes());
    }
    bytes.extend_from_slice(value);
    bytes.extend_from_slice(&[b' '; 1][..padding]);
    bytes
}

/// Frames of 640 × 480, each of one gray.
fn image(frames: u8) -> Vec<u8> {
    let u16 = |value: u16| value.to_le_bytes();
    [
        element(0x0008_0018, "UI", b"1.2.3.4"),
        element(0x0008_0020, "DA", b"20240301"),
        element(0x0008_0060, "CS", b"US"),
        element(0x0010_0010, "PN", b"Zwiebelfisch^Kunigunde"),
        element(0x0010_0020, "LO", b"PX-774411"),
        element(0x0020_000D, "UI", b"1.2.77"),
        element(0x0028_0002, "US", &u16(1)),
        element(0x0028_0004, "CS", b"MONOCHROME2"),
        element(0x0028_0008, "IS", frames.to_string().as_bytes()),
        element(0x0028_0010, "US", &u16(480)),
        element(0x0028_0011, "US", &u16(640)),
        element(0x0028_0100, "US", &u16(8)),
        element(0x7FE0_0010, "OB", &(0..frames).flat_map(|gray| vec![gray; 640 * 480]).collect::<Vec<_>>()),
    ]
    .concat()
}

fn send(world: &World, data_set: &[u8]) {
    let sender = Sender::open(&world.bus).unwrap();
    let mut sending = sender.begin(Input::DataSet { transfer_syntax: "1.2.840.10008.1.2.1".to_owned() });
    sending.push(data_set).unwrap();
    drop(sending.finish().unwrap().commit().unwrap());
}

/// Waits until the viewer has read so many objects; it looks every few seconds, and tells nobody.
#[track_caller]
fn listed(world: &World, objects: u64) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = get(world.addr(), "/api/v1/studies");
        if answer.status == 200 && answer.json()["objects"] == objects {
            return answer.json();
        }
        assert!(Instant::now() < deadline, "{} {}", answer.status, answer.json());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The name of the only object.
fn object(world: &World) -> String {
    let key = |value: &Value| value["key"].as_str().unwrap().to_owned();
    let study = key(&listed(world, 1)["studies"][0]);
    let series = key(&get(world.addr(), &format!("/api/v1/studies/{study}")).json()["series_list"][0]);
    let series = get(world.addr(), &format!("/api/v1/studies/{study}/{series}")).json();
    key(&series["object_list"][0])
}

fn is_silent(answer: &Answer) -> bool {
    let body = String::from_utf8_lossy(&answer.body).to_lowercase();
    !["zwiebelfisch", "kunigunde", "px-774411", "1.2.77", "1.2.3.4"].iter().any(|word| body.contains(word))
}

#[test]
fn there_is_nothing_without_the_topics_and_all_of_it_with_them() {
    let (world, _) = world(false);
    let sections = || get(world.addr(), "/api/v1/state").json()["hello"]["sections"]["studies"].clone();
    assert_eq!((sections(), get(world.addr(), "/studies").status), (json!(false), 404));
    let absent = get(world.addr(), "/api/v1/studies");
    assert_eq!((absent.status, absent.code().as_str()), (404, "not-found"));
    send(&world, &image(1));
    assert!(is_silent(&get(world.addr(), "/api/v1/studies")));
    let list = listed(&world, 1);
    assert_eq!((list["is_masked"].clone(), list["studies"][0]["date"].clone()), (json!(true), json!("20240301")));
    assert_eq!((sections(), get(world.addr(), "/studies").status), (json!(true), 200));
    assert_eq!(get(world.addr(), "/studies/00000000000000000000000000000000").status, 200);
    let found = |search: &str| {
        post(world.addr(), "/api/v1/studies", "", &json!({ "search": search }).to_string()).json()["found"].clone()
    };
    // Who is masked cannot be guessed by searching, either.
    assert_eq!(
        [found("us 2024"), found("mr"), found("zwiebelfisch"), found("px-774411")],
        [1, 0, 0, 0].map(|n| json!(n))
    );
    let wrong = post(world.addr(), "/api/v1/studies", "", "{ \"Zwiebelfisch\": 1 }");
    assert!(wrong.status == 400 && is_silent(&wrong));
    let queues = get(world.addr(), "/api/v1/destinations").json();
    assert_eq!(queues, json!({ "destinations": [], "failures": [], "failed": 0 }));
}

#[test]
fn frames_are_read_one_by_one_and_accesses_are_on_record_first() {
    let (world, trail) = world(false);
    send(&world, &image(9));
    let object = object(&world);
    let of = |path: &str| get(world.addr(), &format!("/api/v1/objects/{object}{path}"));
    assert_eq!(trail.events.lock().unwrap().len(), 0, "a masked list is nobody's data");
    *trail.is_away.lock().unwrap() = true;
    for path in ["", "/frames/9"] {
        let refused = of(path);
        assert_eq!((refused.status, refused.code().as_str()), (503, "not-on-record"));
        assert!(refused.body.len() < 500 && is_silent(&refused));
    }
    *trail.is_away.lock().unwrap() = false;
    for frame in [9_u8, 1, 5] {
        let picture = of(&format!("/frames/{frame}"));
        assert_eq!((picture.status, picture.body.len()), (200, 640 * 480));
        assert!(picture.body.iter().all(|gray| *gray == frame - 1), "frame {frame}");
        let facts: Value = serde_json::from_str(picture.header("x-lumenbus-picture").unwrap()).unwrap();
        assert_eq!((&facts["kind"], &facts["columns"], &facts["slope"]), (&json!("u8"), &json!(640), &json!(1.0)));
    }
    let attributes = of("");
    assert!(is_silent(&attributes));
    assert_eq!(attributes.json()["image"]["frames"], 9);
    for (path, status, code) in
        [("/frames/10", 404, "no-frame"), ("/frames/0", 404, "not-found"), ("/frames/x", 400, "")]
    {
        let refused = of(path);
        assert_eq!(refused.status, status, "{path}");
        assert!(code.is_empty() || refused.code() == code, "{path}");
    }
    let events = trail.events.lock().unwrap().clone();
    assert_eq!(events.len(), 2, "{events:?}");
    assert!(events[0].contains("pixels") && events[1].contains("attributes"), "{events:?}");
    assert!(
        events
            .iter()
            .all(|event| event.contains("1.2.3.4") && event.contains("127.0.0.1") && !event.contains("Zwiebel"))
    );
}

#[test]
fn shown_patients_are_on_record_as_such() {
    let (world, trail) = world(true);
    send(&world, &image(1));
    let list = listed(&world, 1);
    assert_eq!(list["studies"][0]["patient"], json!({ "name": "Zwiebelfisch^Kunigunde", "id": "PX-774411" }));
    let answer = post(world.addr(), "/api/v1/studies", "", "{ \"search\": \"kunigunde\" }").json();
    assert_eq!(answer["found"], 1);
    let events = trail.events.lock().unwrap().clone();
    assert!(events.len() == 1 && events[0].contains("list of studies") && events[0].contains("shown"), "{events:?}");
    for name in ["x", "00000000000000000000000000000000", "..%2f..", "%00"] {
        assert_eq!(get(world.addr(), &format!("/api/v1/objects/{name}")).status, 404, "{name}");
    }
}
