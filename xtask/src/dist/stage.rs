//! Which file goes where.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::DistPlan;
use super::products::Products;
use crate::workspace::files_below_except;

pub(super) const FILE: u32 = 0o644;
pub(super) const PROGRAM: u32 = 0o755;

/// Documents that go along; what they link to is among them.
const DOCUMENTS: [&str; 7] = [
    "README.md",
    "README.zh-CN.md",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "fixtures/clips/NOTICE",
];
const FOLDERS: [&str; 4] = ["docs", "examples", "deploy/docker", "deploy/systemd"];
/// Of the machine, not of the project.
const SKIPPED: [&str; 2] = ["__pycache__", "node_modules"];

/// A folder that becomes an archive.
pub(super) struct Tree(PathBuf);

impl Tree {
    pub(super) fn new(root: PathBuf) -> Result<Self> {
        std::fs::create_dir_all(&root)?;
        // Whatever the umask here is.
        std::fs::set_permissions(&root, Permissions::from_mode(PROGRAM))?;
        Ok(Self(root))
    }

    pub(super) fn root(&self) -> &Path {
        &self.0
    }

    pub(super) fn put(&self, path: &str, content: impl AsRef<[u8]>, mode: u32) -> Result<()> {
        let to = self.0.join(path);
        std::fs::create_dir_all(to.parent().unwrap_or(&self.0))?;
        std::fs::write(&to, content).with_context(|| format!("writing {}", to.display()))?;
        std::fs::set_permissions(&to, Permissions::from_mode(mode))?;
        for folder in to.ancestors().skip(1).take_while(|folder| **folder != *self.0) {
            std::fs::set_permissions(folder, Permissions::from_mode(PROGRAM))?;
        }
        Ok(())
    }

    pub(super) fn copy(&self, from: &Path, path: &str, mode: u32) -> Result<()> {
        let content = std::fs::read(from).with_context(|| format!("reading {}", from.display()))?;
        self.put(path, content, mode)
    }
}

/// The tarball: everything in one folder.
pub(super) fn tarball(tree: &Tree, name: &str, plan: &DistPlan, products: &Products) -> Result<()> {
    tree.copy(&products.binary, &format!("{name}/bin/lumenbus"), PROGRAM)?;
    tree.put(&format!("{name}/lumenbus.toml"), &products.settings, FILE)?;
    tree.put(&format!("{name}/LICENSES-THIRD-PARTY.txt"), &products.third_party, FILE)?;
    documents(tree, name, &plan.root)?;
    share(tree, &format!("{name}/share"), products)
}

/// Guide, reference, examples.
pub(super) fn documents(tree: &Tree, to: &str, root: &Path) -> Result<()> {
    for document in DOCUMENTS {
        tree.copy(&root.join(document), &format!("{to}/{document}"), FILE)?;
    }
    for folder in FOLDERS {
        for file in files_below_except(&root.join(folder), |name| SKIPPED.contains(&name))? {
            let path = file.strip_prefix(root)?;
            tree.copy(&file, &format!("{to}/{}", path.display()), FILE)?;
        }
    }
    Ok(())
}

/// Manual pages and completions.
pub(super) fn share(tree: &Tree, to: &str, products: &Products) -> Result<()> {
    for (name, page) in &products.manual {
        tree.put(&format!("{to}/man/man1/{name}"), page, FILE)?;
    }
    for (path, script) in &products.completions {
        tree.put(&format!("{to}/{path}"), script, FILE)?;
    }
    Ok(())
}
