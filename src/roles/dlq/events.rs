//! `spheroctl dlq events`. What is sent again is read by the server's own consumer groups.

use std::process::ExitCode;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use crate::app::App;
use crate::domain::Error;
use crate::events::dead_letters::{Filter, Letter, LetterId, Selection, State};
use crate::events::log::Headers;
use crate::roles::output;

use super::args::{EventFilterArgs, EventsAction};

pub(super) async fn run(app: &App, action: EventsAction, json: bool) -> anyhow::Result<ExitCode> {
    match action {
        EventsAction::List { filter, limit } => list(app, filter, limit, json).await?,
        EventsAction::Show { id } => show(app, &id, json).await?,
        EventsAction::Replay {
            ids, filter, limit, ..
        } => replay(app, ids, filter, limit, json).await?,
        EventsAction::Purge { yes: false, .. } => {
            output::line(
                "dead records would be dropped; nothing was: repeat the command with --yes",
            )?;
            return Ok(ExitCode::FAILURE);
        }
        EventsAction::Purge {
            topic,
            older_than_days,
            yes: true,
        } => purge(app, topic, older_than_days, json).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn list(app: &App, filter: EventFilterArgs, limit: u32, json: bool) -> anyhow::Result<()> {
    let found = app.dead_letters();
    let found = found.list(&filter.into(), limit as usize).await?;
    if json {
        return Ok(found.iter().try_for_each(output::json)?);
    }
    if !found.is_empty() {
        output::line(&row(["ID", "DIED", "GROUP", "CLASS", "STATE", "TYPE"]))?;
    }
    Ok(found
        .iter()
        .try_for_each(|letter| output::line(&row_of(letter)))?)
}

async fn show(app: &App, id: &LetterId, json: bool) -> anyhow::Result<()> {
    let letter = app.dead_letters().show(id).await?;
    let letter = letter.ok_or_else(|| Error::not_found("dead letter", id))?;
    if json {
        return Ok(output::json(&letter)?);
    }
    for (name, value) in [
        ("id", letter.id.to_string()),
        ("group", letter.group.clone()),
        ("key", letter.key.clone()),
        ("died", instant(letter.failed_at)),
        ("attempts", letter.attempts.to_string()),
        ("error", format!("{}: {}", letter.error_class, letter.error)),
        ("state", state(letter.state).to_owned()),
    ] {
        output::line(&format!("{name:<10} {value}"))?;
    }
    for (name, value) in letter.headers.iter().flat_map(Headers::iter) {
        output::line(&format!("header     {name}: {value}"))?;
    }
    Ok(output::line(letter.value.as_deref().unwrap_or_default())?)
}

async fn replay(
    app: &App,
    ids: Vec<LetterId>,
    filter: EventFilterArgs,
    limit: u32,
    json: bool,
) -> anyhow::Result<()> {
    let by_filter = ids.is_empty();
    let selection = Selection {
        ids,
        filter: by_filter.then(|| filter.into()),
        limit: by_filter.then_some(limit as usize),
    };
    let replayed = app.dead_letters().replay(&selection).await?;
    if json {
        return Ok(output::json(&replayed)?);
    }
    let count = replayed.letters.len();
    Ok(output::line(&format!(
        "{count} dead record(s) were sent again"
    ))?)
}

async fn purge(
    app: &App,
    topic: Option<String>,
    older_than_days: u32,
    json: bool,
) -> anyhow::Result<()> {
    let age = TimeDelta::days(i64::from(older_than_days));
    let purged = app.dead_letters().purge(topic.as_deref(), age).await?;
    if json {
        return Ok(output::json(&purged)?);
    }
    Ok(output::line(&format!(
        "{} dead record(s) dropped",
        purged.removed
    ))?)
}

impl From<EventFilterArgs> for Filter {
    fn from(args: EventFilterArgs) -> Self {
        Self {
            topic: args.topic,
            group: args.group,
            error_class: args.error_class,
        }
    }
}

fn row_of(letter: &Letter) -> String {
    row([
        &letter.id.to_string(),
        &instant(letter.failed_at),
        &letter.group,
        &letter.error_class,
        state(letter.state),
        letter.kind.as_deref().unwrap_or("-"),
    ])
}

fn row([id, died, group, class, state, kind]: [&str; 6]) -> String {
    format!("{id:<24}  {died:<20}  {group:<10}  {class:<11}  {state:<8}  {kind}")
}

const fn state(state: State) -> &'static str {
    match state {
        State::Dead => "dead",
        State::Replayed => "replayed",
        State::Done => "done",
        State::Unknown => "unknown",
    }
}

fn instant(at: Option<DateTime<Utc>>) -> String {
    at.map_or("-".to_owned(), |at| {
        at.to_rfc3339_opts(SecondsFormat::Secs, true)
    })
}
