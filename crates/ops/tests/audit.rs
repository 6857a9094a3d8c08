//! The audit trail on the embedded broker: kills, other writers, a broker that is away.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_broker::{Broker, BrokerConfig, RunningBroker};
use lumenbus_bus::BusConfig;
use lumenbus_bus::journal::{JournalEntry, JournalReader, JournalWriter};
use lumenbus_bus::topics::AUDIT;
use lumenbus_ops::audit::{
    Action, Actor, AuditConfig, AuditError, AuditEvent, AuditWriter, Checkpoint, DicomEvent, DicomMessage, FindingKind,
    Need, ObjectKind, Participant, SigningKey, StudyObject, Verdict, Verifier, read_public_key,
};
use lumenbus_wire::audit::AUDIT_CONTENT_TYPE;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

fn broker(folder: &Path) -> RunningBroker {
    let config = BrokerConfig::new(folder.join("broker")).listen("127.0.0.1:0".parse().unwrap());
    Broker::start_blocking(config).unwrap()
}

fn config(bus: &BusConfig, folder: &Path, instance: &str) -> AuditConfig {
    AuditConfig { patience: LONG, ..AuditConfig::new(bus.clone(), folder.join("keys"), instance) }
}

fn event(object: u32) -> AuditEvent {
    AuditEvent::new(Action::Receive, Actor::ae_title("CT_1"))
        .object(ObjectKind::SopInstance, &format!("1.2.3.{object}"))
        .peer("10.0.0.7:41122")
        .dicom(
            DicomMessage::transfer(
                DicomEvent::InstancesTransferred,
                Participant::source("CT_1").ae_title("CT_1").at("10.0.0.7:41122").requestor(),
                Participant::destination("LUMEN").ae_title("LUMEN"),
            )
            .study(StudyObject::new("1.2.3").sop_class("1.2.840.10008.5.1.4.1.1.2", 1)),
        )
}

fn read(bus: &BusConfig) -> (Vec<JournalEntry>, (u64, u64)) {
    let mut entries = Vec::new();
    let bounds = JournalReader::open(bus, AUDIT).unwrap().read_to_end(0, LONG, |entry| entries.push(entry)).unwrap();
    (entries, bounds)
}

fn verify(bus: &BusConfig, mut verifier: Verifier) -> (Verdict, (u64, u64)) {
    let (entries, bounds) = read(bus);
    for entry in entries {
        verifier.see(entry.offset, &entry.key, &entry.value);
    }
    (verifier.finish(bounds), bounds)
}

#[test]
fn a_chain_goes_on_after_a_restart_and_what_others_put_in_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    let bus = BusConfig::new(broker.bootstrap_servers());
    for _ in 0..2 {
        let audit = AuditWriter::open(config(&bus, folder.path(), "gateway-1")).unwrap();
        let again = AuditWriter::open(config(&bus, folder.path(), "gateway-1"));
        assert!(matches!(again, Err(AuditError::Locked { .. })));
        let tickets: Vec<_> = (0..50).map(|object| audit.record(event(object), Need::Required).unwrap()).collect();
        for ticket in tickets {
            ticket.wait().unwrap();
        }
        assert_eq!(audit.close().written, 50);
        // Without its memory it reads the log.
        std::fs::remove_file(folder.path().join("keys/gateway-1.chain")).unwrap();
    }
    let key = read_public_key(&folder.path().join("keys/gateway-1.pub")).unwrap();
    let (verdict, bounds) = verify(&bus, Verifier::new(&[key]));
    assert!(verdict.is_clean(), "{:#?}", verdict.findings);
    assert_eq!((verdict.records, verdict.instances[0].sequences), (100, Some((1, 100))));
    let auditor = SigningKey::generate().unwrap();
    let text = Checkpoint::to_text(&verdict.checkpoint(AUDIT, bounds, 1), &auditor).unwrap();

    let forger = JournalWriter::open(&bus, AUDIT, "forger", LONG).unwrap();
    let (entries, _) = read(&bus);
    let replayed = entries[7].value.clone();
    forger.append("gateway-1", AUDIT_CONTENT_TYPE, std::slice::from_ref(&replayed)).unwrap();
    forger.append("gateway-2", AUDIT_CONTENT_TYPE, &[replayed, "hello".into()]).unwrap();
    let mut verifier = Verifier::new(&[key, auditor.public()]);
    verifier.add_checkpoint(&Checkpoint::parse(&text).unwrap());
    let kinds: Vec<_> = verify(&bus, verifier).0.findings.iter().map(|finding| finding.kind).collect();
    use FindingKind as K;
    assert_eq!(kinds, [K::Repeated, K::WrongKey, K::Repeated, K::NotARecord]);
    // What others put under its name does not lead the instance astray.
    let audit = AuditWriter::open(config(&bus, folder.path(), "gateway-1")).unwrap();
    assert_eq!(audit.record(event(0), Need::Required).unwrap().wait().unwrap().sequence, 101);
}

/// Run by the test below in a process of its own, with a broker's address and a folder; without them there is nothing to do.
#[test]
fn writes_until_it_is_killed() {
    let (Ok(brokers), Ok(folder)) = (std::env::var("AUDIT_BROKERS"), std::env::var("AUDIT_FOLDER")) else { return };
    let audit = AuditWriter::open(config(&BusConfig::new(brokers), Path::new(&folder), "victim")).unwrap();
    for object in 0.. {
        let ticket = audit.record(event(object), Need::Required).unwrap();
        // Some wait, so that transactions of one and of many records are cut.
        if object % 7 == 0 {
            println!("acknowledged {}", ticket.wait().unwrap().sequence);
        }
    }
}

#[test]
fn a_writer_that_is_killed_at_any_moment_leaves_a_chain_without_a_break() {
    let folder = tempfile::tempdir().unwrap();
    let broker = broker(folder.path());
    let bus = BusConfig::new(broker.bootstrap_servers());
    let mut acknowledged = 0_u64;
    for round in 0..10_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_it_is_killed", "--nocapture"])
            .env("AUDIT_BROKERS", &bus.brokers)
            .env("AUDIT_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let mut seen = 0;
        for line in lines {
            let Some((_, number)) = line.split_once("acknowledged ") else { continue };
            acknowledged = number.parse().unwrap();
            seen += 1;
            // A different moment each time: between two confirmations, somewhere in a transaction.
            if seen > round * 3 {
                std::thread::sleep(Duration::from_micros(round * 700));
                child.kill().unwrap();
                break;
            }
        }
        child.kill().ok();
        child.wait().unwrap();
    }
    let audit = AuditWriter::open(config(&bus, folder.path(), "victim")).unwrap();
    let last = audit.record(event(0), Need::Required).unwrap().wait().unwrap().sequence;
    assert!(last > acknowledged, "what was acknowledged is there: {last}, {acknowledged}");
    let key = read_public_key(&folder.path().join("keys/victim.pub")).unwrap();
    let (verdict, _) = verify(&bus, Verifier::new(&[key]));
    assert!(verdict.is_clean(), "{:#?}", verdict.findings);
    assert_eq!(verdict.instances[0].sequences, Some((1, last)));
}

#[test]
fn without_kafka_a_required_record_fails_and_a_best_effort_one_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let patience = Duration::from_millis(300);
    // A port on which nobody listens.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = config(&BusConfig::new(free.to_string()), folder.path(), "alone");
    (settings.patience, settings.queue_bytes) = (patience, 4_000);
    let audit = AuditWriter::open(settings).unwrap();
    let error = audit.record(event(1), Need::Required).unwrap().wait().unwrap_err();
    assert!(matches!(error, AuditError::NotWritten { .. }), "{error}");
    for object in 0..50 {
        let _ = audit.record(event(object), Need::BestEffort).unwrap();
    }
    let counts = audit.close();
    assert_eq!((counts.written, counts.lost + counts.refused), (0, 51), "{counts:?}");
    assert!(matches!(audit.record(event(1), Need::BestEffort), Err(AuditError::Closed)));
}
