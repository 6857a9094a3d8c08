//! Dependencies between the workspace's crates against the table in ARCHITECTURE.md.
//!
//! The table has the heading "Crate | For | May depend on". Rows with an empty second cell open a
//! rank ("**rank 0, pure …**") or the part **beside** the ranks, whose crates may use any other and
//! which no ranked crate may use. The last cell lists crates, "ranks 0–1", "except …", "(not …)",
//! "any" or "–"; "(tests: …)" adds what only dev-dependencies may name.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::Problem;
use crate::workspace::relative;

const DOCUMENT: &str = "ARCHITECTURE.md";

/// A workspace member, by the name of its folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    folder: String,
    normal: BTreeSet<String>,
    dev: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Row {
    /// None beside the ranks.
    rank: Option<u32>,
    line: usize,
    cell: String,
}

/// What a row's crate may use.
#[derive(Debug, Default, PartialEq, Eq)]
struct Allowed {
    always: BTreeSet<String>,
    in_tests: BTreeSet<String>,
}

/// Reads the workspace members and the edges between them from `cargo metadata`.
pub(super) fn packages(root: &Path) -> Result<Vec<Package>> {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "cargo metadata failed: {message}");
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let members = metadata["packages"].as_array().context("no packages in the metadata")?;
    Ok(members.iter().map(|member| package(root, member)).collect())
}

fn package(root: &Path, member: &Value) -> Package {
    let manifest = Path::new(member["manifest_path"].as_str().unwrap_or_default());
    let folder = manifest.parent().map(folder_name).unwrap_or_default();
    let mut package = Package { folder, normal: BTreeSet::new(), dev: BTreeSet::new() };
    for dependency in member["dependencies"].as_array().into_iter().flatten() {
        // Only a member of this workspace has a path below the root.
        let path = dependency["path"].as_str().map(Path::new);
        let Some(path) = path.filter(|path| relative(root, path) != **path) else {
            continue;
        };
        let is_dev = dependency["kind"].as_str() == Some("dev");
        let edges = if is_dev { &mut package.dev } else { &mut package.normal };
        edges.insert(folder_name(path));
    }
    package
}

fn folder_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Compares the edges with the document at `root`.
pub(super) fn check(root: &Path, packages: &[Package]) -> Vec<Problem> {
    match std::fs::read_to_string(root.join(DOCUMENT)) {
        Ok(document) => compare(&document, packages),
        Err(error) => {
            let message = format!("the table of dependencies cannot be read: {error}");
            vec![Problem::error(Path::new(DOCUMENT), 0, message)]
        }
    }
}

fn compare(document: &str, packages: &[Package]) -> Vec<Problem> {
    let path = Path::new(DOCUMENT);
    let rows = rows(document);
    if rows.is_empty() {
        let message = "no table with the heading `Crate | For | May depend on`";
        return vec![Problem::error(path, 0, message)];
    }
    let mut problems = Vec::new();
    for package in packages {
        let Some(row) = rows.get(&package.folder) else {
            let message = format!("the table has no row for the crate `{}`", package.folder);
            problems.push(Problem::error(path, 0, message));
            continue;
        };
        match allowed(row, &rows) {
            Ok(allowed) => problems.extend(excess(package, row, &allowed)),
            Err(message) => problems.push(Problem::error(path, row.line, message)),
        }
    }
    problems
}

fn excess(package: &Package, row: &Row, allowed: &Allowed) -> Vec<Problem> {
    let folder = &package.folder;
    let mut problems = Vec::new();
    for edge in package.normal.difference(&allowed.always) {
        let message = format!("`{folder}` depends on `{edge}`, which its row does not name");
        problems.push(Problem::error(Path::new(DOCUMENT), row.line, message));
    }
    for edge in package.dev.iter().filter(|&edge| edge != folder) {
        if !allowed.always.contains(edge) && !allowed.in_tests.contains(edge) {
            let message = format!("the tests of `{folder}` use `{edge}`; add it as `(tests: {edge})`");
            problems.push(Problem::error(Path::new(DOCUMENT), row.line, message));
        }
    }
    problems
}

/// The table's rows by the name of the crate's folder.
fn rows(document: &str) -> BTreeMap<String, Row> {
    let lines = document.lines().enumerate().map(|(index, line)| (index + 1, cells(line)));
    let is_heading = |cells: &[&str]| cells == ["Crate", "For", "May depend on"];
    let table = lines.skip_while(|(_, cells)| !is_heading(cells)).skip(2);
    let mut rank = None;
    let mut rows = BTreeMap::new();
    for (line, cells) in table.take_while(|(_, cells)| cells.len() == 3) {
        if cells[1].is_empty() {
            rank = cells[0].split_once("rank ").and_then(|(_, rest)| number(rest));
            continue;
        }
        for folder in cells[0].split(',') {
            let name = folder.trim().trim_matches(['`', '/']).rsplit('/').next().unwrap_or_default();
            rows.insert(name.to_owned(), Row { rank, line, cell: cells[2].to_owned() });
        }
    }
    rows
}

fn cells(line: &str) -> Vec<&str> {
    let inner = line.trim().strip_prefix('|').and_then(|line| line.strip_suffix('|'));
    inner.map(|inner| inner.split('|').map(str::trim).collect()).unwrap_or_default()
}

fn number(text: &str) -> Option<u32> {
    let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn allowed(row: &Row, rows: &BTreeMap<String, Row>) -> Result<Allowed, String> {
    let (cell, in_tests) = cut(&row.cell, "(tests:", ")");
    let (cell, not) = cut(&cell, "(not ", ")");
    let (cell, except) = cut(&cell, "except ", ",");
    let mut allowed = Allowed { always: BTreeSet::new(), in_tests: names(&in_tests, rows)? };
    for item in cell.split([',', ';']).flat_map(|item| item.split(" and ")) {
        let item = item.trim().trim_start_matches("and ").trim_matches('`').trim();
        allowed.always.extend(expand(row, item, rows)?);
    }
    for name in names(&not, rows)?.iter().chain(&names(&except, rows)?) {
        allowed.always.remove(name);
    }
    Ok(allowed)
}

/// `text` without the part from `start` to `end`, and that part's inside.
fn cut(text: &str, start: &str, end: &str) -> (String, String) {
    let Some((before, rest)) = text.split_once(start) else {
        return (text.to_owned(), String::new());
    };
    let (inside, after) = rest.split_once(end).unwrap_or((rest, ""));
    (format!("{before}, {after}"), inside.to_owned())
}

fn expand(row: &Row, item: &str, rows: &BTreeMap<String, Row>) -> Result<BTreeSet<String>, String> {
    let with_rank = |fits: &dyn Fn(Option<u32>) -> bool| {
        rows.iter().filter(|(_, row)| fits(row.rank)).map(|(name, _)| name.clone()).collect()
    };
    if let Some(range) = item.strip_prefix("ranks ").or_else(|| item.strip_prefix("rank ")) {
        let mut ends = range.split(['–', '-']).filter_map(|end| number(end.trim()));
        let first = ends.next().ok_or_else(|| format!("`{item}` is no range of ranks"))?;
        let last = ends.next().unwrap_or(first);
        return Ok(with_rank(&|rank| rank.is_some_and(|rank| (first..=last).contains(&rank))));
    }
    match (item, row.rank) {
        ("any", _) | ("–" | "-" | "", None) => Ok(with_rank(&|rank| rank.is_some() || row.rank.is_none())),
        ("–" | "-" | "", Some(_)) => Ok(BTreeSet::new()),
        _ => names(item, rows),
    }
}

fn names(list: &str, rows: &BTreeMap<String, Row>) -> Result<BTreeSet<String>, String> {
    let named = list.split(',').map(|name| name.trim().trim_matches('`')).filter(|name| !name.is_empty());
    named
        .map(|name| {
            let known = rows.contains_key(name);
            known.then(|| name.to_owned()).ok_or_else(|| format!("`{name}` is no crate of the table"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
Text before.

| Crate | For | May depend on |
|---|---|---|
| **rank 0, pure: no I/O** | | |
| `crates/frame` | the model | – |
| `crates/wire` | bytes | frame |
| **rank 1, adapters** | | |
| `crates/broker` | broker | – |
| `crates/bus` | Kafka | frame, wire (tests: broker) |
| **rank 2** | | |
| `crates/pipeline` | stages | ranks 0–1 except broker |
| `crates/web` | viewer | ranks 0–1 (not broker), and pipeline |
| `crates/cli` | binary | any |
| **beside** | | |
| `tests/`, `xtask/` | end to end | – |

Text after.
";

    fn package(folder: &str, normal: &[&str], dev: &[&str]) -> Package {
        let set = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        Package { folder: folder.to_owned(), normal: set(normal), dev: set(dev) }
    }

    fn check(folder: &str, normal: &[&str], dev: &[&str], expected: usize) {
        let problems = compare(TABLE, &[package(folder, normal, dev)]);
        assert_eq!(problems.len(), expected, "{folder} {normal:?} {dev:?}: {problems:?}");
    }

    #[test]
    fn edges_follow_the_cells() {
        check("frame", &[], &["frame"], 0);
        check("frame", &["wire"], &[], 1);
        check("wire", &["frame"], &[], 0);
        check("bus", &["frame", "wire"], &["broker", "frame"], 0);
        check("bus", &["broker"], &[], 1);
        check("bus", &[], &["pipeline"], 1);
        check("pipeline", &["frame", "wire", "bus"], &[], 0);
        check("pipeline", &["broker", "web"], &[], 2);
        check("web", &["bus", "pipeline"], &[], 0);
        check("web", &["broker"], &[], 1);
        check("cli", &["frame", "broker", "web"], &[], 0);
        check("cli", &["xtask"], &[], 1);
        check("tests", &["cli", "broker", "xtask"], &[], 0);
        check("vision", &[], &[], 1);
    }

    #[test]
    fn a_missing_table_and_an_unknown_name_are_errors() {
        assert_eq!(compare("no table", &[package("frame", &[], &[])]).len(), 1);
        let table = TABLE.replace("| bytes | frame |", "| bytes | fram |");
        let problems = compare(&table, &[package("wire", &["frame"], &[])]);
        assert!(problems[0].message.contains("`fram`"), "{problems:?}");
        assert_eq!(problems[0].line, 7);
    }

    #[test]
    fn this_workspace_has_members_with_edges() {
        let packages = packages(&crate::workspace::root()).unwrap();
        let wire = packages.iter().find(|package| package.folder == "wire").unwrap();
        assert!(wire.normal.contains("frame"), "{wire:?}");
    }
}
