//! Cameras that speak HTTP: GStreamer's pictures given out by Python, in `tests/http/camera.py`, and servers that do what
//! a test says.

use crate::cli::{Background, quiet_port, skip};
use crate::python::in_repository;
use rustix::process::Signal;
use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

/// Debian's own, as for RTSP.
const PYTHON: &str = "/usr/bin/python3";

/// A running camera; killed when dropped.
#[derive(Debug)]
pub struct HttpCamera {
    process: Background,
    arguments: Vec<String>,
    port: u16,
}

impl HttpCamera {
    /// Serves pictures with what `more` says; `None`, said loudly, where GStreamer's tools are not installed.
    ///
    /// # Panics
    /// When they are missing and must not be, or the camera does not start.
    #[must_use]
    pub fn start(more: &[&str]) -> Option<Self> {
        let has = |element: &str| {
            let asked = Command::new("gst-inspect-1.0").args(["--exists", element]).status();
            asked.is_ok_and(|status| status.success())
        };
        if !["jpegenc", "multipartmux", "videotestsrc"].into_iter().all(has) {
            skip("GStreamer's tools are not installed");
            return None;
        }
        Some(Self::serve(more.iter().map(|&more| more.to_owned()).collect(), quiet_port()))
    }

    fn serve(arguments: Vec<String>, port: u16) -> Self {
        let mut command = Command::new(PYTHON);
        command.arg(in_repository("tests/http/camera.py")).args(&arguments).args(["--port", &port.to_string()]);
        let process = Background::start(command);
        process.wait_for_line(&port.to_string());
        Self { process, arguments, port }
    }

    /// A path of it; with a user and password, `who` is `user:password@`.
    #[must_use]
    pub fn url(&self, who: &str, path: &str) -> String {
        format!("http://{who}127.0.0.1:{}{path}", self.port)
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its lines: the port, then path and authorization of each request.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.process.stdout_so_far().lines().skip(1).map(str::to_owned).collect()
    }

    /// Waits until it was asked so often for something that begins so.
    pub fn wait_for_requests(&self, path: &str, count: usize) {
        self.process.wait_for_lines(path, count);
    }

    /// Kills it (SIGKILL); what can be started again at the same place.
    #[must_use]
    pub fn kill(self) -> AbsentCamera {
        let Self { process, arguments, port } = self;
        drop(process);
        AbsentCamera { arguments, port }
    }

    /// Holds it: connections stay and nothing comes.
    pub fn hold(&self) {
        self.process.signal(Signal::STOP);
    }
}

/// A camera that is away.
#[derive(Debug)]
pub struct AbsentCamera {
    arguments: Vec<String>,
    port: u16,
}

impl AbsentCamera {
    /// The same camera again.
    #[must_use]
    pub fn start(self) -> HttpCamera {
        HttpCamera::serve(self.arguments, self.port)
    }
}

/// A server that does with each connection what it is told to, until it is dropped.
#[derive(Debug)]
pub struct ScriptedServer {
    address: SocketAddr,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl ScriptedServer {
    /// One connection after the other.
    ///
    /// # Panics
    /// When there is no port.
    #[must_use]
    pub fn serve(behave: impl Fn(TcpStream) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound port has an address");
        let is_over = Arc::<AtomicBool>::default();
        let over = Arc::clone(&is_over);
        let thread = std::thread::spawn(move || {
            for connection in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                behave(connection.expect("a connection"));
            }
        });
        Self { address, is_over, thread: Some(thread) }
    }

    /// Such as `http://127.0.0.1:1234/cam`.
    #[must_use]
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://{}/cam", self.address)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// The lines of the next request of a connection; empty when there is none.
#[must_use]
pub fn request(connection: &TcpStream) -> Vec<String> {
    let lines = BufReader::new(connection).lines();
    lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect()
}
