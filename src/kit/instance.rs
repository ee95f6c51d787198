//! Who this process is: the name that appears in answers, leases, logs and client ids.

use std::fmt;
use std::sync::Arc;

use uuid::Uuid;

/// The name of one running process: the operator's name for it (or the host's) and eight hex digits of this boot,
/// so that a restarted copy is never taken for the one that died.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceId {
    name: Arc<str>,
    unique: Arc<str>,
}

impl InstanceId {
    /// The identity of this boot of the process `name` (host name where the setting is empty).
    pub fn for_this_boot(name: Option<&str>) -> Self {
        let name = match name.filter(|name| !name.is_empty()) {
            Some(name) => name.to_owned(),
            None => host_name(),
        };
        let boot = Uuid::new_v4().simple().to_string();
        let unique = format!("{name}-{}", &boot[..8]);
        Self {
            name: name.into(),
            unique: unique.into(),
        }
    }

    /// The name without the boot: stable across restarts.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Name and boot: unique for ever; used as lease owner and client id.
    pub fn unique(&self) -> &str {
        &self.unique
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.unique)
    }
}

fn host_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_boots_of_one_name_differ() {
        let (first, second) = (
            InstanceId::for_this_boot(Some("a")),
            InstanceId::for_this_boot(Some("a")),
        );
        assert_eq!(first.name(), second.name());
        assert_ne!(first.unique(), second.unique());
    }
}
