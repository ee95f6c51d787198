//! The instances part, to come.
