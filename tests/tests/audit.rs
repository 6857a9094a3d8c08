//! Objects without what identifies patients, and the trail of who did what: by the program, judged by Orthanc, rsyslog
//! and Python.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{Background, BrokerProcess, Ran, data, lumenbus, quiet_port, skip, words};
use lumenbus_tests::load::await_that;
use lumenbus_tests::python::{in_repository, python};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A folder with keys, and a broker of its own.
struct Site {
    broker: BrokerProcess,
    folder: tempfile::TempDir,
}

impl Site {
    fn start() -> Self {
        Self { broker: BrokerProcess::start(), folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Names of files are within the folder.
    fn command(&self, line: &str) -> Command {
        let mut command = lumenbus(words(line));
        command.args(["--brokers", self.broker.address()]);
        command.env("LUMENBUS_AUDIT_KEYS", self.path("keys")).current_dir(self.folder.path());
        command
    }

    fn run(&self, line: &str) -> Ran {
        Background::start(self.command(line)).finish()
    }

    fn deidentify(&self, more: &str, path: &Path) -> Ran {
        let mut command = self.command(&format!("dicom deidentify --key project.key --json {more}"));
        command.arg(path);
        Background::start(command).finish()
    }

    /// All public keys of this host.
    fn public_keys(&self) -> String {
        let keys = fs::read_dir(self.path("keys")).unwrap().map(|entry| entry.unwrap().path().display().to_string());
        keys.filter(|path| path.ends_with(".pub")).collect::<Vec<_>>().join(" ")
    }

    /// The public key of this host's `dicom deidentify`.
    fn public_key(&self) -> String {
        let keys = fs::read_dir(self.path("keys")).unwrap().map(|entry| entry.unwrap().path());
        let mut public = keys.filter(|path| path.extension().is_some_and(|extension| extension == "pub"));
        public.next().unwrap().display().to_string()
    }
}

fn findings(ran: &Ran) -> Vec<String> {
    ran.objects("finding").iter().map(|finding| finding["kind"].as_str().unwrap().to_owned()).collect()
}

fn count(summary: &Value, names: &[&str]) -> u64 {
    names.iter().map(|name| summary[name].as_u64().unwrap()).sum()
}

/// Every file that has its name, byte for byte.
fn contents(folder: &Path) -> BTreeSet<Vec<u8>> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let named = entries.filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."));
    let of = |path: PathBuf| if path.is_dir() { contents(&path) } else { BTreeSet::from([fs::read(path).unwrap()]) };
    named.flat_map(|entry| of(entry.path())).collect()
}

fn all_files(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.map(|path| if path.is_dir() { all_files(&path) } else { 1 }).sum()
}

#[test]
fn every_file_is_released_held_back_or_refused_and_orthanc_would_remove_nothing_more() {
    let Some(objects) = data("dicom") else { return };
    let site = Site::start();
    let out = site.path("out");
    let ran = site.deidentify("--out out --reports reports", &objects).code(3);
    let summary = ran.summary();
    assert_eq!(count(&summary, &["released", "quarantined", "refused"]), all_files(&objects), "{summary}");
    let released = count(&summary, &["released"]);
    assert!(released >= 100, "{summary}");
    let reports = fs::read_dir(site.path("reports")).unwrap().map(|entry| fs::read(entry.unwrap().path()).unwrap());
    let reports: Vec<Value> = reports.map(|text| serde_json::from_slice(&text).unwrap()).collect();
    let of = |name: &str| reports.iter().filter_map(|report| report[name].as_u64()).sum::<u64>();
    assert_eq!((of("released"), of("quarantined")), (released, count(&summary, &["quarantined"])));

    // Once more it is the same bytes, in the same places; into the topics it is as many.
    let files = all_files(&out);
    let again = site.deidentify("--out out --reports reports", &objects).code(3).summary();
    assert_eq!((all_files(&out), count(&again, &["released"])), (files, released));
    let sent = site.deidentify("--reports reports", &objects).code(3).summary();
    assert_eq!(count(&sent, &["released"]), released);

    // What comes out of the topics is what is in the folder.
    let _ = site.run("dicom receive --deidentified --group research --out study --until-end").code(0);
    assert_eq!(contents(&site.path("study")), contents(&out));
    let queues = site.run("dicom queue list --json").code(0).objects("destination");
    assert_eq!((&queues[0]["objects"], &queues[0]["deidentified"]), (&0.into(), &true.into()));
    let trimmed = site.run("dicom queue trim --deidentified --grace 0s --json").code(0).summary();
    assert!(count(&trimmed, &["metadata_records"]) >= released, "{trimmed}");
    site.run("dicom receive --group research --out other --until-end").code(1).says("give this one another name");

    // Each of them is in the trail, three times.
    let key = site.public_keys();
    let verified = site.run(&format!("audit verify --json --key {key}")).code(0).summary();
    assert_eq!(count(&verified, &["records"]), 3 * all_files(&objects) + released, "{verified}");
    let found = site.run("audit search --what reject --json").code(0);
    assert_eq!(found.objects("record").len() as u64, 3 * count(&summary, &["refused"]));

    if let Some(python) = python().filter(|_| has("Orthanc")) {
        fs::write(site.path("released.ndjson"), &ran.stdout).unwrap();
        let script = in_repository("tests/python/orthanc_oracle.py");
        let said = Command::new(python).arg(script).arg(site.path("released.ndjson")).arg(&out).output().unwrap();
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let said: Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!((&said["untaken"], said["survivors"].as_object().unwrap().len()), (&Value::from(0), 0), "{said}");
        assert!(said["compared"].as_u64().unwrap() > 4_000, "{said}");
    }
}

fn has(program: &str) -> bool {
    let is_there = Command::new(program).arg("--version").output().is_ok();
    if !is_there {
        skip(&format!("{program} is not there"));
    }
    is_there
}

#[test]
fn a_dry_run_changes_nothing_and_says_what_and_why() {
    let Some(objects) = data("dicom/pydicom") else { return };
    let site = Site::start();
    let file = objects.join("CT_small.dcm");
    let mut command = site.command("dicom deidentify --key project.key --dry-run");
    command.arg(&file);
    let said = Background::start(command).finish().code(0);
    assert!(
        said.stdout.contains("(0010,0010)  PatientName") && said.stdout.contains("Table E.1-1: Z"),
        "{}",
        said.stdout
    );
    assert!(!said.stdout.contains("CompressedSamples"), "values are shown only where that is asked for");
    let shown = site.deidentify("--dry-run --show-values", &file).code(0);
    let changes = shown.objects("would_change")[0]["report"]["changes"].clone();
    let of = |path: &str| changes.as_array().unwrap().iter().find(|change| change["path"] == path).unwrap().clone();
    assert_eq!(of("(0010,0010)")["before"], "CompressedSamples^CT1");
    assert!(!site.path("keys").exists() && !site.path("deidentification-reports").exists());
    site.run("audit verify").code(1).says("lumenbus.audit");

    // Only some options are offered, and a key must be secret.
    site.deidentify("--option clean-graphics", &file).code(2).says("clean-graphics is not offered");
    site.deidentify("--option retain-full-dates --option retain-modified-dates", &file).code(2).says("choose one");
    fs::write(site.path("short.key"), "abc").unwrap();
    let mut command = site.command("dicom deidentify --key short.key");
    command.arg(&file);
    Background::start(command).finish().code(2).says("chmod 600");
}

#[test]
fn what_is_sent_received_and_refused_is_in_the_trail() {
    let Some(objects) = data("dicom/pydicom") else { return };
    let site = Site::start();
    let mut command = site.command("dicom send --json");
    command.arg(objects.join("CT_small.dcm"));
    let sent = Background::start(command).finish().code(0).objects("sent")[0].clone();
    for _ in 0..2 {
        site.run("dicom receive --out files --until-end --from start").code(0);
    }
    let search = |what: &str| site.run(&format!("audit search --json --what {what}")).code(0).objects("record");
    let (send, receive) = (search("send"), search("receive"));
    assert_eq!((send.len(), receive.len()), (1, 2));
    for record in send.iter().chain(&receive) {
        assert_eq!((&record["details"]["sha256"], &record["object_kind"]), (&sent["sha256"], &"sop-instance".into()));
        let message = record["dicom"].as_str().unwrap();
        assert!(message.contains("<AuditMessage") && !message.contains("CompressedSamples"), "{message}");
    }
    assert_eq!(receive[0]["details"]["destination"], "lumenbus-dicom");
    let verified = site.run(&format!("audit verify --json --key {}", site.public_keys())).code(0).summary();
    assert_eq!((&verified["is_clean"], &verified["instances"]), (&true.into(), &2.into()), "{verified}");
    site.run("dicom receive --out files --until-end --no-audit").code(0);
    assert_eq!(search("receive").len(), 2);
}

#[test]
fn a_cut_off_tail_shows_and_so_do_other_peoples_records() {
    let Some(objects) = data("dicom/pydicom") else { return };
    let site = Site::start();
    let file = objects.join("CT_small.dcm");
    for _ in 0..3 {
        site.deidentify("", &file).code(0);
    }
    let key = site.public_key();
    let checkpoint = format!("audit checkpoint --key {key} --out monday.txt --signing-key auditor.key --json");
    assert_eq!(site.run(&checkpoint).code(0).summary()["records"], 3);
    let verify = format!("audit verify --key {key} auditor.pub --checkpoint monday.txt --json");
    assert_eq!(site.run(&verify).code(0).summary()["is_clean"], true);

    // Somebody has Kafka's rights, not the key.
    let mut forger = BrokerRecords::open(site.broker.address());
    forger.put("dicom-deidentify-elsewhere", b"nothing of the kind");
    assert_eq!(findings(&site.run(&verify).code(3)), ["not-a-record"]);
    site.run("audit search").code(3).says("audit verify");

    // The topic is made anew and a chain of another key begins.
    forger.delete_topic("lumenbus.audit");
    fs::rename(site.path("keys"), site.path("stolen")).unwrap();
    site.deidentify("", &file).code(0);
    assert_eq!(site.run("audit verify --json").code(0).summary()["records"], 1, "by itself it looks whole");
    let found = findings(&site.run(&verify).code(3));
    assert!(found.contains(&"signature".to_owned()) && found.contains(&"tail".to_owned()), "{found:?}");
}

/// What somebody with a client can do.
struct BrokerRecords {
    config: ClientConfig,
}

impl BrokerRecords {
    fn open(brokers: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers);
        Self { config }
    }

    fn put(&mut self, key: &str, value: &[u8]) {
        use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
        let producer: BaseProducer = self.config.create().unwrap();
        producer.send(BaseRecord::to("lumenbus.audit").partition(0).key(key).payload(value)).unwrap();
        producer.flush(std::time::Duration::from_secs(30)).unwrap();
    }

    fn delete_topic(&mut self, topic: &str) {
        let admin: AdminClient<_> = self.config.create().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let done = runtime.block_on(admin.delete_topics(&[topic], &AdminOptions::new())).unwrap();
        assert!(done.iter().all(Result::is_ok), "{done:?}");
    }
}

/// rsyslog, receiving over TLS into a file.
struct Rsyslog {
    process: Background,
    port: u16,
}

impl Rsyslog {
    fn start(folder: &Path, port: u16) -> Self {
        let at = folder.display();
        let settings = format!(
            r#"$MaxMessageSize 128k
global(workDirectory="{at}" DefaultNetstreamDriver="gtls" DefaultNetstreamDriverCAFile="{at}/ca.pem"
       DefaultNetstreamDriverCertFile="{at}/ca.pem" DefaultNetstreamDriverKeyFile="{at}/ca.key")
module(load="imtcp" StreamDriver.Name="gtls" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
template(name="whole" type="string" string="%syslogtag%|%msgid%|%structured-data%|%msg%\n")
ruleset(name="all") {{ action(type="omfile" file="{at}/received" template="whole") }}
input(type="imtcp" port="{port}" address="127.0.0.1" ruleset="all")
"#
        );
        fs::write(folder.join("rsyslog.conf"), settings).unwrap();
        let mut command = Command::new("rsyslogd");
        command.args(["-n", "-i", "NONE", "-f"]).arg(folder.join("rsyslog.conf"));
        let process = Background::start(command);
        await_that("rsyslog listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { process, port }
    }
}

#[test]
fn rsyslog_gets_every_record_over_tls_though_it_was_away() {
    let Some(objects) = data("dicom/pydicom") else { return };
    if !has("openssl") || !has_rsyslog() {
        return;
    }
    let site = Site::start();
    let folder = site.folder.path();
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=logs"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", "ca.key", "-out", "ca.pem"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    site.deidentify("", &objects.join("CT_small.dcm")).code(0);
    site.deidentify("", &objects.join("README.txt")).code(3);

    let rsyslog = Rsyslog::start(folder, quiet_port());
    let to = format!("--syslog syslog+tls://127.0.0.1:{} --position position", rsyslog.port);
    let untrusted = Background::start(site.command(&format!("audit export {to}")));
    untrusted.wait_for_word("certificate");
    drop(untrusted);
    let once = site.run(&format!("audit export {to} --ca ca.pem --json")).code(0).summary();
    assert_eq!(once["exported"], 2);
    let received = || fs::read_to_string(folder.join("received")).unwrap_or_default();
    await_that("both are written", || received().lines().count() == 2);
    assert_eq!(site.run(&format!("audit export {to} --ca ca.pem --json")).code(0).summary()["exported"], 0);

    // While it is away nothing is lost.
    let port = rsyslog.port;
    drop(rsyslog);
    let follower = Background::start(site.command(&format!("audit export {to} --ca ca.pem --follow")));
    follower.wait_for_word("trying again");
    site.deidentify("", &objects.join("MR_small.dcm")).code(0);
    let rsyslog = Rsyslog::start(folder, port);
    await_that("the third arrives", || received().lines().count() >= 3);
    follower.interrupt().code(0);
    drop(rsyslog.process);

    let lines = received();
    let lines: Vec<Vec<&str>> = lines.lines().map(|line| line.splitn(4, '|').collect()).collect();
    assert_eq!(lines[0][1], "DICOM+RFC3881", "{lines:?}");
    assert!(lines[0][2].contains("what=\"deidentify\"") && lines[0][3].contains("<AuditMessage"), "{:?}", lines[0]);
    assert_eq!(lines[1][1], "lumenbus-audit", "{lines:?}");
    let rejected: Value = serde_json::from_str(lines[1][3].trim().trim_start_matches('\u{feff}')).unwrap();
    assert_eq!((&rejected["what"], &rejected["reason"]), (&"reject".into(), &"deid-no-preamble".into()));
    assert!(lines[2][2].contains("sequence=\"3\""), "{:?}", lines[2]);
}

/// Its `-v` needs no settings.
fn has_rsyslog() -> bool {
    let is_there = Command::new("rsyslogd").arg("-v").output().is_ok();
    if !is_there {
        skip("rsyslogd is not there");
    }
    is_there
}
