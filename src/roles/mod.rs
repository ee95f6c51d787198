//! What the executable can be started as: a file per command, readable from top to bottom. A role only puts parts
//! together; whatever it decides stands in a lower room.

pub mod args;
pub mod completions;
pub mod config;
pub mod dlq;
pub mod exit;
pub mod health;
pub mod lb_check;
pub mod migrate;
pub mod output;
pub mod password;
pub mod realtime;
pub mod segment;
pub mod serve;
pub mod sign_in_link;
pub mod sqlite_url;
pub mod standalone;
pub mod start;
pub mod token;
pub mod user;
pub mod worker;
