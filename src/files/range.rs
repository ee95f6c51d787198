//! The `Range` header of a download (RFC 9110 §14.2), one range of bytes.

use std::ops::Range;

/// What of a file is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRange {
    /// All of it: no range, or one that this server may ignore (another unit, several ranges, bad syntax).
    Whole,
    /// These bytes, inside the file and not empty.
    Part(Range<u64>),
}

/// The range has no byte inside the file: to be answered 416 with `Content-Range: bytes */size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the range lies outside the file's {bytes} bytes")]
pub struct Unsatisfiable {
    /// Size of the file.
    pub bytes: u64,
}

/// The part of a file of `bytes` bytes that the value of a `Range` header asks for.
///
/// # Errors
/// When the range is well-formed and lies outside the file.
pub fn parse_range(header: Option<&str>, bytes: u64) -> Result<ByteRange, Unsatisfiable> {
    let Some(asked) = header.and_then(parse) else {
        return Ok(ByteRange::Whole);
    };
    let part = match asked {
        Asked::From(first) => first..bytes,
        Asked::Between(first, last) => first..bytes.min(last.saturating_add(1)),
        Asked::Last(count) => bytes.saturating_sub(count)..bytes,
    };
    match part.is_empty() {
        true => Err(Unsatisfiable { bytes }),
        false => Ok(ByteRange::Part(part)),
    }
}

enum Asked {
    From(u64),
    Between(u64, u64),
    Last(u64),
}

fn parse(header: &str) -> Option<Asked> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    match (number(first)?, number(last)?) {
        (Some(first), Some(last)) if first <= last => Some(Asked::Between(first, last)),
        (Some(first), None) => Some(Asked::From(first)),
        (None, Some(count)) => Some(Asked::Last(count)),
        _ => None,
    }
}

/// The number, or nothing where the text is empty; none at all where it is not one.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    // A number that does not fit is beyond every file.
    digits.then(|| Some(text.parse().unwrap_or(u64::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        for (header, part) in [
            ("bytes=0-0", 0..1),
            ("bytes=0-", 0..10),
            ("bytes=3-5", 3..6),
            ("Bytes = 9-99", 9..10),
            ("bytes=-4", 6..10),
            ("bytes=-99", 0..10),
            ("bytes=2-99999999999999999999", 2..10),
        ] {
            assert_eq!(
                parse_range(Some(header), 10),
                Ok(ByteRange::Part(part)),
                "{header}"
            );
        }
    }

    #[test]
    fn what_need_not_be_understood_is_the_whole() {
        let headers = [
            "",
            "bytes",
            "lines=0-1",
            "bytes=a-b",
            "bytes=5-3",
            "bytes=0-1,4-5",
            "bytes=-",
            "bytes=+1-2",
        ];
        for header in headers {
            assert_eq!(
                parse_range(Some(header), 10),
                Ok(ByteRange::Whole),
                "{header:?}"
            );
        }
        assert_eq!(parse_range(None, 0), Ok(ByteRange::Whole));
    }

    #[test]
    fn what_lies_outside_is_refused() {
        for (header, bytes) in [
            ("bytes=10-", 10),
            ("bytes=10-20", 10),
            ("bytes=-0", 10),
            ("bytes=-5", 0),
            ("bytes=0-", 0),
        ] {
            assert_eq!(
                parse_range(Some(header), bytes),
                Err(Unsatisfiable { bytes }),
                "{header}"
            );
        }
    }
}
