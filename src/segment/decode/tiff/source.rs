//! The file as ranges of bytes.

use std::io::{self, BufRead, Seek, SeekFrom};

/// A reader that knows where it stands, so that reading on costs no seek.
pub(super) struct Source<'a, R> {
    reader: &'a mut R,
    position: u64,
    /// Length of the file in bytes.
    pub length: u64,
}

impl<'a, R: BufRead + Seek> Source<'a, R> {
    /// The file, of this length.
    pub fn new(reader: &'a mut R, length: u64) -> io::Result<Self> {
        let position = reader.seek(SeekFrom::Start(0))?;
        Ok(Self {
            reader,
            position,
            length,
        })
    }

    /// Fills the buffer with what stands at this place.
    pub fn read_at(&mut self, at: u64, buffer: &mut [u8]) -> io::Result<()> {
        if at > self.length || buffer.len() as u64 > self.length - at {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match i64::try_from(i128::from(at) - i128::from(self.position)) {
            Ok(0) => {}
            // Relative, because that keeps what the reader has read ahead.
            Ok(distance) => self.reader.seek_relative(distance)?,
            Err(_) => return Err(io::ErrorKind::UnexpectedEof.into()),
        }
        self.position = at;
        self.reader.read_exact(buffer)?;
        self.position += buffer.len() as u64;
        Ok(())
    }

    /// Reads so many bytes; memory is taken only for what the file has.
    pub fn bytes_at(&mut self, at: u64, length: u64) -> io::Result<Vec<u8>> {
        if at > self.length || length > self.length - at {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(io::Error::other)?];
        self.read_at(at, &mut bytes)?;
        Ok(bytes)
    }
}
