//! `lumenbus view` on the command line: what it says when it starts, stops and cannot.

use lumenbus_tests::cli::{Background, BrokerProcess, lumenbus, run, words};
use std::net::TcpListener;

fn view(broker: &BrokerProcess, more: &str) -> String {
    format!("--brokers {} view --no-browser {more}", broker.address())
}

#[test]
fn it_says_where_it_is_and_ends_with_a_summary() {
    let broker = BrokerProcess::start();
    let line = view(&broker, "--listen 127.0.0.1:0 --title Yard");
    let viewer = Background::start(lumenbus(words(&line)));
    let told = viewer.wait_for_line("viewer on http://127.0.0.1:");
    viewer.wait_for_line("ssh -L");
    assert!(!told.contains("token"), "on loopback none is needed: {told}");
    let ran = viewer.interrupt().code(0).says("0 unexplained");
    assert!(ran.stdout.contains("and there open http://localhost:"), "{}", ran.stdout);
    let ran = run(&view(&broker, "--listen 127.0.0.1:0 --json --for 1s")).code(0);
    assert!(ran.objects("viewer")[0]["url"].as_str().unwrap().starts_with("http://127.0.0.1:"));
    assert_eq!(ran.summary()["totals"]["unexplained"], 0);
}

#[test]
fn a_port_in_use_is_named_with_the_flag() {
    let broker = BrokerProcess::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ran = run(&view(&broker, &format!("--listen {address}"))).code(1);
    ran.says(&format!("port {} on 127.0.0.1 is in use", address.port())).says("--listen");
}

#[test]
fn without_a_broker_it_says_so() {
    run("--brokers 127.0.0.1:1 view --no-browser").code(4).says("no broker at 127.0.0.1:1");
}

#[test]
fn wrong_arguments_are_wrong_usage() {
    let broker = BrokerProcess::start();
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("short");
    std::fs::write(&short, "secret\n").unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    for (more, says) in [
        ("--listen nowhere".to_owned(), "--listen"),
        ("--https maybe".to_owned(), "self-signed"),
        ("--https cert=a.pem".to_owned(), "key=FILE"),
        ("--camera a/b".to_owned(), "camera"),
        (format!("--token-file {}", file("missing")), "missing"),
        (format!("--token-file {}", short.display()), "16 to 256 characters"),
    ] {
        run(&view(&broker, &more)).code(2).says(says);
    }
    let files = format!("--https cert={},key={}", file("a.pem"), file("b.pem"));
    run(&view(&broker, &files)).code(1).says("a.pem").says("certificate");
}

#[test]
fn a_token_from_a_file_is_in_the_address_and_not_in_the_log() {
    let broker = BrokerProcess::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "0123456789abcdef0123\n").unwrap();
    let line = view(&broker, &format!("--listen 127.0.0.1:0 --for 1s -v --token-file {}", file.display()));
    let ran = run(&line).code(0);
    assert!(ran.stdout.contains("/?token=0123456789abcdef0123"), "{}", ran.stdout);
    assert!(!ran.stderr.contains("0123456789abcdef0123"), "{}", ran.stderr);
}

#[test]
fn a_certificate_of_its_own_is_kept_and_its_fingerprint_told() {
    let broker = BrokerProcess::start();
    let state = tempfile::tempdir().unwrap();
    let fingerprint = || {
        let mut command = lumenbus(words(&view(&broker, "--listen 127.0.0.1:0 --https self-signed --for 1s")));
        command.env("XDG_STATE_HOME", state.path());
        let ran = Background::start(command).finish().code(0);
        assert!(ran.stdout.contains("viewer on https://127.0.0.1:"), "{}", ran.stdout);
        let is_fingerprint = |line: &&str| line.trim().len() == 95 && line.matches(':').count() == 31;
        ran.stdout.lines().find(is_fingerprint).unwrap().to_owned()
    };
    assert_eq!(fingerprint(), fingerprint());
}
