//! One file per verb: it wires the pieces and owns the cleanup.

pub mod artifact;
pub mod blob;
mod bridge;
mod context;
pub mod copy;
pub mod doctor;
mod input;
pub mod inspect;
pub mod login;
pub mod logout;
pub mod ls;
pub mod manifest;
mod outcome;
mod place;
pub mod pull;
pub mod push;
mod request;
mod route;
pub mod serve;
mod source;
pub mod tags;
mod tally;

pub use context::{Context, Settings};
pub use place::{ImagePlace, Place, RepositoryPlace};
pub use request::ImageRequest;
