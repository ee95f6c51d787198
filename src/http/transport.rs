//! The byte stream under one connection, watched: every wait for the client has a limit, and every request head is
//! judged by the framing scanner before hyper sees it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::framing::{Scanner, Violation};

/// How long a connection may keep its server waiting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// For the first byte.
    pub(super) first_byte: Duration,
    /// From a head's first byte to its last.
    pub(super) head: Duration,
    /// Between two requests.
    pub(super) idle: Duration,
    /// For the client to take bytes of an answer.
    pub(super) write: Duration,
}

/// What the two ends of a connection, transport and service, know of each other.
#[derive(Debug, Default)]
pub(super) struct Exchange {
    in_flight: AtomicUsize,
    /// Cancelled when the first request begins.
    begun: CancellationToken,
    upgraded: AtomicBool,
    verdicts: Mutex<VecDeque<Option<Violation>>>,
    /// The reading task, parked while an answer is owed: hyper does not read again by itself once it is sent, and the
    /// time of the silence that follows would not run.
    reader: Mutex<Option<Waker>>,
}

/// Counts one request until its answer's body has been sent or dropped.
#[derive(Debug)]
pub(super) struct InFlight(Arc<Exchange>);

impl Exchange {
    pub(super) fn begin_request(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        self.begun.cancel();
        InFlight(Arc::clone(self))
    }

    /// Resolves when the connection's first request begins.
    pub(super) async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// The scanner's verdict on the HTTP/1 request that hyper hands over now.
    pub(super) fn next_verdict(&self) -> Option<Violation> {
        let verdict = self.verdicts.lock().pop_front();
        verdict.unwrap_or(Some(Violation::OutOfStep))
    }

    /// From now on the bytes are another protocol's, which keeps its own time.
    pub(super) fn upgrade(&self) {
        self.upgraded.store(true, Ordering::Release);
    }

    fn is_upgraded(&self) -> bool {
        self.upgraded.load(Ordering::Acquire)
    }

    /// Whether no answer is owed; else the task is woken when that is so.
    fn is_idle(&self, cx: &Context<'_>) -> bool {
        // The waker goes first: a request that ends in between finds it.
        *self.reader.lock() = Some(cx.waker().clone());
        self.in_flight.load(Ordering::Acquire) == 0
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let last = self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1;
        if last && let Some(reader) = self.0.reader.lock().take() {
            reader.wake();
        }
    }
}

/// A byte stream that gives up on a client which keeps it waiting.
#[derive(Debug)]
pub(super) struct Transport<I> {
    io: I,
    exchange: Arc<Exchange>,
    scanner: Scanner,
    patience: Patience,
    opened: Instant,
    received: bool,
    head_since: Option<Instant>,
    idle_since: Option<Instant>,
    read_timer: Timer,
    write_timer: Timer,
}

impl<I> Transport<I> {
    pub(super) fn new(io: I, exchange: Arc<Exchange>, patience: Patience) -> Self {
        Self {
            io,
            exchange,
            scanner: Scanner::default(),
            patience,
            opened: Instant::now(),
            received: false,
            head_since: None,
            idle_since: None,
            read_timer: Timer::default(),
            write_timer: Timer::default(),
        }
    }

    fn received(&mut self, bytes: &[u8]) {
        if bytes.is_empty() || self.exchange.is_upgraded() {
            return;
        }
        self.received = true;
        let exchange = &self.exchange;
        self.scanner
            .scan(bytes, |verdict| exchange.verdicts.lock().push_back(verdict));
        self.head_since = match self.scanner.in_head() {
            true => self.head_since.or_else(|| Some(Instant::now())),
            false => None,
        };
    }

    /// When the present wait for bytes ends; none while an answer is owed.
    fn read_deadline(&mut self, cx: &Context<'_>) -> Option<Instant> {
        if self.exchange.is_upgraded() || !self.exchange.is_idle(cx) {
            self.idle_since = None;
            return None;
        }
        if !self.received {
            return Some(self.opened + self.patience.first_byte);
        }
        if let Some(since) = self.head_since {
            return Some(since + self.patience.head);
        }
        let since = *self.idle_since.get_or_insert_with(Instant::now);
        Some(since + self.patience.idle)
    }

    fn write_deadline(&self) -> Option<Instant> {
        let limit = Instant::now() + self.patience.write;
        (!self.exchange.is_upgraded()).then(|| self.write_timer.deadline().unwrap_or(limit))
    }

    fn wrote<T>(
        &mut self,
        cx: &mut Context<'_>,
        progress: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.write_timer.clear();
            return progress;
        }
        let deadline = self.write_deadline();
        ready!(self.write_timer.poll(cx, deadline));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client does not take the answer",
        )))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Transport<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        if let Poll::Ready(outcome) = Pin::new(&mut self.io).poll_read(cx, buffer) {
            self.received(&buffer.filled()[before..]);
            return Poll::Ready(outcome);
        }
        let deadline = self.read_deadline(cx);
        ready!(self.read_timer.poll(cx, deadline));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the client sends nothing",
        )))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Transport<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.wrote(cx, progress)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.io).poll_write_vectored(cx, pieces);
        self.wrote(cx, progress)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.io).poll_flush(cx);
        self.wrote(cx, progress)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.io).poll_shutdown(cx);
        self.wrote(cx, progress)
    }
}

/// A deadline that may move, armed only while something waits.
#[derive(Debug, Default)]
struct Timer {
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Timer {
    fn deadline(&self) -> Option<Instant> {
        self.sleep.as_ref().map(|sleep| sleep.deadline())
    }

    fn clear(&mut self) {
        self.sleep = None;
    }

    /// Ready when `deadline` has passed; never without one.
    fn poll(&mut self, cx: &mut Context<'_>, deadline: Option<Instant>) -> Poll<()> {
        let Some(deadline) = deadline else {
            self.clear();
            return Poll::Pending;
        };
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() != deadline {
            sleep.as_mut().reset(deadline);
        }
        sleep.as_mut().poll(cx)
    }
}
