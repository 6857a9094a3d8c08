//! The DICOM gateway between peers of others and the topics: data sets arrive as the bytes they were, an answer is true,
//! and who breaks the protocol breaks only its own association.

#![expect(clippy::unwrap_used, reason = "a test")]

use lumenbus_dicom::cut::{Input, SplitLimits, Splitter};
use lumenbus_dicom::gateway::dimse::{Command as Dimse, field};
use lumenbus_dicom::gateway::file_meta::FileMeta;
use lumenbus_dicom::gateway::pdu::{ProposedContext, Request, data_header};
use lumenbus_dicom::record::{Metadata, ObjectId};
use lumenbus_tests::backend::{Kind, Site};
use lumenbus_tests::cli::{Background, Ran, data, lumenbus, quiet_port, skip, words};
use rustix::process::Signal;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const SECONDARY_CAPTURE: &str = "1.2.840.10008.5.1.4.1.1.7";
const EXPLICIT_LITTLE: &str = "1.2.840.10008.1.2.1";
/// Ends only what hangs.
const PATIENCE: Duration = Duration::from_secs(120);

/// One set of topics and the commands on it.
struct Topics {
    site: Site,
    folder: TempDir,
}

impl Topics {
    fn new(site: Site) -> Self {
        Self { site, folder: tempfile::tempdir().unwrap() }
    }

    fn command(&self, line: &str, paths: &[&Path]) -> Command {
        let mut command = lumenbus(["dicom", "--json"]);
        command.args(["--brokers", &self.site.bus.brokers, "--topic-prefix", self.site.bus.topic_prefix.as_str()]);
        command.args(words(line));
        command.args(paths);
        command.env("LUMENBUS_AUDIT_KEYS", self.folder.path().join("keys"));
        command
    }

    fn run(&self, line: &str, paths: &[&Path]) -> Ran {
        Background::start(self.command(line, paths)).finish()
    }

    /// References of successful records of this kind by the gateway; the whole trail is sound.
    fn on_record(&self, what: &str) -> BTreeSet<String> {
        let ran = |line: &str| {
            let mut command = lumenbus(words(line));
            command.args(["--brokers", &self.site.bus.brokers, "--topic-prefix", self.site.bus.topic_prefix.as_str()]);
            Background::start(command).finish().code(0)
        };
        assert_eq!(ran("audit verify --json").summary()["is_clean"], true);
        let found = ran(&format!("audit search --json --who dicom-gateway --outcome success --what {what}"));
        found.objects("record").iter().filter_map(|record| record["object"].as_str().map(str::to_owned)).collect()
    }

    /// A gateway, and its address.
    fn gateway(&self, more: &str) -> (Background, String) {
        let gateway = Background::start(self.command(&format!("gateway --listen 127.0.0.1:0 {more}"), &[]));
        let ready: Value = serde_json::from_str(&gateway.wait_for_line("\"ready\"")).unwrap();
        (gateway, ready["address"].as_str().unwrap().to_owned())
    }

    /// Everything in the topics, as files.
    fn receive(&self) -> Vec<PathBuf> {
        let out = self.folder.path().join("received");
        let group = self.site.group("received");
        let _ = self.run(&format!("receive --group {group} --until-end --out"), &[&out]).code(0);
        files(&out)
    }
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.path() {
            path if path.ends_with(".lumenbus-receiving") => {}
            path if path.is_dir() => found.extend(files(&path)),
            path => found.push(path),
        }
    }
    found
}

/// What follows group 2 in a file.
fn data_set(path: &Path) -> Vec<u8> {
    let file = std::fs::read(path).unwrap();
    let start = FileMeta::read(&file).unwrap_or_else(|| panic!("{}: no end of group 2", path.display())).data_set;
    file[start..].to_vec()
}

fn data_sets(paths: &[PathBuf]) -> BTreeSet<Vec<u8>> {
    paths.iter().map(|path| data_set(path)).collect()
}

fn metadata(path: &Path) -> Metadata {
    let mut splitter = Splitter::new(ObjectId::from_bytes([0; 16]), Input::File, SplitLimits::default());
    let mut sink = |_| Ok::<(), Infallible>(());
    splitter.push(&std::fs::read(path).unwrap(), &mut sink).unwrap();
    splitter.finish(&mut sink).unwrap()
}

/// SHA-256 of the pixels by SOP instance.
fn pixels(paths: &[PathBuf]) -> BTreeMap<String, [u8; 32]> {
    let of = |path: &PathBuf| {
        let metadata = metadata(path);
        Some((metadata.identity.sop_instance?, metadata.pixels?.sha256))
    };
    paths.iter().filter_map(of).collect()
}

/// Whether a program of others is here.
fn has(program: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {program} || test -x /usr/sbin/{program}")]).output();
    let is_here = found.is_ok_and(|found| found.status.success());
    if !is_here {
        skip(&format!("{program} is not installed"));
    }
    is_here
}

fn host_and_port(address: &str) -> (&str, &str) {
    address.rsplit_once(':').unwrap()
}

/// Waits until somebody listens.
fn wait_for_port(port: u16) {
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(began.elapsed() < PATIENCE, "nobody listens on {port}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn storescu(address: &str, options: &str, paths: &[&Path]) -> Ran {
    let (host, port) = host_and_port(address);
    let mut command = Command::new("storescu");
    command.args(words(options)).args(["-v", "-aec", "LUMENBUS", host, port]).args(paths);
    Background::start(command).finish()
}

fn storescp(port: u16, folder: &Path) -> Background {
    let mut command = Command::new("storescp");
    // Bit by bit, every transfer syntax, a name of its own for each file.
    command.args(["+B", "+xa", "+uf", "-od"]).arg(folder).arg(port.to_string());
    let peer = Background::start(command);
    wait_for_port(port);
    peer
}

fn pydicom(names: &[&str]) -> Option<Vec<PathBuf>> {
    let folder = data("dicom")?.join("pydicom");
    Some(names.iter().map(|name| folder.join(name)).collect())
}

/// Everything that is sent reaches a gateway and a storescp bit by bit, each at its own pace.
#[test]
fn data_sets_are_forwarded_as_the_bytes_they_are() {
    let Some(from) = data("dicom") else { return };
    let Some((one, other)) = Site::together(Kind::Embedded).zip(Site::together(Kind::Embedded)) else { return };
    if !has("storescp") {
        return;
    }
    let (one, other) = (Topics::new(one), Topics::new(other));
    let sent = one.run("send", &[&from]).code(0);
    let by_object: BTreeMap<String, PathBuf> = sent
        .objects("sent")
        .iter()
        .map(|sent| (sent["object"].as_str().unwrap().to_owned(), sent["path"].as_str().unwrap().into()))
        .collect();
    assert!(by_object.len() > 100, "{}", by_object.len());

    let (second, address) = other.gateway("");
    let port = quiet_port();
    let to = format!("--forward-to second=LUMENBUS@{address} --forward-to late=STORESCP@127.0.0.1:{port}");
    let (first, _) = one.gateway(&to);
    let is_of = |object: &Value, name: &str| object["destination"] == name;
    let done = |object: &Value| ["delivered", "failed"].iter().any(|kind| object["type"] == *kind);
    first.wait_for_objects(by_object.len(), |object| is_of(object, "second") && done(object));
    // The other one was not there all the time, and it has lost nothing.
    first.wait_for_objects(1, |object| is_of(object, "late") && object["type"] == "waiting");
    let folder = tempfile::tempdir().unwrap();
    let peer = storescp(port, folder.path());
    first.wait_for_objects(by_object.len(), |object| is_of(object, "late") && done(object));
    let ran = first.interrupt().code(0);
    drop(peer);
    let _ = second.interrupt().code(0);

    for (name, received) in [("second", other.receive()), ("late", files(folder.path()))] {
        let delivered = ran.objects("delivered");
        let delivered = delivered.iter().filter(|object| is_of(object, name));
        let paths: Vec<PathBuf> =
            delivered.map(|object| by_object[object["object"].as_str().unwrap()].clone()).collect();
        let failed: Vec<_> = ran.objects("failed").into_iter().filter(|object| is_of(object, name)).collect();
        assert_eq!(paths.len() + failed.len(), by_object.len());
        assert!(paths.len() > 100, "{name}: {} delivered, {failed:?}", paths.len());
        for failure in &failed {
            let reason = failure["reason"].as_str().unwrap();
            let known =
                ["not-storable", "peer-cannot-understand", "peer-refused-mismatch", "context-refused", "peer-fails"];
            assert!(known.contains(&reason), "{failure}");
        }
        assert_eq!(data_sets(&paths), data_sets(&received), "{name}");
    }
    let queues = one.run("queue list", &[]).code(0);
    for queue in queues.objects("destination") {
        assert_eq!(queue["objects"], 0, "everything is committed: {queue}");
    }
    let delivered = ran.objects("delivered");
    let instances: BTreeSet<_> = delivered
        .iter()
        .filter_map(|object| metadata(&by_object[object["object"].as_str().unwrap()]).identity.sop_instance)
        .collect();
    assert_eq!(one.on_record("send"), instances);
}

/// storescu writes data sets anew; the pixels have to be the same, and every success has to be true.
#[test]
fn objects_of_storescu_are_stored() {
    let native = ["CT_small.dcm", "MR_small.dcm", "test-SR.dcm", "rtplan.dcm", "SC_rgb_small_odd.dcm"];
    let (Some(native), Some(rle), Some(jpeg2000), Some(jpeg)) = (
        pydicom(&native),
        pydicom(&["MR_small_RLE.dcm"]),
        pydicom(&["MR_small_jp2klossless.dcm"]),
        pydicom(&["SC_rgb_jpeg_dcmtk.dcm"]),
    ) else {
        return;
    };
    let Some(site) = Site::together(Kind::Embedded) else { return };
    if !has("storescu") || !has("echoscu") {
        return;
    }
    let topics = Topics::new(site);
    let (gateway, address) = topics.gateway("");
    let (host, port) = host_and_port(&address);
    let mut echo = Command::new("echoscu");
    echo.args(["-aec", "LUMENBUS", host, port]);
    let _ = Background::start(echo).finish().code(0);
    let all = [("", native), ("-xr", rle), ("-xv", jpeg2000), ("-xy", jpeg)];
    for (options, paths) in &all {
        let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        let ran = storescu(&address, options, &paths).code(0);
        let told = format!("{}{}", ran.stdout, ran.stderr);
        assert_eq!(told.matches("Received Store Response (Success)").count(), paths.len(), "{options}: {told}");
    }
    let summary = gateway.interrupt().code(0).summary();
    let sent: Vec<PathBuf> = all.into_iter().flat_map(|(_, paths)| paths).collect();
    assert_eq!((&summary["stored"], &summary["echoes"]), (&Value::from(sent.len()), &Value::from(1)), "{summary}");
    let received = topics.receive();
    assert_eq!(received.len(), sent.len());
    assert_eq!(pixels(&received), pixels(&sent));
    for path in &received {
        assert_eq!(metadata(path).findings, Vec::<String>::new(), "a file as PS3.10 wants it");
    }
}

/// Says what it likes.
struct Rude(TcpStream);

impl Rude {
    fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    fn say(&mut self, bytes: &[u8]) {
        // The gateway may have closed already.
        self.0.write_all(bytes).ok();
    }

    /// The next unit's type and body; none at the end.
    fn hear(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut header = [0; 6];
        self.0.read_exact(&mut header).ok()?;
        let mut body = vec![0; u32::from_be_bytes(*header.last_chunk().unwrap()) as usize];
        self.0.read_exact(&mut body).ok()?;
        Some((header[0], body))
    }

    fn associate(&mut self, contexts: Vec<ProposedContext>) -> Option<(u8, Vec<u8>)> {
        let (called, calling) = ("LUMENBUS".to_owned(), "RUDE".to_owned());
        self.say(&Request { called, calling, contexts, max_data: 16_384 }.encode());
        self.hear()
    }

    /// In a context for secondary captures.
    fn ready(address: &str) -> Self {
        let mut rude = Self::connect(address);
        assert_eq!(rude.associate(vec![context(1, SECONDARY_CAPTURE)]).unwrap().0, 2, "it is accepted");
        rude
    }

    fn fragment(&mut self, is_command: bool, is_last: bool, bytes: &[u8]) {
        let header = data_header(1, is_command, is_last, u32::try_from(bytes.len()).unwrap());
        self.say(&[&header, bytes].concat());
    }

    fn store(&mut self, sop_instance: &str) {
        let command = Dimse {
            field: field::STORE,
            message_id: 1,
            sop_class: Some(SECONDARY_CAPTURE.to_owned()),
            sop_instance: Some(sop_instance.to_owned()),
            has_data_set: true,
            ..Dimse::default()
        };
        self.fragment(true, true, &command.encode());
    }

    /// The status of the answer that comes now.
    fn status(&mut self) -> u16 {
        let (kind, body) = self.hear().expect("an answer");
        assert_eq!(kind, 4, "data");
        Dimse::decode(&body[6..]).unwrap().status.unwrap()
    }
}

fn context(id: u8, class: &str) -> ProposedContext {
    ProposedContext { id, abstract_syntax: class.to_owned(), transfer_syntaxes: vec![EXPLICIT_LITTLE.to_owned()] }
}

/// A small image of this instance, explicit VR little endian.
fn image(sop_instance: &str, rows: usize) -> Vec<u8> {
    let element = |group: u16, number: u16, vr: &[u8; 2], value: &[u8]| {
        let mut bytes = [group.to_le_bytes(), number.to_le_bytes()].concat();
        bytes.extend(vr);
        let odd = value.len() % 2;
        let length = u32::try_from(value.len() + odd).unwrap();
        if vr == b"OB" {
            bytes.extend([0, 0]);
            bytes.extend(length.to_le_bytes());
        } else {
            bytes.extend(u16::try_from(length).unwrap().to_le_bytes());
        }
        bytes.extend(value);
        bytes.resize(bytes.len() + odd, 0);
        bytes
    };
    [
        element(8, 0x16, b"UI", SECONDARY_CAPTURE.as_bytes()),
        element(8, 0x18, b"UI", sop_instance.as_bytes()),
        element(0x20, 0x0d, b"UI", b"1.2.3"),
        element(0x7fe0, 0x10, b"OB", &vec![7; rows * 1024]),
    ]
    .concat()
}

#[test]
fn who_breaks_the_protocol_breaks_only_its_own_association() {
    let Some(site) = Site::together(Kind::Embedded) else { return };
    let topics = Topics::new(site);
    let (gateway, address) = topics.gateway("--max-associations 4 --idle 2s");

    // An honest one, open all the time.
    let mut honest = Rude::ready(&address);
    // No DICOM at all, lengths of everything and nothing, an association inside an association.
    let wrong: [&[u8]; 6] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        &[1, 0, 0xff, 0xff, 0xff, 0xff],
        &[1, 0, 0, 0, 0, 0],
        &[4, 0, 0, 0, 0, 6, 0, 0, 0, 2, 1, 3],
        &[9, 0, 0, 0, 0, 0],
        &[1, 0, 0, 0, 0, 80, 0, 1],
    ];
    for bytes in wrong {
        let mut rude = Rude::connect(&address);
        rude.say(bytes);
        assert!(rude.hear().is_none_or(|(kind, _)| kind == 7), "{bytes:?}");
    }
    // More contexts than there are ids.
    let mut rude = Rude::connect(&address);
    let many = (0..200).map(|id: u8| context(id | 1, SECONDARY_CAPTURE)).collect();
    assert_eq!(rude.associate(many).unwrap().0, 7);
    // Values longer than their unit, units longer than agreed, contexts that nobody accepted, commands without end.
    let inside: [Vec<u8>; 5] = [
        vec![4, 0, 0, 0, 0, 6, 0xff, 0xff, 0xff, 0xff, 1, 3],
        vec![4, 0, 0, 0xff, 0xff, 0xff],
        vec![1, 0, 0, 0, 0, 0],
        [&data_header(3, true, true, 0)[..]].concat(),
        [&data_header(1, true, false, 20_000)[..], &[0; 20_000]].concat(),
    ];
    for bytes in inside {
        let mut rude = Rude::ready(&address);
        rude.say(&bytes);
        assert_eq!(rude.hear().expect("it is told").0, 7, "{:?}", &bytes[..12.min(bytes.len())]);
    }
    // A transfer that ends in the middle, by an abort and by nothing.
    for is_abort in [true, false] {
        let mut rude = Rude::ready(&address);
        rude.store("1.2.3.4");
        rude.fragment(false, false, &image("1.2.3.4", 3000)[..100_000]);
        if is_abort {
            rude.say(&[7, 0, 0, 0, 0, 4, 0, 0, 0, 0]);
        }
    }
    // One that says nothing is aborted.
    let mut silent = Rude::connect(&address);
    assert_eq!(silent.hear().expect("it is told").0, 7);
    // A data set that is another object than its command says, one that is none, and none at all.
    let mut rude = Rude::ready(&address);
    for (bytes, expected) in [(image("1.2.3.5", 1), 0xa900), (vec![0xff; 200], 0xc000), (Vec::new(), 0xc000)] {
        rude.store("1.2.3.4");
        rude.fragment(false, true, &bytes);
        assert_eq!(rude.status(), expected);
    }
    // Then it is as good as any.
    rude.store("1.2.3.5");
    let image = image("1.2.3.5", 3000);
    for piece in image.chunks(100_000) {
        rude.fragment(false, false, piece);
    }
    rude.fragment(false, true, &[]);
    assert_eq!(rude.status(), 0);
    drop(rude);
    // The honest one was silent for too long by now, and no other reason ended it.
    assert_eq!(honest.hear().expect("it is told").0, 7);
    // More than there may be: the fifth is told so.
    let mut some: Vec<_> = Vec::new();
    let rejected = loop {
        let mut rude = Rude::connect(&address);
        let (kind, body) = rude.associate(vec![context(1, SECONDARY_CAPTURE)]).unwrap();
        if kind == 3 {
            break body;
        }
        some.push(rude);
        assert!(some.len() <= 64, "there is no bound");
    };
    assert_eq!(rejected, [0, 2, 3, 2], "local limit exceeded");
    assert!(some.len() >= 4, "{}", some.len());
    let memory = std::fs::read_to_string(format!("/proc/{}/status", gateway.id())).unwrap();
    let peak =
        memory.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    assert!(peak.unwrap() < 200_000, "{peak:?} KiB");
    let summary = gateway.interrupt().code(0).summary();
    assert_eq!((&summary["stored"], &summary["refused"]), (&Value::from(1), &Value::from(3)), "{summary}");
    let received = topics.receive();
    assert_eq!(received.iter().map(|path| data_set(path)).collect::<Vec<_>>(), [image]);
}

#[test]
fn titles_are_checked() {
    let Some(site) = Site::together(Kind::Embedded) else { return };
    let topics = Topics::new(site);
    let (gateway, address) = topics.gateway("--ae-title STORE --allow-caller CT1,CT2");
    let echo = |called: &str, calling: &str| {
        Background::start(lumenbus(["dicom", "echo", &format!("{called}@{address}"), "--ae-title", calling])).finish()
    };
    let _ = echo("STORE", "CT2").code(0);
    let _ = echo("OTHER", "CT2").code(1).says("called AE title not recognized");
    let _ = echo("STORE", "CT3").code(1).says("calling AE title not recognized");
    let summary = gateway.interrupt().code(0).summary();
    assert_eq!((&summary["echoes"], &summary["rejected"]), (&Value::from(1), &Value::from(2)), "{summary}");
    // Nobody listens there now.
    let _ = echo("STORE", "CT2").code(1).says("cannot connect");
}

/// A certificate of its own for 127.0.0.1, and its key.
fn certificate(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    if !has("openssl") {
        return None;
    }
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let mut command = Command::new("openssl");
    command.args(words("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=gateway"));
    command.args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"]).arg(&key).arg("-out").arg(&certificate);
    let _ = Background::start(command).finish().code(0);
    Some((certificate, key))
}

#[test]
fn tls_is_spoken_and_nothing_else() {
    let Some((site, other)) = Site::together(Kind::Embedded).zip(Site::together(Kind::Embedded)) else { return };
    let (topics, other) = (Topics::new(site), Topics::new(other));
    let Some((certificate, key)) = certificate(topics.folder.path()) else { return };
    let (certificate, key) = (certificate.to_str().unwrap(), key.to_str().unwrap());
    let (gateway, address) = topics.gateway(&format!("--tls-cert {certificate} --tls-key {key} --idle 2s"));
    let echo = |more: &str| {
        Background::start(lumenbus(words(&format!("dicom echo LUMENBUS@{address} --timeout 20s {more}")))).finish()
    };
    let _ = echo(&format!("--peer-tls --peer-ca {certificate}")).code(0);
    let _ = echo("--peer-tls").code(1).says("no TLS with the peer");
    let _ = echo("").code(1);
    if has("echoscu") {
        let (host, port) = host_and_port(&address);
        let mut command = Command::new("echoscu");
        command.args(words("+tla -ic -aec LUMENBUS")).args([host, port]);
        let _ = Background::start(command).finish().code(0);
    }
    // An object through TLS.
    let file = topics.folder.path().join("sent.dcm");
    let preface = lumenbus_dicom::gateway::file_meta::preface(&lumenbus_dicom::gateway::file_meta::Origin {
        sop_class: SECONDARY_CAPTURE,
        sop_instance: "1.2.3.6",
        transfer_syntax: EXPLICIT_LITTLE,
        calling: "TEST",
    });
    std::fs::write(&file, [preface, image("1.2.3.6", 2000)].concat()).unwrap();
    let _ = other.run("send", &[&file]).code(0);
    let more = format!("--forward-to LUMENBUS@{address} --peer-tls --peer-ca {certificate}");
    let (first, _) = other.gateway(&more);
    first.wait_for_objects(1, |object| object["type"] == "delivered");
    let _ = first.interrupt().code(0);
    let _ = gateway.interrupt().code(0);
    assert_eq!(data_sets(&topics.receive()), data_sets(&[file]));
}

#[test]
fn a_bus_that_is_away_is_no_success() {
    let Some(site) = Site::alone(Kind::Embedded) else { return };
    let mut topics = Topics::new(site);
    let mut command = topics.command("gateway --listen 127.0.0.1:0", &[]);
    command.args(["-X", "message.timeout.ms=2000"]);
    let gateway = Background::start(command);
    let ready: Value = serde_json::from_str(&gateway.wait_for_line("\"ready\"")).unwrap();
    let address = ready["address"].as_str().unwrap().to_owned();
    let store = |number: usize| {
        let mut rude = Rude::ready(&address);
        let instance = format!("1.2.3.{number}");
        rude.store(&instance);
        rude.fragment(false, true, &image(&instance, 1));
        rude.status()
    };
    assert_eq!(store(1), 0);
    topics.site.cluster().kill(1);
    assert_eq!(store(2), 0xa700);
    topics.site.cluster().restart(1);
    // The next one finds the way again, at once or after the client's own rest.
    let began = Instant::now();
    while store(3) != 0 {
        assert!(began.elapsed() < PATIENCE, "it does not come back");
    }
    let summary = gateway.interrupt().code(0).summary();
    assert!(summary["refused"].as_u64().unwrap() >= 1, "{summary}");
    let instances: BTreeSet<_> =
        topics.receive().iter().filter_map(|path| metadata(path).identity.sop_instance).collect();
    for number in [1, 3] {
        assert!(instances.contains(&format!("1.2.3.{number}")), "{instances:?}");
    }
}

#[test]
fn what_was_acknowledged_is_there_after_the_gateway_was_killed() {
    let Some(site) = Site::together(Kind::Embedded) else { return };
    let topics = Topics::new(site);
    let mut acknowledged = BTreeSet::new();
    let mut number = 0;
    for kill_after in [1, 7, 20] {
        let (gateway, address) = topics.gateway("");
        let mut rude = Rude::ready(&address);
        for count in 0.. {
            number += 1;
            let instance = format!("1.2.3.{number}");
            rude.store(&instance);
            let image = image(&instance, 1500);
            rude.fragment(false, false, &image[..120_000]);
            if count == kill_after {
                // In the middle of an object.
                gateway.signal(Signal::KILL);
                break;
            }
            image[120_000..].chunks(120_000).for_each(|piece| rude.fragment(false, false, piece));
            rude.fragment(false, true, &[]);
            assert_eq!(rude.status(), 0);
            acknowledged.insert(image);
        }
        let _ = gateway.finish();
    }
    assert_eq!(acknowledged.len(), 28);
    let on_record = topics.on_record("receive");
    let missing = (1..=number).filter(|number| !on_record.contains(&format!("1.2.3.{number}"))).count();
    assert_eq!(missing, 3, "those that were killed are not on record, all others are");
    assert_eq!(data_sets(&topics.receive()), acknowledged, "no more, no less");
}

/// Orthanc with this folder; its ports are of DICOM and HTTP.
struct Orthanc {
    _process: Background,
    dicom: u16,
    http: String,
    _folder: TempDir,
}

impl Orthanc {
    fn start(gateway: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (dicom, http) = (quiet_port(), quiet_port());
        let (_, port) = host_and_port(gateway);
        let settings = serde_json::json!({
            "Name": "test", "StorageDirectory": folder.path(), "IndexDirectory": folder.path(),
            "HttpPort": http, "DicomPort": dicom, "DicomAet": "ORTHANC", "DicomServerEnabled": true,
            "RemoteAccessAllowed": false, "AuthenticationEnabled": false, "Plugins": [],
            "DicomModalities": { "gateway": ["LUMENBUS", "127.0.0.1", port.parse::<u16>().unwrap()] },
        });
        let file = folder.path().join("orthanc.json");
        std::fs::write(&file, settings.to_string()).unwrap();
        let program = if Path::new("/usr/sbin/Orthanc").exists() { "/usr/sbin/Orthanc" } else { "Orthanc" };
        let mut command = Command::new(program);
        command.arg(&file);
        let process = Background::start(command);
        wait_for_port(http);
        wait_for_port(dicom);
        Self { _process: process, dicom, http: format!("http://127.0.0.1:{http}"), _folder: folder }
    }

    fn curl(&self, path: &str, more: &[&str]) -> Vec<u8> {
        let done =
            Command::new("curl").args(["-sf", "-m", "60"]).args(more).arg(format!("{}{path}", self.http)).output();
        let done = done.unwrap();
        assert!(done.status.success(), "{path}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    }

    fn json(&self, path: &str) -> Value {
        serde_json::from_slice(&self.curl(path, &[])).unwrap()
    }
}

#[test]
fn orthanc_sends_and_receives() {
    let names = ["CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm", "test-SR.dcm"];
    let Some(paths) = pydicom(&names) else { return };
    let Some((site, other)) = Site::together(Kind::Embedded).zip(Site::together(Kind::Embedded)) else { return };
    if !has("Orthanc") || !has("curl") {
        return;
    }
    let (topics, back) = (Topics::new(site), Topics::new(other));
    // What Orthanc sends arrives here.
    let (taking, taking_address) = back.gateway("");
    let orthanc = Orthanc::start(&taking_address);
    // What is in the topics is passed on to Orthanc.
    let paths_to_send: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    let _ = topics.run("send", &paths_to_send).code(0);
    let (passing, _) = topics.gateway(&format!("--forward-to ORTHANC@127.0.0.1:{}", orthanc.dicom));
    passing.wait_for_objects(paths.len(), |object| object["type"] == "delivered" && object["status"] == "0000");
    let _ = passing.interrupt().code(0);
    let instances = orthanc.json("/instances");
    let instances: Vec<&str> = instances.as_array().unwrap().iter().map(|id| id.as_str().unwrap()).collect();
    assert_eq!(instances.len(), paths.len());
    let kept = tempfile::tempdir().unwrap();
    for id in &instances {
        let file = orthanc.curl(&format!("/instances/{id}/file"), &[]);
        std::fs::write(kept.path().join(id), file).unwrap();
    }
    let kept = files(kept.path());
    assert_eq!(pixels(&kept), pixels(&paths));
    // And back again.
    for id in &instances {
        orthanc.curl("/modalities/gateway/store", &["-d", id]);
    }
    let summary = taking.interrupt().code(0).summary();
    assert_eq!(summary["stored"], instances.len(), "{summary}");
    assert_eq!(pixels(&back.receive()), pixels(&paths));
}

/// A peer that is no DICOM, and one that hangs up: nothing is lost, and nothing is committed.
#[test]
fn a_peer_that_speaks_nonsense_gets_nothing_and_loses_nothing() {
    let Some(paths) = pydicom(&["CT_small.dcm"]) else { return };
    let Some(site) = Site::together(Kind::Embedded) else { return };
    let topics = Topics::new(site);
    let _ = topics.run("send", &[&paths[0]]).code(0);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let answers = std::thread::spawn(move || {
        for answer in
            [&b"220 mail ESMTP\r\n"[..], &[2, 0, 0xff, 0xff, 0xff, 0xff], &[], &[3, 0, 0, 0, 0, 4, 0, 2, 3, 1]]
        {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 6];
            stream.read_exact(&mut request).unwrap();
            stream.write_all(answer).unwrap();
        }
    });
    let (gateway, _) = topics.gateway(&format!("--forward-to PEER@{address}"));
    gateway.wait_for_objects(4, |object| object["type"] == "waiting");
    answers.join().unwrap();
    let summary = gateway.interrupt().code(0).summary();
    assert_eq!((&summary["delivered"], &summary["failed"]), (&Value::from(0), &Value::from(0)), "{summary}");
    let queues = topics.run("queue list", &[]).code(0).objects("destination");
    assert_eq!((queues.len(), &queues[0]["objects"]), (1, &Value::from(1)), "{queues:?}");
}
