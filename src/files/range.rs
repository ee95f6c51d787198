//! The `Range` header (RFC 9110 §14): one range of bytes.

/// A range of bytes of an object, end exclusive; never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByteRange {
    /// First byte.
    pub start: u64,
    /// One past the last byte.
    pub end: u64,
}

/// No byte of the object is in the range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no byte of the {size_bytes} is in the range")]
pub struct BadRange {
    /// Size of the object in bytes.
    pub size_bytes: u64,
}

impl ByteRange {
    /// The range that a header asks of an object; `None` where the header is of another form (several ranges, another
    /// unit) and the whole object is to be answered, as the RFC allows.
    ///
    /// # Errors
    /// [`BadRange`] when no byte of the object is in it.
    pub fn parse(header: &str, size_bytes: u64) -> Result<Option<Self>, BadRange> {
        let Some((first, last)) = header
            .trim()
            .strip_prefix("bytes=")
            .filter(|ranges| !ranges.contains(','))
            .and_then(|range| range.split_once('-'))
        else {
            return Ok(None);
        };
        let (first, last) = (first.trim(), last.trim());
        let range = match (first.parse::<u64>(), last.parse::<u64>()) {
            (Ok(first), Ok(last)) if first <= last => Self {
                start: first,
                end: last.saturating_add(1).min(size_bytes),
            },
            (Ok(first), Err(_)) if last.is_empty() => Self {
                start: first,
                end: size_bytes,
            },
            (Err(_), Ok(suffix)) if first.is_empty() => Self {
                start: size_bytes.saturating_sub(suffix),
                end: size_bytes,
            },
            _ => return Ok(None),
        };
        if range.start < range.end {
            Ok(Some(range))
        } else {
            Err(BadRange { size_bytes })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_of_the_rfc() {
        let parsed = |header| ByteRange::parse(header, 1_000);
        let range = |start, end| Ok(Some(ByteRange { start, end }));
        assert_eq!(parsed("bytes=0-499"), range(0, 500));
        assert_eq!(parsed("bytes=500-"), range(500, 1_000));
        assert_eq!(parsed("bytes=-200"), range(800, 1_000));
        assert_eq!(parsed("bytes=-5000"), range(0, 1_000));
        assert_eq!(parsed("bytes=900-5000"), range(900, 1_000));
        assert_eq!(parsed("bytes=1000-"), Err(BadRange { size_bytes: 1_000 }));
        assert_eq!(parsed("bytes=-0"), Err(BadRange { size_bytes: 1_000 }));
        for other in [
            "items=0-1",
            "bytes=5-2",
            "bytes=0-1,3-4",
            "bytes=x-y",
            "bytes",
        ] {
            assert_eq!(parsed(other), Ok(None), "{other}");
        }
    }
}
