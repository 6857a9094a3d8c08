//! Names, licences and licence texts of everything by others that is in the program.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::run;
use crate::workspace::{files_below_except, host_triple};

const PROGRAM: &str = "lumenbus-cli";
/// Beginnings of file names, in capitals.
const NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
/// Folders of vendored sources that are not built in, and Zstandard's GPL text: it may be used under BSD instead.
const LEFT_OUT: [&str; 5] = ["programs", "examples", "tests", "contrib", "debian"];
const OTHER_CHOICE: &str = "zstd/COPYING";
/// Notices of footage that is in the program.
const FOOTAGE: &str = "fixtures/clips/NOTICE";

/// Who holds the rights in crates that say so neither in a file nor in their manifest, by their repositories.
const HOLDERS: [(&str, &str); 1] = [("mcap", "Foxglove Technologies Inc")];

/// A crate that is in the program.
struct Package {
    name: String,
    license: String,
    authors: String,
    repository: String,
    folder: PathBuf,
}

/// All in one text, sorted; a text that several crates share stands there once.
pub(super) fn texts(root: &Path) -> Result<String> {
    let packages = packages(root)?;
    let mut by_text = BTreeMap::<String, BTreeSet<String>>::new();
    let mut list = String::new();
    for package in packages.values() {
        writeln!(list, "{}: {}  {}", package.name, package.license, package.repository)?;
        for (file, text) in licence_files(root, package)? {
            by_text.entry(text).or_default().insert(format!("{}: {file}", package.name));
        }
    }
    let footage = std::fs::read_to_string(root.join(FOOTAGE)).with_context(|| format!("reading {FOOTAGE}"))?;
    let mut all = format!("{} crates by others are in this program.\n\n{list}", packages.len());
    let rule = "=".repeat(100);
    write!(all, "\n{rule}\nFootage of the demo\n{rule}\n\n{footage}\n")?;
    for (text, owners) in by_text {
        let owners = owners.into_iter().collect::<Vec<_>>().join("\n");
        write!(all, "\n{rule}\n{owners}\n{rule}\n\n{}\n", text.trim_end())?;
    }
    Ok(all)
}

/// What the program is linked from: its dependencies, and what builds vendored C sources into them.
fn packages(root: &Path) -> Result<BTreeMap<String, Package>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--format-version", "1", "--locked", "--filter-platform"]).arg(host_triple()?);
    let metadata: Value = serde_json::from_str(&run(cargo.current_dir(root))?)?;
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let edges: BTreeMap<String, Vec<String>> =
        list(&metadata["resolve"]["nodes"]).iter().map(|node| (text(node, "id"), dependencies(node))).collect();
    let packages = list(&metadata["packages"]);
    let program = packages.iter().find(|package| package["name"] == PROGRAM).context("the program is not there")?;
    let (mut open, mut reached) = (vec![text(program, "id")], BTreeSet::new());
    while let Some(id) = open.pop() {
        let more = edges.get(&id).into_iter().flatten();
        open.extend(more.filter(|next| !reached.contains(*next)).cloned());
        reached.insert(id);
    }
    let foreign =
        packages.iter().filter(|package| !package["source"].is_null() && reached.contains(&text(package, "id")));
    Ok(foreign
        .map(|package| (format!("{} {}", text(package, "name"), text(package, "version")), described(package)))
        .collect())
}

fn text(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}

/// All but those of tests.
fn dependencies(node: &Value) -> Vec<String> {
    let is_needed = |dependency: &&Value| {
        dependency["dep_kinds"].as_array().is_some_and(|kinds| kinds.iter().any(|kind| kind["kind"] != "dev"))
    };
    let all = node["deps"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().filter(is_needed).map(|dependency| text(dependency, "pkg")).collect()
}

fn described(package: &Value) -> Package {
    let manifest = PathBuf::from(text(package, "manifest_path"));
    let authors = package["authors"].as_array().map_or(&[][..], Vec::as_slice);
    let holder = HOLDERS.iter().find(|(name, _)| package["name"] == *name).map(|(_, holder)| *holder);
    let authors: Vec<&str> = authors.iter().filter_map(Value::as_str).chain(holder).collect();
    Package {
        name: format!("{} {}", text(package, "name"), text(package, "version")),
        license: text(package, "license"),
        authors: authors.join(", "),
        repository: text(package, "repository"),
        folder: manifest.parent().map(Path::to_owned).unwrap_or_default(),
    }
}

/// The package's own files, or the standard text of the licence it names.
fn licence_files(root: &Path, package: &Package) -> Result<Vec<(String, String)>> {
    let files = files_below_except(&package.folder, |name| LEFT_OUT.contains(&name))?;
    let mut found = Vec::new();
    for file in files {
        let path = file.strip_prefix(&package.folder)?.display().to_string();
        let name = file.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if NAMES.iter().any(|start| name.starts_with(start)) && path != OTHER_CHOICE && !path.ends_with(".rs") {
            found.push((path, String::from_utf8_lossy(&std::fs::read(&file)?).into_owned()));
        }
    }
    if found.is_empty() {
        found.push((package.license.clone(), standard_text(root, package)?));
    }
    Ok(found)
}

fn standard_text(root: &Path, package: &Package) -> Result<String> {
    let known = [
        ("Apache-2.0", std::fs::read_to_string(root.join("LICENSE-APACHE"))?),
        ("MIT", include_str!("texts/MIT.txt").to_owned()),
        ("BSD-2-Clause", include_str!("texts/BSD-2-Clause.txt").to_owned()),
    ];
    let text = known.into_iter().find(|(name, _)| package.license.contains(name));
    let (name, text) = text.with_context(|| {
        format!("{} ({}) comes without a licence text: add one to xtask/src/dist/texts", package.name, package.license)
    })?;
    ensure!(!package.authors.is_empty() || name == "Apache-2.0", "{} names no authors for its licence", package.name);
    // Apache-2.0 needs no line with a name.
    Ok(if name == "Apache-2.0" { text } else { format!("Copyright (c) {}\n\n{text}", package.authors) })
}
