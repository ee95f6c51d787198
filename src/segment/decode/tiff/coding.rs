//! How strips and tiles are packed, by the codes of their tags.

use super::FORMAT;
use crate::segment::SegmentError;

/// How strips and tiles are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Stored,
    PackBits,
    Lzw,
    Deflate,
    Zstd,
    Jpeg,
}

/// How values were changed to compress better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    Horizontal,
    Float,
}

impl Compression {
    /// TIFF 6.0 and the registered codes that microscopes and their programs use.
    pub fn of(code: u64) -> Result<Self, SegmentError> {
        let name = match code {
            1 => return Ok(Self::Stored),
            5 => return Ok(Self::Lzw),
            7 => return Ok(Self::Jpeg),
            8 | 32_946 => return Ok(Self::Deflate),
            32_773 => return Ok(Self::PackBits),
            34_926 | 50_000 => return Ok(Self::Zstd),
            2..=4 | 32_771 => "CCITT",
            6 => "old-style JPEG",
            9 | 10 => "JBIG",
            33_003..=33_005 | 34_712 => "JPEG 2000",
            34_887 => "LERC",
            34_892 => "lossy JPEG of DNG",
            34_925 => "LZMA",
            34_927 | 50_001 => "WebP",
            34_933 => "PNG",
            34_934 | 22_610 => "JPEG XR",
            50_002 | 52_546 => "JPEG XL",
            _ => "unknown",
        };
        let reason = format!("{name} compression ({code})");
        Err(SegmentError::unsupported(FORMAT, reason))
    }
}

impl Predictor {
    /// JPEG has none; without compression most writers have none, but some have, and then it is meant.
    pub fn of(code: u64, compression: Compression) -> Result<Self, SegmentError> {
        match (compression, code) {
            (Compression::Jpeg, _) | (_, 1) => Ok(Self::None),
            (_, 2) => Ok(Self::Horizontal),
            (_, 3) => Ok(Self::Float),
            (_, code) => {
                let reason = format!("predictor {code}");
                Err(SegmentError::unsupported(FORMAT, reason))
            }
        }
    }
}
