//! The guide: every command in it works, its programs are the examples, its links lead somewhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use lumenbus_tests::cli::{Background, data, lumenbus, words};
use lumenbus_tests::document::Document;
use lumenbus_tests::python::in_repository;
use lumenbus_tests::session::{Session, follow};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

const GUIDE: &str = "docs/guide";
const COMMAND_LINE: &str = "docs/reference/cli.md";

/// A test for each page, so that they run side by side.
macro_rules! pages {
    ($($test:ident: $name:literal,)*) => {
        const PAGES: &[&str] = &[$($name),*];
        $(
            #[test]
            fn $test() {
                follow(&Document::read(Path::new(GUIDE).join($name)));
            }
        )*
    };
}

pages! {
    the_quick_start_works: "quickstart.md",
    kafka_in_five_minutes_works: "kafka-in-five-minutes.md",
    cameras_work: "cameras.md",
    time_travel_works: "time-travel.md",
    analysis_works: "analysis.md",
    python_works: "python.md",
    rust_works: "rust.md",
    a_cluster_works: "cluster.md",
    installing_works: "install.md",
    sizing_works: "sizing.md",
    configuration_works: "configuration.md",
    metrics_work: "metrics.md",
    troubleshooting_works: "troubleshooting.md",
}

/// It has a study of real files.
#[test]
fn dicom_works() {
    let Some(objects) = data("dicom/pydicom") else { return };
    let page = Document::read(Path::new(GUIDE).join("dicom.md"));
    let Some(mut session) = Session::new() else { return };
    let study = session.folder().join("study");
    std::fs::create_dir(&study).unwrap();
    for name in ["CT_small.dcm", "MR_small.dcm"] {
        std::fs::copy(objects.join(name), study.join(name)).unwrap();
    }
    for command in page.commands() {
        session.run(&command);
    }
    session.end();
}

/// Pages that need more than a broker have tests of their own.
const FOLLOWED_ELSEWHERE: &[&str] = &["from-embedded-to-kafka.md", "dicom.md"];

#[test]
fn no_page_is_forgotten() {
    let there: BTreeSet<String> = Document::all_in(GUIDE)
        .iter()
        .map(|page| page.path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    let pages = || PAGES.iter().chain(FOLLOWED_ELSEWHERE);
    let followed: BTreeSet<String> = pages().map(|&page| page.to_owned()).collect();
    assert_eq!(there, followed);
    let index = Document::read("README.md").links();
    for page in pages() {
        assert!(index.contains(&format!("{GUIDE}/{page}")), "README.md does not lead to {page}");
    }
}

fn documents() -> Vec<Document> {
    let top = ["README.md", "README.zh-CN.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/claims.md"];
    let folders = [GUIDE, "docs/reference", "docs/design"];
    top.iter().map(Document::read).chain(folders.iter().flat_map(|folder| Document::all_in(folder))).collect()
}

/// `a/../b` as `b`.
fn plain(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut plain, part| {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            other => plain.push(other),
        }
        plain
    })
}

#[test]
fn links_lead_somewhere() {
    let documents = documents();
    let anchors: BTreeMap<PathBuf, Vec<String>> =
        documents.iter().map(|document| (document.path.clone(), document.anchors())).collect();
    let leads = |document: &Document, link: &str| {
        let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
        let folder = document.path.parent().unwrap();
        let target = if path.is_empty() { document.path.clone() } else { plain(&folder.join(path)) };
        let has_anchor = || anchors.get(&target).is_some_and(|known| known.iter().any(|name| name == anchor));
        in_repository("").join(&target).exists() && (anchor.is_empty() || has_anchor())
    };
    let mut broken = Vec::new();
    for document in &documents {
        let links = document.links().into_iter().filter(|link| !link.contains("://"));
        let lost = links.filter(|link| !leads(document, link));
        broken.extend(lost.map(|link| format!("{}: {link}", document.path.display())));
    }
    assert_eq!(broken, Vec::<String>::new());
}

/// What is printed in the guide is what lies in examples/python, and the README shows some of it.
#[test]
fn python_programs_are_the_examples() {
    let examples: BTreeMap<String, String> = std::fs::read_dir(in_repository("examples/python"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .map(|path| (std::fs::read_to_string(&path).unwrap(), path.file_name().unwrap().to_string_lossy().into_owned()))
        .collect();
    let pages = ["python.md", "analysis.md"].map(|page| Document::read(Path::new(GUIDE).join(page)));
    let guide: BTreeSet<String> =
        pages.iter().flat_map(|page| page.blocks_of("python")).map(|block| block.content).collect();
    assert_eq!(guide, examples.keys().cloned().collect());
    let rust = std::fs::read_to_string(in_repository("crates/lumenbus/examples/detector.rs")).unwrap();
    assert!(pages[1].blocks_of("rust").iter().any(|block| block.content == rust), "the Rust detector is another one");
    let readme = Document::read("README.md").blocks_of("python");
    assert!(!readme.is_empty());
    for block in readme {
        assert!(examples.contains_key(&block.content), "README.md:{}: this is no example", block.line);
    }
}

/// The options that a command's help names.
fn options(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
    words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect()
}

fn help(command: &[&str]) -> String {
    Background::start(lumenbus(command.iter().chain(&["--help"]))).finish().code(0).stdout
}

/// `--opt` lines of the help: what clap knows, without what the descriptions mention.
fn own_options(command: &[&str]) -> BTreeSet<String> {
    let text = help(command);
    let lines = text.lines().map(str::trim_start).filter(|line| line.starts_with('-'));
    lines.filter_map(|line| options(line).into_iter().next()).collect()
}

/// Names of the commands, or of a command's own commands, in the help.
fn commands(of: &[&str]) -> Vec<String> {
    let text = help(of);
    let Some((_, list)) = text.split_once("Commands:\n") else { return Vec::new() };
    let list = list.split("\n\n").next().unwrap();
    let names = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next().map(str::to_owned)).collect()
}

/// The help of a command and of its own commands.
fn whole_help(name: &str) -> String {
    commands(&[name]).iter().fold(help(&[name]), |text, inner| text + &help(&[name, inner]))
}

/// Illustrations are not run, but they are not invented either.
#[test]
fn shown_commands_exist() {
    let mut known = BTreeMap::new();
    for document in documents() {
        for shown in document.shown_commands() {
            let ours = shown.strip_prefix("sudo ").unwrap_or(&shown);
            let Some(ours) = ours.strip_prefix("lumenbus ") else { continue };
            let name = ours.split(' ').next().unwrap();
            let help = known.entry(name.to_owned()).or_insert_with(|| whole_help(name));
            for option in options(ours) {
                assert!(help.contains(&option), "{}: `{shown}`: there is no {option}", document.path.display());
            }
        }
    }
}

/// Settings that are printed are settings that are taken.
#[test]
fn settings_files_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    // What the pages' files name; without them these would be wrong.
    std::fs::create_dir(folder.path().join("clips")).unwrap();
    for name in ["yard.password", "dock.password"] {
        std::fs::write(folder.path().join(name), "secret").unwrap();
    }
    for document in documents() {
        for block in document.blocks_of("toml").iter().filter(|block| !block.content.contains("[dependencies]")) {
            let file = folder.path().join("lumenbus.toml");
            std::fs::write(&file, &block.content).unwrap();
            let listed = if block.content.contains("shift_range_days") {
                let mut command =
                    lumenbus(words("dicom deidentify --dry-run --key project.key --profile lumenbus.toml ."));
                command.current_dir(folder.path());
                Background::start(command).finish()
            } else {
                Background::start(lumenbus(["cameras", "list", "--config", file.to_str().unwrap()])).finish()
            };
            let place = format!("{}:{}", document.path.display(), block.line);
            // Whatever else it misses, such as a broker: it is not the file's fault.
            assert_ne!(listed.status.code(), Some(2), "{place}: {}", listed.stderr);
        }
    }
}

#[test]
fn the_command_line_reference_is_complete() {
    let reference = Document::read(COMMAND_LINE).text;
    let sections: Vec<&str> = reference.split("\n## ").collect();
    let everywhere = options(sections.iter().find(|section| section.starts_with("Every command")).unwrap());
    for name in commands(&[]) {
        let heading = format!("`lumenbus {name}");
        let is_own = |section: &&&str| section.strip_prefix(&heading).is_some_and(|rest| rest.starts_with(['`', ' ']));
        // Inner commands may have a section of their own.
        let section: String = sections.iter().filter(is_own).copied().collect();
        assert!(!section.is_empty(), "{COMMAND_LINE}: {name} is missing");
        let told = options(&section);
        let inner = commands(&[&name]);
        let mut own = own_options(&[&name]);
        own.extend(inner.iter().flat_map(|inner| own_options(&[&name, inner])));
        for option in own.difference(&everywhere).filter(|option| !["--help", "--version"].contains(&option.as_str())) {
            assert!(told.contains(option), "{COMMAND_LINE}: `{name}` has {option}");
        }
        for inner in inner {
            assert!(section.contains(&inner), "{COMMAND_LINE}: `{name} {inner}` is missing");
        }
    }
}
