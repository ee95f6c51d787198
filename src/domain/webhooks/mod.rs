//! Webhooks: a project's owners name addresses to which its events are sent, signed as Standard Webhooks says
//! (standardwebhooks.com). A delivery is a row, written in the transaction that marks its event as done; whoever sends it
//! claims it for a while, so that no sending is lost with its process and each has one `webhook-id` however often it is
//! tried.
//!
//! * `signature`: secrets and what they sign.
//! * `delivery`: what is sent, and how its sendings end.

mod delivery;
mod signature;
mod store;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::db::{Db, Tx, run_tx};
use crate::domain::Error;
use crate::domain::access::{self, Principal, Role};
use crate::events::{Event, Fact};
use crate::kit::clock::Clock;
use crate::kit::id::{ProjectId, UserId, WebhookId};

pub use delivery::{
    Delivery, Outcome, Sending, claim, deliveries, end, expire, plan, redeliver, wanted,
};
pub use signature::Secret;

/// Webhooks of one project.
const PER_PROJECT_MAX: u32 = 20;
/// Characters of an address.
const URL_CHARS_MAX: usize = 2_000;

/// Where a project's events are sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    /// Its id.
    pub id: WebhookId,
    /// The project.
    pub project: ProjectId,
    /// The address.
    pub url: String,
    /// The types of the events that are sent; empty: all.
    pub events: Vec<String>,
    /// Who made it.
    pub created_by: UserId,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Since when nothing is sent, because its server answered that it is gone for good (410).
    pub disabled_at: Option<DateTime<Utc>>,
}

impl Webhook {
    /// Whether it is to be told of this event.
    fn wants(&self, event: &Event) -> bool {
        let kind = event.fact.kind();
        let is_named = self.events.is_empty() || self.events.iter().any(|wanted| wanted == kind);
        is_named && self.project == event.fact.project() && self.disabled_at.is_none()
    }
}

/// A webhook that is to be made.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct NewWebhook {
    /// The address.
    pub url: String,
    /// The types of the events to send; all where empty or absent.
    #[serde(default)]
    pub events: Vec<String>,
}

/// A webhook that was made, with the secret that is shown only now.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Made {
    /// The webhook.
    #[serde(flatten)]
    pub webhook: Webhook,
    /// What signs its deliveries, as `whsec_…`.
    pub secret: Secret,
}

/// Makes a webhook inside the caller's transaction. Only owners may. Whether the address may be reached is judged at each
/// sending, where its name is looked up.
///
/// # Errors
/// [`Error::Invalid`] naming the field, [`Error::NotFound`] for strangers, [`Error::Forbidden`] for others than owners,
/// [`Error::Conflict`] where the project has as many as it may.
pub async fn create(
    tx: &mut Tx,
    clock: &dyn Clock,
    principal: &Principal,
    project: ProjectId,
    new: &NewWebhook,
) -> Result<Made, Error> {
    access::require(tx, principal, project, Role::Owner).await?;
    let made = Made {
        webhook: Webhook {
            id: WebhookId::new(clock),
            project,
            url: checked_url(&new.url)?,
            events: checked_events(&new.events)?,
            created_by: principal.user,
            created_at: clock.now(),
            disabled_at: None,
        },
        secret: Secret::random(),
    };
    if store::count(tx, project).await? >= i64::from(PER_PROJECT_MAX) {
        return Err(Error::Conflict(format!(
            "a project has at most {PER_PROJECT_MAX} webhooks"
        )));
    }
    store::insert(tx, &made).await?;
    Ok(made)
}

/// The webhooks of a project, oldest first. Only owners see them: an address may carry a secret of its own.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for others than owners.
pub async fn list(
    db: &Db,
    principal: &Principal,
    project: ProjectId,
) -> Result<Vec<Webhook>, Error> {
    let mut tx = db.reader().await?;
    access::require(&mut tx, principal, project, Role::Owner).await?;
    Ok(store::of_projects(&mut tx, &[project]).await?)
}

/// Removes a webhook and its deliveries.
///
/// # Errors
/// [`Error::NotFound`] for strangers, [`Error::Forbidden`] for others than owners.
pub async fn remove(db: &Db, principal: &Principal, id: WebhookId) -> Result<(), Error> {
    run_tx!(db, "webhook.remove", |tx| -> Result<(), Error> {
        require(tx, principal, id).await?;
        Ok(store::remove(tx, id).await?)
    })
}

/// The webhook, for an owner of its project.
async fn require(tx: &mut Tx, principal: &Principal, id: WebhookId) -> Result<Webhook, Error> {
    let found = store::find(tx, id).await?;
    let found = found.map(|webhook| {
        let project = webhook.project;
        (webhook, project)
    });
    let named = ("webhook", id.to_string());
    access::require_through(tx, principal, named, found, Role::Owner).await
}

fn checked_url(url: &str) -> Result<String, Error> {
    let refuse = |why: &str| Err(Error::invalid("/url", why));
    if url.chars().count() > URL_CHARS_MAX {
        return refuse("an address of at most 2,000 characters is expected");
    }
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"));
    let Some(rest) = rest else {
        return refuse("an address that begins with https:// is expected");
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.is_empty() || url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return refuse("an address with a host and without spaces is expected");
    }
    if authority.contains('@') {
        return refuse("an address without name and password is expected; deliveries are signed");
    }
    Ok(url.to_owned())
}

fn checked_events(events: &[String]) -> Result<Vec<String>, Error> {
    for (place, kind) in events.iter().enumerate() {
        if !Fact::KINDS.contains(&kind.as_str()) {
            return Err(Error::invalid(
                format!("/events/{place}"),
                format!(
                    "one of {} is expected, not {kind:?}",
                    Fact::KINDS.join(", ")
                ),
            ));
        }
    }
    Ok(events.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::types::MemberRemoved;
    use crate::kit::clock::SystemClock;

    #[test]
    fn addresses_without_host_or_with_passwords_are_refused() {
        for good in ["https://example.org/hook?x=1", "http://10.0.0.7:8080"] {
            assert_eq!(checked_url(good).unwrap(), good);
        }
        for bad in [
            "",
            "example.org",
            "ftp://example.org",
            "https://",
            "https:///path",
            "https://user:word@example.org",
            "https://exam ple.org",
        ] {
            let error = checked_url(bad).unwrap_err().to_string();
            assert!(error.starts_with("/url: "), "{bad}: {error}");
        }
    }

    #[test]
    fn an_event_goes_to_the_webhooks_of_its_project_that_want_it() {
        let removed = MemberRemoved {
            user_id: UserId::new(&SystemClock),
            project_id: ProjectId::new(&SystemClock),
        };
        let of_project = |project, events: &[&str]| Webhook {
            id: WebhookId::new(&SystemClock),
            project,
            url: "https://example.org".to_owned(),
            events: events.iter().map(ToString::to_string).collect(),
            created_by: removed.user_id,
            created_at: SystemClock.now(),
            disabled_at: None,
        };
        let (ours, other) = (removed.project_id, ProjectId::new(&SystemClock));
        let event = Event::new(Fact::MemberRemoved(removed.clone()), &SystemClock);
        assert!(of_project(ours, &[]).wants(&event));
        assert!(of_project(ours, &["job.dead", event.fact.kind()]).wants(&event));
        assert!(!of_project(ours, &["job.dead"]).wants(&event));
        assert!(!of_project(other, &[]).wants(&event));
        let disabled_at = Some(SystemClock.now());
        let disabled = Webhook {
            disabled_at,
            ..of_project(ours, &[])
        };
        assert!(!disabled.wants(&event));
    }

    #[test]
    fn an_unknown_event_is_named() {
        assert!(checked_events(&["job.completed".to_owned()]).is_ok());
        let error = checked_events(&["job.completed".to_owned(), "job.eaten".to_owned()]);
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("/events/1") && error.contains("job.eaten"),
            "{error}"
        );
    }
}
