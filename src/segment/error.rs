//! Why an image could not be segmented, in words to which the caller can prefix the file's name.

use super::inspect::Format;

/// An image that cannot be read, parameters that make no sense, or work that was stopped.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file holds no bytes.
    #[error("the file is empty")]
    Empty,
    /// The first bytes belong to none of the formats.
    #[error("not an image in PNG, JPEG, BMP or TIFF format (it begins with {beginning})")]
    UnknownFormat {
        /// The first bytes, as text where they are text, else in hexadecimal.
        beginning: String,
    },
    /// The header or the pixel data are damaged.
    #[error("damaged {format}: {reason}")]
    Damaged {
        /// The format's name.
        format: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The file ends before its data do.
    #[error("truncated {format}: {reason}")]
    Truncated {
        /// The format's name.
        format: &'static str,
        /// What is missing.
        reason: String,
    },
    /// A valid file with a feature that is not read.
    #[error("{format} feature not supported: {reason}")]
    Unsupported {
        /// The format's name.
        format: &'static str,
        /// The feature.
        reason: String,
    },
    /// A side is longer than the limit.
    #[error("{width} × {height} pixels: a side may have at most {limit} pixels")]
    SideTooLong {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// The limit in pixels.
        limit: u32,
    },
    /// More pixels than the limit.
    #[error("{width} × {height} pixels are {pixels}: at most {limit} are allowed")]
    TooManyPixels {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// Width × height.
        pixels: u64,
        /// The limit in pixels.
        limit: u64,
    },
    /// So many pixels in so few bytes that the file is a decompression bomb or lies about its size.
    #[error(
        "{pixels} pixels in {bytes} bytes: more than {limit} pixels per byte is taken for a decompression bomb"
    )]
    TooDense {
        /// Width × height.
        pixels: u64,
        /// Length of the file in bytes.
        bytes: u64,
        /// The limit in pixels per byte.
        limit: u64,
    },
    /// Decoding needs a buffer larger than the limit.
    #[error("decoding needs a buffer of {bytes} bytes: at most {limit} are allowed")]
    BufferTooLarge {
        /// The buffer's size in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// Unpacking the page makes more bytes than the limit, used or not.
    #[error("the page unpacks to {bytes} bytes: at most {limit} are allowed")]
    TooMuchData {
        /// All samples of all strips or tiles, in bytes.
        bytes: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The page asked for is not in the file.
    #[error("there is no page {page}: the file has {pages} (counted from 0)")]
    NoSuchPage {
        /// The page asked for, from 0.
        page: u32,
        /// How many pages the file has.
        pages: u32,
    },
    /// More pages than the limit.
    #[error("more than {limit} pages")]
    TooManyPages {
        /// The limit.
        limit: u32,
    },
    /// A parameter is outside its range.
    #[error("parameter {name} is {value}: it must be {expected}")]
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// The value given.
        value: String,
        /// The range.
        expected: &'static str,
    },
    /// The progress callback said stop.
    #[error("the segmentation was cancelled")]
    Cancelled,
    /// Reading or writing failed.
    #[error("input or output failed: {0}")]
    Io(#[from] std::io::Error),
}

impl SegmentError {
    /// A file that is not what its format asks for.
    pub(super) fn damaged(format: Format, reason: impl Into<String>) -> Self {
        Self::Damaged {
            format: format.name(),
            reason: reason.into(),
        }
    }

    /// A file that ends too early.
    pub(super) fn truncated(format: Format, reason: impl Into<String>) -> Self {
        Self::Truncated {
            format: format.name(),
            reason: reason.into(),
        }
    }

    /// A valid file with a feature that is not read.
    pub(super) fn unsupported(format: Format, reason: impl Into<String>) -> Self {
        Self::Unsupported {
            format: format.name(),
            reason: reason.into(),
        }
    }

    /// A read that failed: at the file's end the file is cut, else the input is at fault.
    pub(super) fn reading(format: Format, what_ends: &str, error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => {
                Self::truncated(format, format!("the file ends within its {what_ends}"))
            }
            _ => Self::Io(error),
        }
    }
}
