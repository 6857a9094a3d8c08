//! Kafka's command-line tools.

use lumenbus_tests::judges::transcript::follow;
use lumenbus_tests::judges::{Site, on_both};

pub(crate) fn transcripts(site: &mut Site, names: &[&str]) {
    for name in names {
        let path = lumenbus_tests::python::in_repository("tests/judges/java/transcripts").join(name);
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        follow(site, &text);
    }
}

#[test]
fn administration() {
    on_both("Java administration", |site| {
        for (name, broker) in [("here", 1), ("elsewhere", 2)] {
            let place =
                format!(r#"{{"topic":"judged-cluster","partition":0,"replicas":[{broker}],"log_dirs":["any"]}}"#);
            site.file(&format!("{name}.json"), &format!(r#"{{"version":1,"partitions":[{place}]}}"#));
        }
        transcripts(site, &["topics.txt", "configs.txt", "cluster.txt"]);
    });
}

#[test]
fn console() {
    on_both("Java console", |site| {
        for (name, offset) in [("up-to-2", "2"), ("up-to-99", "99"), ("all", "-1")] {
            let list = r#"{"topic":"judged-console","partition":0,"offset":"#;
            site.file(&format!("{name}.json"), &format!(r#"{{"version":1,"partitions":[{list}{offset}}}]}}"#));
        }
        transcripts(site, &["console.txt"]);
    });
}
