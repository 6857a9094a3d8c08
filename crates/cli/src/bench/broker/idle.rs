//! Fetches that wait: one connection each, by hand, because five hundred clients would cost more than the broker.

use anyhow::Context as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;

/// Longer than is measured; brokers may allow less.
const MAX_WAIT_MILLIS: i32 = 600_000;
const FETCH: i16 = 1;
/// The oldest that both brokers speak.
const FETCH_VERSION: i16 = 4;

/// Connections with a waiting fetch each.
pub(super) struct Fetches(Vec<TcpStream>);

impl Fetches {
    /// Spreads `count` fetches over the partitions of a topic that holds one record in each.
    pub(super) fn open(address: &str, topic: &str, partitions: i32, count: usize) -> anyhow::Result<Self> {
        let mut connections = Vec::with_capacity(count);
        for partition in (0..partitions).cycle().take(count) {
            let mut connection = TcpStream::connect(address).with_context(|| format!("cannot connect to {address}"))?;
            connection.write_all(&request(topic, partition))?;
            connection.set_nonblocking(true)?;
            connections.push(connection);
        }
        Ok(Self(connections))
    }

    /// Fetches that were answered, or whose connection ended.
    pub(super) fn answered(self) -> anyhow::Result<usize> {
        let mut answered = 0;
        for mut connection in self.0 {
            match connection.read(&mut [0; 4]) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Ok(_) => answered += 1,
                Err(error) => return Err(error).context("a waiting fetch lost its connection"),
            }
        }
        Ok(answered)
    }
}

/// A fetch request with its length in front (Kafka protocol guide, Fetch, version 4).
fn request(topic: &str, partition: i32) -> Vec<u8> {
    let mut body = Vec::new();
    let string = |body: &mut Vec<u8>, text: &str| {
        body.extend(i16::try_from(text.len()).unwrap_or(i16::MAX).to_be_bytes());
        body.extend(text.as_bytes());
    };
    body.extend(FETCH.to_be_bytes());
    body.extend(FETCH_VERSION.to_be_bytes());
    body.extend(1_i32.to_be_bytes()); // correlation id
    string(&mut body, "bench");
    body.extend((-1_i32).to_be_bytes()); // replica id: a client
    body.extend(MAX_WAIT_MILLIS.to_be_bytes());
    body.extend(1_i32.to_be_bytes()); // min bytes
    body.extend((1_i32 << 20).to_be_bytes()); // max bytes
    body.push(0); // read uncommitted
    body.extend(1_i32.to_be_bytes()); // topics
    string(&mut body, topic);
    body.extend(1_i32.to_be_bytes()); // partitions
    body.extend(partition.to_be_bytes());
    body.extend(1_i64.to_be_bytes()); // offset: behind the only record
    body.extend((1_i32 << 20).to_be_bytes()); // max bytes of the partition
    let mut request = i32::try_from(body.len()).unwrap_or(i32::MAX).to_be_bytes().to_vec();
    request.extend(body);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_tells_its_length() {
        let request = request("frames", 3);
        assert_eq!(request[..4], i32::try_from(request.len() - 4).unwrap().to_be_bytes());
        assert_eq!(&request[4..8], [0, 1, 0, 4]);
    }
}
