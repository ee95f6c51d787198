//! The assignment of a classic group's member, as it travels (Kafka protocol, `ConsumerProtocolAssignment`): version,
//! then topics, each with its partitions; big-endian; what follows is the assignor's own.

use std::collections::BTreeMap;

/// Topic → partitions, or `None` when the bytes are not an assignment. A member that has nothing yet has no bytes.
pub fn decode(bytes: &[u8]) -> Option<BTreeMap<String, Vec<i32>>> {
    if bytes.is_empty() {
        return Some(BTreeMap::new());
    }
    let mut rest = bytes;
    let _version = i16::from_be_bytes(take(&mut rest)?);
    let topics = i32::from_be_bytes(take(&mut rest)?);
    let mut assignment = BTreeMap::new();
    for _ in 0..topics {
        let length = usize::try_from(i16::from_be_bytes(take(&mut rest)?)).ok()?;
        let (name, after) = rest.split_at_checked(length)?;
        rest = after;
        let count = i32::from_be_bytes(take(&mut rest)?);
        let mut partitions = Vec::new();
        for _ in 0..count {
            partitions.push(i32::from_be_bytes(take(&mut rest)?));
        }
        partitions.sort_unstable();
        assignment.insert(String::from_utf8(name.to_vec()).ok()?, partitions);
    }
    Some(assignment)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_partitions_are_read() {
        let bytes = b"\0\x01\0\0\0\x01\0\x01t\0\0\0\x02\0\0\0\x05\0\0\0\x02\xff\xff\xff\xff";
        let expected = BTreeMap::from([("t".to_owned(), vec![2, 5])]);
        assert_eq!(decode(bytes), Some(expected));
    }

    #[test]
    fn bytes_that_end_too_early_are_no_assignment() {
        assert_eq!(decode(b"\0\x01\0\0\0\x01\0\x05t"), None);
        assert_eq!(decode(b""), Some(BTreeMap::new()));
    }
}
