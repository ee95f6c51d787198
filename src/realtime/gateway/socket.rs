//! The byte stream of one connection: everything that waits is written at once, and no buffer is held while it is silent.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::frame::{Decoder, Message, Violation};
use super::super::hub::outbox::{Outbox, Taken};

/// Frames that one system call writes.
const FRAMES_AT_ONCE: usize = 64;

/// Bytes that one system call reads, into the stack.
const READ_BYTES: usize = 4_096;

/// What a connection's task must look at.
#[derive(Debug)]
pub(super) enum Event {
    /// The client sent something.
    Message(Message),
    /// The outbox holds more than frames.
    Taken(Taken),
    /// The client broke the protocol.
    Violation(Violation),
    /// The connection is gone.
    Closed,
}

/// The stream with what is on its way in and out.
#[derive(Debug)]
pub(super) struct Socket<I> {
    io: I,
    decoder: Decoder,
    out: VecDeque<Bytes>,
    /// Whether the first frame has been written in part.
    in_frame: bool,
}

impl<I: AsyncRead + AsyncWrite + Unpin> Socket<I> {
    pub(super) fn new(io: I, message_bytes_max: usize) -> Self {
        Self {
            io,
            decoder: Decoder::new(message_bytes_max),
            out: VecDeque::new(),
            in_frame: false,
        }
    }

    /// Writes what waits in the outbox, and where `may_read` reads. Cancel-safe.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &Outbox,
        may_read: bool,
    ) -> Poll<Event> {
        if let Poll::Ready(taken) = outbox.poll_take(cx, &mut self.out)
            && (taken.overflowed || !taken.notices.is_empty())
        {
            return Poll::Ready(Event::Taken(taken));
        }
        if let Poll::Ready(Err(_)) = self.poll_write(cx, |bytes| outbox.written(bytes)) {
            return Poll::Ready(Event::Closed);
        }
        match may_read {
            true => self.poll_read(cx),
            false => Poll::Pending,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            match self.decoder.next_message() {
                Ok(Some(message)) => return Poll::Ready(Event::Message(message)),
                Err(violation) => return Poll::Ready(Event::Violation(violation)),
                Ok(None) => {}
            }
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            match ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.decoder.feed(buffer.filled()),
                Ok(()) | Err(_) => return Poll::Ready(Event::Closed),
            }
        }
    }

    /// Writes until nothing is left.
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        mut written: impl FnMut(usize),
    ) -> Poll<io::Result<()>> {
        while !self.out.is_empty() {
            let mut slices = [IoSlice::new(&[]); FRAMES_AT_ONCE];
            let mut count = 0;
            for (slice, frame) in slices.iter_mut().zip(&self.out) {
                *slice = IoSlice::new(frame);
                count += 1;
            }
            let bytes = ready!(Pin::new(&mut self.io).poll_write_vectored(cx, &slices[..count]))?;
            if bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.advance(bytes);
            written(bytes);
        }
        // A queue that has been large gives its memory back.
        self.out = VecDeque::new();
        Poll::Ready(Ok(()))
    }

    fn advance(&mut self, mut bytes: usize) {
        while let Some(first) = self.out.front_mut() {
            if bytes < first.len() {
                first.advance(bytes);
                self.in_frame |= bytes > 0;
                return;
            }
            bytes -= first.len();
            self.out.pop_front();
            self.in_frame = false;
        }
    }

    /// Drops what has not begun to be written.
    pub(super) fn drop_waiting(&mut self) {
        self.out.truncate(usize::from(self.in_frame));
    }

    /// Writes the rest and `last`, then reads until the client closes its end too.
    pub(super) async fn close(&mut self, last: Bytes) {
        self.out.push_back(last);
        let written = std::future::poll_fn(|cx| self.poll_write(cx, |_| {})).await;
        if written.is_err() {
            return;
        }
        loop {
            let event = std::future::poll_fn(|cx| self.poll_read(cx)).await;
            if !matches!(event, Event::Message(message) if !matches!(message, Message::Close(_))) {
                break;
            }
        }
        // Fails where the client was quicker.
        let _ = std::future::poll_fn(|cx| Pin::new(&mut self.io).poll_shutdown(cx)).await;
    }
}
