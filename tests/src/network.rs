//! A network of a test's own, so that commands can use the default ports word for word.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

/// A network namespace with nothing but loopback; it ends with the value.
#[derive(Debug)]
pub struct OwnNetwork {
    holder: Child,
    has_own_user: bool,
}

impl OwnNetwork {
    /// As root, or in a user namespace; `None` where the system grants neither.
    #[must_use]
    pub fn new() -> Option<Self> {
        [false, true].into_iter().find_map(Self::start)
    }

    fn start(has_own_user: bool) -> Option<Self> {
        let user: &[&str] = if has_own_user { &["--user", "--map-root-user"] } else { &[] };
        let mut command = Command::new("unshare");
        command.arg("--net").args(user).args(["sh", "-c", "ip link set lo up && echo up && exec cat"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut network = Self { holder: command.spawn().ok()?, has_own_user };
        is_up(network.holder.stdout.as_mut()?).then_some(network)
    }

    /// The same command inside.
    #[must_use]
    pub fn command(&self, command: &Command) -> Command {
        let mut inside = Command::new("nsenter");
        inside.arg(format!("--target={}", self.holder.id())).arg("--net");
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
        if let Some(folder) = command.get_current_dir() {
            inside.current_dir(folder);
        }
        inside
    }
}

fn is_up(stdout: &mut ChildStdout) -> bool {
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).is_ok() && line == "up\n"
}

impl Drop for OwnNetwork {
    fn drop(&mut self) {
        // It may have failed to start, and then has ended already.
        self.holder.kill().ok();
        self.holder.wait().ok();
    }
}
