//! Cameras that speak RTSP: GStreamer's server, by `tests/rtsp/server.py`, and one that does what a test says.

use crate::cli::{Background, quiet_port, skip};
use crate::python::in_repository;
use lumenbus_frame::bitstream::nal_units;
use rustix::process::Signal;
use std::ffi::OsStr;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

/// Debian's own, which has the bindings.
const PYTHON: &str = "/usr/bin/python3";
const NEEDED: &str = "import gi; gi.require_version('GstRtspServer', '1.0'); gi.require_version('GstApp', '1.0'); \
     from gi.repository import Gst; Gst.init(None); \
     assert all(Gst.ElementFactory.find(name) for name in ('h264parse', 'h265parse', 'rtph264pay', 'jpegenc'))";

/// From one scripted picture to the next, in units of 1/90000 s.
const TICKS: u32 = 3_000;
/// Seconds from 1900 to 1970.
const UNIX_EPOCH_IN_NTP: u64 = 2_208_988_800;

/// A running camera; killed when dropped.
#[derive(Debug)]
pub struct RtspServer {
    process: Background,
    arguments: Vec<String>,
    port: u16,
}

impl RtspServer {
    /// Serves a byte stream of H.264, or what `more` says; `None`, said loudly, where GStreamer is not installed.
    ///
    /// # Panics
    /// When it is missing and must not be, or does not start.
    #[must_use]
    pub fn start(file: &Path, more: &[&str]) -> Option<Self> {
        static FOUND: OnceLock<Result<(), String>> = OnceLock::new();
        if let Err(why) = FOUND.get_or_init(find) {
            skip(&format!("GStreamer's RTSP server for Python is not installed ({why})"));
            return None;
        }
        let file = file.to_str().expect("test files have plain names").to_owned();
        let arguments = std::iter::once(file).chain(more.iter().map(|&more| more.to_owned())).collect();
        Some(Self::serve(arguments, quiet_port()))
    }

    fn serve(arguments: Vec<String>, port: u16) -> Self {
        let mut command = Command::new(PYTHON);
        command.arg(in_repository("tests/rtsp/server.py")).args(&arguments).args(["--port", &port.to_string()]);
        let process = Background::start(command);
        process.wait_for_line(&port.to_string());
        Self { process, arguments, port }
    }

    /// Where it is; with a user and password, `who` is `user:password@`.
    #[must_use]
    pub fn url(&self, who: &str) -> String {
        format!("rtsp://{who}127.0.0.1:{}/cam", self.port)
    }

    /// Kills it (SIGKILL); what can be started again at the same place.
    #[must_use]
    pub fn kill(self) -> Absent {
        let Self { process, arguments, port } = self;
        drop(process);
        Absent { arguments, port }
    }

    /// Holds it: connections stay and nothing comes.
    pub fn hold(&self) {
        self.process.signal(Signal::STOP);
    }
}

/// A camera that is away.
#[derive(Debug)]
pub struct Absent {
    arguments: Vec<String>,
    port: u16,
}

impl Absent {
    /// The same camera again.
    #[must_use]
    pub fn start(self) -> RtspServer {
        RtspServer::serve(self.arguments, self.port)
    }

    /// Another one at its place.
    ///
    /// # Panics
    /// When it does not start.
    #[must_use]
    pub fn start_with<A: AsRef<OsStr>>(self, arguments: impl IntoIterator<Item = A>) -> RtspServer {
        let text = |argument: A| argument.as_ref().to_str().expect("test files have plain names").to_owned();
        RtspServer::serve(arguments.into_iter().map(text).collect(), self.port)
    }
}

/// The camera's end of a connection over which pictures of H.265 are played, one by one.
#[derive(Debug)]
pub struct ScriptedCamera {
    connection: TcpStream,
    clip: Vec<u8>,
    packets: u16,
    pictures: u32,
}

impl ScriptedCamera {
    /// Answers what is asked up to PLAY.
    ///
    /// # Panics
    /// When something else is asked, or the other side goes.
    #[must_use]
    pub fn play(connection: TcpStream) -> Self {
        let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n\
             a=rtpmap:96 H265/90000\r\na=control:video\r\n";
        let answers = [
            ("DESCRIBE", format!("Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}", sdp.len())),
            ("SETUP", "Session: 1\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1;ssrc=00000001\r\n\r\n".to_owned()),
            ("PLAY", "Session: 1\r\n\r\n".to_owned()),
        ];
        let mut requests = BufReader::new(&connection);
        for (number, (method, answer)) in (1..).zip(answers) {
            let lines = requests.by_ref().lines().map(|line| line.expect("a request comes"));
            let request: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
            assert!(request.first().is_some_and(|line| line.starts_with(method)), "{request:?}");
            let answer = format!("RTSP/1.0 200 OK\r\nCSeq: {number}\r\n{answer}");
            (&connection).write_all(answer.as_bytes()).expect("the answer is taken");
        }
        let clip = std::fs::read(in_repository("crates/source/tests/data/h265_open_gop.h265"));
        Self { connection, clip: clip.expect("the clip is in the repository"), packets: 0, pictures: 0 }
    }

    /// Gives a keyframe, with its parameter sets.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn picture(&mut self) -> io::Result<()> {
        let [time, number] = [self.pictures.wrapping_mul(TICKS), 1].map(u32::to_be_bytes);
        for unit in nal_units(&self.clip) {
            // Types below 32 are slices; the clip has one a picture.
            let is_picture = unit[0] >> 1 < 32;
            let head = [0x80, 96 | u8::from(is_picture) << 7];
            let packet = [&head, self.packets.to_be_bytes().as_slice(), &time, &number, unit].concat();
            interleaved(&self.connection, 0, &packet)?;
            self.packets = self.packets.wrapping_add(1);
            if is_picture {
                break;
            }
        }
        self.pictures = self.pictures.wrapping_add(1);
        Ok(())
    }

    /// Gives a sender report of a camera without a clock.
    ///
    /// # Errors
    /// When the other side is gone.
    pub fn report(&mut self) -> io::Result<()> {
        self.report_of(0)
    }

    /// Gives a sender report (RFC 3550, section 6.4.1) by which the camera's clock stands at `unix_nanos` when the next
    /// picture is taken.
    ///
    /// # Errors
    /// When the other side is gone.
    ///
    /// # Panics
    /// Before 1970.
    pub fn report_at(&mut self, unix_nanos: i64) -> io::Result<()> {
        let unix_nanos = u64::try_from(unix_nanos).expect("a time after 1970");
        let (seconds, nanos) = (unix_nanos / 1_000_000_000, unix_nanos % 1_000_000_000);
        self.report_of(((seconds + UNIX_EPOCH_IN_NTP) << 32) | ((nanos << 32) / 1_000_000_000))
    }

    fn report_of(&mut self, ntp: u64) -> io::Result<()> {
        let time = self.pictures.wrapping_mul(TICKS).to_be_bytes();
        let head = [0x80, 200, 0, 6, 0, 0, 0, 1];
        interleaved(&self.connection, 1, &[&head, ntp.to_be_bytes().as_slice(), &time, &[0; 8]].concat())
    }

    /// What else is said to it, until the other side goes.
    #[must_use]
    pub fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // A reset is an end too.
        drop(self.connection.read_to_end(&mut bytes));
        bytes
    }
}

fn interleaved(mut connection: &TcpStream, channel: u8, packet: &[u8]) -> io::Result<()> {
    let length = u16::try_from(packet.len()).expect("the clip has small pictures").to_be_bytes();
    connection.write_all(&[&[b'$', channel], length.as_slice(), packet].concat())
}

fn find() -> Result<(), String> {
    match Command::new(PYTHON).args(["-c", NEEDED]).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Err(format!("{PYTHON}: {error}")),
    }
}
