//! Asks a broker, in Kafka's own protocol, whether it serves and which brokers it knows.
//!
//! ApiVersions version 0 and Metadata version 1 are the oldest both release lines still answer, and
//! need neither compact strings nor tagged fields.

use std::collections::BTreeSet;
use std::io::{Error, ErrorKind, Read as _, Result, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const API_METADATA: i16 = 3;
const API_VERSIONS: i16 = 18;
const MAX_RESPONSE_BYTES: usize = 1 << 20;
const TIMEOUT: Duration = Duration::from_secs(2);

/// The ids of the brokers that the node on `port` knows.
pub(crate) fn known_brokers(port: u16) -> Result<BTreeSet<i32>> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    stream.set_nodelay(true)?;
    let versions = call(&mut stream, API_VERSIONS, 0, &[])?;
    if versions.get(..2) != Some(&[0, 0]) {
        return Err(Error::new(ErrorKind::InvalidData, "ApiVersions was refused"));
    }
    // An empty array asks for no topic, only for the brokers.
    let metadata = call(&mut stream, API_METADATA, 1, &0i32.to_be_bytes())?;
    broker_ids(&metadata).ok_or_else(|| Error::new(ErrorKind::InvalidData, "bad Metadata answer"))
}

/// Whether anybody listens on `port`.
pub(crate) fn is_open(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, TIMEOUT).is_ok()
}

/// Sends one request and returns the response body behind the correlation id.
fn call(stream: &mut TcpStream, api: i16, version: i16, body: &[u8]) -> Result<Vec<u8>> {
    const CORRELATION_ID: i32 = 7;
    let mut request = Vec::new();
    request.extend(api.to_be_bytes());
    request.extend(version.to_be_bytes());
    request.extend(CORRELATION_ID.to_be_bytes());
    request.extend((-1i16).to_be_bytes());
    request.extend(body);
    let size = u32::try_from(request.len()).map_err(Error::other)?;
    stream.write_all(&[&size.to_be_bytes()[..], &request].concat())?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = usize::try_from(u32::from_be_bytes(size)).map_err(Error::other)?;
    if !(4..=MAX_RESPONSE_BYTES).contains(&size) {
        return Err(Error::new(ErrorKind::InvalidData, format!("{size} bytes: not Kafka")));
    }
    let mut response = vec![0; size];
    stream.read_exact(&mut response)?;
    Ok(response.split_off(4))
}

/// The broker ids in a Metadata response of version 1.
fn broker_ids(body: &[u8]) -> Option<BTreeSet<i32>> {
    let mut rest = body;
    let count = take_i32(&mut rest)?;
    let mut ids = BTreeSet::new();
    for _ in 0..count {
        ids.insert(take_i32(&mut rest)?);
        skip_string(&mut rest)?;
        take_i32(&mut rest)?;
        skip_string(&mut rest)?;
    }
    Some(ids)
}

fn take_i32(rest: &mut &[u8]) -> Option<i32> {
    let (head, tail) = rest.split_first_chunk::<4>()?;
    *rest = tail;
    Some(i32::from_be_bytes(*head))
}

/// A length of -1 is null.
fn skip_string(rest: &mut &[u8]) -> Option<()> {
    let (head, tail) = rest.split_first_chunk::<2>()?;
    let length = usize::try_from(i16::from_be_bytes(*head)).unwrap_or(0);
    *rest = tail.get(length..)?;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(ids: &[i32]) -> Vec<u8> {
        let mut body = i32::try_from(ids.len()).unwrap().to_be_bytes().to_vec();
        for id in ids {
            body.extend(id.to_be_bytes());
            body.extend([0, 4]);
            body.extend(b"host");
            body.extend(19_092i32.to_be_bytes());
            body.extend((-1i16).to_be_bytes());
        }
        body.extend([0; 8]);
        body
    }

    #[test]
    fn brokers_are_read_and_every_truncation_is_noticed() {
        let body = metadata(&[1, 2, 3]);
        assert_eq!(broker_ids(&body), Some(BTreeSet::from([1, 2, 3])));
        for length in 0..body.len() - 8 {
            assert_eq!(broker_ids(&body[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_port_without_kafka_is_an_error() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        assert!(known_brokers(port).is_err());
        server.join().unwrap();
    }
}
