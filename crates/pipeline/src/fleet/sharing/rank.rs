//! Which node of several is a camera's: rendezvous hashing.

use lumenbus_frame::CameraId;

/// FNV-1a, 64 bits.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// How much a node is the camera's. The node with the highest has it, so that only the cameras of a node that comes or
/// goes move.
///
/// Frozen: nodes of different builds must come to the same.
pub(super) fn rank(node: u64, camera: &CameraId) -> u64 {
    mixed(fnv1a(camera.as_str().bytes(), FNV_OFFSET) ^ mixed(node))
}

/// Of a list of cameras, whatever its order: equal lists have equal revisions.
pub(super) fn revision<'a>(sorted: impl Iterator<Item = &'a CameraId>) -> u64 {
    // A byte that no id holds stands between them.
    mixed(sorted.fold(FNV_OFFSET, |hash, camera| fnv1a(camera.as_str().bytes().chain([0]), hash)))
}

fn fnv1a(bytes: impl Iterator<Item = u8>, from: u64) -> u64 {
    bytes.fold(from, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FNV_PRIME))
}

/// The last step of `SplitMix64`: every bit of the input reaches every bit of the output.
fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cameras(count: usize) -> Vec<CameraId> {
        (0..count).map(|number| format!("cam-{number}").parse().unwrap()).collect()
    }

    fn owner(nodes: &[u64], camera: &CameraId) -> u64 {
        *nodes.iter().max_by_key(|node| rank(**node, camera)).unwrap()
    }

    #[test]
    fn it_never_changes() {
        let gate: CameraId = "gate".parse().unwrap();
        assert_eq!(rank(1, &gate), 0x8072_3053_8f98_4547);
        assert_eq!(rank(u64::MAX, &gate), 0xe772_3409_2ba4_ff94);
        assert_eq!(revision([&gate].into_iter()), 0x4645_bf8d_afa6_f868);
        assert_eq!(revision([].into_iter()), 0xf52a_15e9_a9b5_e89b);
    }

    #[test]
    fn cameras_are_spread_and_only_those_of_a_lost_node_move() {
        let (cameras, nodes) = (cameras(1_000), [3, 7, 1 << 40, u64::MAX]);
        for node in nodes {
            let own = cameras.iter().filter(|camera| owner(&nodes, camera) == node).count();
            assert!((180..320).contains(&own), "{node}: {own}");
        }
        for camera in &cameras {
            let (of_four, of_three) = (owner(&nodes, camera), owner(&nodes[1..], camera));
            assert!(of_four == of_three || of_four == nodes[0]);
        }
    }

    #[test]
    fn other_lists_have_other_revisions() {
        let of = |ids: &[&str]| {
            let ids: Vec<CameraId> = ids.iter().map(|id| id.parse().unwrap()).collect();
            revision(ids.iter())
        };
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
        assert_ne!(of(&["a"]), of(&[]));
    }
}
