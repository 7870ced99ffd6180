//! The Docker daemon, by its API.

mod context;
mod daemon;
mod engine;
mod error;
mod ssh;
mod transport;
mod via_archive;
mod via_registry;

pub use context::{DaemonChoice, Surroundings};
pub use daemon::Daemon;
pub use engine::{DockerEngine, LocalImage};
pub use error::Error;
pub use transport::{Decision, Probe, Transport, TransportChoice, decide};
pub use via_archive::SaveFailure;
pub use via_registry::RegistryAddress;
