//! A reader of the guide at work: types the commands of a page, word for word and in order.

use crate::cli::{Background, binary, lumenbus, skip};
use crate::document::{Document, words};
use crate::network::OwnNetwork;
use crate::python::{in_repository, observing, python};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tempfile::TempDir;

const RUN: &str = "cargo run --release -- ";
/// Pictures after which an example is stopped.
const PICTURES: usize = 5;

/// Where the default ports are free.
enum Place {
    /// A network of its own.
    Own(OwnNetwork),
    /// The machine's, used by one session at a time.
    #[expect(dead_code, reason = "held, not read")]
    Shared(MutexGuard<'static, ()>),
}

/// An empty folder, a network with free ports, and what runs in the background there.
pub struct Session {
    folder: TempDir,
    place: Place,
    running: Vec<(String, Background)>,
    servers: Vec<Background>,
}

impl Session {
    /// `None`, said loudly, where the default ports cannot be had.
    ///
    /// # Panics
    /// When it must run and cannot.
    #[must_use]
    pub fn new() -> Option<Self> {
        static MACHINE: Mutex<()> = Mutex::new(());
        let place = if let Some(network) = OwnNetwork::new() {
            Place::Own(network)
        } else {
            let place = Place::Shared(MACHINE.lock().unwrap_or_else(PoisonError::into_inner));
            if std::net::TcpListener::bind("127.0.0.1:9092").is_err() {
                skip("port 9092 is in use, and a network of its own is not granted");
                return None;
            }
            place
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let link = |from: &Path, to: &str| symlink(from, folder.path().join(to)).expect("a link");
        link(&in_repository("examples"), "examples");
        std::fs::create_dir(folder.path().join(".bin")).expect("a folder");
        link(&binary(), ".bin/lumenbus");
        Some(Self { folder, place, running: Vec::new(), servers: Vec::new() })
    }

    /// Where it works; `examples` is there as in the repository.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn start(&self, mut command: Command) -> Background {
        command.current_dir(self.folder.path()).env("XDG_STATE_HOME", self.folder.path().join(".state"));
        Background::start(match &self.place {
            Place::Own(network) => network.command(&command),
            Place::Shared(_) => command,
        })
    }

    fn finish(&self, typed: &str, command: Command) {
        let ran = self.start(command).finish();
        assert!(ran.status.success(), "{typed}: {}\n{}\n{}", ran.status, ran.stdout, ran.stderr);
        assert!(!ran.stderr.contains("no frame came"), "{typed}: {}", ran.stderr);
    }

    /// What this build does not have is refused with the build that does.
    fn needs_feature(&self, typed: &str, command: Command, feature: &str) {
        let ran = self.start(command).finish();
        assert!(
            !ran.status.success() && ran.stderr.contains(&format!("--features {feature}")),
            "{typed}: {}",
            ran.stderr
        );
    }

    /// Types a command. What runs until it is stopped goes on in the background.
    ///
    /// # Panics
    /// When it fails, or is none that this reader knows.
    pub fn run(&mut self, typed: &str) {
        if typed.contains(" | ") {
            return self.pipe(typed);
        }
        let ours = typed.strip_prefix(RUN).or_else(|| typed.strip_prefix("lumenbus "));
        if let Some(ours) = ours {
            return self.run_ours(typed, &words(ours));
        }
        let words = words(typed);
        match words[0].as_str() {
            // The whole test suite, builds and packaging are run elsewhere.
            "cargo" => assert!(["test", "build", "xtask"].contains(&words[1].as_str()), "nobody checks: {typed}"),
            "pip" => check_pip(&words),
            "python3" => self.run_python(&words),
            "mkdir" => std::fs::create_dir(self.folder.path().join(&words[1])).expect("a folder"),
            "storescp" => self.run_server(&words),
            "kcat" | "curl" | "storescu" => self.run_tool(typed, &words),
            _ => panic!("nobody checks: {typed}"),
        }
    }

    fn run_ours(&mut self, typed: &str, words: &[String]) {
        let has = |option: &str| words.iter().any(|word| word == option);
        let is_endless_source = || has("--loop") || words[1].starts_with("test:") && !words[1].contains("frames=");
        let mut command = lumenbus(words);
        let (line, word) = match words[0].as_str() {
            "demo" => {
                command.args(["--no-browser", "--for", "5s"]);
                return self.finish(typed, command);
            }
            "broker" => ("broker ready", ""),
            "publish" if words[1].starts_with("gst:") => return self.needs_feature(typed, command, "gstreamer"),
            "publish" if !has("--for") && is_endless_source() => ("", "publishing"),
            "up" => ("Ctrl-C stops", ""),
            "view" => ("http", ""),
            "dicom" if words[1] == "gateway" => ("", "listens on"),
            "detect" if !has("--for") && !has("--until-end") => ("", "Ctrl-C stops it"),
            "subscribe" => {
                let ends = ["--for", "--frames", "--until-end", "--to"].into_iter().any(has);
                assert!(ends, "this would never end: {typed}");
                return self.finish(typed, command);
            }
            _ => return self.finish(typed, command),
        };
        let background = self.start(command);
        if word.is_empty() {
            background.wait_for_line(line);
        } else {
            background.wait_for_word(word);
        }
        self.running.push((typed.to_owned(), background));
    }

    /// In a shell; the program is found by its name.
    fn pipe(&self, typed: &str) {
        let programs = typed.split(" | ").filter_map(|part| part.split(' ').next());
        for program in programs.filter(|program| *program != "lumenbus") {
            if Command::new(program).arg("-h").output().is_err() {
                return skip(&format!("{program} is not installed, for `{typed}`"));
            }
        }
        let folder = self.folder.path().join(".bin");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("bash");
        shell.args(["-o", "pipefail", "-c", typed]).env("PATH", format!("{}:{path}", folder.display()));
        self.finish(typed, shell);
    }

    fn run_python(&self, words: &[String]) {
        let Some(python) = python() else { return };
        let example = self.folder.path().join(&words[1]);
        self.finish(&words.join(" "), observing(&python, &example, PICTURES, None));
    }

    fn run_tool(&self, typed: &str, words: &[String]) {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if Command::new(&words[0]).arg("--help").output().is_err() {
            return skip(&format!("{} is not installed, for `{typed}`", words[0]));
        }
        self.finish(typed, command);
    }

    /// A program of others, which ends as it likes.
    fn run_server(&mut self, words: &[String]) {
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        if Command::new(&words[0]).arg("--help").output().is_err() {
            return skip(&format!("{} is not installed", words[0]));
        }
        let server = self.start(command);
        self.servers.push(server);
    }

    /// As Ctrl-C in each terminal, the last one first.
    ///
    /// # Panics
    /// When one does not end well.
    pub fn end(self) {
        for (command, background) in self.running.into_iter().rev() {
            let ran = background.interrupt();
            assert!(ran.status.success(), "{command}: {}\n{}\n{}", ran.status, ran.stdout, ran.stderr);
        }
    }
}

/// What a reader is told to install is what the tests use.
fn check_pip(words: &[String]) {
    assert_eq!(words[1], "install");
    let pinned = std::fs::read_to_string(in_repository("tests/python/requirements.txt")).expect("it is there");
    for package in &words[2..] {
        let is_pinned = pinned.lines().any(|line| line.split("==").next() == Some(package));
        assert!(is_pinned, "{package} is not in tests/python/requirements.txt");
    }
}

/// Types all commands of a page; whether they could be run here.
///
/// # Panics
/// When one fails.
pub fn follow(document: &Document) -> bool {
    let Some(mut session) = Session::new() else { return false };
    for command in document.commands() {
        session.run(&command);
    }
    session.end();
    true
}
