//! What the product promises when something dies, hangs, forgets or is asked too much, shown with real processes and
//! real services. Every test prints the figures that it measured.

mod broker;
mod database;
mod exhaustion;
mod images;
mod limits;
mod outages;
mod requests;
mod workers;
