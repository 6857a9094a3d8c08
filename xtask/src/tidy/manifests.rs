//! Versions are chosen in the workspace root and nowhere else.

use super::{Problem, SourceFile};

pub(super) fn check(file: &SourceFile) -> Vec<Problem> {
    let depth = file.path.components().count();
    // The root of each workspace chooses: ours, the fuzz targets' and the comparison of codecs.
    let is_member = file.path.ends_with("Cargo.toml") && depth > 1;
    if !is_member || file.text.lines().any(|line| line.trim() == "[workspace]") {
        return Vec::new();
    }
    let mut section = "";
    let mut problems = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line.trim_matches(['[', ']']);
        } else if names_version(section, line) {
            let message = "a version outside the workspace root; use `.workspace = true`";
            problems.push(Problem::error(&file.path, index + 1, message));
        }
    }
    problems
}

fn names_version(section: &str, line: &str) -> bool {
    let Some((key, value)) = line.split_once('=') else {
        return false;
    };
    let (key, value) = (key.trim(), value.trim());
    let in_list = section.ends_with("dependencies");
    let in_one = section.contains("dependencies.") || section == "package";
    let in_table = value.split(['{', ',']).any(|item| item.trim_start().starts_with("version"));
    match (in_list, in_one) {
        (true, _) => value.starts_with('"') || in_table,
        (_, true) => key == "version",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> usize {
        check(&SourceFile { path: path.into(), text: text.to_owned() }).len()
    }

    #[test]
    fn versions_are_found_in_every_form() {
        let check = |text, expected| assert_eq!(found("crates/x/Cargo.toml", text), expected, "{text}");
        check("[dependencies]\nbytes.workspace = true\n", 0);
        check("[dependencies]\nbytes = { workspace = true, features = [\"a\"] }\n", 0);
        check("[dependencies]\nbytes = \"1\"\n", 1);
        check("[dev-dependencies]\nbytes = { version = \"1\" }\n", 1);
        check("[target.'cfg(unix)'.dependencies]\nbytes = { default-features = false, version = \"1\" }\n", 1);
        check("[dependencies.bytes]\nversion = \"1\"\n", 1);
        check("[package]\nversion = \"1.0.0\"\n", 1);
        check("[package]\nversion.workspace = true\nrust-version.workspace = true\n", 0);
        check("[features]\ndefault = []\n", 0);
    }

    #[test]
    fn the_root_of_a_workspace_may_choose() {
        let text = "[dependencies]\nbytes = \"1\"\n";
        assert_eq!(found("Cargo.toml", text), 0);
        assert_eq!(found("fuzz/Cargo.toml", text), 1);
        assert_eq!(found("fuzz/Cargo.toml", &format!("[workspace]\n{text}")), 0);
    }
}
