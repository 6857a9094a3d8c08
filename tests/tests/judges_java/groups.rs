//! Kafka's verifiable producer and consumers: a group whose members come, are killed, and come back.

use lumenbus_tests::cli::Background;
use lumenbus_tests::judges::transcript::follow;
use lumenbus_tests::judges::{Program, Site, on_both};
use rustix::process::Signal;

const RECORDS: usize = 600;

/// A member of `judged-members`; a name makes it static.
fn member(site: &Site, name: Option<&str>, session_millis: &str) -> Background {
    let settings = site.file("member.properties", "heartbeat.interval.ms=1000\n");
    let program = Program::new("org.apache.kafka.tools.VerifiableConsumer").args(["--topic", "judged-shared"]);
    let program = program.args(["--group-id", "judged-members", "--session-timeout", session_millis]);
    let program =
        program.args(["--assignment-strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"]);
    let program = program.args(name.into_iter().flat_map(|name| ["--group-instance-id", name]));
    program.args(["--bootstrap-server", &site.bootstrap, "--command-config"]).args([settings]).start()
}

/// The same number of records to each of a hundred keys, which Kafka's hash puts on the partitions.
fn produce(site: &Site) {
    let program = Program::new("org.apache.kafka.tools.VerifiableProducer").args(["--topic", "judged-shared"]);
    let program = program.args(["--max-messages", &RECORDS.to_string(), "--repeating-keys", "100"]);
    let ran = program.args(["--bootstrap-server", &site.bootstrap]).finish().code(0);
    assert_eq!(ran.stdout.matches("producer_send_success").count(), RECORDS, "{}", ran.stdout);
}

fn wait_for_assignment(member: &Background, partitions: usize) {
    member.wait_for_objects(1, |object| {
        let assigned = object["partitions"].as_array().is_some_and(|all| all.len() == partitions);
        object["name"] == "partitions_assigned" && assigned
    });
}

/// How often a member was told of its partitions.
fn rebalances(member: &Background) -> usize {
    let said = member.stdout_so_far();
    said.matches("partitions_assigned").count() + said.matches("partitions_revoked").count()
}

#[test]
fn members_come_die_and_come_back() {
    on_both("Java groups", |site| {
        let created = "$ TopicCommand --create --topic judged-shared --partitions 4\nCreated topic judged-shared.\n";
        follow(site, created);
        let first = member(site, Some("first"), "60000");
        wait_for_assignment(&first, 4);
        let second = member(site, Some("second"), "60000");
        wait_for_assignment(&second, 2);
        produce(site);
        follow(site, include_str!("../../judges/java/transcripts/members.txt"));

        // A static member that is back within its session gets what it had, and nobody else is disturbed.
        let before = rebalances(&first);
        drop(second);
        let second = member(site, Some("second"), "60000");
        wait_for_assignment(&second, 2);
        assert_eq!(rebalances(&first), before, "{:?}", site.kind);

        // Another member dies and stays away.
        let third = member(site, None, "6000");
        wait_for_assignment(&third, 1);
        drop(third);
        produce(site);
        follow(site, include_str!("../../judges/java/transcripts/survivors.txt"));

        for member in [second, first] {
            member.signal(Signal::TERM);
            // Ended by a signal, after it has closed its consumer.
            assert!(member.finish().stdout.contains("shutdown_complete"));
        }
    });
}
