//! What a sample is, and the type of grey value that holds it.

use std::io::{BufRead, Seek};

use super::FORMAT;
use super::directory::Directory;
use super::source::Source;
use crate::segment::SegmentError;

const BITS_PER_SAMPLE: u16 = 258;
const SAMPLE_FORMAT: u16 = 339;

/// What a sample is, with its bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unsigned(u16),
    Signed(u16),
    Float(u16),
}

/// The type of the grey values: the narrowest that holds the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    U8,
    U16,
    F32,
}

impl Kind {
    pub fn bits(self) -> u16 {
        match self {
            Self::Unsigned(bits) | Self::Signed(bits) | Self::Float(bits) => bits,
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (kind, bits) = match self {
            Self::Unsigned(bits) => ("unsigned", bits),
            Self::Signed(bits) => ("signed", bits),
            Self::Float(bits) => ("float", bits),
        };
        write!(f, "{bits}-bit {kind} samples")
    }
}

impl Values {
    pub fn of(kind: Kind) -> Self {
        match kind {
            Kind::Unsigned(..=8) => Self::U8,
            Kind::Unsigned(..=16) => Self::U16,
            _ => Self::F32,
        }
    }

    /// Bytes of a value.
    pub fn bytes(self) -> u64 {
        match self {
            Self::U8 => 1,
            Self::U16 => 2,
            Self::F32 => 4,
        }
    }
}

/// Reads what the samples of a page are.
pub(super) fn read<R: BufRead + Seek>(
    source: &mut Source<'_, R>,
    directory: &Directory,
) -> Result<Kind, SegmentError> {
    let bits = one_of(
        directory.numbers(source, BITS_PER_SAMPLE)?,
        1,
        "bits per sample",
    )?;
    let format = one_of(
        directory.numbers(source, SAMPLE_FORMAT)?,
        1,
        "sample formats",
    )?;
    let bits = u16::try_from(bits).unwrap_or(u16::MAX);
    let reason = match (format, bits) {
        // 4 is undefined data, which is taken as it comes.
        (1 | 4, 1..=16 | 32 | 64) => return Ok(Kind::Unsigned(bits)),
        (2, 8 | 16 | 32 | 64) => return Ok(Kind::Signed(bits)),
        (3, 16 | 32 | 64) => return Ok(Kind::Float(bits)),
        (5 | 6, _) => "complex samples".to_owned(),
        (1 | 4, _) => Kind::Unsigned(bits).to_string(),
        (2, _) => Kind::Signed(bits).to_string(),
        (3, _) => Kind::Float(bits).to_string(),
        (format, _) => format!("sample format {format}"),
    };
    Err(SegmentError::unsupported(FORMAT, reason))
}

/// The value that all samples share.
fn one_of(values: Option<Vec<u64>>, default: u64, name: &str) -> Result<u64, SegmentError> {
    let values = values.unwrap_or_default();
    let first = values.first().copied().unwrap_or(default);
    if let Some(other) = values.iter().find(|value| **value != first) {
        let reason = format!("samples with different {name}, {first} and {other}");
        return Err(SegmentError::unsupported(FORMAT, reason));
    }
    Ok(first)
}
