//! The link that signs a person in once.

use std::time::Duration;

use crate::kit::id::UserId;
use crate::settings::Settings;
use crate::state::SharedState;
use crate::state::sessions::SignInCodes;

/// A link for `user`, which works within `auth.sign_in_link_s`; to `http.public_url`, or to `listener` (host and port)
/// where that is not set.
///
/// # Errors
/// When the state store does not answer.
pub async fn create(
    state: SharedState,
    settings: &Settings,
    user: UserId,
    listener: &str,
) -> anyhow::Result<String> {
    let lifetime = Duration::from_secs(settings.auth.sign_in_link_s);
    let code = SignInCodes::new(state).create(user, lifetime).await?;
    let base = match settings.http.public_url.trim_end_matches('/') {
        "" => format!("http://{listener}"),
        url => url.to_owned(),
    };
    Ok(format!("{base}/#sign-in={code}"))
}
