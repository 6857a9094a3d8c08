//! Lengths of files and functions. Blank lines, comments and the unit tests do not count.

use super::lexer::blank_literals;
use super::{Problem, SourceFile};

const FILE_WARNING: usize = 500;
const FILE_ERROR: usize = 700;
const FUNCTION_WARNING: usize = 60;
const FUNCTION_ERROR: usize = 100;

pub(super) fn check(file: &SourceFile) -> Vec<Problem> {
    let is_rust = file.path.extension().is_some_and(|extension| extension == "rs");
    let is_test = file.path.components().any(|part| part.as_os_str() == "tests")
        || file.path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
    if !is_rust || is_test {
        return Vec::new();
    }
    let code = blank_literals(without_tests(&file.text));
    let lines = count(code.lines());
    let mut problems = functions(&code, file);
    let message = format!("{lines} lines of code without tests; split the file by its nouns");
    if lines > FILE_ERROR {
        problems.push(Problem::error(&file.path, 0, message));
    } else if lines > FILE_WARNING {
        problems.push(Problem::warning(&file.path, 0, message));
    }
    problems
}

fn count<'a>(lines: impl Iterator<Item = &'a str>) -> usize {
    lines.filter(|line| !line.trim().is_empty()).count()
}

/// Everything before the unit tests at the end.
fn without_tests(text: &str) -> &str {
    text.find("\n#[cfg(test)]\nmod ").map_or(text, |position| &text[..position])
}

fn functions(code: &str, file: &SourceFile) -> Vec<Problem> {
    let lines: Vec<&str> = code.lines().collect();
    let mut problems = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let length = count(body(&lines[index..]).iter().copied());
        let message = format!("`{name}` has {length} lines; give its steps names of their own");
        if length > FUNCTION_ERROR && !is_excused(&lines[..index]) {
            problems.push(Problem::error(&file.path, index + 1, message));
        } else if length > FUNCTION_WARNING {
            problems.push(Problem::warning(&file.path, index + 1, message));
        }
    }
    problems
}

/// The name of the function that the line declares.
fn function_name(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let modifiers = ["pub", "pub(crate)", "pub(super)", "async", "const", "unsafe", "extern"];
    let declares = before.split_whitespace().all(|word| modifiers.contains(&word));
    let name = after.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
    (declares && !name.is_empty()).then_some(name)
}

/// The lines from the declaration to the brace that closes it; none for a declaration without body.
fn body<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    let mut depth = 0usize;
    for (index, line) in lines.iter().enumerate() {
        for c in line.chars() {
            match c {
                '{' => depth += 1,
                '}' if depth == 1 => return &lines[..=index],
                '}' => depth = depth.saturating_sub(1),
                ';' if depth == 0 && !line.contains('[') => return &[],
                _ => {}
            }
        }
    }
    &[]
}

/// Whether the attributes right above carry clippy's own exception, which must give a reason.
fn is_excused(before: &[&str]) -> bool {
    let attributes = before.iter().rev().take(6);
    attributes.take_while(|line| !line.starts_with('}')).any(|line| line.contains("too_many_lines"))
}

#[cfg(test)]
mod tests {
    use super::super::Severity;
    use super::*;

    fn found(text: String) -> Vec<(Severity, usize)> {
        let file = SourceFile { path: "crates/x/src/a.rs".into(), text };
        check(&file).into_iter().map(|problem| (problem.severity, problem.line)).collect()
    }

    fn function(lines: usize) -> String {
        format!("//! Doc.\nfn long(\n    x: [u8; 2],\n) {{\n{}}}\n", "    f(\"{\");\n".repeat(lines))
    }

    #[test]
    fn functions_are_measured() {
        let check = |lines, expected: &[(Severity, usize)]| {
            assert_eq!(found(function(lines)), expected, "{lines}");
        };
        check(10, &[]);
        check(70, &[(Severity::Warning, 2)]);
        check(120, &[(Severity::Error, 2)]);
    }

    #[test]
    fn an_expected_length_is_a_warning_only() {
        let attribute = "#[expect(clippy::too_many_lines, reason = \"a table\")]\n";
        let text = function(120).replace("fn long", &format!("{attribute}fn long"));
        assert_eq!(found(text), [(Severity::Warning, 3)]);
    }

    #[test]
    fn files_are_measured_without_tests_comments_and_blank_lines() {
        let code = "const X: u8 = 1;\n".repeat(499);
        let tests = format!("\n#[cfg(test)]\nmod tests {{\n{}}}\n", "f();\n".repeat(900));
        assert_eq!(found(format!("{code}{}{tests}", "\n// why\n".repeat(300))), []);
        let more = "const X: u8 = 1;\n".repeat(100);
        assert_eq!(found(format!("{code}{more}{tests}")), [(Severity::Warning, 0)]);
        assert_eq!(found(format!("{code}{code}")), [(Severity::Error, 0)]);
    }

    #[test]
    fn a_declaration_without_body_has_no_length() {
        let text = format!("trait T {{\n    fn f(&self);\n{}}}\n", "    const X: u8;\n".repeat(120));
        assert_eq!(found(text), []);
    }
}
