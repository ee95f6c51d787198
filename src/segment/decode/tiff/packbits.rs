//! PackBits (TIFF 6.0, section 9), a piece at a time.

/// Where in a run the last piece ended.
#[derive(Debug, Default)]
pub(super) struct PackBits {
    run: Run,
}

#[derive(Debug, Default, Clone, Copy)]
enum Run {
    /// A count comes next.
    #[default]
    Between,
    /// So many bytes are to be copied.
    Literal(usize),
    /// The byte that comes next is to be repeated so many times.
    Repeated(usize),
    /// This byte so many times.
    Repeating(usize, u8),
}

impl PackBits {
    /// Unpacks what fits; says how many bytes were taken and made.
    pub fn unpack(&mut self, packed: &[u8], out: &mut [u8]) -> (usize, usize) {
        let (mut taken, mut made) = (0, 0);
        while made < out.len() {
            if let Run::Repeating(count, byte) = self.run {
                let length = count.min(out.len() - made);
                out[made..made + length].fill(byte);
                made += length;
                self.run = Run::repeating(count - length, byte);
                continue;
            }
            let Some(&next) = packed.get(taken) else {
                break;
            };
            match self.run {
                Run::Literal(count) => {
                    let length = count.min(out.len() - made).min(packed.len() - taken);
                    out[made..made + length].copy_from_slice(&packed[taken..taken + length]);
                    (taken, made) = (taken + length, made + length);
                    self.run = Run::literal(count - length);
                }
                Run::Repeated(count) => {
                    taken += 1;
                    self.run = Run::Repeating(count, next);
                }
                Run::Between | Run::Repeating(..) => {
                    taken += 1;
                    self.run = match next {
                        0..=127 => Run::Literal(usize::from(next) + 1),
                        128 => Run::Between,
                        129.. => Run::Repeated(257 - usize::from(next)),
                    };
                }
            }
        }
        (taken, made)
    }
}

impl Run {
    fn repeating(count: usize, byte: u8) -> Self {
        if count == 0 {
            Self::Between
        } else {
            Self::Repeating(count, byte)
        }
    }

    fn literal(count: usize) -> Self {
        if count == 0 {
            Self::Between
        } else {
            Self::Literal(count)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_give_the_same_bytes() {
        // The example of TIFF 6.0, page 42.
        let packed = [
            0xFE, 0xAA, 0x02, 0x80, 0x00, 0x2A, 0xFD, 0xAA, 0x03, 0x80, 0x00, 0x2A, 0x22, 0xF7,
            0xAA,
        ];
        let expected = [
            0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0xAA, 0xAA, 0xAA, 0xAA, 0x80, 0x00, 0x2A, 0x22,
            0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA, 0xAA,
        ];
        for (piece, room) in [(1, 1), (1, 24), (15, 1), (4, 3), (15, 24)] {
            let mut state = PackBits::default();
            let (mut out, mut from) = (Vec::<u8>::new(), 0);
            while out.len() < expected.len() {
                let mut buffer = vec![0; room.min(expected.len() - out.len())];
                let end = (from + piece).min(packed.len());
                let (taken, made) = state.unpack(&packed[from..end], &mut buffer);
                assert!(taken + made > 0, "it goes on");
                from += taken;
                out.extend(&buffer[..made]);
            }
            assert_eq!(out, expected, "pieces of {piece} into {room}");
        }
    }
}
