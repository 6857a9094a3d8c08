//! What the program itself says: its version, manual pages, completions and example settings.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{DistPlan, archive, run, third_party};

/// Made once, for the tarball and the package.
pub(super) struct Products {
    pub(super) version: String,
    /// Without symbols.
    pub(super) binary: PathBuf,
    /// Names and compressed content.
    pub(super) manual: Vec<(String, Vec<u8>)>,
    /// Paths below `share` and content.
    pub(super) completions: Vec<(&'static str, String)>,
    pub(super) settings: String,
    pub(super) third_party: String,
}

const SHELLS: [(&str, &str); 3] = [
    ("bash", "bash-completion/completions/lumenbus"),
    ("zsh", "zsh/vendor-completions/_lumenbus"),
    ("fish", "fish/vendor_completions.d/lumenbus.fish"),
];

impl Products {
    pub(super) fn of(plan: &DistPlan, work: &Path) -> Result<Self> {
        std::fs::create_dir_all(work)?;
        // Its own surroundings must not show in what it writes.
        let program = |arguments: &[&str]| {
            run(Command::new(&plan.binary).args(arguments).current_dir(work).env_clear())
                .with_context(|| format!("asking {} for `{}`", plan.binary.display(), arguments.join(" ")))
        };
        let told = program(&["--version"])?;
        let version = told.trim().strip_prefix("lumenbus ").context("`lumenbus --version` says no version")?;
        let completions =
            SHELLS.iter().map(|(shell, path)| Ok((*path, program(&["completions", shell])?))).collect::<Result<_>>()?;
        std::fs::create_dir(work.join("man"))?;
        program(&["manual", "man"])?;
        program(&["init"])?;
        let settings = std::fs::read_to_string(work.join("lumenbus.toml")).context("`lumenbus init` wrote nothing")?;
        Ok(Self {
            version: version.to_owned(),
            binary: stripped(&plan.binary, work)?,
            manual: manual(&work.join("man"))?,
            completions,
            settings,
            third_party: third_party::texts(&plan.root)?,
        })
    }
}

fn stripped(binary: &Path, work: &Path) -> Result<PathBuf> {
    let to = work.join("lumenbus");
    run(Command::new("strip").arg("--strip-all").arg("-o").arg(&to).arg(binary))?;
    Ok(to)
}

fn manual(folder: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let mut pages = Vec::new();
    for page in crate::workspace::files_below(folder)? {
        let name = format!("{}.gz", page.file_name().unwrap_or_default().to_string_lossy());
        let to = folder.join(&name);
        archive::gzip(&page, &to)?;
        pages.push((name, std::fs::read(&to)?));
    }
    Ok(pages)
}
