//! Which protocol is spoken at an address, found by asking for what only one of them has.

use crate::settings::MlSegmenter;

use super::RemoteError;
use super::transport::Transport;

/// Answered with 200 by a service of SpheroSeg's.
pub(super) const SPHEROSEG_HEALTH: &str = "/api/v1/health";
/// Answered with 200, and with its name, by every server of the Open Inference Protocol.
pub(super) const OIP_SERVER: &str = "/v2";

/// A protocol of a remote segmenter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// SpheroSeg's own.
    Spheroseg,
    /// Open Inference Protocol v2.
    OipV2,
}

impl Protocol {
    /// The name in settings and results.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Spheroseg => "spheroseg",
            Self::OipV2 => "oip-v2",
        }
    }

    /// What the settings say; none where it is to be found out.
    pub(super) const fn given(segmenter: MlSegmenter) -> Option<Self> {
        match segmenter {
            MlSegmenter::Spheroseg => Some(Self::Spheroseg),
            MlSegmenter::OipV2 => Some(Self::OipV2),
            MlSegmenter::Auto | MlSegmenter::Builtin => None,
        }
    }
}

/// Asks.
pub(super) async fn probe(transport: &Transport) -> Result<Protocol, RemoteError> {
    if transport.knows(OIP_SERVER).await? {
        return Ok(Protocol::OipV2);
    }
    if transport.knows(SPHEROSEG_HEALTH).await? {
        return Ok(Protocol::Spheroseg);
    }
    Err(RemoteError::Unknown(format!(
        "neither GET {OIP_SERVER} nor GET {SPHEROSEG_HEALTH} is answered with 200"
    )))
}
