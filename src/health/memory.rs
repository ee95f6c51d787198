//! How near the process is to the memory limit of its control group. Only anonymous memory counts: file pages are given
//! back under pressure, so they bring no kill nearer.

use std::fs;
use std::path::{Path, PathBuf};

/// Where control groups are mounted (file-hierarchy convention of systemd and of every container engine).
const MOUNT: &str = "/sys/fs/cgroup";

/// Names the process's own control groups.
const OWN: &str = "/proc/self/cgroup";

/// Above this share of the limit the kernel's kill is near.
const SHARE_MAX_PERCENT: u128 = 90;

/// Version 1 says "no limit" by a number near 2⁶³; no machine has 2⁶⁰ bytes.
const NO_LIMIT_BYTES: u64 = 1 << 60;

/// One look at the control group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) anonymous_bytes: u64,
    /// None: the process may take what the machine has.
    pub(super) limit_bytes: Option<u64>,
}

impl Reading {
    /// Whether the limit is near.
    pub(super) fn is_high(&self) -> bool {
        self.limit_bytes.is_some_and(|limit| {
            u128::from(self.anonymous_bytes) * 100 > u128::from(limit) * SHARE_MAX_PERCENT
        })
    }
}

/// The control group that limits this process.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ControlGroup {
    version: Version,
    /// From the group up to the mount: a limit of any of them holds.
    folders: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

impl ControlGroup {
    /// None where the system has no control groups for memory.
    pub(super) fn of_this_process() -> Option<Self> {
        Self::find(Path::new(MOUNT), &fs::read_to_string(OWN).ok()?)
    }

    /// `own` is the text of `/proc/self/cgroup`: lines of `hierarchy:controllers:path`.
    fn find(mount: &Path, own: &str) -> Option<Self> {
        let groups = own.lines().filter_map(|line| {
            let mut parts = line.splitn(3, ':').skip(1);
            Some((parts.next()?, parts.next()?.trim_start_matches('/')))
        });
        let mut candidates = groups.filter_map(|(controllers, path)| {
            if controllers.is_empty() {
                Some((Version::Two, mount.to_owned(), path))
            } else {
                let memory = controllers.split(',').any(|name| name == "memory");
                memory.then(|| (Version::One, mount.join("memory"), path))
            }
        });
        candidates.find_map(|(version, base, path)| {
            let folders = folders(&base, path);
            folders.first()?;
            Some(Self { version, folders })
        })
    }

    /// None when the files cannot be read.
    pub(super) fn read(&self) -> Option<Reading> {
        let statistics = fs::read_to_string(self.folders.first()?.join("memory.stat")).ok()?;
        let (anonymous, limit) = match self.version {
            Version::One => (
                figure(&statistics, "total_rss")?,
                figure(&statistics, "hierarchical_memory_limit"),
            ),
            Version::Two => (figure(&statistics, "anon")?, self.least_limit()),
        };
        Some(Reading {
            anonymous_bytes: anonymous,
            limit_bytes: limit.filter(|limit| *limit < NO_LIMIT_BYTES),
        })
    }

    /// `memory.max` holds a number or `max`; the root group has no such file.
    fn least_limit(&self) -> Option<u64> {
        let limits = self.folders.iter().filter_map(|folder| {
            let text = fs::read_to_string(folder.join("memory.max")).ok()?;
            text.trim().parse().ok()
        });
        limits.min()
    }
}

/// The folders from `base/path` up to `base` that account memory. A container without a name space of its own for
/// control groups reads the host's path, which it does not see: its group is then the mount itself.
fn folders(base: &Path, path: &str) -> Vec<PathBuf> {
    let own = base.join(path);
    let upwards = own
        .ancestors()
        .take_while(|folder| folder.starts_with(base));
    upwards
        .filter(|folder| folder.join("memory.stat").is_file())
        .map(Path::to_owned)
        .collect()
}

fn figure(statistics: &str, name: &str) -> Option<u64> {
    statistics.lines().find_map(|line| {
        let (key, value) = line.split_once(' ')?;
        (key == name).then(|| value.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let mount = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = mount.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        mount
    }

    fn reading(mount: &tempfile::TempDir, own: &str) -> Option<Reading> {
        ControlGroup::find(mount.path(), own)?.read()
    }

    #[test]
    fn version_two_takes_the_least_limit_above_it() {
        let mount = tree(&[
            ("memory.stat", "anon 7000\n"),
            ("lab/memory.stat", "anon 950\nfile 20\n"),
            ("lab/memory.max", "1000\n"),
            ("lab/serve/memory.stat", "anon 900\nanon_thp 5\n"),
            ("lab/serve/memory.max", "max\n"),
        ]);
        let found = reading(&mount, "0::/lab/serve\n").unwrap();
        let expected = Reading {
            anonymous_bytes: 900,
            limit_bytes: Some(1_000),
        };
        assert_eq!(found, expected);
        // A host's path that is not seen from inside: the mount is the container's group.
        let unlimited = reading(&mount, "0::/system.slice/x.scope\n").unwrap();
        assert_eq!(
            unlimited,
            Reading {
                anonymous_bytes: 7_000,
                limit_bytes: None
            }
        );
    }

    #[test]
    fn version_one_stands_beside_an_empty_version_two() {
        let own = "9:name=systemd:/\n4:cpu,memory:/lab\n0::/\n";
        let limited = "rss 1\nhierarchical_memory_limit 1000\ntotal_rss 901\n";
        let mount = tree(&[("memory/lab/memory.stat", limited)]);
        let expected = Reading {
            anonymous_bytes: 901,
            limit_bytes: Some(1_000),
        };
        assert_eq!(reading(&mount, own), Some(expected));
        let free = "hierarchical_memory_limit 9223372036854771712\ntotal_rss 901\n";
        let mount = tree(&[("memory/lab/memory.stat", free)]);
        assert_eq!(reading(&mount, own).unwrap().limit_bytes, None);
    }

    #[test]
    fn without_control_groups_there_is_nothing_to_read() {
        assert_eq!(reading(&tree(&[]), "0::/\n"), None);
        assert_eq!(reading(&tree(&[]), ""), None);
    }

    #[test]
    fn high_is_above_nine_tenths_of_a_limit() {
        let high = |anonymous_bytes, limit_bytes| {
            Reading {
                anonymous_bytes,
                limit_bytes,
            }
            .is_high()
        };
        assert!(!high(900, Some(1_000)));
        assert!(high(901, Some(1_000)));
        assert!(!high(u64::MAX, None));
    }
}
