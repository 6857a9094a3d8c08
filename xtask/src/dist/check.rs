//! That what was packed can be used: outside the repository, by the tools that users have.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Dist, DistPlan, pack, run};

/// What a package has to hold, with its mode as `dpkg-deb` shows it.
const EXPECTED: [(&str, &str); 8] = [
    ("-rwxr-xr-x", "./usr/bin/lumenbus"),
    ("-rw-r--r--", "./etc/lumenbus/lumenbus.toml"),
    ("-rw-r--r--", "./usr/lib/systemd/system/lumenbus.service"),
    ("-rw-r--r--", "./usr/share/doc/lumenbus/copyright"),
    ("-rw-r--r--", "./usr/share/doc/lumenbus/README.md"),
    ("-rw-r--r--", "./usr/share/man/man1/lumenbus.1.gz"),
    ("-rw-r--r--", "./usr/share/man/man1/lumenbus-subscribe.1.gz"),
    ("-rw-r--r--", "./usr/share/bash-completion/completions/lumenbus"),
];

/// Checks what [`pack`] made; a line for each thing that was checked, or left out.
///
/// # Errors
/// Whatever does not work; with `LUMENBUS_REQUIRE_ALL=1` also a tool that is missing.
pub fn check(plan: &DistPlan, dist: &Dist) -> Result<Vec<String>> {
    let folder = tempfile::tempdir()?;
    let mut said = vec![checksums(plan)?, reproducible(plan, dist, &folder.path().join("again"))?];
    let unpacked = unpack(dist, &folder.path().join("unpacked"))?;
    said.push(starts(&unpacked.join("bin/lumenbus"), dist)?);
    said.push(demo(&unpacked, folder.path())?);
    said.push(with_tool("dpkg-deb", || package(dist, &folder.path().join("package")))?);
    said.push(with_tool("systemd-analyze", || unit(&unpacked, folder.path()))?);
    Ok(said)
}

fn with_tool(tool: &str, check: impl FnOnce() -> Result<String>) -> Result<String> {
    if Command::new(tool).arg("--version").output().is_ok() {
        return check();
    }
    let is_required = std::env::var_os("LUMENBUS_REQUIRE_ALL").is_some_and(|all| all == "1");
    ensure!(!is_required, "{tool} is not installed, and LUMENBUS_REQUIRE_ALL=1");
    Ok(format!("SKIPPED: {tool} is not installed"))
}

fn checksums(plan: &DistPlan) -> Result<String> {
    run(Command::new("sha256sum").args(["--check", "--strict", "SHA256SUMS"]).current_dir(&plan.out))?;
    Ok("SHA256SUMS are right".to_owned())
}

fn reproducible(plan: &DistPlan, dist: &Dist, out: &Path) -> Result<String> {
    let again = pack(&DistPlan { out: out.to_owned(), ..plan.clone() })?;
    let (first, second) = (std::fs::read_to_string(&dist.sums)?, std::fs::read_to_string(&again.sums)?);
    ensure!(first == second, "packed twice, and not the same:\n{first}\n{second}");
    Ok("packed once more: the same bytes".to_owned())
}

fn unpack(dist: &Dist, to: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(to)?;
    run(Command::new("tar").arg("-xzf").arg(&dist.archive).arg("-C").arg(to))?;
    let name = dist.archive.file_name().unwrap_or_default().to_string_lossy();
    Ok(to.join(name.trim_end_matches(".tar.gz")))
}

fn starts(binary: &Path, dist: &Dist) -> Result<String> {
    let told = run(Command::new(binary).arg("--version").env_clear())?;
    ensure!(told.trim() == format!("lumenbus {}", dist.version), "--version says {told}");
    Ok(format!("the unpacked program says `{}`", told.trim()))
}

/// Nothing of the repository and of the surroundings is there.
fn demo(unpacked: &Path, folder: &Path) -> Result<String> {
    let mut command = Command::new(unpacked.join("bin/lumenbus"));
    command.args(["demo", "--no-browser", "--for", "3s", "--json"]);
    let told = run(command.env_clear().env("HOME", folder).env("TMPDIR", folder).current_dir(folder))?;
    let summary = told.lines().last().context("the demo said nothing")?;
    let summary: serde_json::Value = serde_json::from_str(summary).context("the demo's summary")?;
    ensure!(summary["command"] == "demo", "the demo ends in {summary}");
    Ok("a demo of three seconds ran outside the repository".to_owned())
}

fn package(dist: &Dist, to: &Path) -> Result<String> {
    let info = run(Command::new("dpkg-deb").arg("--info").arg(&dist.deb))?;
    for part in ["Package: lumenbus", "conffiles", "postinst", "prerm", "postrm", "md5sums", "libc6 (>= "] {
        ensure!(info.contains(part), "{part:?} is not in\n{info}");
    }
    let contents = run(Command::new("dpkg-deb").arg("--contents").arg(&dist.deb))?;
    for (mode, path) in EXPECTED {
        let line =
            contents.lines().find(|line| line.ends_with(path)).with_context(|| format!("{path} is not in it"))?;
        ensure!(line.starts_with(mode) && line.contains(" 0/0 ") || line.contains(" root/root "), "{line}");
    }
    run(Command::new("dpkg-deb").arg("-R").arg(&dist.deb).arg(to))?;
    for script in ["postinst", "prerm", "postrm"] {
        run(Command::new("sh").arg("-n").arg(to.join("DEBIAN").join(script)))?;
    }
    run(Command::new("md5sum").args(["--check", "--strict", "--quiet", "DEBIAN/md5sums"]).current_dir(to))?;
    starts(&to.join("usr/bin/lumenbus"), dist)?;
    Ok("dpkg-deb reads the package; modes, scripts and sums are right".to_owned())
}

/// The unit names the program without a folder; the check wants to find it.
fn unit(unpacked: &Path, folder: &Path) -> Result<String> {
    let text = std::fs::read_to_string(unpacked.join("deploy/systemd/lumenbus.service"))?;
    let program = unpacked.join("bin/lumenbus");
    let text = text.replace("ExecStart=lumenbus", &format!("ExecStart={}", program.display()));
    let unit = folder.join("lumenbus.service");
    std::fs::write(&unit, text)?;
    let mut command = Command::new("systemd-analyze");
    let output = command.args(["verify", "--man=no"]).arg(&unit).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // Other units of this machine are not ours to judge.
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("lumenbus")).collect();
    ensure!(output.status.success() && ours.is_empty(), "systemd-analyze verify: {}\n{said}", output.status);
    Ok("systemd-analyze finds nothing wrong with the unit".to_owned())
}
