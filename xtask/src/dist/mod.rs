//! `cargo xtask dist`: what users install.
//!
//! From the release build: `lumenbus-VERSION-ARCH-linux.tar.gz`, `lumenbus_VERSION_ARCH.deb` and `SHA256SUMS`. The same
//! program and the same `SOURCE_DATE_EPOCH` (the last commit's time where it is not set) give the same bytes. GNU tar,
//! gzip and binutils do the work; the .deb is put together here, so that it needs no Debian.

mod archive;
mod check;
mod deb;
mod products;
mod stage;
mod third_party;

pub use check::check;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use products::Products;
use stage::Tree;

/// What to pack, and where to.
#[derive(Debug, Clone)]
pub struct DistPlan {
    /// The workspace.
    pub root: PathBuf,
    /// The program.
    pub binary: PathBuf,
    /// Where the files go; created when missing.
    pub out: PathBuf,
    /// The time of every file inside, in seconds since 1970.
    pub epoch: u64,
}

/// What was packed.
#[derive(Debug, Clone)]
pub struct Dist {
    /// The program's version.
    pub version: String,
    /// The tarball.
    pub archive: PathBuf,
    /// The Debian package.
    pub deb: PathBuf,
    /// `SHA256SUMS` of both.
    pub sums: PathBuf,
}

/// Builds the release program; what is built already stays.
///
/// # Errors
/// cargo fails.
pub fn build(root: &Path, target_dir: &Path) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--bin", "lumenbus", "--target-dir"]).arg(target_dir);
    let status = cargo.current_dir(root).stdin(Stdio::null()).status().context("starting cargo")?;
    ensure!(status.success(), "the release build failed");
    Ok(target_dir.join("release/lumenbus"))
}

/// `SOURCE_DATE_EPOCH`, else the time of the last commit.
///
/// # Errors
/// Neither is there.
pub fn source_date_epoch(root: &Path) -> Result<u64> {
    if let Ok(given) = std::env::var("SOURCE_DATE_EPOCH") {
        return given.trim().parse().with_context(|| format!("SOURCE_DATE_EPOCH={given} is no number of seconds"));
    }
    let time = run(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root))
        .context("SOURCE_DATE_EPOCH is not set, and there is no commit to take the time from")?;
    time.trim().parse().context("the time of the last commit")
}

/// Packs the program.
///
/// # Errors
/// A program that is missing or fails, or a third-party crate without a licence text.
pub fn pack(plan: &DistPlan) -> Result<Dist> {
    let work = tempfile::tempdir()?;
    let products = Products::of(plan, &work.path().join("products"))?;
    std::fs::create_dir_all(&plan.out).with_context(|| format!("creating {}", plan.out.display()))?;
    let (machine, debian) = architecture()?;
    let name = format!("lumenbus-{}-{machine}-linux", products.version);
    let tree = Tree::new(work.path().join("tarball"))?;
    stage::tarball(&tree, &name, plan, &products)?;
    let archive = plan.out.join(format!("{name}.tar.gz"));
    archive::tar_gz(tree.root(), Path::new(&name), plan.epoch, &archive)?;
    let deb = plan.out.join(format!("lumenbus_{}_{debian}.deb", products.version));
    deb::write(plan, &products, debian, work.path(), &deb)?;
    let sums = plan.out.join("SHA256SUMS");
    std::fs::write(&sums, checksums(&plan.out, &[&archive, &deb])?)?;
    Ok(Dist { version: products.version, archive, deb, sums })
}

/// As the kernel names it and as Debian does.
fn architecture() -> Result<(&'static str, &'static str)> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(("x86_64", "amd64")),
        "aarch64" => Ok(("aarch64", "arm64")),
        other => anyhow::bail!("packages are made for x86_64 and aarch64, not for {other}"),
    }
}

fn checksums(folder: &Path, files: &[&Path]) -> Result<String> {
    let names = files.iter().filter_map(|file| file.file_name());
    run(Command::new("sha256sum").args(names).current_dir(folder))
}

/// Runs a program to its end and hands back its standard output.
fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {command:?}"))?;
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    Ok(stdout.into_owned())
}
