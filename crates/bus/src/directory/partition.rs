//! A stream's first partition, as Kafka's Java client would choose it.

use lumenbus_frame::CameraId;

/// The partition a camera's streams begin in: `toPositive(murmur2(camera)) % partitions`, in `0..partitions`.
///
/// It is what the default partitioner of Kafka's Java client gives for the same key
/// (`org.apache.kafka.clients.producer.internals.BuiltInPartitioner`); a negative hash is masked, not negated.
/// Zero partitions are taken as one.
#[must_use]
pub fn first_partition(camera: &CameraId, partitions: u32) -> u32 {
    (murmur2(camera.as_str().as_bytes()) & 0x7fff_ffff) % partitions.max(1)
}

/// `org.apache.kafka.common.utils.Utils.murmur2`: 32 bits, seed 0x9747b28c, as the bits of Java's `int`.
pub(crate) fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let length = u32::try_from(data.len()).expect("a key is shorter than 4 GiB");
    let (words, tail) = data.as_chunks::<4>();
    let mut hash = SEED ^ length;
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !tail.is_empty() {
        let rest = tail.iter().rev().fold(0, |rest, byte| (rest << 8) | u32::from(*byte));
        hash = (hash ^ rest).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From Kafka's `UtilsTest.testMurmur2`.
    const KAFKA: &[(&str, i32)] = &[
        ("21", -973_932_308),
        ("foobar", -790_332_482),
        ("a-little-bit-long-string", -985_981_536),
        ("a-little-bit-longer-string", -1_486_304_829),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
        ("abc", 479_470_107),
    ];

    #[test]
    fn the_hash_is_that_of_the_java_client() {
        for (key, expected) in KAFKA {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), *expected, "{key}");
        }
    }

    #[test]
    fn a_negative_hash_is_masked_as_to_positive_does() {
        for (key, hash) in KAFKA {
            let camera = CameraId::new(key).unwrap();
            for partitions in [1, 2, 12, 48, 1_000] {
                let expected = (hash & 0x7fff_ffff) % i32::try_from(partitions).unwrap();
                assert_eq!(first_partition(&camera, partitions), expected.cast_unsigned(), "{key} of {partitions}");
            }
            assert_eq!(first_partition(&camera, 0), 0);
        }
    }
}
