//! Where a key goes: partition of the log, shard of the outbox, lane of a consumer. Frozen with the first record: another
//! choice would move keys and break their order.

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Shards of the outbox; each is relayed by one process at a time.
pub const SHARDS: u64 = 8;

/// Lanes in which a consumer handles the keys of one partition side by side.
pub const LANES: u64 = 16;

/// Shard and lane differ in the seed, and both from murmur2: with one hash for partition and lane, the keys of a
/// partition would fall on 4 lanes of 16.
const SHARD_SEED: u64 = 0x7368_6172_6473_2e31;
const LANE_SEED: u64 = 0x6c61_6e65_732e_3136;

/// The partition of a key among `partitions`, as Java's clients and librdkafka's `murmur2_random` choose it.
pub fn partition_of(key: &str, partitions: i32) -> i32 {
    (murmur2(key.as_bytes()) & 0x7fff_ffff) % partitions.max(1)
}

/// The outbox shard of a key, below [`SHARDS`].
pub fn shard_of(key: &str) -> i64 {
    (xxh3_64_with_seed(key.as_bytes(), SHARD_SEED) % SHARDS).cast_signed()
}

/// The consumer lane of a key, below [`LANES`].
pub fn lane_of(key: impl AsRef<[u8]>) -> usize {
    (xxh3_64_with_seed(key.as_ref(), LANE_SEED) % LANES) as usize
}

/// 32-bit MurmurHash2 (Austin Appleby) with the seed of `org.apache.kafka.common.utils.Utils.murmur2`.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ (data.len() as u32);
    let mut blocks = data.chunks_exact(4);
    for block in &mut blocks {
        let mut k = u32::from_le_bytes([block[0], block[1], block[2], block[3]]).wrapping_mul(M);
        k = (k ^ (k >> R)).wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ k;
    }
    let tail = blocks.remainder();
    if !tail.is_empty() {
        for (place, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * place);
        }
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    (hash ^ (hash >> 15)).cast_signed()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn murmur2_has_the_values_of_javas_own_test() {
        let golden: [(&[u8], i32); 6] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (
                b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            (b"abc", 479_470_107),
        ];
        for (data, hash) in golden {
            assert_eq!(murmur2(data), hash, "{}", String::from_utf8_lossy(data));
        }
    }

    #[test]
    fn partition_shard_and_lane_are_frozen() {
        let golden = [
            ("foobar", 6, 5, 13),
            ("21", 0, 3, 8),
            ("a-little-bit-long-string", 8, 0, 5),
        ];
        for (key, partition, shard, lane) in golden {
            assert_eq!(
                (partition_of(key, 12), shard_of(key), lane_of(key)),
                (partition, shard, lane),
                "{key:?}"
            );
        }
    }

    #[test]
    fn the_keys_of_one_partition_use_every_lane_and_every_shard() {
        let keys = (0..4_000).map(|n| format!("key-{n}"));
        let one: Vec<_> = keys.filter(|key| partition_of(key, 12) == 3).collect();
        let lanes: BTreeSet<_> = one.iter().map(lane_of).collect();
        let shards: BTreeSet<_> = one.iter().map(|key| shard_of(key)).collect();
        assert_eq!((lanes.len(), shards.len()), (16, 8));
    }
}
