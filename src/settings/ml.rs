//! The section `ml`: who segments, and everything about a remote segmenter.

use secrecy::SecretString;
use serde::Deserialize;

/// Who segments, and the remote segmenter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ml {
    /// Who finds the objects.
    pub segmenter: MlSegmenter,
    /// Address of the service, without the protocol's own paths.
    pub url: SecretString,
    /// Sent as a bearer token; none where empty.
    pub token: SecretString,
    /// The model; where empty, that which a service of SpheroSeg's takes by itself.
    pub model: String,
    /// A pixel is an object's from this probability on, in percent.
    pub threshold_percent: u8,
    /// Whether a service of SpheroSeg's looks for holes.
    pub detect_holes: bool,
    /// What happens while the service is away.
    pub fallback: MlFallback,
    /// Longest wait for a connection.
    pub connect_timeout_ms: u64,
    /// Longest whole call, of which a little less than the job's own time is left at most.
    pub timeout_ms: u64,
    /// Longest answer in bytes.
    pub response_bytes_max: u64,
    /// Most outlines of an answer.
    pub polygons_max: usize,
    /// Most points of all outlines of an answer, and most pieces of rows of a mask.
    pub points_max: usize,
    /// Request bodies above this are sent with gzip where the protocol allows it (oip-v2); 0 sends none so.
    pub compress_above_bytes: u64,
    /// Most images of one call; 1 sends each alone.
    pub batch_max: usize,
    /// How long images of one owner are gathered for one call.
    pub batch_window_ms: u64,
    /// Images above this many pixels are sent alone, and a call holds no more together.
    pub batch_pixels_max: u64,
    /// Outcomes of calls that the breaker keeps.
    pub breaker_window_calls: usize,
    /// Below so many kept outcomes their share of failures says nothing.
    pub breaker_min_calls: usize,
    /// The breaker opens at this share of failures, in percent.
    pub breaker_failure_percent: u8,
    /// The breaker opens at so many failures in a row.
    pub breaker_consecutive_failures: u32,
    /// The breaker stays open at least this long.
    pub breaker_open_ms: u64,
    /// Up to this share of that time is added by chance, in percent.
    pub breaker_jitter_percent: u8,
    /// Calls that must succeed before the breaker closes.
    pub breaker_probes: u32,
}

/// Who finds the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MlSegmenter {
    /// The one in this program.
    Builtin,
    /// A service that speaks SpheroSeg's protocol.
    Spheroseg,
    /// A server of the Open Inference Protocol v2.
    OipV2,
    /// A service that is asked which of the two it speaks.
    Auto,
}

/// What happens to jobs while the remote segmenter is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MlFallback {
    /// They wait, and use no attempt.
    Wait,
    /// The builtin segmenter does them, and the result says so.
    Builtin,
}
