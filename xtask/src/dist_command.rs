//! `cargo xtask dist`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use xtask::dist::{self, DistPlan};
use xtask::workspace;

#[derive(Args)]
pub(crate) struct DistArguments {
    /// Where cargo builds.
    #[arg(long, env = "CARGO_TARGET_DIR", default_value = "target")]
    target_dir: PathBuf,
    /// Pack this program instead of the release build.
    #[arg(long)]
    binary: Option<PathBuf>,
    /// Where the files go; `dist` in the target folder otherwise.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Unpack and use what was packed.
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(arguments: &DistArguments) -> Result<()> {
    let root = workspace::root();
    let target_dir = root.join(&arguments.target_dir);
    let binary = match &arguments.binary {
        Some(binary) => std::path::absolute(binary)?,
        None => dist::build(&root, &target_dir)?,
    };
    let out = arguments.out.clone().map_or_else(|| Ok(target_dir.join("dist")), std::path::absolute)?;
    let plan = DistPlan { epoch: dist::source_date_epoch(&root)?, root, binary, out };
    let packed = dist::pack(&plan)?;
    for file in [&packed.archive, &packed.deb, &packed.sums] {
        println!("{}", file.display());
    }
    if arguments.check {
        for line in dist::check(&plan, &packed)? {
            println!("{line}");
        }
    }
    Ok(())
}
