//! `spheroctl dlq jobs`. What waits again is offered to the queue where Redis holds it; elsewhere the server's own
//! reconciler finds it within `queue.reconcile_interval_ms`.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, Utc};

use crate::app::App;
use crate::domain::jobs::Job;
use crate::domain::jobs::dead::{Attempt, DeadLetter, Filter, Scope, Selection};
use crate::kit::id::JobId;
use crate::roles::output;
use crate::roles::user::by_email;

use super::args::{FilterArgs, JobsAction, WhichArgs};

/// The machine's own operator reaches everything, as whoever may read the database does.
const SCOPE: Scope = Scope::Everything;
/// Seconds of a day.
const DAY_S: u32 = 86_400;

pub(super) async fn run(app: &App, action: JobsAction, json: bool) -> anyhow::Result<ExitCode> {
    match action {
        JobsAction::List { filter, limit } => list(app, &filter, limit, json).await?,
        JobsAction::Show { id } => show(app, id, json).await?,
        JobsAction::Replay { which } => replay(app, which, json).await?,
        JobsAction::Purge { which, yes: true } => purge(app, which, json).await?,
        JobsAction::Purge { which, yes: false } => {
            warn(app, which).await?;
            return Ok(ExitCode::FAILURE);
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(app: &App, filter: &FilterArgs, limit: u32, json: bool) -> anyhow::Result<()> {
    let filter = filter_of(app, filter).await?;
    let found = app.jobs.dead_letters(&SCOPE, &filter, None, limit).await?;
    if json {
        return Ok(found.iter().try_for_each(output::json)?);
    }
    if !found.is_empty() {
        output::line(&row(["ID", "DIED", "CLASS", "RUNS", "PROJECT", "TASK"]))?;
    }
    Ok(found
        .iter()
        .try_for_each(|job| output::line(&row_of(job)))?)
}

async fn show(app: &App, id: JobId, json: bool) -> anyhow::Result<()> {
    let letter = app.jobs.dead_letter(&SCOPE, id).await?;
    if json {
        return Ok(output::json(&letter)?);
    }
    let DeadLetter { job, attempts } = &letter;
    for (name, value) in [
        ("job", job.id.to_string()),
        ("task", job.task_id.clone()),
        ("project", job.project.to_string()),
        ("image", format!("{}, page {}", job.image, job.page)),
        ("owner", job.owner.to_string()),
        ("priority", job.priority.to_string()),
        ("submitted", instant(Some(job.created_at))),
        ("died", instant(job.finished_at)),
        ("error", error_of(job)),
    ] {
        output::line(&format!("{name:<10} {value}"))?;
    }
    Ok(attempts
        .iter()
        .try_for_each(|attempt| output::line(&line_of(attempt)))?)
}

async fn replay(app: &App, which: WhichArgs, json: bool) -> anyhow::Result<()> {
    let selection = selection(app, which).await?;
    let replayed = app.jobs.replay(&SCOPE, None, &selection).await?.value;
    if json {
        return Ok(output::json(&replayed)?);
    }
    output::line(&format!("{} job(s) wait again", replayed.jobs.len()))?;
    Ok(say_more(replayed.more)?)
}

async fn purge(app: &App, which: WhichArgs, json: bool) -> anyhow::Result<()> {
    let selection = selection(app, which).await?;
    let purged = app.jobs.purge(&SCOPE, &selection).await?;
    if json {
        return Ok(output::json(&purged)?);
    }
    output::line(&format!("{} dead job(s) removed", purged.removed))?;
    Ok(say_more(purged.more)?)
}

/// What a purge would remove.
async fn warn(app: &App, which: WhichArgs) -> anyhow::Result<()> {
    let selection = selection(app, which).await?;
    let count = match &selection.filter {
        None => {
            for id in &selection.ids {
                app.jobs.dead_letter(&SCOPE, *id).await?;
            }
            selection.ids.len()
        }
        Some(filter) => {
            let most = u32::try_from(app.settings.queue.batch_max).unwrap_or(u32::MAX);
            let limit = selection.limit.unwrap_or(most);
            let found = app.jobs.dead_letters(&SCOPE, filter, None, limit).await?;
            found.len()
        }
    };
    Ok(output::line(&format!(
        "{count} dead job(s) would be removed; nothing was: repeat the command with --yes"
    ))?)
}

async fn selection(app: &App, which: WhichArgs) -> anyhow::Result<Selection> {
    let filter = match which.ids.is_empty() {
        true => Some(filter_of(app, &which.filter).await?),
        false => None,
    };
    Ok(Selection {
        ids: which.ids,
        filter,
        limit: which.limit,
    })
}

async fn filter_of(app: &App, filter: &FilterArgs) -> anyhow::Result<Filter> {
    let owner = match &filter.owner {
        Some(email) => Some(by_email(&app.db, email).await?.id),
        None => None,
    };
    Ok(Filter {
        project: filter.project,
        error_class: filter.error_class.clone(),
        owner,
        // A hundred years at most, by the flag's own range.
        older_than_s: filter
            .older_than_days
            .map(|days| days.saturating_mul(DAY_S)),
    })
}

fn say_more(more: bool) -> std::io::Result<()> {
    match more {
        true => output::line("there are more: repeat the command"),
        false => Ok(()),
    }
}

fn row_of(job: &Job) -> String {
    let class = job.error.as_ref().map_or("", |error| error.class.as_str());
    row([
        &job.id.to_string(),
        &instant(job.finished_at),
        class,
        &job.attempt.to_string(),
        &job.project.to_string(),
        &job.task_id,
    ])
}

fn row([id, died, class, runs, project, task]: [&str; 6]) -> String {
    format!("{id:<36}  {died:<20}  {class:<13}  {runs:>4}  {project:<36}  {task}")
}

fn line_of(attempt: &Attempt) -> String {
    let outcome = attempt.outcome.as_deref().unwrap_or("no end known");
    let error = attempt.error.as_ref();
    let error = error.map_or(String::new(), |error| {
        format!("  {}: {}", error.class, error.text)
    });
    format!(
        "run {:<6} {}  to  {}  {outcome}  on {}{error}",
        attempt.attempt,
        instant(Some(attempt.started_at)),
        instant(attempt.ended_at),
        attempt.worker,
    )
}

fn error_of(job: &Job) -> String {
    let error = job.error.as_ref();
    error.map_or("-".to_owned(), |error| {
        format!("{}: {}", error.class, error.text)
    })
}

fn instant(at: Option<DateTime<Utc>>) -> String {
    at.map_or("-".to_owned(), |at| {
        at.to_rfc3339_opts(SecondsFormat::Secs, true)
    })
}
