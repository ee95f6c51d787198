//! Remote segmenters: a service finds the objects; what comes back is checked, drawn as pixels, and measured like
//! builtin's, so that a table does not depend on who found them.
//!
//! | file | what it knows |
//! |---|---|
//! | `probe` | which protocol is spoken at an address |
//! | `spheroseg` | multipart upload in, outlines through pixel centres out; several images in one call |
//! | `oip/` | Open Inference Protocol v2: tensor in, mask out, as JSON or binary |
//! | `transport` | HTTP with its limits, statuses as errors |
//! | `fill`, `assembly` | outlines to pixels, pixels to measured objects |
//! | `error` | what can go wrong, and whose fault it is |
//!
//! Nothing here tries twice or remembers failures: callers put a breaker round it and jobs have their attempts.

mod assembly;
mod error;
mod fill;
mod oip;
mod probe;
mod spheroseg;
mod transport;

use std::fmt;
use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use parking_lot::Mutex;

use crate::settings::Ml;

use super::{Format, Parameters, Raster, Segmentation};

pub use error::{Failed, Fault, Outcomes, RemoteError};
pub use probe::Protocol;

use transport::Transport;

/// A page of an image, as its caller has it.
pub trait Page: Send + Sync {
    /// Why it cannot be read.
    type Error: Send;

    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// The file with the page in it, where the page is all that it holds; a service reads no other page of a stack.
    fn whole_file(&self) -> impl Future<Output = Result<Option<WholeFile>, Self::Error>> + Send;

    /// Decodes the page and works on it, where heavy work is done.
    fn with_raster<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Raster) -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, Self::Error>> + Send;

    /// The service has answered and has nothing more to do with the page.
    fn answered(&self) {}
}

/// A file as it was uploaded.
pub struct WholeFile {
    /// What its first bytes say it is.
    pub format: Format,
    /// Its length.
    pub bytes: u64,
    /// Its content.
    pub content: BoxStream<'static, std::io::Result<Bytes>>,
}

impl fmt::Debug for WholeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WholeFile")
            .field("format", &self.format)
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

/// What is asked of the service, beside the page.
#[derive(Debug, Clone)]
pub struct Request {
    /// Name of the request in the service's log: the job's.
    pub id: String,
    /// For whom.
    pub user: String,
    /// What the user chose.
    pub parameters: Parameters,
}

/// What bounds an answer.
#[derive(Debug, Clone, Copy)]
struct Limits {
    response_bytes_max: u64,
    polygons_max: usize,
    points_max: usize,
}

/// A remote segmenter.
#[derive(Debug)]
pub struct Remote {
    transport: Transport,
    limits: Limits,
    timeout: Duration,
    ml: Ml,
    /// Which protocol is spoken, once that is known, by settings or by asking.
    protocol: Mutex<Option<Protocol>>,
    oip: oip::Memory,
}

impl Remote {
    /// The service that the settings name; a call takes at most `timeout`. Nothing is asked yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(ml: &Ml, timeout: Duration) -> Result<Self, RemoteError> {
        Ok(Self {
            transport: Transport::new(ml)?,
            limits: Limits {
                response_bytes_max: ml.response_bytes_max,
                polygons_max: ml.polygons_max,
                points_max: ml.points_max,
            },
            timeout,
            protocol: Mutex::new(Protocol::given(ml.segmenter)),
            oip: oip::Memory::default(),
            ml: ml.clone(),
        })
    }

    /// Lets the service find the objects of a page, and measures them.
    ///
    /// # Errors
    /// What the service or the page is at fault for; see [`RemoteError::fault`].
    pub async fn segment<P: Page>(
        &self,
        page: &P,
        request: &Request,
    ) -> Result<Segmentation, Failed<P::Error>> {
        let call = async {
            match self.protocol().await? {
                Protocol::Spheroseg => spheroseg::segment(self, page, request).await,
                Protocol::OipV2 => oip::segment(self, page, request).await,
            }
        };
        let outcome = self.in_time(call).await;
        if matches!(&outcome, Err(Failed::Remote(error)) if error.fault() == Fault::Service) {
            self.forget();
        }
        outcome
    }

    /// The same for several pages in one call, each with its own outcome, in their order. A protocol that has no such
    /// call says nothing about any.
    ///
    /// # Errors
    /// Where the call as a whole failed.
    pub async fn segment_batch<P: Page>(
        &self,
        pages: &[(&P, &Request)],
    ) -> Result<Outcomes<P::Error>, Failed<P::Error>> {
        let call = async {
            match self.protocol().await? {
                Protocol::Spheroseg => spheroseg::segment_batch(self, pages).await,
                Protocol::OipV2 => Ok(pages.iter().map(|_| None).collect()),
            }
        };
        self.in_time(call).await
    }

    /// Whether several pages may go in one call, as far as is known yet.
    pub fn takes_batches(&self) -> bool {
        *self.protocol.lock() == Some(Protocol::Spheroseg)
    }

    /// Asks whether the service is there and ready; answers with the protocol that it speaks.
    ///
    /// # Errors
    /// When it is not.
    pub async fn ping(&self) -> Result<Protocol, RemoteError> {
        let protocol = self.protocol().await?;
        let path = match protocol {
            Protocol::Spheroseg => probe::SPHEROSEG_HEALTH,
            Protocol::OipV2 => oip::READY,
        };
        if self.transport.knows(path).await? {
            return Ok(protocol);
        }
        Err(RemoteError::Unknown(format!(
            "GET {path} is not answered with 200"
        )))
    }

    async fn protocol(&self) -> Result<Protocol, RemoteError> {
        let known = *self.protocol.lock();
        if let Some(protocol) = known {
            return Ok(protocol);
        }
        let found = probe::probe(&self.transport).await?;
        *self.protocol.lock() = Some(found);
        Ok(found)
    }

    /// After a failure what was learned of the service is learned anew: another version may stand there.
    fn forget(&self) {
        *self.protocol.lock() = Protocol::given(self.ml.segmenter);
        self.oip.forget();
    }

    async fn in_time<T, E>(
        &self,
        call: impl Future<Output = Result<T, Failed<E>>>,
    ) -> Result<T, Failed<E>> {
        let late = |_| {
            let after = self.timeout;
            Err(RemoteError::Timeout { after }.into())
        };
        tokio::time::timeout(self.timeout, call)
            .await
            .unwrap_or_else(late)
    }

    fn threshold(&self) -> f64 {
        f64::from(self.ml.threshold_percent) / 100.0
    }
}
