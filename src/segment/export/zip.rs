//! A ZIP archive of small files, uncompressed: what other programs expect a set of files in.
//!
//! Every length stands before its data, as Java's `ZipInputStream`, which ImageJ reads with, wants it of uncompressed
//! files. Source: PKWARE, .ZIP File Format Specification (APPNOTE) 6.3.10, §4.3.

use std::io::{self, Write};

/// Version of the format that is needed to read the archive: 1.0, in tenths.
const VERSION: u16 = 10;
/// Names are UTF-8.
const FLAGS: u16 = 1 << 11;
/// 1 January 1980, the first day there is: an archive of the same results has the same bytes.
const DATE: u16 = 1 << 5 | 1;

/// An archive that grows file by file.
pub(super) struct Zip<W: Write> {
    writer: W,
    written: u32,
    directory: Vec<u8>,
    files: u16,
}

impl<W: Write> Zip<W> {
    pub fn new(writer: W) -> Self {
        Self {
            writer,
            written: 0,
            directory: Vec::new(),
            files: 0,
        }
    }

    /// Adds a file.
    ///
    /// # Errors
    /// Where writing fails, and beyond 65,535 files or 4 GiB.
    pub fn file(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let start = self.written;
        let about = about(name, bytes)?;
        self.put(b"PK\x03\x04")?;
        self.put(&about)?;
        self.put(name.as_bytes())?;
        self.put(bytes)?;
        self.files = self.files.checked_add(1).ok_or_else(too_large)?;
        self.directory.extend(b"PK\x01\x02");
        self.directory.extend(VERSION.to_le_bytes());
        self.directory.extend(about);
        // Comment, disk and attributes.
        self.directory.extend([0; 10]);
        self.directory.extend(start.to_le_bytes());
        self.directory.extend(name.as_bytes());
        Ok(())
    }

    /// Ends the archive with its directory.
    ///
    /// # Errors
    /// As [`Self::file`].
    pub fn finish(mut self) -> io::Result<()> {
        let start = self.written;
        let directory = std::mem::take(&mut self.directory);
        self.put(&directory)?;
        let files = self.files.to_le_bytes();
        let length = self.written - start;
        self.put(b"PK\x05\x06\0\0\0\0")?;
        self.put(&[files, files].concat())?;
        self.put(&length.to_le_bytes())?;
        self.put(&start.to_le_bytes())?;
        self.put(&[0; 2])?;
        self.writer.flush()
    }

    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(bytes.len()).ok();
        let written = length.and_then(|length| self.written.checked_add(length));
        self.written = written.ok_or_else(too_large)?;
        self.writer.write_all(bytes)
    }
}

/// The part that a file's own header and the directory's have in common: from the version to the length of the extra
/// field.
fn about(name: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(bytes.len()).map_err(|_| too_large())?;
    let name = u16::try_from(name.len()).map_err(|_| too_large())?;
    let mut about = Vec::with_capacity(26);
    // Method and time are 0: stored, at midnight.
    for short in [VERSION, FLAGS, 0, 0, DATE] {
        about.extend(short.to_le_bytes());
    }
    for long in [crc32(bytes), length, length] {
        about.extend(long.to_le_bytes());
    }
    about.extend(name.to_le_bytes());
    about.extend([0; 2]);
    Ok(about)
}

fn too_large() -> io::Error {
    io::Error::other("more than a ZIP archive holds: 65,535 files, 4 GiB")
}

/// CRC-32 (ISO-HDLC), as PNG has it too (ISO/IEC 15948, annex D).
fn crc32(bytes: &[u8]) -> u32 {
    const REVERSED_POLYNOMIAL: u32 = 0xEDB8_8320;
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut rest = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                rest = if rest & 1 == 1 {
                    rest >> 1 ^ REVERSED_POLYNOMIAL
                } else {
                    rest >> 1
                };
                bit += 1;
            }
            table[byte] = rest;
            byte += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |rest, byte| {
        TABLE[usize::from(rest as u8 ^ byte)] ^ rest >> 8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn the_directory_points_at_every_file() {
        let mut archive = Vec::new();
        let mut zip = Zip::new(&mut archive);
        zip.file("a.roi", b"one").unwrap();
        zip.file("b.roi", b"three").unwrap();
        zip.finish().unwrap();
        let end = archive.len() - 22;
        assert_eq!(archive[end..end + 4], *b"PK\x05\x06");
        let long = |at: usize| u32::from_le_bytes(archive[at..at + 4].try_into().unwrap());
        assert_eq!((archive[end + 8], archive[end + 10]), (2, 2));
        let mut entry = long(end + 16) as usize;
        assert_eq!(entry + long(end + 12) as usize, end);
        for (name, bytes) in [("a.roi", &b"one"[..]), ("b.roi", b"three")] {
            assert_eq!(archive[entry..entry + 4], *b"PK\x01\x02");
            let start = long(entry + 42) as usize;
            assert_eq!(archive[start..start + 4], *b"PK\x03\x04");
            assert_eq!(
                archive[start + 4..start + 30],
                archive[entry + 6..entry + 32]
            );
            assert_eq!(long(start + 14), crc32(bytes));
            assert_eq!(&archive[start + 30..start + 35], name.as_bytes());
            assert_eq!(&archive[start + 35..][..bytes.len()], bytes);
            entry += 46 + name.len();
        }
    }
}
