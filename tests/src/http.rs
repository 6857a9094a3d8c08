//! A plain HTTP client for what the programs under test serve.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Ends only what hangs.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at a page of another program: a page tells nobody that it would now say something else.
const POLL: Duration = Duration::from_millis(50);

/// Status and body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Such as 200.
    pub status: u16,
    /// As text.
    pub body: String,
}

/// The answer to a GET; `None` where nobody answers.
#[must_use]
pub fn get(address: &str, path: &str) -> Option<Answer> {
    request(address, "GET", path, "")
}

/// The answer to a request with a JSON body, as a page of that address would send it.
#[must_use]
pub fn request(address: &str, method: &str, path: &str, body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    // HTTP/1.0: the body comes in one piece and ends with the connection.
    let head = format!("{method} {path} HTTP/1.0\r\nHost: {address}\r\nOrigin: http://{address}\r\n");
    let length = body.len();
    write!(stream, "{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    Some(Answer { status: head.split(' ').nth(1)?.parse().ok()?, body: body.to_owned() })
}

/// Looks at a page again until it is as wanted; its body then.
///
/// # Panics
/// When it never is.
#[track_caller]
pub fn wait_for(address: &str, path: &str, is_wanted: impl Fn(&Answer) -> bool) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let answer = get(address, path);
        if let Some(answer) = answer.as_ref().filter(|answer| is_wanted(answer)) {
            return answer.body.clone();
        }
        assert!(Instant::now() < end, "{path} is {answer:?}");
        std::thread::sleep(POLL);
    }
}
