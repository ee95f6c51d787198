//! What the product promises when something dies, hangs, forgets or is asked too much, shown with real processes and
//! real services. Every test prints the figures that it measured.

mod database;
mod images;
mod limits;
mod requests;
mod workers;
