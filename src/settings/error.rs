//! Why settings are refused. No text here ever holds a secret.

/// Why settings are refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No setting has this name.
    #[error("{name} ({origin}) is not a setting: {hint}")]
    UnknownKey {
        /// The key or variable as it was given.
        name: String,
        /// Where it was given.
        origin: String,
        /// What there is instead.
        hint: String,
    },
    /// The value has the wrong type, is out of range, or does not go with another one.
    #[error("{key} = {found} ({origin}): expected {expected}")]
    Value {
        /// The key, `section.key`.
        key: String,
        /// The value; `***` where it may hold a secret.
        found: String,
        /// Where it was given.
        origin: String,
        /// What is accepted.
        expected: String,
    },
    /// Two variables give one setting different values.
    #[error("{first} and {second} both set {key}; keep one of them")]
    Both {
        /// One of them.
        first: String,
        /// The other.
        second: String,
        /// What both set.
        key: String,
    },
    /// A settings file or a secret's file cannot be used.
    #[error("{what}: {reason}")]
    Unreadable {
        /// The file and who named it.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A role that shares state with other processes has no Redis.
    #[error(
        "`spheroctl {role}` shares its state with the other processes through Redis; missing: {missing}. \
         `spheroctl standalone` needs none of this: it runs all roles in one process"
    )]
    NeedsRedis {
        /// The role.
        role: &'static str,
        /// The settings to give, with the variables that give them.
        missing: String,
    },
    /// The chosen backends lose or hide data when they are used together.
    #[error("{0}")]
    UnsafeMix(String),
    /// The embedded defaults and the structs of this version do not fit: a defect.
    #[error("the settings of this version are inconsistent: {0}")]
    Inconsistent(String),
    /// More than one of these.
    #[error("{}", lines(.0))]
    Several(Vec<Error>),
}

impl Error {
    /// `Ok` where `problems` is empty, else all of them as one error.
    pub(super) fn all(mut problems: Vec<Self>) -> Result<(), Self> {
        match problems.len() {
            0 => Ok(()),
            1 => Err(problems.remove(0)),
            _ => Err(Self::Several(problems)),
        }
    }
}

fn lines(problems: &[Error]) -> String {
    let texts: Vec<_> = problems.iter().map(ToString::to_string).collect();
    texts.join("\n")
}
