//! Request bodies that must not fall silent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

/// The client sent nothing more of its body for too long.
#[derive(Debug, thiserror::Error)]
#[error("nothing more of the body came within {} s", idle.as_secs_f32())]
pub struct BodyStalled {
    /// The longest silence that is allowed.
    pub idle: Duration,
}

/// `body`, failing with [`BodyStalled`] when no frame comes within `idle` of being waited for.
pub fn with_idle_timeout(body: Body, idle: Duration) -> Body {
    Body::new(Watched {
        body,
        idle,
        silence: None,
    })
}

struct Watched {
    body: Body,
    idle: Duration,
    silence: Option<Pin<Box<Sleep>>>,
}

impl hyper::body::Body for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            // The timer is kept for the next silence: a body of 2 GiB has 100,000 frames.
            let next = Instant::now() + self.idle;
            if let Some(silence) = &mut self.silence {
                silence.as_mut().reset(next);
            }
            return Poll::Ready(frame);
        }
        let idle = self.idle;
        let silence = self.silence.get_or_insert_with(|| Box::pin(sleep(idle)));
        ready!(silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(axum::Error::new(BodyStalled { idle }))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_passes_and_a_silent_one_fails() {
        let start = Instant::now();
        let frames = futures::stream::iter([9, 9, 11]).then(|seconds| async move {
            sleep(Duration::from_secs(seconds)).await;
            Ok::<_, std::io::Error>(Bytes::from_static(b"x"))
        });
        let body = with_idle_timeout(Body::from_stream(frames), Duration::from_secs(10));
        let read: Vec<_> = body.into_data_stream().take(3).collect().await;
        assert!(read[0].is_ok() && read[1].is_ok());
        let error = read[2].as_ref().unwrap_err();
        assert_eq!(
            error.to_string(),
            "nothing more of the body came within 10 s"
        );
        assert_eq!(start.elapsed(), Duration::from_secs(28));
    }
}
