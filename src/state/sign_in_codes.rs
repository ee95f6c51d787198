//! One-time codes by which a person signs in without a password: the sign-in link carries one.

use std::time::Duration;

use bytes::Bytes;

use super::{Error, SharedState, When};
use crate::kit::hex::hex;
use crate::kit::id::UserId;
use crate::kit::secret;

/// The codes in a state store.
#[derive(Debug, Clone)]
pub struct SignInCodes {
    state: SharedState,
}

impl SignInCodes {
    /// Codes in `state`.
    pub fn new(state: SharedState) -> Self {
        Self { state }
    }

    /// A code that signs `user` in, once, within `lifetime`.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn create(&self, user: UserId, lifetime: Duration) -> Result<String, Error> {
        let code = secret::random();
        let user = Bytes::from(user.to_string());
        self.state
            .put(&code_key(&code), user, lifetime, When::Always)
            .await?;
        Ok(code)
    }

    /// Whom `code` signs in; `None` where it was never given out, was used, or is too old. Of many callers with one
    /// code, one gets the answer.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn redeem(&self, code: &str) -> Result<Option<UserId>, Error> {
        let Some(user) = self.state.take(&code_key(code)).await? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&user);
        let user = text.parse().map_err(|error| {
            Error::Unexpected(format!("a sign-in code of nobody known: {error}"))
        })?;
        Ok(Some(user))
    }
}

fn code_key(code: &str) -> String {
    format!("sign-in:{}", hex(secret::digest(code)))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kit::clock::{Clock, ManualClock, SystemClock};
    use crate::state::memory::Memory;

    #[tokio::test]
    async fn a_sign_in_code_works_once_and_not_for_ever() {
        let clock = ManualClock::at(SystemClock.now());
        let codes = SignInCodes::new(Arc::new(Memory::new(Arc::new(clock.clone()))));
        let user = UserId::new(&clock);
        let lifetime = Duration::from_secs(600);
        let code = codes.create(user, lifetime).await.unwrap();
        assert_eq!(codes.redeem("guessed").await.unwrap(), None);
        assert_eq!(codes.redeem(&code).await.unwrap(), Some(user));
        assert_eq!(codes.redeem(&code).await.unwrap(), None);
        let late = codes.create(user, lifetime).await.unwrap();
        clock.advance(lifetime);
        assert_eq!(codes.redeem(&late).await.unwrap(), None);
    }
}
