//! Settings: what can be set, from where, and what is refused.
//!
//! Layers, each over the one before: `config/default.toml` (compiled in) < files given with `--config` < the older
//! variable names of [`ALIASES`] < `SPHEROCTL__SECTION__KEY` (and `…_FILE` for secrets) < flags. The environment is
//! passed in as a map and never read here, so that tests of one process do not see each other's.
//!
//! A *key* is `section.key`. Its *origin* says which layer its value comes from. A *secret* is a key that may hold a
//! password; it is never printed with it, neither by `Debug` nor by `config show` nor in an error.

mod aliases;
mod environment;
mod error;
mod kafka;
mod layers;
mod limits;
mod load;
mod ml;
mod redact;
mod role;
mod schema;
mod sections;
mod validate;

pub use aliases::{ALIASES, Alias};
pub use error::Error;
pub use kafka::{GroupProtocol, Kafka};
pub use load::{Entry, Loaded, Sources, load};
pub use ml::{Ml, MlFallback, MlSegmenter};
pub use redact::redacted_url;
pub use role::{Role, check_for};
pub use sections::*;
