//! `cargo xtask licenses`: every crate in the build may be used under a licence that `deny.toml`
//! allows.
//!
//! `cargo deny` checks the same list and more, but takes longer to build than this whole project's
//! tests; `.ci/run` uses it where it is installed.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::workspace::host_triple;

/// Checks all crates that `Cargo.lock` names for this platform.
///
/// # Errors
/// The crates under other licences, each with its expression.
pub fn run(root: &Path) -> Result<String> {
    let deny = std::fs::read_to_string(root.join("deny.toml")).context("reading deny.toml")?;
    let allowed = allowed(&deny);
    ensure!(!allowed.is_empty(), "deny.toml names no licence in `allow = [ … ]`");
    let packages = packages(root)?;
    let bad: Vec<String> = packages
        .iter()
        .filter(|(_, license)| !is_allowed(license, &allowed))
        .map(|(name, license)| format!("{name}: {license}"))
        .collect();
    ensure!(bad.is_empty(), "licences that deny.toml does not allow:\n{}", bad.join("\n"));
    Ok(format!("{} crates, all under allowed licences", packages.len()))
}

fn packages(root: &Path) -> Result<Vec<(String, String)>> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked", "--all-features", "--filter-platform"])
        .arg(host_triple()?)
        .current_dir(root)
        .output()
        .context("running cargo metadata")?;
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    ensure!(output.status.success(), "cargo metadata failed: {message}");
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("no packages in the metadata")?;
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or("none").to_owned();
    Ok(packages.iter().map(|package| (text(package, "name"), text(package, "license"))).collect())
}

/// The strings of the first `allow = [ … ]`.
fn allowed(deny: &str) -> BTreeSet<String> {
    let list = deny.split_once("allow = [").and_then(|(_, rest)| rest.split_once(']'));
    let items = list.map_or("", |(list, _)| list).split('"').skip(1).step_by(2);
    items.map(str::to_owned).collect()
}

/// Evaluates an SPDX expression: some alternative of which every part is allowed.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    any_of(&mut rest, allowed) && rest.is_empty()
}

fn any_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut result = all_of(rest, allowed);
    while let ["OR", tail @ ..] = rest {
        *rest = tail;
        result |= all_of(rest, allowed);
    }
    result
}

fn all_of(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut result = one(rest, allowed);
    while let ["AND", tail @ ..] = rest {
        *rest = tail;
        result &= one(rest, allowed);
    }
    result
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    match rest {
        ["(", tail @ ..] => {
            *rest = tail;
            let result = any_of(rest, allowed);
            let closed = rest.first() == Some(&")");
            *rest = rest.get(1..).unwrap_or_default();
            result && closed
        }
        [license, "WITH", exception, tail @ ..] => {
            *rest = tail;
            allowed.contains(&format!("{license} WITH {exception}"))
        }
        [license, tail @ ..] => {
            *rest = tail;
            allowed.contains(*license)
        }
        [] => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_evaluated() {
        let list = allowed("[licenses]\nallow = [\n  \"MIT\", # why\n  \"Apache-2.0\",\n]\n");
        let check = |text: &str, expected| assert_eq!(is_allowed(text, &list), expected, "{text}");
        check("MIT", true);
        check("MIT OR GPL-3.0", true);
        check("GPL-3.0 OR MIT", true);
        check("MIT/Apache-2.0", true);
        check("MIT AND GPL-3.0", false);
        check("(MIT OR GPL-3.0) AND Apache-2.0", true);
        check("(MIT OR GPL-3.0) AND BSL-1.0", false);
        check("Apache-2.0 WITH LLVM-exception", false);
        check("none", false);
        check("", false);
        check("(MIT", false);
    }
}
