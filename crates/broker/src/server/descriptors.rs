//! Open files: connections must not take those that the log needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// More than anybody needs; some systems permit a thousand times as many and count through them all.
const MOST_FILES: u64 = 1 << 20;

/// Raises the limit of open files as far as the system permits, and tells how many of `wanted`
/// connections fit into half of it. Segments, other clients and cameras of the process have the rest.
pub(crate) fn bound_connections(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let granted = limit.maximum.map_or(MOST_FILES, |most| most.min(MOST_FILES));
    let mut current = limit.current;
    if current.is_some_and(|current| current < granted) {
        match setrlimit(Resource::Nofile, Rlimit { current: Some(granted), ..limit }) {
            Ok(()) => current = Some(granted),
            Err(error) => tracing::warn!("the limit of open files cannot be raised to {granted}: {error}"),
        }
    }
    let bounded = half_of(current, wanted);
    if bounded < wanted {
        tracing::info!(
            connections = bounded,
            files = current,
            "fewer connections than wanted: the system's limit of open files (ulimit -n) is too low"
        );
    }
    bounded
}

fn half_of(files: Option<u64>, wanted: usize) -> usize {
    let half = files.map_or(usize::MAX, |files| usize::try_from(files / 2).unwrap_or(usize::MAX));
    wanted.min(half.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_take_half_of_the_files() {
        assert_eq!(half_of(None, 4096), 4096);
        assert_eq!(half_of(Some(20_000), 4096), 4096);
        assert_eq!(half_of(Some(1024), 4096), 512);
        assert_eq!(half_of(Some(0), 4096), 1);
    }

    #[test]
    fn the_limit_is_raised() {
        assert!(bound_connections(4096) > 0);
        let limit = getrlimit(Resource::Nofile);
        let most = limit.maximum.map_or(MOST_FILES, |most| most.min(MOST_FILES));
        assert!(limit.current.is_none_or(|current| current >= most));
    }
}
