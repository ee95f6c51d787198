//! Which dead jobs are meant.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::domain::Error;
use crate::kit::id::{JobId, ProjectId, UserId};

/// Longest error class of a filter, in characters; ours are shorter than 20.
const CLASS_CHARS_MAX: usize = 100;
/// Jobs of any age died before this much from now: the clocks of instances differ by less.
const AHEAD: TimeDelta = TimeDelta::days(1);

/// What dead jobs have in common; what is not said does not matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Their project.
    #[serde(default)]
    pub project: Option<ProjectId>,
    /// Class of their last error, such as `bad_image`.
    #[serde(default)]
    pub error_class: Option<String>,
    /// Who asked for them.
    #[serde(default)]
    pub owner: Option<UserId>,
    /// They died at least this many seconds ago.
    #[serde(default)]
    pub older_than_s: Option<u32>,
}

impl Filter {
    pub(super) fn check(&self, field: &str) -> Result<(), Error> {
        let class = self.error_class.as_deref().unwrap_or_default();
        if class.chars().count() > CLASS_CHARS_MAX || class.chars().any(char::is_control) {
            let why = format!(
                "at most {CLASS_CHARS_MAX} characters are expected, without control characters"
            );
            return Err(Error::invalid(format!("{field}error_class"), why));
        }
        Ok(())
    }

    pub(super) fn died_before(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        match self.older_than_s {
            Some(age_s) => now - TimeDelta::seconds(i64::from(age_s)),
            None => now + AHEAD,
        }
    }
}

/// Which dead jobs something is done to: those with these ids, or those that a filter finds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// The jobs. All of them or, where one is not dead, none.
    #[serde(default)]
    pub ids: Vec<JobId>,
    /// What the jobs have in common; the oldest first.
    #[serde(default)]
    pub filter: Option<Filter>,
    /// Most jobs that the filter takes; `queue.batch_max` where it is not said.
    #[serde(default)]
    pub limit: Option<u32>,
}

impl Selection {
    /// One job.
    pub fn one(id: JobId) -> Self {
        Self {
            ids: vec![id],
            ..Self::default()
        }
    }

    pub(super) fn check(&self, most: usize) -> Result<(), Error> {
        match (&self.filter, self.ids.len()) {
            (None, 0) | (Some(_), 1..) => {
                Err(Error::invalid("/ids", "give either ids or a filter"))
            }
            (None, count) if count > most => {
                let why = format!("1 to {most} jobs are expected, not {count}");
                Err(Error::invalid("/ids", why))
            }
            (None, _) if self.limit.is_some() => {
                Err(Error::invalid("/limit", "a limit goes with a filter"))
            }
            (None, _) => Ok(()),
            (Some(filter), _) => {
                let limit = self.limit(most);
                if limit == 0 || limit as usize > most {
                    let why = format!("1 to {most} is expected, not {limit}");
                    return Err(Error::invalid("/limit", why));
                }
                filter.check("/filter/")
            }
        }
    }

    pub(super) fn limit(&self, most: usize) -> u32 {
        self.limit
            .unwrap_or_else(|| u32::try_from(most).unwrap_or(u32::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(selection: &Selection) -> Option<String> {
        match selection.check(10) {
            Err(Error::Invalid { field, .. }) => Some(field),
            Err(other) => panic!("{other}"),
            Ok(()) => None,
        }
    }

    #[test]
    fn a_selection_is_ids_or_a_filter_and_has_a_bound() {
        let id = JobId::from_uuid(uuid::Uuid::from_u128(1));
        let by_filter = |limit| Selection {
            filter: Some(Filter::default()),
            limit,
            ..Selection::default()
        };
        assert_eq!(refused(&Selection::one(id)), None);
        assert_eq!(refused(&by_filter(None)), None);
        assert_eq!(refused(&by_filter(Some(10))), None);
        for limit in [0, 11] {
            assert_eq!(refused(&by_filter(Some(limit))).as_deref(), Some("/limit"));
        }
        let both = Selection {
            ids: vec![id],
            ..by_filter(None)
        };
        let many = Selection {
            ids: vec![id; 11],
            ..Selection::default()
        };
        for wrong in [Selection::default(), both, many] {
            assert_eq!(refused(&wrong).as_deref(), Some("/ids"), "{wrong:?}");
        }
    }

    #[test]
    fn a_class_that_cannot_be_is_refused() {
        let wrong = Filter {
            error_class: Some("a\0b".into()),
            ..Filter::default()
        };
        assert!(wrong.check("").is_err());
    }
}
