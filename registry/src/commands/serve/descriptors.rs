//! Open files: how many this process may have.

use rustix::process::{Resource, getrlimit, setrlimit};

/// What a connection may need: its socket, and the file that it reads or writes.
const A_CONNECTION: u64 = 2;
/// What is open besides: databases, locks, connections to storage.
const BESIDES: u64 = 256;

/// Raises the limit as far as this process may, and returns for how many of `connections` there is room.
///
/// What a process begins with is usually 1,024, for the sake of old programs; what it may have is far more.
pub(super) fn make_room(connections: usize) -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    let wanted = u64::try_from(connections)
        .unwrap_or(u64::MAX)
        .saturating_mul(A_CONNECTION)
        .saturating_add(BESIDES);
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = match limit.maximum {
            Some(most) => Some(most.min(wanted)),
            None => Some(wanted),
        };
        if let Err(error) = setrlimit(Resource::Nofile, limit) {
            tracing::warn!(%error, "the limit of open files could not be raised");
        }
    }
    room(getrlimit(Resource::Nofile).current, connections)
}

fn room(descriptors: Option<u64>, connections: usize) -> usize {
    let Some(descriptors) = descriptors else {
        return connections;
    };
    let room = descriptors.saturating_sub(BESIDES) / A_CONNECTION;
    let room = usize::try_from(room).unwrap_or(usize::MAX).max(1);
    if room < connections {
        tracing::warn!(
            connections = room,
            "{descriptors} open files are room for fewer connections than limits.connections: raise the limit \
             (ulimit -n, LimitNOFILE=)"
        );
    }
    room.min(connections)
}

#[cfg(test)]
mod tests {
    use super::room;

    #[test]
    fn connections_are_as_many_as_there_are_descriptors_for() {
        assert_eq!(room(None, 4096), 4096);
        assert_eq!(room(Some(1 << 20), 4096), 4096);
        assert_eq!(room(Some(1024), 4096), 384);
        assert_eq!(room(Some(100), 4096), 1);
    }
}
