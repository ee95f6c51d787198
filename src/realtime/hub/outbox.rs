//! What waits to be written to one connection. Bounded in bytes: who does not read is closed, never waited for, and never
//! sees a gap that it is not told of.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures::task::AtomicWaker;
use parking_lot::Mutex;

use super::super::protocol::Codec;

/// Something that the connection must know besides what it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// The hub ended the subscription of this channel, and the client is told.
    Unsubscribed(String),
    /// What the client may hear is to be looked at again.
    AccessChanged,
}

/// The queue of one connection. Written by the hub and by the connection itself, emptied by the connection's task.
#[derive(Debug)]
pub struct Outbox {
    codec: Codec,
    bytes_max: usize,
    content: Mutex<Content>,
    filled: AtomicWaker,
}

#[derive(Debug, Default)]
struct Content {
    frames: VecDeque<Bytes>,
    /// Of the frames and of those taken but not written.
    bytes: usize,
    overflowed: bool,
    notices: Vec<Notice>,
}

/// What an outbox held.
#[derive(Debug, Default)]
pub struct Taken {
    /// More waited than may.
    pub overflowed: bool,
    /// What the connection must know.
    pub notices: Vec<Notice>,
}

impl Outbox {
    /// An empty outbox of a connection that speaks this form and may have `bytes_max` bytes waiting.
    pub fn new(codec: Codec, bytes_max: usize) -> Self {
        Self {
            codec,
            bytes_max,
            content: Mutex::default(),
            filled: AtomicWaker::new(),
        }
    }

    /// The form of its frames.
    pub const fn codec(&self) -> Codec {
        self.codec
    }

    /// Adds what is to be written. Above the bound everything that waits is dropped, and the connection is to be closed.
    pub fn put(&self, frame: Bytes) {
        {
            let mut content = self.content.lock();
            if content.overflowed {
                return;
            }
            content.bytes += frame.len();
            if content.bytes > self.bytes_max {
                content.frames = VecDeque::new();
                content.overflowed = true;
            } else {
                content.frames.push_back(frame);
            }
        }
        self.filled.wake();
    }

    /// Adds what the connection must know.
    pub fn notify(&self, notice: Notice) {
        self.content.lock().notices.push(notice);
        self.filled.wake();
    }

    /// Moves everything that waits into `frames`; pending where there is nothing. For one task.
    pub fn poll_take(&self, cx: &Context<'_>, frames: &mut VecDeque<Bytes>) -> Poll<Taken> {
        // The waker goes first: what is put in between finds it.
        self.filled.register(cx.waker());
        let mut content = self.content.lock();
        if content.frames.is_empty() && content.notices.is_empty() && !content.overflowed {
            return Poll::Pending;
        }
        // An empty queue holds no memory.
        frames.append(&mut std::mem::take(&mut content.frames));
        Poll::Ready(Taken {
            overflowed: content.overflowed,
            notices: std::mem::take(&mut content.notices),
        })
    }

    /// So many bytes of what was taken have been written.
    pub fn written(&self, bytes: usize) {
        let mut content = self.content.lock();
        content.bytes = content.bytes.saturating_sub(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbox() -> Outbox {
        Outbox::new(Codec::Json, 10)
    }

    fn take(outbox: &Outbox) -> Poll<(Vec<Bytes>, Taken)> {
        let mut frames = VecDeque::new();
        let cx = Context::from_waker(std::task::Waker::noop());
        let taken = outbox.poll_take(&cx, &mut frames);
        taken.map(|taken| (frames.into(), taken))
    }

    #[test]
    fn everything_that_waits_is_taken_at_once() {
        let outbox = outbox();
        assert!(take(&outbox).is_pending());
        outbox.put(Bytes::from_static(b"one"));
        outbox.put(Bytes::from_static(b"two"));
        let Poll::Ready((frames, taken)) = take(&outbox) else {
            panic!("something waits");
        };
        assert_eq!(frames, ["one", "two"]);
        assert!(!taken.overflowed);
        assert!(take(&outbox).is_pending());
    }

    #[test]
    fn what_is_taken_but_not_written_counts() {
        let outbox = outbox();
        outbox.put(Bytes::from_static(b"12345678"));
        assert!(take(&outbox).is_ready());
        outbox.put(Bytes::from_static(b"9ab"));
        assert!(
            matches!(take(&outbox), Poll::Ready((frames, taken)) if frames.is_empty() && taken.overflowed)
        );
    }

    #[test]
    fn what_is_written_makes_room() {
        let outbox = outbox();
        outbox.put(Bytes::from_static(b"12345678"));
        assert!(take(&outbox).is_ready());
        outbox.written(8);
        outbox.put(Bytes::from_static(b"12345678"));
        assert!(matches!(take(&outbox), Poll::Ready((_, taken)) if !taken.overflowed));
    }
}
