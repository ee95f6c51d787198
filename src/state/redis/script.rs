//! Lua on the server: one round trip, one step of the server. A script is called by its hash, a function by its name; a
//! server that does not know it (new, restarted, flushed) gets the text once.
//!
//! A script is read anew by each call, which a long one feels: what functions share stands in their library and is made
//! once, when that is loaded.

use std::sync::OnceLock;

use fred::clients::Client;
use fred::error::Error;
use fred::interfaces::{ClientLike, FunctionInterface, LuaInterface};
use fred::types::{Key, Value};
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

/// Functions of this program that share what they need. Where several versions of the program run on one server, each
/// has a library of its own: the hash of its text is a part of all names.
#[derive(Debug)]
pub(crate) struct Library {
    name: &'static str,
    text: &'static str,
    version: OnceLock<String>,
}

/// Letters of the hash that make a version.
const VERSION_LETTERS: usize = 12;

impl Library {
    /// The library of this name. Its text registers functions under names that end in `_` and `VERSION`.
    pub(crate) const fn new(name: &'static str, text: &'static str) -> Self {
        Self {
            name,
            text,
            version: OnceLock::new(),
        }
    }

    fn version(&self) -> &str {
        self.version.get_or_init(|| {
            let mut hash = sha1_hash(self.text);
            hash.truncate(VERSION_LETTERS);
            hash
        })
    }

    /// Calls a function once. All `keys` must lie in one hash slot.
    pub(super) async fn call(
        &self,
        client: &Client,
        function: &str,
        keys: &[Key],
        args: Vec<Value>,
    ) -> Result<Value, Error> {
        let function = format!("{function}_{}", self.version());
        let keys = keys.to_vec();
        let called = client.fcall(function.as_str(), keys.clone(), args.clone());
        match called.await {
            Err(error) if error.details().contains("Function not found") => {
                self.load(client).await?;
                client.fcall(function.as_str(), keys, args).await
            }
            answer => answer,
        }
    }

    /// Whoever was quicker loaded the same.
    async fn load(&self, client: &Client) -> Result<(), Error> {
        let (name, version, text) = (self.name, self.version(), self.text);
        let text = format!("#!lua name={name}_{version}\nlocal VERSION = '{version}'\n{text}");
        match client.is_clustered() {
            true => client.function_load_cluster(true, text).await,
            false => client.function_load(true, text).await,
        }
    }
}
