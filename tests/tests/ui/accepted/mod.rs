//! What the macros accept, and what they make of it as far as no database is needed.

mod action;
mod derive;
mod hooks;
