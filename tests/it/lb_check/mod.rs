//! The proof that a balancer does its work, and that the proof can fail: real balancers in front of real instances, each
//! broken in one way, and found out by one phase.

mod balancer;
mod disruption;
mod fleet;
mod gateway;
mod proofs;
mod routes;
