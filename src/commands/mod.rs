//! One file per verb: it wires the pieces and owns the cleanup.

mod bridge;
mod context;
pub mod copy;
pub mod doctor;
pub mod login;
pub mod logout;
mod outcome;
mod place;
pub mod pull;
pub mod push;
mod route;
pub mod serve;
mod source;
mod tally;

pub use context::{Context, Settings};
pub use place::{ImagePlace, Place, RepositoryPlace};
