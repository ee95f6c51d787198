//! Where file bytes are kept: `object_store` behind the byte rules. Uploads stream with flat memory, are hashed on
//! the way, are visible only when whole, and are on disk before they are acknowledged.

mod error;
mod key;
mod range;
mod sniff;
mod store;
mod sweep;
mod upload;

pub use error::Error;
pub use key::Key;
pub use range::{ByteRange, Unsatisfiable, parse_range};
pub use sniff::{MediaType, sniff};
pub use store::{Download, FileStore, LocalFile, StoreId};
pub use upload::{Accept, PutRules, Stored};
