//! The proof that a balancer does its work, and that the proof can fail.

mod routes;
