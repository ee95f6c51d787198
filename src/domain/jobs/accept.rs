//! A job as it was asked for becomes a row, or is refused with the place and field at fault.

use chrono::{DateTime, SubsecRound, Utc};

use crate::domain::Error;
use crate::domain::access::Principal;
use crate::domain::images::Image;
use crate::kit::id::JobId;
use crate::kit::lane::Lane;
use crate::segment::{Parameters, SegmentError};

use super::submission::Submitter;
use super::submit::NewJob;
use super::{Job, Kind, Status};

/// Longest `task_id`, in characters.
const TASK_ID_CHARS_MAX: usize = 200;

impl Submitter {
    /// The row of the job in this place of its request.
    ///
    /// # Errors
    /// [`Error::Invalid`], and [`Error::Forbidden`] for a priority above the principal's.
    pub(super) fn accepted(
        &self,
        principal: &Principal,
        place: usize,
        new: &NewJob,
        image: &Image,
    ) -> Result<Job, Error> {
        if new.page >= image.pages {
            let why = format!("page {} of an image with {} page(s)", new.page, image.pages);
            return Err(Error::invalid(format!("/jobs/{place}/page"), why));
        }
        check_parameters(place, &new.parameters)?;
        let now = self.clock.now();
        let id = JobId::new(&*self.clock);
        let heavy = image.width.saturating_mul(image.height) >= self.rules.large_pixels_min;
        Ok(Job {
            id,
            task_id: checked_task_id(place, new.task_id.as_deref(), id)?,
            kind: Kind::Segment,
            project: image.project,
            image: image.id,
            page: new.page,
            owner: principal.user,
            priority: self.checked_priority(principal, place, new.priority)?,
            parameters: new.parameters.clone(),
            status: Status::Queued,
            attempt: 0,
            failures: 0,
            max_failures: i64::from(self.rules.failures_max),
            crashes: 0,
            progress: 0,
            cancel_requested: false,
            error: None,
            segmenter: None,
            lane: if heavy { Lane::Large } else { Lane::Default },
            created_at: now,
            updated_at: now,
            scheduled_at: self.checked_due(place, new.scheduled_at, now)?,
            started_at: None,
            finished_at: None,
        })
    }

    fn checked_priority(
        &self,
        principal: &Principal,
        place: usize,
        asked: Option<u8>,
    ) -> Result<u8, Error> {
        let field = || format!("/jobs/{place}/priority");
        let ceiling = principal.priority_ceiling();
        match asked {
            Some(priority) if !(1..=10).contains(&priority) => Err(Error::invalid(
                field(),
                format!("1 to 10 is expected, not {priority}"),
            )),
            Some(priority) if priority > ceiling => Err(Error::Forbidden(format!(
                "{}: priority {priority} is above your ceiling of {ceiling}",
                field()
            ))),
            _ if !self.rules.priority_enabled => Ok(1),
            Some(priority) => Ok(priority),
            None => Ok(principal.default_priority()),
        }
    }

    /// The instant from which the job may run: now, unless a later one was asked for.
    fn checked_due(
        &self,
        place: usize,
        asked: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<DateTime<Utc>, Error> {
        let due = asked.unwrap_or(now).max(now);
        if due - now <= self.rules.delay_max {
            return Ok(due.trunc_subsecs(6));
        }
        let days = self.rules.delay_max.num_days();
        Err(Error::invalid(
            format!("/jobs/{place}/scheduled_at"),
            format!("a time within the next {days} days is expected, not {due}"),
        ))
    }
}

fn check_parameters(place: usize, parameters: &Parameters) -> Result<(), Error> {
    parameters.validate().map_err(|error| {
        let field = match &error {
            SegmentError::Parameter { name, .. } => format!("/jobs/{place}/parameters/{name}"),
            _ => format!("/jobs/{place}/parameters"),
        };
        Error::invalid(field, error.to_string())
    })
}

fn checked_task_id(place: usize, asked: Option<&str>, id: JobId) -> Result<String, Error> {
    let Some(asked) = asked else {
        return Ok(id.to_string());
    };
    if asked.is_empty()
        || asked.chars().count() > TASK_ID_CHARS_MAX
        || asked.chars().any(char::is_control)
    {
        let why =
            format!("1 to {TASK_ID_CHARS_MAX} characters are expected, without control characters");
        return Err(Error::invalid(format!("/jobs/{place}/task_id"), why));
    }
    Ok(asked.to_owned())
}
