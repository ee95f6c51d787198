//! Lua scripts: one round trip, one step of the server. A script is called by its hash; a server that does not know
//! it (new, restarted, flushed) gets the text once.

use std::sync::OnceLock;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::LuaInterface;
use fred::types::Value;
use fred::util::sha1_hash;

/// A script of this program.
#[derive(Debug)]
pub(crate) struct Script {
    text: &'static str,
    sha1: OnceLock<String>,
}

impl Script {
    /// The script with this text.
    pub(crate) const fn new(text: &'static str) -> Self {
        Self {
            text,
            sha1: OnceLock::new(),
        }
    }

    /// Runs the script once. All `keys` must lie in one hash slot.
    pub(super) async fn run(
        &self,
        client: &Client,
        keys: &[String],
        args: Vec<Value>,
    ) -> Result<Value, Error> {
        let sha1 = self.sha1.get_or_init(|| sha1_hash(self.text)).as_str();
        let keys = keys.to_vec();
        match client.evalsha(sha1, keys.clone(), args.clone()).await {
            Err(error) if error.details().starts_with("NOSCRIPT") => {
                client.eval(self.text, keys, args).await
            }
            answer => answer,
        }
    }
}
