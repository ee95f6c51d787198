//! The facts: every event type with its payload, topic, key and subject. Consumers of older and newer versions read each
//! other's records: an unknown field is ignored, a field added later has a default, a field is never renamed or reused.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

use super::Error;
use super::topics::{FILE_EVENTS, JOB_EVENTS, USER_EVENTS};
use crate::kit::id::{FileId, ImageId, JobId, ProjectId, SegmentationId, UserId};

/// What an event's envelope takes from its payload.
trait Payload: Serialize + DeserializeOwned {
    /// The key whose events keep their order.
    fn key(&self) -> String;

    /// What the event is about (`ce_subject`).
    fn subject(&self) -> String;

    /// The project in which it happened.
    fn project(&self) -> ProjectId;
}

macro_rules! facts {
    ($($(#[$doc:meta])* $name:ident($payload:ty) = $kind:literal on $topic:ident;)*) => {
        /// Something that happened and was committed.
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub enum Fact {
            $($(#[$doc])* $name($payload),)*
        }

        impl Fact {
            /// Every event type.
            pub const KINDS: &[&str] = &[$($kind),*];

            /// The event type (`ce_type`).
            pub const fn kind(&self) -> &'static str {
                match self { $(Self::$name(_) => $kind,)* }
            }

            /// The topic that carries it, without prefix.
            pub const fn topic(&self) -> &'static str {
                match self { $(Self::$name(_) => $topic,)* }
            }

            /// The key whose events keep their order; never empty.
            pub fn key(&self) -> String {
                match self { $(Self::$name(payload) => payload.key(),)* }
            }

            /// What it is about (`ce_subject`).
            pub fn subject(&self) -> String {
                match self { $(Self::$name(payload) => payload.subject(),)* }
            }

            /// The project in which it happened.
            pub fn project(&self) -> ProjectId {
                match self { $(Self::$name(payload) => payload.project(),)* }
            }

            /// The payload as JSON.
            ///
            /// # Errors
            /// When the payload cannot be written as JSON.
            pub fn encode(&self) -> Result<Bytes, Error> {
                let json = match self { $(Self::$name(payload) => serde_json::to_vec(payload),)* };
                json.map(Bytes::from).map_err(|source| Error::Payload { kind: self.kind().to_owned(), source })
            }

            /// The fact of type `kind` from its JSON.
            ///
            /// # Errors
            /// When the type is not known here, or the payload is not what the type says.
            pub fn decode(kind: &str, json: &[u8]) -> Result<Self, Error> {
                match kind {
                    $($kind => serde_json::from_slice(json)
                        .map(Self::$name)
                        .map_err(|source| Error::Payload { kind: kind.to_owned(), source }),)*
                    _ => Err(Error::UnknownType(kind.to_owned())),
                }
            }
        }
    };
}

facts! {
    /// A job was accepted.
    JobSubmitted(JobSubmitted) = "job.submitted" on JOB_EVENTS;
    /// A worker began an attempt.
    JobStarted(JobStarted) = "job.started" on JOB_EVENTS;
    /// A job has its result.
    JobCompleted(JobCompleted) = "job.completed" on JOB_EVENTS;
    /// An attempt failed; the job will be tried again.
    JobFailed(JobFailed) = "job.failed" on JOB_EVENTS;
    /// A job failed for good.
    JobDead(JobFailed) = "job.dead" on JOB_EVENTS;
    /// A job was cancelled.
    JobCancelled(JobCancelled) = "job.cancelled" on JOB_EVENTS;
    /// A job that was dead or cancelled waits again.
    JobReplayed(JobReplayed) = "job.replayed" on JOB_EVENTS;
    /// A file's bytes are stored.
    FileStored(FileStored) = "file.stored" on FILE_EVENTS;
    /// A person was made a member of a project, or got another role there.
    MemberAdded(MemberAdded) = "member.added" on USER_EVENTS;
    /// A person is no longer a member of a project.
    MemberRemoved(MemberRemoved) = "member.removed" on USER_EVENTS;
}

/// The job an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobRef {
    /// The job.
    pub job_id: JobId,
    /// The caller's own name for it.
    pub task_id: String,
    /// Its project.
    pub project_id: ProjectId,
    /// Its image.
    pub image_id: ImageId,
    /// Who submitted it.
    pub owner: UserId,
}

/// Payloads about a job: the members of [`JobRef`] beside their own. Job events of one image keep their order; they are
/// about the job.
///
/// They are read member by member: serde's `flatten` would keep all of them in a buffer first.
macro_rules! about_a_job {
    ($($(#[$doc:meta])* $name:ident { $($(#[$of:meta])* $field:ident: $type:ty,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        pub struct $name {
            /// The job.
            #[serde(flatten)]
            pub job: JobRef,
            $($(#[$of])* pub $field: $type,)*
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                struct Members {
                    job_id: JobId,
                    #[serde(default)]
                    task_id: String,
                    project_id: ProjectId,
                    image_id: ImageId,
                    owner: UserId,
                    $($(#[$of])* $field: $type,)*
                }
                let Members { job_id, task_id, project_id, image_id, owner, $($field),* } =
                    Members::deserialize(deserializer)?;
                let job = JobRef { job_id, task_id, project_id, image_id, owner };
                Ok(Self { job, $($field),* })
            }
        }

        impl Payload for $name {
            fn key(&self) -> String {
                self.job.image_id.to_string()
            }

            fn subject(&self) -> String {
                self.job.job_id.to_string()
            }

            fn project(&self) -> ProjectId {
                self.job.project_id
            }
        }
    )*};
}

about_a_job! {
    /// Payload of `job.submitted`.
    JobSubmitted {
        /// `segment` or `export`.
        kind: String,
        /// 1 to 10, 10 first.
        priority: i64,
    }

    /// Payload of `job.started`.
    JobStarted {
        /// The attempt that began.
        attempt: i64,
    }

    /// Payload of `job.completed`.
    JobCompleted {
        /// The attempt that succeeded.
        attempt: i64,
        /// Its result; none for an export.
        #[serde(default)]
        segmentation_id: Option<SegmentationId>,
        /// Objects found; none for an export.
        #[serde(default)]
        object_count: Option<i64>,
        /// The segmenter that ran.
        #[serde(default)]
        segmenter: Option<String>,
    }

    /// Payload of `job.failed` and `job.dead`.
    JobFailed {
        /// The attempt that failed.
        attempt: i64,
        /// Class of the error.
        error_class: String,
        /// The error in words.
        error_text: String,
    }

    /// Payload of `job.cancelled`.
    JobCancelled {
        /// The last attempt, which was cancelled or had ended before; 0 where none had begun.
        #[serde(default)]
        attempt: i64,
    }

    /// Payload of `job.replayed`.
    JobReplayed {
        /// The last attempt that it had; the next one is higher.
        attempt: i64,
        /// `dead` or `cancelled`.
        was: String,
    }
}

/// Payload of `file.stored`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStored {
    /// The file.
    pub file_id: FileId,
    /// Its project.
    pub project_id: ProjectId,
    /// Who uploaded it.
    pub uploaded_by: UserId,
    /// Its name.
    pub name: String,
    /// Its size.
    pub size_bytes: i64,
    /// SHA-256 of its bytes, hexadecimal.
    pub sha256: String,
    /// Its type, sniffed.
    #[serde(default)]
    pub media_type: String,
}

/// Payload of `member.added`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberAdded {
    /// The member.
    pub user_id: UserId,
    /// The project.
    pub project_id: ProjectId,
    /// `owner`, `editor` or `viewer`.
    pub role: String,
}

/// Payload of `member.removed`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRemoved {
    /// The former member.
    pub user_id: UserId,
    /// The project.
    pub project_id: ProjectId,
}

impl Payload for FileStored {
    fn key(&self) -> String {
        self.file_id.to_string()
    }

    fn subject(&self) -> String {
        self.file_id.to_string()
    }

    fn project(&self) -> ProjectId {
        self.project_id
    }
}

/// Membership events of one person keep their order; they are about the project.
macro_rules! about_a_member {
    ($($payload:ty),*) => {$(
        impl Payload for $payload {
            fn key(&self) -> String {
                self.user_id.to_string()
            }

            fn subject(&self) -> String {
                self.project_id.to_string()
            }

            fn project(&self) -> ProjectId {
                self.project_id
            }
        }
    )*};
}
about_a_member!(MemberAdded, MemberRemoved);

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = r#""job_id":"019a0000-0000-7000-8000-000000000001",
        "project_id":"019a0000-0000-7000-8000-000000000002",
        "image_id":"019a0000-0000-7000-8000-000000000003",
        "owner":"019a0000-0000-7000-8000-000000000004""#;

    #[test]
    fn a_record_of_the_first_version_still_decodes() {
        let json = format!(r#"{{{JOB},"attempt":2}}"#);
        let Fact::JobCompleted(done) = Fact::decode("job.completed", json.as_bytes()).unwrap()
        else {
            panic!("job.completed decodes to another fact");
        };
        assert_eq!(
            (done.attempt, done.segmentation_id, done.object_count),
            (2, None, None)
        );
        assert_eq!(done.job.task_id, "");
    }

    /// One record of each type as the first version wrote it. They lie in logs for a week and in dead letters for a
    /// month: a line here may be added, none changed.
    #[test]
    fn a_record_of_each_type_still_decodes() {
        let started = format!(r#"{{{JOB},"attempt":1}}"#);
        let failed = format!(r#"{{{JOB},"attempt":1,"error_class":"c","error_text":"e"}}"#);
        let uuid = "019a0000-0000-7000-8000-000000000009";
        let old = [
            (
                "job.submitted",
                format!(r#"{{{JOB},"kind":"segment","priority":1}}"#),
            ),
            ("job.started", started.clone()),
            ("job.completed", started),
            ("job.failed", failed.clone()),
            ("job.dead", failed),
            ("job.cancelled", format!("{{{JOB}}}")),
            (
                "job.replayed",
                format!(r#"{{{JOB},"attempt":3,"was":"dead"}}"#),
            ),
            (
                "file.stored",
                format!(
                    r#"{{"file_id":"{uuid}","project_id":"{uuid}","uploaded_by":"{uuid}","name":"a.png","size_bytes":7,"sha256":"00"}}"#
                ),
            ),
            (
                "member.added",
                format!(r#"{{"user_id":"{uuid}","project_id":"{uuid}","role":"viewer"}}"#),
            ),
            (
                "member.removed",
                format!(r#"{{"user_id":"{uuid}","project_id":"{uuid}"}}"#),
            ),
        ];
        for (kind, json) in &old {
            let fact = Fact::decode(kind, json.as_bytes());
            let fact = fact.unwrap_or_else(|error| panic!("{kind}: {error}"));
            assert_eq!(fact.kind(), *kind);
            assert!(
                !fact.key().is_empty() && !fact.subject().is_empty(),
                "{kind}"
            );
        }
    }

    #[test]
    fn fields_of_a_newer_version_are_ignored() {
        let json = format!(r#"{{{JOB},"attempt":1,"weather":"fair"}}"#);
        let fact = Fact::decode("job.started", json.as_bytes()).unwrap();
        assert_eq!(fact.key(), "019a0000-0000-7000-8000-000000000003");
        assert_eq!(fact.subject(), "019a0000-0000-7000-8000-000000000001");
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let json =
            format!(r#"{{{JOB},"task_id":"t","attempt":3,"error_class":"c","error_text":"e"}}"#);
        let fact = Fact::decode("job.dead", json.as_bytes()).unwrap();
        let again = Fact::decode(fact.kind(), &fact.encode().unwrap()).unwrap();
        assert_eq!(fact, again);
    }

    #[test]
    fn an_unknown_type_and_a_broken_payload_are_told_apart() {
        let unknown = Fact::decode("job.vanished", b"{}").unwrap_err();
        assert_eq!(
            unknown.to_string(),
            r#"event type "job.vanished" is not known to this version"#
        );
        assert!(matches!(
            Fact::decode("file.stored", b"{}"),
            Err(Error::Payload { .. })
        ));
    }
}
