//! The Docker daemon, by its API.

mod engine;
mod error;
mod via_registry;

pub use engine::{DockerEngine, LocalImage};
pub use error::Error;
pub use via_registry::RegistryAddress;
