//! The consumer groups that do the product's work: a file each. What a group needs, it gets from the [`App`].

mod notifier;
mod projector;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use crate::app::App;
use crate::events::group::{self, Handler, Rules};
use crate::settings::{self, Settings};

/// Every group. A new one is a file and a line here.
fn all(app: &App) -> Vec<Arc<dyn Handler>> {
    let push = app.push.clone();
    vec![
        Arc::new(projector::Projector),
        Arc::new(notifier::Notifier { push }),
        Arc::new(webhooks::Webhooks {
            clock: app.clock.clone(),
        }),
    ]
}

/// Starts the groups that `worker.groups` names, until the process drains.
///
/// # Errors
/// When it names one that there is not.
pub fn start(app: &App) -> Result<(), settings::Error> {
    for handler in chosen(all(app), &app.settings.worker.groups)? {
        group::start(handler, &app.group_handles(), rules(&app.settings));
    }
    Ok(())
}

fn rules(settings: &Settings) -> Rules {
    Rules {
        handlers_at_once: settings.worker.handlers_at_once,
        // The last third of the deadline is for the commit and for leaving.
        drain_patience: Duration::from_millis(settings.shutdown.work_ms * 2 / 3),
    }
}

/// Those whose names stand in `names`, which lists names with commas between; `all` and the empty text stand for all and
/// none.
fn chosen(
    all: Vec<Arc<dyn Handler>>,
    names: &str,
) -> Result<Vec<Arc<dyn Handler>>, settings::Error> {
    if names.trim() == "all" {
        return Ok(all);
    }
    let names: Vec<_> = names.split(',').map(str::trim).collect();
    let names: Vec<_> = names.into_iter().filter(|name| !name.is_empty()).collect();
    let known: Vec<_> = all.iter().map(|handler| handler.name()).collect();
    if let Some(unknown) = names.iter().find(|name| !known.contains(name)) {
        return Err(settings::Error::Value {
            key: "worker.groups".to_owned(),
            found: (*unknown).to_owned(),
            origin: "settings".to_owned(),
            expected: format!("all, or names of {}", known.join(", ")),
        });
    }
    let mut chosen = all;
    chosen.retain(|handler| names.contains(&handler.name()));
    Ok(chosen)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Result<Vec<&'static str>, settings::Error> {
        let chosen = chosen(vec![Arc::new(projector::Projector)], text)?;
        Ok(chosen.iter().map(|handler| handler.name()).collect())
    }

    #[test]
    fn groups_are_chosen_by_name() {
        assert_eq!(names("all").unwrap(), ["projector"]);
        assert_eq!(names(" projector ").unwrap(), ["projector"]);
        assert_eq!(names("").unwrap(), [""; 0]);
        let unknown = names("projector,nobody").unwrap_err();
        assert!(unknown.to_string().contains("nobody"), "{unknown}");
    }
}
