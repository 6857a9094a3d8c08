//! A disk of a test's own that can be full.

use crate::cli::skip;
use std::fs::File;
use std::io::{BufRead as _, BufReader, ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

/// A file system in memory, seen by the processes that are started on it; it ends with the value.
#[derive(Debug)]
pub struct SmallDisk {
    holder: Child,
    has_own_user: bool,
    place: TempDir,
}

impl SmallDisk {
    /// As root, or in a user namespace; `None`, said loudly, where the system grants neither.
    ///
    /// # Panics
    /// When it is not granted and must be.
    #[must_use]
    pub fn of_mebibytes(size: u32) -> Option<Self> {
        let found = [false, true].into_iter().find_map(|has_own_user| Self::start(size, has_own_user));
        if found.is_none() {
            skip("a file system of its own is not granted (unshare, mount)");
        }
        found
    }

    fn start(size: u32, has_own_user: bool) -> Option<Self> {
        let place = tempfile::tempdir().ok()?;
        let user: &[&str] = if has_own_user { &["--user", "--map-root-user"] } else { &[] };
        let script = format!("mount -t tmpfs -o size={size}m tmpfs \"$0\" && echo up && exec cat");
        let mut command = Command::new("unshare");
        command.arg("--mount").args(user).args(["sh", "-c", &script]).arg(place.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut disk = Self { holder: command.spawn().ok()?, has_own_user, place };
        let mut line = String::new();
        let is_up = BufReader::new(disk.holder.stdout.as_mut()?).read_line(&mut line).is_ok() && line == "up\n";
        is_up.then_some(disk)
    }

    /// Where it is, for processes on it.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.place.path()
    }

    /// Where it is, for everybody else.
    fn seen_from_outside(&self) -> PathBuf {
        let below = self.place.path().strip_prefix("/").unwrap_or(self.place.path());
        Path::new("/proc").join(self.holder.id().to_string()).join("root").join(below)
    }

    /// The same command, on it.
    #[must_use]
    pub fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--target={}", self.holder.id())).arg("--mount");
        if self.has_own_user {
            inside.args(["--user", "--preserve-credentials"]);
        }
        inside.arg("--").arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => inside.env(name, value),
                None => inside.env_remove(name),
            };
        }
        inside
    }

    fn ballast(&self) -> PathBuf {
        self.seen_from_outside().join("ballast")
    }

    /// Takes all the room that is left.
    ///
    /// # Panics
    /// When something else than the room's end stops it.
    pub fn fill(&self) {
        let mut file = File::create(self.ballast()).expect("the disk can be written from outside");
        for block in [vec![0; 64 * 1024], vec![0]] {
            let error = loop {
                if let Err(error) = file.write_all(&block) {
                    break error;
                }
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        }
    }

    /// Gives back what [`fill`](Self::fill) took.
    ///
    /// # Panics
    /// When there is nothing to give back.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("it was filled");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have failed to start, and then has ended already.
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
