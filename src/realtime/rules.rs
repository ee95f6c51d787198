//! Who is let in, and who may hear and say what. Asked at the connection, at every subscription, and again while they last.

use std::collections::HashMap;

use secrecy::{ExposeSecret, SecretString};

use crate::db::Db;
use crate::domain::access::{Principal, Role, Roles};
use crate::domain::jobs::Jobs;
use crate::domain::push::Channel;
use crate::domain::users::{self, Bearers};
use crate::domain::{Error, images, projects};
use crate::kit::id::ProjectId;
use crate::state::sessions::Sessions;

/// Answers the questions. Clones share the handles.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The truth.
    pub db: Db,
    /// Who bears an API token.
    pub bearers: Bearers,
    /// Who is signed in.
    pub sessions: Sessions,
    /// Whose a job is.
    pub jobs: Jobs,
}

/// By what a client is let in. What it says is never printed.
#[derive(Debug, Clone)]
pub enum Credential {
    /// An API token.
    Token(SecretString),
    /// The token of a session, from its cookie.
    Session(SecretString),
}

/// The reason for which a subscription is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Grant {
    /// Whoever is signed in has it.
    Always,
    /// Members of this project have it.
    MemberOf(ProjectId),
}

impl Rules {
    /// Who this is; `None` for a credential that opens nothing, or no more. A session is thereby used: it lasts as long as a
    /// page that shows its user something.
    ///
    /// # Errors
    /// When database or state store do not answer.
    pub async fn identify(&self, credential: &Credential) -> Result<Option<Principal>, Error> {
        match credential {
            Credential::Token(secret) => self.bearers.principal(secret.expose_secret()).await,
            Credential::Session(token) => {
                users::signed_in(&self.db, &self.sessions, token.expose_secret()).await
            }
        }
    }

    /// Why this person may hear the channel; `None` where they may not, or where there is no such thing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn may_hear(
        &self,
        principal: &Principal,
        channel: Channel,
    ) -> Result<Option<Grant>, Error> {
        let project = match channel {
            Channel::System => return Ok(Some(Grant::Always)),
            Channel::User(user) => {
                return Ok((user == principal.user).then_some(Grant::Always));
            }
            Channel::Job(id) => self.jobs.find(principal, id).await.map(|job| job.project),
            Channel::Image(id) => {
                let image = images::find(&self.db, principal, id, Role::Viewer).await;
                image.map(|image| image.project)
            }
            Channel::Project(id) => {
                let project = projects::find(&self.db, principal, id).await;
                project.map(|project| project.id)
            }
        };
        match project {
            Ok(project) => Ok(Some(Grant::MemberOf(project))),
            Err(Error::NotFound { .. } | Error::Forbidden(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether this person may publish there: on their own channel, which is how their devices speak to each other.
    pub fn may_say(principal: &Principal, channel: Channel) -> bool {
        channel == Channel::User(principal.user)
    }

    /// Which of these grants still hold, for all of them in one statement.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn still_hold(
        &self,
        principal: &Principal,
        grants: impl Iterator<Item = Grant>,
    ) -> Result<HashMap<Grant, bool>, Error> {
        let mut holds: HashMap<Grant, bool> = grants.map(|grant| (grant, true)).collect();
        let projects: Vec<ProjectId> = holds
            .keys()
            .filter_map(|grant| match grant {
                Grant::Always => None,
                Grant::MemberOf(project) => Some(*project),
            })
            .collect();
        if projects.is_empty() {
            return Ok(holds);
        }
        let members = projects.iter().map(|project| (*project, principal.user));
        let roles = {
            let mut tx = self.db.reader().await?;
            Roles::read(&mut tx, members).await?
        };
        for project in projects {
            let is_member = roles.require(principal, project, Role::Viewer).is_ok();
            holds.insert(Grant::MemberOf(project), is_member);
        }
        Ok(holds)
    }
}
