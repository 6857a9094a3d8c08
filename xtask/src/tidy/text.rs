//! Words, names and white space.

use std::path::Path;

use super::{Problem, SourceFile};

/// What must not be in the project's text, and why. Split, so that this file does not contain them.
const FORBIDDEN: [(&str, &str); 7] = [
    (concat!("/wo", "rk/"), "an absolute path of one machine"),
    (concat!("/ro", "ot/"), "an absolute path of one machine"),
    (concat!("TO", "DO"), "unfinished work belongs in an issue"),
    (concat!("FIX", "ME"), "unfinished work belongs in an issue"),
    (concat!("todo", "!"), "unfinished work belongs in an issue"),
    (concat!("unimpl", "emented!"), "unfinished work belongs in an issue"),
    (concat!("#[ig", "nore"), "a test runs or is deleted"),
];
const VAGUE_MODULES: [&str; 6] = ["utils", "util", "helpers", "helper", "common", "manager"];

pub(super) fn check(file: &SourceFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    let name = file.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if name.starts_with("LICENSE") || name == "Cargo.lock" {
        return problems;
    }
    let is_fixture = file.path.starts_with("fixtures") && !name.ends_with(".md");
    if !is_fixture {
        problems.extend(lines(file));
    }
    if name.ends_with(".rs") {
        problems.extend(module_name(&file.path));
        problems.extend(opening(name, file));
    }
    problems
}

fn lines(file: &SourceFile) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        if line.trim_end() != line {
            problems.push(Problem::error(&file.path, index + 1, "white space at the line's end"));
        }
        for (word, why) in FORBIDDEN {
            if contains_word(line, word) {
                let message = format!("`{word}`: {why}");
                problems.push(Problem::error(&file.path, index + 1, message));
            }
        }
    }
    problems
}

/// Whether `word` occurs other than inside a longer word.
fn contains_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let bounded = |end: Option<char>, neighbour: Option<char>| {
            !end.is_some_and(char::is_alphanumeric) || !neighbour.is_some_and(char::is_alphanumeric)
        };
        bounded(word.chars().next(), before) && bounded(word.chars().next_back(), after)
    })
}

fn module_name(path: &Path) -> Option<Problem> {
    let mut names = path.iter().filter_map(|part| part.to_str());
    let vague = names.find(|name| VAGUE_MODULES.contains(&name.trim_end_matches(".rs")))?;
    let message = format!("`{vague}` names no thing; call the module after what is in it");
    Some(Problem::error(path, 0, message))
}

fn opening(name: &str, file: &SourceFile) -> Option<Problem> {
    let is_root = name == "lib.rs" || name == "main.rs";
    let message = "the crate does not open with `//!`: say its purpose and its place";
    (is_root && !file.text.starts_with("//!")).then(|| Problem::error(&file.path, 1, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&SourceFile { path: path.into(), text: text.to_owned() }).len()
    }

    #[test]
    fn forbidden_words_are_found_as_words() {
        for (word, _) in FORBIDDEN {
            assert_eq!(found("docs/a.md", &format!("see {word} here\n")), 1, "{word}");
        }
        assert_eq!(found("docs/a.md", "MASTODONTS and net/workers\n"), 0);
        assert_eq!(found("LICENSE-MIT", concat!("TO", "DO")), 0);
    }

    #[test]
    fn white_space_counts_outside_fixtures() {
        assert_eq!(found("docs/a.md", "a \n\tb\t\nc\n"), 2);
        assert_eq!(found("fixtures/golden.txt", "a \n"), 0);
        assert_eq!(found("fixtures/README.md", "a \n"), 1);
    }

    #[test]
    fn vague_modules_and_bare_roots_are_found() {
        let check = |path, expected| assert_eq!(found(path, "//! Doc.\n"), expected, "{path}");
        check("crates/x/src/utils.rs", 1);
        check("tests/tests/common/mod.rs", 1);
        check("crates/x/src/commonality.rs", 0);
        assert_eq!(found("crates/x/src/lib.rs", "fn f() {}\n"), 1);
        assert_eq!(found("crates/x/src/other.rs", "fn f() {}\n"), 0);
    }
}
