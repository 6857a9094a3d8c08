//! `lumenbus cameras`: the cameras of a settings file.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{Background, BrokerProcess, Ran, lumenbus};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

struct Site {
    folder: TempDir,
    file: PathBuf,
}

const TEXT: &str = "# mine\n[viewer] # here\nenabled = false\n\n# the first\n[[camera]]\nid = \"first\"\nsource = \"test:320x240@25\"\n";

impl Site {
    fn new(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("lumenbus.toml");
        fs::write(&file, text).unwrap();
        Self { folder, file }
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        let mut command = lumenbus(["cameras"].iter().chain(arguments));
        command.current_dir(self.folder.path());
        Background::start(command).finish()
    }

    fn text(&self) -> String {
        fs::read_to_string(&self.file).unwrap()
    }
}

fn data(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/source/tests/data");
    fs::canonicalize(folder).unwrap().join(file).to_str().unwrap().to_owned()
}

#[test]
fn cameras_come_and_go_and_comments_stay() {
    let site = Site::new(TEXT);
    let clip = data("two.mjpeg");
    let more = ["--name", "Main gate", "--label", "floor=2", "--loop", "--bitrate", "2M", "--fps", "12.5"];
    let added = site.run(&[&["add", "gate", &clip, "--json"][..], &more].concat()).code(0).summary();
    assert_eq!((&added["action"], &added["camera"]), (&Value::from("add"), &Value::from("gate")));
    let section = format!(
        "\n[[camera]]\nid = \"gate\"\nsource = \"{clip}\"\nname = \"Main gate\"\nlabels = {{ floor = \"2\" }}\n\
         bitrate = \"2M\"\nfps = 12.5\nloop = true\n"
    );
    assert_eq!(site.text(), format!("{TEXT}{section}"));
    site.run(&["remove", "gate"]).code(0);
    assert_eq!(site.text(), TEXT);
}

#[test]
fn what_is_wrong_is_refused_and_nothing_changes() {
    let site = Site::new(TEXT);
    site.run(&["add", "first", "test:320x240@25"]).code(2).says("camera first is in lumenbus.toml already");
    site.run(&["add", "a b", "test:320x240@25"]).code(2).says("a b");
    site.run(&["add", "gate", "test:1x1@25"]).code(2).says("128x48");
    site.run(&["add", "gate", "nowhere.mp4"]).code(1).says("nowhere.mp4").says("--untested");
    site.run(&["add", "gate", "test:320x240@25", "--bitrate", "lots"]).code(2).says("[[camera]] bitrate: ");
    let secret = site.run(&["add", "gate", "rtmp://me:hunter2@10.0.0.7/1"]).code(2).says("10.0.0.7");
    assert!(!secret.stderr.contains("hunter2"), "{}", secret.stderr);
    site.run(&["remove", "first", "gate"]).code(2).says("there is no camera gate").says("nothing was changed");
    assert_eq!(site.text(), TEXT);
    site.run(&["add", "gate", "nowhere.mp4", "--untested", "--disabled"]).code(0);
    assert!(site.text().ends_with("source = \"nowhere.mp4\"\nenabled = false\n"), "{}", site.text());

    let broken = Site::new("[[camera]]\nid = \"a\"\n");
    broken.run(&["add", "b", "test:320x240@25"]).code(2).says("line 1: [[camera]]: missing field `source`");
    assert_eq!(broken.text(), "[[camera]]\nid = \"a\"\n");
}

#[test]
fn a_path_typed_elsewhere_is_found_from_the_file() {
    let site = Site::new("");
    fs::create_dir(site.folder.path().join("clips")).unwrap();
    fs::copy(data("two.mjpeg"), site.folder.path().join("clips/two.mjpeg")).unwrap();
    let mut command = lumenbus(["cameras", "add", "gate", "two.mjpeg", "--config", "../lumenbus.toml"]);
    command.current_dir(site.folder.path().join("clips"));
    Background::start(command).finish().code(0);
    assert!(site.text().contains("source = \"clips/two.mjpeg\""), "{}", site.text());
    site.run(&["test", "gate"]).code(0);
}

#[test]
fn the_list_shows_the_file_and_the_directory() {
    let site =
        Site::new(&format!("{TEXT}\n[[camera]]\nid = \"second\"\nsource = \"test:320x240@25\"\nenabled = false\n"));
    let nowhere = site.run(&["list", "--brokers", "127.0.0.1:1"]).code(0).says("only what is configured is shown");
    assert!(nowhere.stdout.lines().any(|line| line.starts_with("first") && line.contains("unknown")));

    let broker = BrokerProcess::start();
    broker.run("publish test:160x128@25,frames=3 --camera first").code(0);
    broker.run("publish test:160x128@25,frames=3 --camera other --name Elsewhere").code(0);
    let listed = site.run(&["list", "--json", "--brokers", broker.address()]).code(0);
    let cameras = listed.objects("camera");
    let ids: Vec<_> = cameras.iter().map(|camera| camera["camera"].as_str().unwrap()).collect();
    assert_eq!(ids, ["first", "second", "other"]);
    assert_eq!(cameras[0]["streams"][0]["state"], "ended");
    assert_eq!((&cameras[1]["enabled"], &cameras[1]["streams"]), (&Value::from(false), &Value::Null));
    assert_eq!((&cameras[2]["source"], &cameras[2]["name"]), (&Value::Null, &Value::from("Elsewhere")));
    assert_eq!(listed.summary()["directory"], 2);
}

#[test]
fn a_source_is_said_what_it_is() {
    let site = Site::new(TEXT);
    let test = |source: &str, code| site.run(&["test", source, "--json"]).code(code).summary();

    let h265 = test(&data("h265_open_gop.mp4"), 0);
    assert_eq!((&h265["codec"], &h265["decode"]["is_built_in"]), (&Value::from("h265"), &Value::from(false)));
    assert!(h265["profile"].as_str().unwrap().starts_with("Main profile, Main tier, level"), "{h265}");
    assert!(h265["reorder_seen"].as_u64().unwrap() > 0 && h265["keyframes"].as_u64().unwrap() > 0, "{h265}");
    assert_eq!(h265["browser"]["plays"], "some");
    assert!(h265["browser"]["mime"].as_str().unwrap().starts_with("video/mp4; codecs=\"hev1."), "{h265}");
    assert!(h265["advice"].to_string().contains("H.264"), "{h265}");

    let jpeg = test(&data("two.mjpeg"), 0);
    assert_eq!((&jpeg["codec"], &jpeg["keyframes"]), (&Value::from("jpeg"), &jpeg["frames"]));
    assert_eq!(jpeg["decode"]["pictures"], jpeg["frames"]);
    assert_eq!((&jpeg["browser"]["plays"], &jpeg["is_whole"]), (&Value::from("yes"), &Value::from(true)));

    let configured = test("first", 0);
    assert_eq!((&configured["width"], &configured["fps_stated"]), (&Value::from(320), &Value::from(25.0)));

    site.run(&["test", "nowhere.mp4"]).code(1).says("nowhere.mp4");
    site.run(&["test", &data("h264.mkv")]).code(1).says("Matroska");
    site.run(&["test", "test:1x1"]).code(2).says("128x48");
}

#[test]
fn h264_is_told_with_everything_a_browser_needs() {
    let Some(footage) = lumenbus_tests::cli::footage("vtest_768x576.mp4") else { return };
    let site = Site::new("");
    let found = site.run(&["test", footage.to_str().unwrap(), "--json"]).code(0).summary();
    assert_eq!(found["codec"], "h264");
    assert_eq!((&found["width"], &found["height"]), (&Value::from(768), &Value::from(576)));
    assert!(found["codec_string"].as_str().unwrap().starts_with("avc1."), "{found}");
    assert_eq!(
        (&found["browser"]["plays"], &found["decode"]["pictures"]),
        (&Value::from("yes"), &found["decode"]["tried"])
    );
    let (stated, measured) = (found["fps_stated"].as_f64().unwrap(), found["fps_measured"].as_f64().unwrap());
    assert!((stated - measured).abs() < 0.1, "{found}");
}

#[test]
fn a_damaged_source_is_a_problem_found() {
    let site = Site::new("");
    let clip = fs::read(data("two.mjpeg")).unwrap();
    let cut = site.folder.path().join("cut.mjpeg");
    fs::write(&cut, &clip[..clip.len() - 40]).unwrap();
    let ran = site.run(&["test", "cut.mjpeg", "--json"]).code(3);
    assert!(ran.summary()["damaged"].as_u64().unwrap() > 0);
}
