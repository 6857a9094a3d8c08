//! What is typed and what is expected to be answered, in one text.
//!
//! ```text
//! # why, if it needs saying
//! $ TopicCommand --create --topic judged        a program of Kafka's; --bootstrap-server is added
//! > typed on its standard input
//! Created topic ….                              expected output; … stands for anything within a line
//! …                                             … alone: any lines, or none
//! [exit 1] [sorted] [eventually]                where these apply: in any order, run again until it is so
//! ```
//!
//! `BROKER`, `FILES` and `DATA` stand for the address, a folder of the judge and the data directory; `ID` for a topic's id
//! in what is answered. Blank lines, how many blanks there are, stack traces and usage texts don't count. A step of
//! `[ours]` is for the embedded broker's own files. On Apache Kafka every step is `[eventually]`: its controller has
//! answered before its broker knows of a topic, or knows that it is gone.

#![expect(clippy::unwrap_used, reason = "support of tests, which may panic")]

use super::jvm::Answer;
use super::site::Site;
use crate::backend::Kind;
use std::time::{Duration, Instant};

/// Ends only what never comes.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two runs of a tool that only looks: it tells nobody when it would say something else.
const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
struct Step {
    line: String,
    stdin: String,
    expected: Vec<String>,
    code: i64,
    sorted: bool,
    eventually: bool,
    ours: bool,
}

/// Holds a broker to a transcript.
///
/// # Panics
/// At its end, with all steps that ended otherwise.
pub fn follow(site: &mut Site, transcript: &str) {
    let steps = steps(transcript).into_iter().filter(|step| !step.ours || site.kind == Kind::Embedded);
    let differing: Vec<String> = steps.collect::<Vec<_>>().iter().filter_map(|step| step.hold(site).err()).collect();
    assert!(differing.is_empty(), "{:?}:\n{}", site.kind, differing.join("\n"));
}

fn steps(transcript: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in transcript.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with("# ")) {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { line: command.to_owned(), ..Step::default() });
            continue;
        }
        let step = steps.last_mut().expect("a transcript begins with a command");
        match line.strip_prefix("> ") {
            Some(typed) => step.stdin += &format!("{typed}\n"),
            None if line.starts_with('[') => step.mark(line),
            None => step.expected.push(line.to_owned()),
        }
    }
    steps
}

impl Step {
    fn mark(&mut self, line: &str) {
        for mark in line.split(']').map(|mark| mark.trim().trim_start_matches('[')).filter(|mark| !mark.is_empty()) {
            match mark.split_once(' ') {
                None if mark == "sorted" => self.sorted = true,
                None if mark == "eventually" => self.eventually = true,
                None if mark == "ours" => self.ours = true,
                Some(("exit", code)) => self.code = code.parse().unwrap(),
                _ => panic!("unknown mark in {line:?}"),
            }
        }
    }

    /// An error says what was expected and what came.
    fn hold(&self, site: &mut Site) -> Result<(), String> {
        let started = Instant::now();
        loop {
            let (code, said) = self.run(site);
            if code == self.code && matches(&self.expected, &said) {
                eprintln!("{:?} {:.1?} $ {}", site.kind, started.elapsed(), self.line);
                return Ok(());
            }
            if !(self.eventually || site.kind != Kind::Embedded) || started.elapsed() > PATIENCE {
                let Self { line, expected, code: wanted, .. } = self;
                let (expected, said) = (expected.join("\n"), said.join("\n"));
                return Err(format!(
                    "$ {line}\n--- expected, exit {wanted}:\n{expected}\n--- said, exit {code}:\n{said}\n"
                ));
            }
            // A program that looks at a broker's state has no event to wait for.
            std::thread::sleep(PAUSE);
        }
    }

    fn run(&self, site: &mut Site) -> (i64, Vec<String>) {
        let line = insert(&self.line, site);
        let mut words = words(&line);
        let main = words.remove(0);
        let main = if main.starts_with("kafka.") { main } else { format!("org.apache.kafka.tools.{main}") };
        if !main.ends_with("DumpLogSegments") && !words.iter().any(|word| word == "--bootstrap-server") {
            words.extend(["--bootstrap-server".to_owned(), site.bootstrap.clone()]);
        }
        let answer = site.jvm.run(&main, &words, &insert(&self.stdin, site));
        let mut said = normalised(&answer, site);
        if self.sorted {
            said.sort();
        }
        (answer.code, said)
    }
}

/// Split at blanks outside single quotes.
fn words(line: &str) -> Vec<String> {
    let pieces = line.split('\'').enumerate();
    pieces
        .flat_map(|(index, piece)| match index % 2 {
            0 => piece.split_whitespace().map(str::to_owned).collect(),
            _ => vec![piece.to_owned()],
        })
        .collect()
}

fn places(site: &Site) -> Vec<(&'static str, String)> {
    let mut places = vec![("BROKER", site.bootstrap.clone()), ("FILES", site.files.path().display().to_string())];
    places.extend(site.data().map(|data| ("DATA", data.display().to_string())));
    places
}

fn insert(text: &str, site: &Site) -> String {
    places(site).iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// What was said, without what differs from run to run and is no matter of the broker.
fn normalised(answer: &Answer, site: &Site) -> Vec<String> {
    let all = format!("{}\n{}", answer.out, answer.err);
    let all = places(site).iter().fold(all, |text, (name, value)| text.replace(value, name));
    let usage = |line: &&str| !line.starts_with("Option   ") && !line.starts_with("usage:");
    let told = |line: &&str| !line.is_empty() && !line.starts_with("\tat ") && !line.starts_with("Caused by:");
    let one_blank = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    all.lines()
        .take_while(usage)
        .filter(told)
        .map(one_blank)
        .filter(|line| !line.is_empty())
        .map(without_topic_id)
        .collect()
}

fn without_topic_id(line: String) -> String {
    let Some((before, rest)) = line.split_once("TopicId: ") else { return line };
    let after = rest.find(char::is_whitespace).map_or("", |end| &rest[end..]);
    format!("{before}TopicId: ID{after}")
}

fn matches(expected: &[String], said: &[String]) -> bool {
    match expected.split_first() {
        None => said.is_empty(),
        Some((any, rest)) if any == "…" => (0..=said.len()).any(|skipped| matches(rest, &said[skipped..])),
        Some((first, rest)) => {
            said.split_first().is_some_and(|(line, others)| line_matches(first, line) && matches(rest, others))
        }
    }
}

fn line_matches(pattern: &str, line: &str) -> bool {
    match pattern.split_once('…') {
        None => pattern == line,
        Some((before, after)) => line.strip_prefix(before).is_some_and(|rest| {
            let ends = rest.char_indices().map(|(index, _)| index).chain([rest.len()]);
            ends.into_iter().any(|end| line_matches(after, &rest[end..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_lines() {
        let check = |pattern: &str, line: &str, fits| assert_eq!(line_matches(pattern, line), fits, "{pattern} {line}");
        check("offset: …", "offset: 7", true);
        check("…7", "offset: 7", true);
        check("a…b…c", "a--b--c", true);
        check("a…b", "a--b--c", false);
        check("a", "ab", false);
    }

    #[test]
    fn dots_alone_are_any_lines() {
        let text = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        let check = |expected: &[&str], said: &[&str], fits| {
            assert_eq!(matches(&text(expected), &text(said)), fits, "{expected:?} {said:?}");
        };
        check(&["…"], &[], true);
        check(&["…", "b"], &["a", "b"], true);
        check(&["…", "b"], &["a", "b", "c"], false);
        check(&["a", "…"], &["a", "b", "c"], true);
        check(&[], &["a"], false);
    }

    #[test]
    fn a_transcript_is_read() {
        let steps = steps("# why\n$ A --x 'b c'\n> typed\nsaid\n[exit 2] [sorted]\n\n$ B\n");
        assert_eq!(steps.len(), 2);
        assert_eq!((steps[0].stdin.as_str(), steps[0].code, steps[0].sorted), ("typed\n", 2, true));
        assert_eq!(
            (words(&steps[0].line), steps[0].expected.as_slice()),
            (["A", "--x", "b c"].map(str::to_owned).into(), ["said".to_owned()].as_slice())
        );
    }
}
