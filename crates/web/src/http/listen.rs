//! A port to listen on.

use crate::config::ViewerConfig;
use crate::error::ViewerError;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

const BACKLOG: u32 = 1_024;

/// The wanted port, or one of the next where that is permitted. Must be called on a runtime.
pub(crate) fn listen(config: &ViewerConfig) -> Result<TcpListener, ViewerError> {
    let (wanted, flag) = (config.listen, config.listen_flag);
    permit_files(config.limits.connections);
    for step in 0..=config.try_next_ports {
        let Some(port) = wanted.port().checked_add(step) else { break };
        match bind(SocketAddr::new(wanted.ip(), port), config.limits.send_buffer_bytes) {
            Ok(listener) => return Ok(listener),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(source) => return Err(ViewerError::Listen { listen: wanted, source, flag }),
        }
    }
    Err(ViewerError::PortInUse { listen: wanted, tried: config.try_next_ports, flag })
}

/// Files of this process beside its viewer's connections: Kafka clients, segments of an embedded broker, cameras.
const OTHER_FILES: u64 = 2_048;

/// Systems often permit 1,024 open files, and more to those who ask. What is refused shows when connections are.
fn permit_files(connections: usize) {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = connections as u64 + OTHER_FILES;
    let granted = limit.maximum.map_or(wanted, |most| most.min(wanted));
    if limit.current.is_some_and(|current| current < granted)
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: Some(granted), ..limit })
    {
        tracing::warn!("the limit of open files cannot be raised to {granted}: {error}");
    }
}

fn bind(address: SocketAddr, send_buffer_bytes: u32) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // On Windows this would let another process take the port over.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    // Accepted connections inherit it. Left to itself, the system buffers seconds of video for a slow reader.
    socket.set_send_buffer_size(send_buffer_bytes)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}
