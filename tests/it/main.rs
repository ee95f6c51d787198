//! The one integration binary: `support` starts what a test needs, `conformance` holds each seam's promises,
//! every other file is one noun of the product.

mod conformance;
mod embedded_log;
mod kafka_members;
mod outbox;
mod services;
mod support;
