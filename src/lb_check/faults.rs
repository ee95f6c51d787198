//! Harming and mending instances as the plan says.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use http::Method;
use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use super::context::{Context, ECHO};
use super::judgement::Judgement;
use super::plan::Faults;

/// Longest time of a command.
pub(super) const COMMAND_MAX: Duration = Duration::from_secs(60);
/// Longest search for all instances: balancers look again after at most 10 s.
const FINDING_MAX: Duration = Duration::from_secs(20);

/// An instance that can be harmed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Victim {
    /// Name and boot.
    pub(super) instance: String,
    pid: u32,
}

impl Victim {
    /// The name without the boot, which stays when it starts again.
    pub(super) fn name(&self) -> &str {
        name_of(&self.instance)
    }
}

/// The name of an instance without the eight digits of its boot.
pub(super) fn name_of(instance: &str) -> &str {
    instance.rsplit_once('-').map_or(instance, |(name, _)| name)
}

/// The instances as they tell of themselves now, sorted; those that hide are left out. What an earlier phase did to one may
/// keep it away for a while.
pub(super) async fn victims(context: &Context<'_>, count: usize) -> Vec<Victim> {
    let mut found: Vec<Victim> = Vec::new();
    let start = Instant::now();
    while found.len() < count && start.elapsed() < FINDING_MAX {
        let client = &context.client;
        let request = || client.with_token(Method::POST, ECHO, bytes::Bytes::new());
        if let Ok(answer) = context.once(client, request).await
            && let Some(victim) = victim(&answer.json())
            && !found.contains(&victim)
        {
            found.push(victim);
        }
    }
    found.sort_by(|left, right| left.instance.cmp(&right.instance));
    found
}

/// As [`victims`], of all instances that are known; with fewer than two nothing can be shown.
///
/// # Errors
/// The judgement of the phase: it is left out.
pub(super) async fn two_or_more(context: &Context<'_>) -> Result<Vec<Victim>, Judgement> {
    let known = victims(context, context.instances().len()).await;
    match known.len() {
        0 | 1 => Err(Judgement::skip(format!(
            "{} instance(s) tell of themselves, two are needed",
            known.len()
        ))),
        _ => Ok(known),
    }
}

/// What comes over the network goes into a command: only what is harmless there.
fn victim(seen: &Value) -> Option<Victim> {
    let instance = seen["instance"].as_str()?;
    let harmless =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b':' | b'-');
    let begins = instance.bytes().next()?.is_ascii_alphanumeric();
    let pid = u32::try_from(seen["pid"].as_u64()?).ok()?;
    (begins && instance.bytes().all(harmless)).then(|| Victim {
        instance: instance.to_owned(),
        pid,
    })
}

/// Harms an instance.
///
/// # Errors
/// Where the command fails or does not end.
pub(super) async fn harm(faults: &Faults, signal: &str, victim: &Victim) -> Result<(), String> {
    match faults {
        Faults::Commands { fault, .. } => command(fault, signal, victim).await,
        Faults::Compose(service) => service.harm(signal, victim.name()).await,
    }
}

/// Mends what [`harm`] did.
///
/// # Errors
/// As [`harm`], and where there is no command for it.
pub(super) async fn mend(faults: &Faults, signal: &str, victim: &Victim) -> Result<(), String> {
    match faults {
        Faults::Commands { restore, .. } => {
            let restore = restore.as_deref().ok_or("there is no --restore-cmd")?;
            command(restore, signal, victim).await
        }
        Faults::Compose(service) => service.mend(signal, victim.name()).await,
    }
}

async fn command(template: &str, signal: &str, victim: &Victim) -> Result<(), String> {
    let text = filled_in(template, signal, victim);
    // In a group of its own, so that a time-out ends what it started too. What it leaves running goes on.
    let child = Command::new("sh")
        .args(["-c", &text])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|error| format!("sh: {error}"))?;
    match timeout(COMMAND_MAX, child.wait()).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(format!("{text:?} ended with {}", code(status))),
        Ok(Err(error)) => Err(format!("{text:?}: {error}")),
        Err(_) => {
            let group = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
            if let Some(group) = group {
                // Fails only where it has ended meanwhile.
                let _ = kill_process_group(group, Signal::KILL);
            }
            Err(format!(
                "{text:?} did not end within {} s",
                COMMAND_MAX.as_secs()
            ))
        }
    }
}

fn code(status: ExitStatus) -> String {
    status
        .code()
        .map_or_else(|| status.to_string(), |code| code.to_string())
}

fn filled_in(template: &str, signal: &str, victim: &Victim) -> String {
    template
        .replace("{signal}", signal)
        .replace("{pid}", &victim.pid.to_string())
        .replace("{instance}", &victim.instance)
        .replace("{name}", victim.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn commands_name_their_victim() {
        let victim = victim(&json!({ "instance": "lab-1-0a1b2c3d", "pid": 7 })).unwrap();
        let text = filled_in("kill -{signal} {pid} # {name} {instance}", "STOP", &victim);
        assert_eq!(text, "kill -STOP 7 # lab-1 lab-1-0a1b2c3d");
    }

    #[test]
    fn names_that_could_be_commands_are_no_victims() {
        for bad in ["a;reboot", "$(reboot)", "-rf", "a b", "", "a'b"] {
            assert_eq!(
                victim(&json!({ "instance": bad, "pid": 7 })),
                None,
                "{bad:?}"
            );
        }
        assert_eq!(victim(&json!({ "instance": "a-1" })), None);
    }

    #[tokio::test]
    async fn a_command_that_fails_says_so() {
        let victim = Victim {
            instance: "a-1".into(),
            pid: 7,
        };
        let faults = Faults::Commands {
            fault: "test {signal} = KILL".into(),
            restore: None,
        };
        assert_eq!(harm(&faults, "KILL", &victim).await, Ok(()));
        assert!(
            harm(&faults, "STOP", &victim)
                .await
                .unwrap_err()
                .contains("ended with 1")
        );
        assert!(mend(&faults, "KILL", &victim).await.is_err());
    }
}
