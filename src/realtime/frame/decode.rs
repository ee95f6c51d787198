//! Reads a client's frames, strictly: whoever breaks the protocol is told with which code the connection ends.

use std::collections::VecDeque;

use super::{CONTROL_BYTES_MAX, FIN, LENGTH_16, LENGTH_64, Opcode};

/// Set in the second byte of a masked frame.
const MASKED: u8 = 0x80;
/// The bits of extensions, of which there are none.
const RESERVED: u8 = 0x70;

/// What a client sent, complete and unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Text, checked to be UTF-8.
    Text(Vec<u8>),
    /// Bytes.
    Binary(Vec<u8>),
    /// Asks for a pong with the same bytes.
    Ping(Vec<u8>),
    /// Answers a ping.
    Pong,
    /// The client leaves, with this code where it gave one.
    Close(Option<u16>),
}

/// How a client broke the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The frame is none that a client may send here.
    #[error("{0}")]
    Protocol(&'static str),
    /// Text that is no UTF-8.
    #[error("text that is not UTF-8")]
    NotUtf8,
    /// A message above the limit.
    #[error("a message above the limit")]
    TooLarge,
}

impl Violation {
    /// The close code that the RFC gives it (§7.4.1).
    pub const fn close_code(self) -> u16 {
        match self {
            Self::Protocol(_) => 1002,
            Self::NotUtf8 => 1007,
            Self::TooLarge => 1009,
        }
    }
}

/// Turns bytes, cut anywhere, into messages. Holds no memory between messages.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: usize,
    /// Bytes of frames that are not complete.
    pending: VecDeque<u8>,
    /// The message whose last frame is yet to come.
    fragments: Option<(Opcode, Vec<u8>)>,
}

struct Head {
    fin: bool,
    opcode: Opcode,
    mask: [u8; 4],
    /// Of the head.
    length: usize,
    payload: usize,
}

impl Decoder {
    /// A decoder that refuses messages above `message_bytes_max`.
    pub fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            pending: VecDeque::new(),
            fragments: None,
        }
    }

    /// Takes bytes in the order in which they came.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.pending.extend(bytes);
    }

    /// The next message that is complete, if there is one.
    ///
    /// # Errors
    /// When the client broke the protocol; nothing that it sends from now on means anything.
    pub fn next_message(&mut self) -> Result<Option<Message>, Violation> {
        while let Some(head) = self.head()? {
            if self.pending.len() < head.length + head.payload {
                return Ok(None);
            }
            self.pending.drain(..head.length);
            let masked = self.pending.drain(..head.payload);
            let payload: Vec<u8> = masked
                .zip(head.mask.iter().cycle())
                .map(|(byte, mask)| byte ^ mask)
                .collect();
            if self.pending.is_empty() {
                self.pending = VecDeque::new();
            }
            if let Some(message) = self.accept(&head, payload)? {
                return Ok(Some(message));
            }
        }
        Ok(None)
    }

    /// The head at the front, judged as soon as it is complete; `None` before.
    fn head(&self) -> Result<Option<Head>, Violation> {
        let (Some(&first), Some(&second)) = (self.pending.front(), self.pending.get(1)) else {
            return Ok(None);
        };
        let opcode = self.opcode(first, second)?;
        let (length_bytes, inline) = match second & !MASKED {
            LENGTH_16 => (2, None),
            LENGTH_64 => (8, None),
            short => (0, Some(u64::from(short))),
        };
        let length = 2 + length_bytes + 4;
        if self.pending.len() < length {
            return Ok(None);
        }
        let number = |from: usize, bytes: usize| {
            let digits = self.pending.range(from..from + bytes);
            digits.fold(0, |number, byte| number << 8 | u64::from(*byte))
        };
        let payload = inline.unwrap_or_else(|| number(2, length_bytes));
        if inline.is_none() && is_shorter(payload, length_bytes) {
            return Err(Violation::Protocol("a length that is not the shortest"));
        }
        let mask = u32::try_from(number(length - 4, 4)).unwrap_or_default();
        Ok(Some(Head {
            fin: first & FIN != 0,
            opcode,
            mask: mask.to_be_bytes(),
            length,
            payload: self.admitted(opcode, payload)?,
        }))
    }

    fn opcode(&self, first: u8, second: u8) -> Result<Opcode, Violation> {
        let opcode = Opcode::of_bits(first & 0x0F);
        let opcode = opcode.ok_or(Violation::Protocol("an unknown opcode"))?;
        let protocol = |text| Err(Violation::Protocol(text));
        if first & RESERVED != 0 {
            return protocol("a reserved bit");
        }
        if second & MASKED == 0 {
            return protocol("a frame without a mask");
        }
        if opcode.is_control() {
            if first & FIN == 0 {
                return protocol("a control frame in pieces");
            }
            if usize::from(second & !MASKED) > CONTROL_BYTES_MAX {
                return protocol("a long control frame");
            }
            return Ok(opcode);
        }
        match (opcode, &self.fragments) {
            (Opcode::Continuation, None) => protocol("more of no message"),
            (Opcode::Text | Opcode::Binary, Some(_)) => protocol("a message inside another"),
            _ => Ok(opcode),
        }
    }

    /// The payload's length, where the message that it belongs to stays below the limit.
    fn admitted(&self, opcode: Opcode, payload: u64) -> Result<usize, Violation> {
        let payload = usize::try_from(payload).map_err(|_| Violation::TooLarge)?;
        let before = match &self.fragments {
            Some((_, content)) if !opcode.is_control() => content.len(),
            _ => 0,
        };
        if payload > self.message_bytes_max.saturating_sub(before) {
            return Err(Violation::TooLarge);
        }
        Ok(payload)
    }

    fn accept(&mut self, head: &Head, payload: Vec<u8>) -> Result<Option<Message>, Violation> {
        match head.opcode {
            Opcode::Ping => return Ok(Some(Message::Ping(payload))),
            Opcode::Pong => return Ok(Some(Message::Pong)),
            Opcode::Close => return close(&payload).map(Some),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => {}
        }
        let (opcode, content) = match self.fragments.take() {
            None => (head.opcode, payload),
            Some((opcode, mut content)) => {
                content.extend(payload);
                (opcode, content)
            }
        };
        if !head.fin {
            self.fragments = Some((opcode, content));
            return Ok(None);
        }
        if opcode == Opcode::Binary {
            return Ok(Some(Message::Binary(content)));
        }
        match std::str::from_utf8(&content) {
            Ok(_) => Ok(Some(Message::Text(content))),
            Err(_) => Err(Violation::NotUtf8),
        }
    }
}

/// Whether the number could have been sent in fewer bytes; one above 63 bits could not be sent at all.
fn is_shorter(length: u64, bytes: usize) -> bool {
    match bytes {
        2 => length < u64::from(LENGTH_16),
        _ => length <= u64::from(u16::MAX) || length > i64::MAX as u64,
    }
}

fn close(payload: &[u8]) -> Result<Message, Violation> {
    let (code, reason) = match payload {
        [] => return Ok(Message::Close(None)),
        [_] => return Err(Violation::Protocol("half a close code")),
        [high, low, reason @ ..] => (u16::from_be_bytes([*high, *low]), reason),
    };
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(Violation::Protocol("a close code that nobody may send"));
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(Message::Close(Some(code))),
        Err(_) => Err(Violation::NotUtf8),
    }
}

#[cfg(test)]
mod tests;
