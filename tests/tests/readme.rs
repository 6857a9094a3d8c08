//! What README.md tells a newcomer to type works, in the order in which it stands there.
//!
//! Every block of the language `sh` is taken, one command a line. `cargo run --release -- …` runs the built binary;
//! other `cargo` commands only have to be there. A broker and whatever loops run in the background until the end.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{Background, lumenbus};
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

const RUN: &str = "cargo run --release -- ";

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md")).unwrap()
}

/// The commands of the `sh` blocks.
fn commands(text: &str) -> Vec<String> {
    let (mut commands, mut is_inside) = (Vec::new(), false);
    for line in text.lines() {
        match line.trim() {
            "```sh" => is_inside = true,
            "```" => is_inside = false,
            command if is_inside && !command.is_empty() && !command.starts_with('#') => {
                assert!(!command.ends_with('\\'), "one command a line, please: {command}");
                commands.push(command.to_owned());
            }
            _ => {}
        }
    }
    commands
}

/// Splits as a shell does where only blanks and quotes count.
fn words(command: &str) -> Vec<String> {
    let (mut words, mut quote) = (vec![String::new()], None);
    for c in command.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, ' ') => words.push(String::new()),
            (None, '|' | '>' | '<' | ';' | '&' | '$' | '*' | '`') => panic!("only a shell understands: {command}"),
            (_, c) => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A newcomer's folder and what runs in it.
struct Session {
    folder: TempDir,
    /// Instead of the default port, which may be in use here.
    brokers: String,
    running: Vec<(String, Background)>,
}

impl Session {
    fn start(&self, words: &[String], more: &[&str]) -> Background {
        let mut command = lumenbus(words.iter().map(String::as_str).chain(more.iter().copied()));
        command.current_dir(self.folder.path()).env("LUMENBUS_BROKERS", &self.brokers);
        Background::start(command)
    }

    fn run(&mut self, command: &str) {
        let words = words(command);
        if words[0] == "broker" {
            let broker = self.start(&words, &["--listen", "127.0.0.1:0", "--json"]);
            let ready: Value = serde_json::from_str(&broker.wait_for_line("ready")).unwrap();
            self.brokers = ready["brokers"].as_str().unwrap().to_owned();
            self.running.push((command.to_owned(), broker));
        } else if words.iter().any(|word| word == "--loop") {
            let publisher = self.start(&words, &[]);
            publisher.wait_for_word("publishing");
            self.running.push((command.to_owned(), publisher));
        } else {
            let ran = self.start(&words, &[]).finish();
            assert!(ran.status.success(), "{command}: {}\n{}\n{}", ran.status, ran.stdout, ran.stderr);
            assert!(!ran.stderr.contains("no frame came"), "{command}: {}", ran.stderr);
        }
    }

    /// As Ctrl-C in each terminal, the last one first.
    fn end(self) {
        for (command, background) in self.running.into_iter().rev() {
            let ran = background.interrupt();
            assert!(ran.status.success(), "{command}: {}\n{}\n{}", ran.status, ran.stdout, ran.stderr);
        }
    }
}

#[test]
fn what_the_readme_says_works() {
    let text = readme();
    let folder = TempDir::new().unwrap();
    let mut session = Session { folder, brokers: String::new(), running: Vec::new() };
    let (ours, others): (Vec<_>, Vec<_>) = commands(&text).into_iter().partition(|command| command.starts_with(RUN));
    for command in &ours {
        session.run(&command[RUN.len()..]);
    }
    for name in ["broker", "publish", "subscribe", "topics"] {
        assert!(ours.iter().any(|command| command[RUN.len()..].starts_with(name)), "nobody is shown `{name}`");
    }
    assert!(text.contains("cargo test --workspace"));
    for other in &others {
        assert!(other.starts_with("cargo ") || other.starts_with(".ci/"), "nobody checks: {other}");
    }
    session.end();
}
