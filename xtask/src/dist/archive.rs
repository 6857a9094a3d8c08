//! tar, gzip and ar, with nothing in them that depends on the day or the machine.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

/// Packs `what`, seen from `folder`, as a compressed archive; owner root, modes as they are in the folder.
pub(super) fn tar_gz(folder: &Path, what: &Path, epoch: u64, to: &Path) -> Result<()> {
    let tar = to.with_extension("tar.tmp");
    let mut command = Command::new("tar");
    command.args(["--sort=name", "--format=gnu", "--owner=root:0", "--group=root:0", "--numeric-owner"]);
    command.arg(format!("--mtime=@{epoch}")).arg("-C").arg(folder).arg("-cf").arg(&tar).arg(what);
    super::run(&mut command)?;
    gzip(&tar, to)?;
    std::fs::remove_file(&tar).with_context(|| format!("removing {}", tar.display()))
}

/// Compresses without name and time.
pub(super) fn gzip(from: &Path, to: &Path) -> Result<()> {
    let input = File::open(from).with_context(|| format!("opening {}", from.display()))?;
    let output = File::create(to).with_context(|| format!("creating {}", to.display()))?;
    let mut command = Command::new("gzip");
    let status = command.args(["-n", "-6"]).stdin(input).stdout(output).stderr(Stdio::inherit()).status();
    ensure!(status.context("starting gzip")?.success(), "gzip failed on {}", from.display());
    Ok(())
}

/// Writes the archive format of .deb files: a magic line, then per member a header of 60 bytes and the content, padded
/// to an even length (`ar(5)`).
pub(super) fn ar(members: &[(&str, &[u8])], epoch: u64, mut to: impl Write) -> Result<()> {
    to.write_all(b"!<arch>\n")?;
    for (name, content) in members {
        ensure!(name.len() <= 16, "{name} is too long for an ar member");
        writeln!(to, "{name:<16}{epoch:<12}{:<6}{:<6}{:<8}{:<10}`", 0, 0, "100644", content.len())?;
        to.write_all(content)?;
        if content.len() % 2 == 1 {
            to.write_all(b"\n")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ar_members_have_sixty_bytes_of_header_and_even_lengths() {
        let mut bytes = Vec::new();
        ar(&[("debian-binary", b"2.0\n"), ("odd", b"abc")], 1_700_000_000, &mut bytes).unwrap();
        let expected = concat!(
            "!<arch>\n",
            "debian-binary   1700000000  0     0     100644  4         `\n2.0\n",
            "odd             1700000000  0     0     100644  3         `\nabc\n",
        );
        assert_eq!(String::from_utf8(bytes).unwrap(), expected);
        assert!(ar(&[("a-name-of-more-than-sixteen", b"")], 0, Vec::new()).is_err());
    }

    #[test]
    fn an_archive_is_the_same_on_another_day() {
        let folder = tempfile::tempdir().unwrap();
        let pack = |name: &str| {
            let tree = folder.path().join(name);
            std::fs::create_dir_all(tree.join("x")).unwrap();
            std::fs::write(tree.join("x/b"), "two").unwrap();
            std::fs::write(tree.join("x/a"), "one").unwrap();
            let file = File::open(tree.join("x/a")).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(name.len() as u64))
                .unwrap();
            let to = folder.path().join(format!("{name}.tar.gz"));
            tar_gz(&tree, Path::new("x"), 1_700_000_000, &to).unwrap();
            std::fs::read(to).unwrap()
        };
        assert!(pack("first") == pack("the-second"));
    }
}
