//! The sqlite part, to come.
