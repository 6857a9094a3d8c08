//! `lumenbus init` and `up`: the whole box of one file, changed while it runs.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{Background, BrokerProcess, Ran, lumenbus};
use lumenbus_tests::http::{get, wait_for};
use lumenbus_tests::load::await_that;
use lumenbus_tests::results::Judge;
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// A box in a folder of its own.
struct Site {
    folder: TempDir,
    file: PathBuf,
}

const OWN_BROKER: &str = "[broker]\nlisten = \"127.0.0.1:0\"\nkeep_free = \"0%\"\n[viewer]\nenabled = false\n";

fn camera(id: &str, source: &str) -> String {
    format!("[[camera]]\nid = \"{id}\"\nsource = \"{source}\"\n")
}

impl Site {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lumenbus.toml");
        fs::write(&file, text).unwrap();
        Self { folder, file }
    }

    /// As editors do it: the old or the new one, never half of it.
    fn write(&self, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, &self.file).unwrap();
    }

    fn command(&self, arguments: &[&str]) -> std::process::Command {
        let mut command = lumenbus(arguments);
        command.current_dir(self.folder.path());
        command
    }

    /// In another folder than the file's.
    fn up(&self, more: &[&str]) -> Background {
        let file = self.file.to_str().unwrap();
        Background::start(lumenbus(["up", "--json", "--config", file].iter().chain(more)))
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        Background::start(self.command(arguments)).finish()
    }
}

/// The cameras of a summary that adds up.
fn check_sum(ran: &Ran) -> Value {
    let summary = ran.summary();
    let count = |name: &str| summary[name].as_u64().unwrap();
    let missing: u64 = summary["gaps"].as_object().unwrap().values().map(|frames| frames.as_u64().unwrap()).sum();
    assert_eq!(count("published"), count("acknowledged") + count("repeated") + missing, "{summary}");
    assert_eq!((&summary["clean"], &summary["unresolved"]), (&Value::from(true), &Value::from(0)), "{summary}");
    summary
}

/// Waits until the camera is told to be live for the `times`th time.
fn wait_live(up: &Background, camera: &str, times: usize) {
    up.wait_for_objects(times, |object| {
        object["type"] == "camera" && object["camera"] == camera && object["state"] == "live"
    });
}

#[test]
fn what_init_writes_runs() {
    let folder = tempfile::tempdir().unwrap();
    let site = Site { file: folder.path().join("lumenbus.toml"), folder };
    assert!(site.run(&["init"]).code(0).stdout.contains("lumenbus up"));
    site.run(&["init"]).code(1).says("exists; --overwrite replaces it");
    site.run(&["init", "--overwrite"]).code(0);
    let text = fs::read_to_string(&site.file).unwrap();
    assert!(text.contains("#listen = \"127.0.0.1:9092\""));
    // The usual ports may be taken on this machine.
    let text = text.replace("#listen = \"127.0.0.1:9092\"", "listen = \"127.0.0.1:0\"");
    let text = text.replace("#enabled = true\n#listen = \"127.0.0.1:8980\"", "listen = \"127.0.0.1:0\"");
    site.write(&text);
    let up = Background::start(site.command(&["up", "--json"]));
    wait_live(&up, "pattern", 1);
    let summary = check_sum(&up.interrupt().code(0));
    assert_eq!(summary["cameras"][0]["camera"], "pattern");
    assert!(site.folder.path().join("lumenbus-data").is_dir(), "data lies beside the file");
}

#[test]
fn a_file_that_changes_is_followed_without_touching_what_stays() {
    let stays = camera("stays", "test:160x128@25");
    let site = Site::new(&format!("{OWN_BROKER}{stays}{}", camera("goes", "test:160x128@25")));
    let up = site.up(&[]);
    wait_live(&up, "stays", 1);
    wait_live(&up, "goes", 1);

    site.write(&format!("{OWN_BROKER}{stays}{}", camera("comes", "test:160x128@25")));
    wait_live(&up, "comes", 1);
    let reloads = |object: &Value| object["type"] == "reload";
    let first = up.wait_for_objects(1, reloads);
    assert_eq!(
        (&first["added"][0], &first["removed"][0], &first["unchanged"][0]),
        (&Value::from("comes"), &Value::from("goes"), &Value::from("stays"))
    );

    // Another name stops no picture.
    site.write(&format!("{OWN_BROKER}{stays}name = \"Main gate\"\n{}", camera("comes", "test:160x128@25")));
    let renamed = up.wait_for_objects(2, reloads);
    assert_eq!((&renamed["described"][0], &renamed["changed"]), (&Value::from("stays"), &Value::Array(Vec::new())));

    // A wrong file is refused with line, key and reason, and what runs goes on.
    site.write(&format!("{OWN_BROKER}{stays}fsp = 25\n"));
    let wrong = up.wait_for_objects(3, reloads);
    assert_eq!(wrong["is_taken"], false);
    let error = wrong["error"].as_str().unwrap();
    assert!(error.contains("line 9: [[camera]] fsp: unknown field `fsp`"), "{error}");

    // What cannot change while it runs says so. Asked for by a signal.
    site.write(&format!("topic_prefix = \"x.\"\n{OWN_BROKER}{stays}"));
    up.signal(Signal::HUP);
    let frozen = up.wait_for_objects(4, reloads);
    assert_eq!((&frozen["is_taken"], &frozen["next_start"][0]), (&Value::from(true), &Value::from("topic_prefix")));
    assert_eq!(frozen["removed"][0], "comes");

    let ran = up.interrupt().code(0);
    check_sum(&ran);
    let epochs: Vec<_> = ran.objects("camera").into_iter().filter(|object| object["camera"] == "stays").collect();
    assert_eq!(epochs.iter().filter(|object| object["state"] == "live").count(), 1, "never restarted: {epochs:?}");
}

/// Files that come and go are cameras that do; a second stream and stills are streams of their camera.
#[test]
fn a_folder_of_videos_is_a_fleet() {
    const CLIP: &[u8] = include_bytes!("../../crates/source/tests/data/h265_open_gop.mp4");
    let gate = camera("gate", "test:160x128@25") + "sub = \"test:128x64@10\"\nsnapshots = \"200ms\"\n";
    let site = Site::new(&format!("{OWN_BROKER}[fleet]\nfolder = \"clips\"\ngroup = \"archive\"\n{gate}"));
    let clips = site.folder.path().join("clips");
    fs::create_dir(&clips).unwrap();
    let put = |name: &str| {
        let hidden = clips.join(format!(".{name}"));
        fs::write(&hidden, CLIP).unwrap();
        fs::rename(hidden, clips.join(name)).unwrap();
    };
    put("Hall 2.mp4");
    let up = site.up(&[]);
    let ready = up.wait_for_objects(1, |object| object["type"] == "ready");
    assert_eq!(ready["cameras"], 2, "{ready}");
    wait_live(&up, "Hall-2", 1);
    wait_live(&up, "gate", 2);
    put("yard.mp4");
    wait_live(&up, "yard", 1);
    fs::remove_file(clips.join("Hall 2.mp4")).unwrap();
    let gone = up.wait_for_objects(2, |object| object["type"] == "reload");
    assert_eq!(
        (&gone["removed"][0], &gone["unchanged"]),
        (&"Hall-2".into(), &serde_json::json!(["gate", "gate", "yard"]))
    );

    let brokers = ready["brokers"].as_str().unwrap().to_owned();
    let streams = || {
        let listed = site.run(&["cameras", "list", "--json", "--brokers", &brokers]).code(0);
        let of_gate = listed.objects("camera").into_iter().find(|object| object["camera"] == "gate").unwrap();
        let streams = of_gate["streams"].as_array().cloned().unwrap_or_default();
        streams.iter().map(|stream| stream["stream"].as_str().unwrap().to_owned()).collect::<BTreeSet<_>>()
    };
    assert_eq!(streams(), ["main", "snapshots", "sub"].map(str::to_owned).into());
    let ran = up.interrupt().code(0);
    check_sum(&ran);
}

#[test]
fn a_camera_that_fails_says_why_and_comes_when_it_can() {
    let text = format!("{OWN_BROKER}{}{}", camera("late", "clip.mjpeg"), camera("good", "test:160x128@25"));
    let site = Site::new(&text);
    let up = site.up(&[]);
    wait_live(&up, "good", 1);
    let failed = up.wait_for_objects(1, |object| object["camera"] == "late" && object["state"] == "failed");
    assert!(failed["reason"].as_str().unwrap().contains("clip.mjpeg"), "{failed}");
    let clip = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/source/tests/data/two.mjpeg");
    fs::copy(clip, site.folder.path().join("copy")).unwrap();
    fs::rename(site.folder.path().join("copy"), site.folder.path().join("clip.mjpeg")).unwrap();
    // Relative to the file, not to where the program was started.
    up.wait_for_objects(1, |object| object["camera"] == "late" && object["reason"] == "its source has ended");
    check_sum(&up.interrupt().code(0));
}

/// Waits until the group has so many workers, all at work.
fn wait_at_work(up: &Background, group: &str, workers: usize) {
    up.wait_for_objects(1, |object| {
        let states = object["workers"].as_array().map_or(&[] as &[Value], Vec::as_slice);
        let at_work = states.iter().filter(|worker| worker["state"] == "working").count();
        object["type"] == "detect" && object["group"] == group && (states.len(), at_work) == (workers, workers)
    });
}

fn detection(lines: &str) -> String {
    format!("[[detect]]\ndetector = \"motion\"\npolicy = \"lossless\"\nfrom = \"start\"\n{lines}")
}

/// A group that comes, grows and goes while another works; each owes exactly one result a frame.
#[test]
fn detection_runs_beside_the_cameras_and_follows_the_file() {
    let cameras = camera("gate", "test:160x128@25,frames=40") + &camera("yard", "test:160x128@25,frames=30");
    let box_of = |detection: &str| format!("{OWN_BROKER}{cameras}{detection}");
    let all = detection("");
    let site = Site::new(&box_of(&all));
    let up = site.up(&[]);
    let ready = up.wait_for_objects(1, |object| object["type"] == "ready");
    assert_eq!(ready["detect"], serde_json::json!(["detect-motion"]));
    wait_at_work(&up, "detect-motion", 1);

    site.write(&box_of(&(all.clone() + &detection("group = \"guards\"\ncameras = [\"gate\"]\nworkers = 2\n"))));
    let reloads = |object: &Value| object["type"] == "reload";
    let added = up.wait_for_objects(1, reloads);
    assert_eq!(
        (&added["detect"]["added"][0], &added["detect"]["unchanged"][0]),
        (&"guards".into(), &"detect-motion".into())
    );
    wait_at_work(&up, "guards", 2);
    // Two of each frame of the gate, one of each of the yard.
    let judge = Judge::new(ready["brokers"].as_str().unwrap());
    let is_done = |counts: &std::collections::BTreeMap<(String, u64, u64), usize>| {
        let of =
            |camera: &str| counts.iter().filter(|((id, ..), _)| id == camera).map(|(_, count)| *count).sum::<usize>();
        (of("gate"), of("yard")) == (80, 30)
    };
    await_that("every frame has its results", || is_done(&judge.counts()));

    // One worker leaves, and is no failure; what is wrong is refused, and all goes on.
    site.write(&box_of(&(all.clone() + &detection("group = \"guards\"\ncameras = [\"gate\"]\n"))));
    assert_eq!(up.wait_for_objects(2, reloads)["detect"]["changed"][0], "guards");
    wait_at_work(&up, "guards", 1);
    site.write(&box_of("[[detect]]\ndetector = \"yolo\"\n"));
    let wrong = up.wait_for_objects(3, reloads);
    let error = wrong["error"].as_str().unwrap();
    assert!(error.contains("[[detect]] detector: unknown detector \"yolo\"") && error.contains("motion"), "{error}");
    site.write(&box_of(&all));
    up.signal(Signal::HUP);
    up.wait_for_objects(1, |object| reloads(object) && object["detect"]["removed"][0] == "guards");

    let summary = check_sum(&up.interrupt().code(0));
    let of_all = &summary["detect"][0];
    assert_eq!((&of_all["group"], &of_all["results"]), (&"detect-motion".into(), &70.into()), "{summary}");
}

/// A worker that cannot work says why, is tried again, and works once it can.
#[test]
fn detection_that_fails_begins_again() {
    let text = format!("{OWN_BROKER}{}", camera("other", "test:160x128@25"));
    let late = detection("topics = [\"raw_images\"]\n");
    let site = Site::new(&format!("{text}{late}"));
    let up = site.up(&[]);
    let failed =
        up.wait_for_objects(1, |object| object["type"] == "detect" && object["workers"][0]["state"] == "failed");
    assert!(failed["workers"][0]["reason"].as_str().unwrap().contains("raw_images"), "{failed}");
    let stills = camera("stills", "test:160x128@25,frames=9") + "codec = \"jpeg\"\n";
    site.write(&format!("{text}{stills}{late}"));
    wait_at_work(&up, "detect-motion", 1);
    let brokers = up.wait_for_objects(1, |object| object["type"] == "ready")["brokers"].as_str().unwrap().to_owned();
    let judge = Judge::new(&brokers);
    await_that("its pictures have results", || judge.results().len() == 9);
    let summary = check_sum(&up.interrupt().code(0));
    assert_eq!(summary["detect"][0]["results"], 9, "{summary}");
}

#[test]
fn the_same_file_runs_on_brokers_elsewhere() {
    let broker = BrokerProcess::start();
    let viewer = "[viewer]\nenabled = false\n";
    let text = format!("brokers = \"{}\"\n{viewer}{}", broker.address(), camera("far", "test:160x128@25,frames=9"));
    let site = Site::new(&text);
    let up = site.up(&[]);
    let ready: Value = serde_json::from_str(&up.wait_for_line("\"ready\"")).unwrap();
    assert_eq!((&ready["is_embedded"], &ready["brokers"]), (&Value::from(false), &Value::from(broker.address())));
    up.wait_for_objects(1, |object| object["camera"] == "far" && object["state"] == "stopped");
    let summary = check_sum(&up.interrupt().code(0));
    assert_eq!(summary["published"], 9);
    // A flag goes before the file, also before its broker.
    let own = Site::new(&format!("{OWN_BROKER}{}", camera("near", "test:160x128@25")));
    let up = own.up(&["--for", "1s", "--brokers", broker.address()]);
    let ready: Value = serde_json::from_str(&up.wait_for_line("\"ready\"")).unwrap();
    assert_eq!(ready["is_embedded"], false);
    check_sum(&up.finish().code(0));
}

#[test]
fn what_is_wrong_is_told_before_anything_starts() {
    let empty = tempfile::tempdir().unwrap();
    let nothing = Site { file: empty.path().join("none.toml"), folder: empty };
    nothing.run(&["up"]).code(2).says("there is no lumenbus.toml here; write one with `lumenbus init`");
    nothing.run(&["up", "--config", "none.toml"]).code(1).says("cannot read the settings file none.toml");

    let twice = format!("{OWN_BROKER}{}{}", camera("a", "x"), camera("a", "y"));
    Site::new(&twice).run(&["up"]).code(2).says("line 10: [[camera]] id: camera a is already on line 7");
    let secret = camera("a", "ftp://me:hunter2@10.0.0.7/1");
    let ran = Site::new(&secret).run(&["up"]).code(2).says("line 3: [[camera]] source").says("10.0.0.7");
    assert!(!ran.stderr.contains("hunter2"), "{}", ran.stderr);
    Site::new("[[detect]]\ndetector = \"yolo\"\n")
        .run(&["up"])
        .code(2)
        .says("line 2: [[detect]] detector: unknown detector");
    Site::new("[broker]\nlisten = 9092\n").run(&["up"]).code(2).says("line 2: [broker] listen: invalid type");
    Site::new("[brokr]\n").run(&["up"]).code(2).says("lumenbus.toml, line 1: [brokr]: unknown field `brokr`");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ran = Site::new(&format!("[broker]\nlisten = \"{address}\"\n")).run(&["up"]).code(1);
    ran.says(&format!("the embedded broker cannot listen on {address}; stop what uses it"));
}

/// After how many records a topic of this broker is synced, when it says nothing itself.
fn records_between_syncs(brokers: &str) -> String {
    let mut settings = ClientConfig::new();
    let admin: AdminClient<DefaultClientContext> = settings.set("bootstrap.servers", brokers).create().unwrap();
    let topic = ResourceSpecifier::Topic("__consumer_offsets");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let described = runtime.block_on(admin.describe_configs([&topic], &AdminOptions::new())).unwrap();
    described[0].as_ref().unwrap().get("flush.messages").unwrap().value.clone().unwrap()
}

#[test]
fn the_file_says_when_the_embedded_broker_syncs() {
    let broker = |fsync: &str| OWN_BROKER.replace("[viewer]", &format!("{fsync}[viewer]"));
    for (fsync, expected) in [("fsync = \"always\"\n", "1"), ("fsync = \"30s\"\n", "9223372036854775807")] {
        let site = Site::new(&format!("{}{}", broker(fsync), camera("gate", "test:160x128@25")));
        let up = site.up(&[]);
        let ready: Value = serde_json::from_str(&up.wait_for_line("\"type\":\"ready\"")).unwrap();
        assert_eq!(records_between_syncs(ready["brokers"].as_str().unwrap()), expected);
        wait_live(&up, "gate", 1);
        check_sum(&up.interrupt().code(0));
    }
    let ran = Site::new(&broker("fsync = \"often\"\n")).run(&["up"]).code(2);
    ran.says("line 4: [broker] fsync: \"often\" is neither always nor a time");
}

#[test]
fn viewer_metrics_and_health_belong_to_the_box() {
    let own = "[broker]\nlisten = \"127.0.0.1:0\"\nkeep_free = \"0%\"\n";
    let web = "[viewer]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n";
    let cameras = format!("{}{}", camera("gate", "test:160x128@25"), camera("away", "nowhere.mp4"));
    let site = Site::new(&format!("{own}{web}{cameras}"));
    let up = site.up(&[]);
    let listen = |kind: &str| {
        let object: Value = serde_json::from_str(&up.wait_for_line(&format!("\"type\":\"{kind}\""))).unwrap();
        object["listen"].as_str().unwrap().to_owned()
    };
    let (metrics, viewer) = (listen("metrics"), listen("viewer"));
    wait_live(&up, "gate", 1);
    let page = get(&viewer, "/").unwrap();
    assert!(page.status == 200 && page.body.contains("<html"), "{page:?}");
    // Both show the same figures: those of the publisher's Kafka client and of the viewer's, each family once.
    for address in [&metrics, &viewer] {
        let figures = wait_for(address, "/metrics", |page| {
            let clients = ["lumenbus_producer_connections ", "lumenbus_consumer_connections "];
            clients.iter().all(|family| page.body.lines().any(|line| line.starts_with(family)))
        });
        for part in ["lumenbus_acknowledge_latency_p99_seconds", "\"gate\"", "stage=\"acknowledge\""] {
            assert!(figures.contains(part), "{part} is not in {figures}");
        }
        let families: Vec<_> = figures.lines().filter(|line| line.starts_with("# TYPE ")).collect();
        assert_eq!(families.iter().collect::<BTreeSet<_>>().len(), families.len(), "{figures}");
    }
    wait_for(&metrics, "/healthz", |page| page.body.contains("1 of 2 cameras give no pictures"));
    check_sum(&up.interrupt().code(0));

    // A port in use is told, and nothing is left behind.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let site = Site::new(&format!("{own}[viewer]\nlisten = \"{address}\"\n"));
    let ran = site.run(&["up"]).code(1).says(&format!("port {} on 127.0.0.1 is in use", address.port()));
    assert!(!ran.stdout.contains("cameras;"), "{}", ran.stdout);
}
