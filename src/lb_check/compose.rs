//! Harming and mending the containers of a service of Docker Compose, by the `docker` program: it knows where its engine is.

use std::process::Stdio;
use std::str::FromStr;

use tokio::process::Command;
use tokio::time::timeout;

use super::faults::COMMAND_MAX;

/// How long a container may take to end, in seconds: below the longest time of a command.
const STOP_S: &str = "55";
/// Shortest name that is taken for the beginning of a container's id: as long as the host name that Docker gives.
const ID_CHARS_MIN: usize = 12;

/// A service of a project of Docker Compose.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    project: String,
    service: String,
}

/// A text that names no service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not of the form PROJECT:SERVICE")]
pub struct NoService(String);

impl FromStr for Service {
    type Err = NoService;

    fn from_str(text: &str) -> Result<Self, NoService> {
        // The letters that Compose allows.
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        let good = |name: &str| !name.is_empty() && name.bytes().all(allowed);
        match text.split_once(':') {
            Some((project, service)) if good(project) && good(service) => Ok(Self {
                project: project.to_owned(),
                service: service.to_owned(),
            }),
            _ => Err(NoService(text.to_owned())),
        }
    }
}

impl Service {
    /// The ids of its containers, also of those that have ended.
    ///
    /// # Errors
    /// Where there is no `docker`, no engine, or no container.
    pub(super) async fn copies(&self) -> Result<Vec<String>, String> {
        let label =
            |key: &str, value: &str| format!("--filter=label=com.docker.compose.{key}={value}");
        let (project, service) = (
            label("project", &self.project),
            label("service", &self.service),
        );
        let listed = docker(&[
            "ps",
            "--all",
            "--quiet",
            "--no-trunc",
            project.as_str(),
            service.as_str(),
        ])
        .await?;
        let ids: Vec<String> = listed.lines().map(str::to_owned).collect();
        if ids.is_empty() {
            return Err(format!(
                "the engine has no container of the service {} of the project {}",
                self.service, self.project
            ));
        }
        Ok(ids)
    }

    /// Kills, stops or ends the container whose id begins with `name`.
    ///
    /// # Errors
    /// Where it is none of this service, or `docker` refuses.
    pub(super) async fn harm(&self, signal: &str, name: &str) -> Result<(), String> {
        self.command(harming(signal), name).await
    }

    /// Continues or starts it again.
    ///
    /// # Errors
    /// As [`Service::harm`].
    pub(super) async fn mend(&self, signal: &str, name: &str) -> Result<(), String> {
        self.command(mending(signal), name).await
    }

    async fn command(&self, words: &[&str], name: &str) -> Result<(), String> {
        let id = chosen(&self.copies().await?, name).ok_or_else(|| {
            format!(
                "the instance {name} is no container of {}:{}: its name must be the container's id, as it is where instance.id is empty",
                self.project, self.service
            )
        })?;
        docker(&[words, &[id.as_str()]].concat()).await.map(drop)
    }
}

/// `docker stop` returns when the container has ended, so that it can be started again.
fn harming(signal: &str) -> &'static [&'static str] {
    match signal {
        "STOP" => &["pause"],
        "TERM" => &["stop", "--time", STOP_S],
        _ => &["kill"],
    }
}

fn mending(signal: &str) -> &'static [&'static str] {
    match signal {
        "STOP" => &["unpause"],
        _ => &["start"],
    }
}

fn chosen(ids: &[String], name: &str) -> Option<String> {
    let long = name.len() >= ID_CHARS_MIN;
    let mut matching = ids.iter().filter(|id| long && id.starts_with(name));
    matching.next().cloned()
}

/// What `docker` prints.
async fn docker(arguments: &[&str]) -> Result<String, String> {
    let what = arguments.first().copied().unwrap_or_default();
    let mut command = Command::new("docker");
    command
        .args(arguments)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    match timeout(COMMAND_MAX, command.output()).await {
        Ok(Ok(output)) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).into_owned())
        }
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            Err(format!("docker {what}: {}", said.trim()))
        }
        Ok(Err(error)) => Err(format!(
            "docker {what}: {error}; --compose needs the program docker in the PATH"
        )),
        Err(_) => Err(format!(
            "docker {what} did not end within {} s",
            COMMAND_MAX.as_secs()
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read() {
        let service: Service = "lab_2:serve".parse().unwrap();
        assert_eq!(
            (service.project.as_str(), service.service.as_str()),
            ("lab_2", "serve")
        );
        for bad in [
            "",
            "lab",
            "lab:",
            ":serve",
            "lab:serve:1",
            "lab:a b",
            "$(x):serve",
        ] {
            assert_eq!(bad.parse::<Service>(), Err(NoService(bad.to_owned())));
        }
    }

    #[test]
    fn an_instance_is_the_container_that_it_is_named_after() {
        let ids = ["0a1b2c3d4e5f6789".to_owned(), "ffff2c3d4e5f6789".to_owned()];
        assert_eq!(chosen(&ids, "ffff2c3d4e5f"), Some(ids[1].clone()));
        for none in ["", "f", "ffff2c3d4e5", "aaaa2c3d4e5f", "serve-1"] {
            assert_eq!(chosen(&ids, none), None, "{none:?}");
        }
    }

    #[test]
    fn what_was_harmed_is_mended() {
        assert_eq!(harming("KILL"), ["kill"]);
        assert_eq!(harming("TERM")[0], "stop");
        assert_eq!(
            (harming("STOP"), mending("STOP")),
            (&["pause"][..], &["unpause"][..])
        );
        assert_eq!(
            (mending("KILL"), mending("TERM")),
            (&["start"][..], &["start"][..])
        );
    }
}
