//! Runs the builtin segmenter for a job, on the compute pool.

use crate::domain::jobs::Failure;
use crate::segment::{self, Segmentation};

use super::super::running::Computing;
use super::pages::JobPage;

/// Segments the job's page.
pub(super) async fn segment(
    page: &JobPage,
    computing: &Computing,
) -> Result<Segmentation, Failure> {
    let (parameters, computing) = (page.parameters().clone(), computing.clone());
    let segmented = page.decoded(move |raster| {
        segment::segment(raster, &parameters, &mut |percent| computing.step(percent))
    });
    segmented.await?.map_err(|error| page.refused(&error))
}
