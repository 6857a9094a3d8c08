//! The Debian package: `debian-binary`, `control.tar.gz`, `data.tar.gz` (`deb(5)`).

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::products::Products;
use super::stage::{self, FILE, PROGRAM, Tree};
use super::{DistPlan, archive, run};
use crate::workspace::files_below;

const SETTINGS: &str = "etc/lumenbus/lumenbus.toml";
/// Relative paths begin at the settings file, where a service may not write.
const DATA: (&str, &str) = ("\n#data = \"lumenbus-data\"\n", "\ndata = \"/var/lib/lumenbus/broker\"\n");
const DOCUMENTS: &str = "usr/share/doc/lumenbus";
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];

pub(super) fn write(plan: &DistPlan, products: &Products, debian: &str, work: &Path, to: &Path) -> Result<()> {
    let data = Tree::new(work.join("data"))?;
    stage_data(&data, plan, products)?;
    let control = Tree::new(work.join("control"))?;
    control.put("control", control_file(&data, products, debian)?, FILE)?;
    control.put("conffiles", format!("/{SETTINGS}\n"), FILE)?;
    control.put("md5sums", md5sums(&data)?, FILE)?;
    for script in SCRIPTS {
        control.copy(&plan.root.join("deploy/debian").join(script), script, PROGRAM)?;
    }
    let (control_tar, data_tar) = (work.join("control.tar.gz"), work.join("data.tar.gz"));
    archive::tar_gz(control.root(), Path::new("."), plan.epoch, &control_tar)?;
    archive::tar_gz(data.root(), Path::new("."), plan.epoch, &data_tar)?;
    let (control_tar, data_tar) = (std::fs::read(control_tar)?, std::fs::read(data_tar)?);
    let members: [(&str, &[u8]); 3] =
        [("debian-binary", b"2.0\n"), ("control.tar.gz", &control_tar), ("data.tar.gz", &data_tar)];
    let file = File::create(to).with_context(|| format!("creating {}", to.display()))?;
    archive::ar(&members, plan.epoch, BufWriter::new(file))
}

fn stage_data(data: &Tree, plan: &DistPlan, products: &Products) -> Result<()> {
    data.copy(&products.binary, "usr/bin/lumenbus", PROGRAM)?;
    ensure!(products.settings.contains(DATA.0), "`lumenbus init` writes no {:?}", DATA.0.trim());
    data.put(SETTINGS, products.settings.replacen(DATA.0, DATA.1, 1), FILE)?;
    let unit = plan.root.join("deploy/systemd/lumenbus.service");
    data.copy(&unit, "usr/lib/systemd/system/lumenbus.service", FILE)?;
    stage::documents(data, DOCUMENTS, &plan.root)?;
    data.put(&format!("{DOCUMENTS}/copyright"), copyright(products), FILE)?;
    stage::share(data, "usr/share", products)
}

fn copyright(products: &Products) -> String {
    format!(
        "lumenbus is under Apache-2.0 or MIT, at your choice: LICENSE-APACHE and LICENSE-MIT beside this file.\n\
         What is built into it, or comes with it, by others:\n\n{}",
        products.third_party
    )
}

fn control_file(data: &Tree, products: &Products, debian: &str) -> Result<String> {
    let files = files_below(data.root())?;
    let bytes = files.iter().map(|file| Ok(file.metadata()?.len())).sum::<Result<u64>>()?;
    let (version, installed) = (&products.version, bytes.div_ceil(1024));
    let libc = glibc_version(&run(Command::new("objdump").arg("-p").arg(&products.binary))?)?;
    Ok(format!(
        "Package: lumenbus\n\
         Version: {version}\n\
         Architecture: {debian}\n\
         Maintainer: The lumenbus developers <lumenbus@localhost>\n\
         Installed-Size: {installed}\n\
         Depends: adduser, libc6 (>= {libc}), libgcc-s1, libstdc++6\n\
         Section: video\n\
         Priority: optional\n\
         Description: real-time image and video transport on Apache Kafka\n \
         Carries images and video from cameras to their readers through Apache Kafka:\n \
         in order, each frame once, every loss explained. With an embedded broker for\n \
         one machine, a viewer in the browser, and a settings file for the whole box.\n"
    ))
}

/// The newest version that `objdump -p` lists.
fn glibc_version(listing: &str) -> Result<String> {
    let named = listing.split_whitespace().filter_map(|word| word.strip_prefix("GLIBC_"));
    let parse = |text: &str| text.split('.').map(|part| part.parse::<u32>().ok()).collect::<Option<Vec<_>>>();
    let newest = named.filter_map(parse).max().context("the program needs no glibc: not built for this package")?;
    Ok(newest.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
}

fn md5sums(data: &Tree) -> Result<String> {
    let files = files_below(data.root())?;
    let names =
        files.iter().filter_map(|file| file.strip_prefix(data.root()).ok()).filter(|path| *path != Path::new(SETTINGS));
    run(Command::new("md5sum").args(names).current_dir(data.root()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_glibc_counts_by_number() {
        let listing =
            "  required from libc.so.6:\n 0x0 0x00 03 GLIBC_2.4\n 0x0 0x00 GLIBC_2.34\n GLIBCXX_3.4 GLIBC_PRIVATE";
        assert_eq!(glibc_version(listing).unwrap(), "2.34");
        assert!(glibc_version("nothing").is_err());
    }
}
