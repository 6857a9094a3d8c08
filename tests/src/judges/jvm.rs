//! Kafka's own Java programs: short ones together in one process, long ones in processes of their own.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use crate::cli::{Background, Ran, skip};
use crate::python::in_repository;
use serde_json::{Value, json};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use xtask::kafka::{KafkaError, KafkaPrograms};

/// Ends only what hangs.
const PATIENCE: Duration = Duration::from_secs(300);
const SOURCE: &str = "tests/judges/java/Judge.java";

/// Kafka's programs and our driver, ready to run.
#[derive(Debug, Clone)]
struct Installed {
    programs: KafkaPrograms,
    classes: PathBuf,
}

impl Installed {
    fn find() -> Result<Self, KafkaError> {
        let programs = KafkaPrograms::install()?;
        let source = in_repository(SOURCE);
        let mut hasher = DefaultHasher::new();
        std::fs::read(&source).unwrap().hash(&mut hasher);
        let test = std::env::current_exe().unwrap();
        let classes = test.with_file_name(format!("judge-{:x}", hasher.finish()));
        if !classes.exists() {
            // Other test processes may do the same at this time.
            let own = tempfile::Builder::new().prefix("judge-").tempdir_in(classes.parent().unwrap()).unwrap();
            programs.compile(&source, own.path())?;
            if std::fs::rename(own.path(), &classes).is_ok() {
                let _gone = own.keep();
            }
        }
        Ok(Self { programs, classes })
    }

    /// `None`, said loudly, where Java or the jars are missing.
    fn get() -> Option<Self> {
        static FOUND: OnceLock<Result<Installed, KafkaError>> = OnceLock::new();
        match FOUND.get_or_init(Self::find) {
            Ok(installed) => Some(installed.clone()),
            Err(error) if error.is_missing_prerequisite() => {
                skip(&format!("Kafka's programs: {error}"));
                None
            }
            Err(error) => panic!("Kafka's programs: {error}"),
        }
    }
}

/// A long-running program of Kafka's, in a process of its own.
#[derive(Debug)]
pub struct Program(Command);

impl Program {
    /// Of this main class.
    ///
    /// # Panics
    /// When Java cannot be had; a [`Jvm`] tells first.
    #[must_use]
    pub fn new(main: &str) -> Self {
        let installed = Installed::get().expect("a judge has found Java before");
        let mut command = installed.programs.java(&installed.classes);
        command.arg(main);
        Self(command)
    }

    /// With these arguments.
    #[must_use]
    pub fn args<A: AsRef<std::ffi::OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.0.args(arguments);
        self
    }

    /// Starts it.
    #[must_use]
    pub fn start(self) -> Background {
        Background::start(self.0)
    }

    /// Runs it to its end.
    #[must_use]
    #[track_caller]
    pub fn finish(self) -> Ran {
        self.start().finish()
    }
}

/// A Java process that runs programs one after the other; ends when dropped.
#[derive(Debug)]
pub struct Jvm {
    child: Child,
    wanted: Option<ChildStdin>,
    answers: Receiver<String>,
}

/// How a program's run ended.
#[derive(Debug)]
pub struct Answer {
    /// Exit code.
    pub code: i64,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Jvm {
    /// Starts one; `None`, said loudly, where Java is missing.
    ///
    /// # Panics
    /// When it is there and does not start.
    #[must_use]
    pub fn start() -> Option<Self> {
        let installed = Installed::get()?;
        let mut command = installed.programs.java(&installed.classes);
        command.arg("Judge").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let wanted = child.stdin.take();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (sender, answers) = channel();
        // Ends with the process.
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Some(Self { child, wanted, answers })
    }

    /// Runs a program to its end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn run(&mut self, main: &str, arguments: &[String], stdin: &str) -> Answer {
        let wanted = json!({"main": main, "args": arguments, "stdin": stdin});
        writeln!(self.wanted.as_mut().unwrap(), "{wanted}").unwrap();
        let answer = self.answers.recv_timeout(PATIENCE);
        let answer = answer.unwrap_or_else(|error| panic!("{main} {arguments:?} does not end: {error}"));
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Answer { code: answer["code"].as_i64().unwrap(), out: text("out"), err: text("err") }
    }
}

impl Drop for Jvm {
    fn drop(&mut self) {
        self.wanted = None;
        // It may hang in what it was last told to run.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
