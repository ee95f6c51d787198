//! Signatures of Standard Webhooks: `v1,` and the base64 of an HMAC-SHA256 over id, instant and body, with dots between.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, Mac};
use rand::RngCore;
use serde::{Deserialize, Serialize};
use sha2::Sha256;

/// Bytes of a secret: between the 24 and 64 that the specification allows.
const SECRET_BYTES: usize = 32;
const PREFIX: &str = "whsec_";

/// What signs the deliveries of a webhook. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// A new one.
    pub fn random() -> Self {
        let mut bytes = [0; SECRET_BYTES];
        rand::rng().fill_bytes(&mut bytes);
        Self(format!("{PREFIX}{}", STANDARD.encode(bytes)))
    }

    /// The one that was kept as this text.
    pub const fn kept(text: String) -> Self {
        Self(text)
    }

    /// The text to keep, and to show once.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The value of `webhook-signature` for a body that is sent at `at`.
    pub fn sign(&self, id: &str, at: DateTime<Utc>, body: &str) -> String {
        let text = self.0.strip_prefix(PREFIX).unwrap_or(&self.0);
        // Kept as we made it; what is no base64 would sign as the text that it is.
        let key = STANDARD.decode(text).unwrap_or_else(|_| text.into());
        // Keys of any length are taken.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key) else {
            return String::new();
        };
        for part in [id, ".", &at.timestamp().to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let secret = Secret::kept("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".to_owned());
        let at = DateTime::from_timestamp(1_614_265_330, 0).unwrap();
        assert_eq!(
            secret.sign(
                "msg_p5jXN8AQM9LWM0D4loKWxJek",
                at,
                r#"{"test": 2432232314}"#
            ),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn secrets_differ_and_are_not_shown() {
        let (first, second) = (Secret::random(), Secret::random());
        assert_ne!(first, second);
        assert_eq!(format!("{first:?}"), "Secret(…)");
    }
}
