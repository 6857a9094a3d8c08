//! A broker in a process of its own that can be killed. The test file needs this beside its tests:
//!
//! ```ignore
//! #[test]
//! fn broker_process() {
//!     support::process::run();
//! }
//! ```

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;

use lumenbus_broker::{Broker, BrokerConfig};

const FOLDER: &str = "BROKER_TEST_FOLDER";

/// What [`Process`] runs; nothing when it is run as a test.
#[expect(clippy::print_stdout, reason = "where the process that started it reads the address")]
pub fn run() {
    let Ok(folder) = std::env::var(FOLDER) else {
        return;
    };
    let config = BrokerConfig::new(folder).listen(([127, 0, 0, 1], 0).into());
    let broker = Broker::start_blocking(config).unwrap();
    println!("listens on {}", broker.addr());
    loop {
        thread::park();
    }
}

/// Killed without warning when dropped.
pub struct Process {
    child: Child,
    pub address: SocketAddr,
}

impl Process {
    pub fn start(folder: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["broker_process", "--exact", "--nocapture"])
            .env(FOLDER, folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .map(Result::unwrap)
            .find_map(|line| Some(line.split_once("listens on ")?.1.parse().unwrap()))
            .unwrap();
        Self { child, address }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
