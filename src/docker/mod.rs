//! The Docker daemon, by its API.

mod context;
mod engine;
mod error;
mod ssh;
mod via_registry;

pub use context::{DaemonChoice, Surroundings};
pub use engine::{DockerEngine, LocalImage};
pub use error::Error;
pub use via_registry::RegistryAddress;
