//! What can go wrong with a Docker daemon.

use std::path::PathBuf;

/// A failure of the daemon, or of reaching it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No daemon answers.
    #[error("no Docker daemon answers at {host}")]
    Unreachable {
        /// The address that was tried.
        host: String,
        /// The socket of a daemon without root that may be the one that is meant.
        rootless: Option<PathBuf>,
        /// Why not.
        #[source]
        source: bollard::errors::Error,
    },
    /// The address is none.
    #[error("{host} is no address of a Docker daemon (unix:///path, tcp://host:port, ssh://user@host)")]
    Address {
        /// What was given.
        host: String,
        /// Why not.
        #[source]
        source: bollard::errors::Error,
    },
    /// A Docker context cannot be used.
    #[error("the Docker context {context:?} cannot be used: {problem} ({file})")]
    Context {
        /// Its name.
        context: String,
        /// The file that says so.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The configuration of Docker's client cannot be used.
    #[error("the Docker configuration {file} cannot be used: {problem}")]
    Config {
        /// The file.
        file: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The daemon has no such image.
    #[error("the Docker daemon has no image {0}")]
    ImageUnknown(String),
    /// The daemon refused, or failed while it worked.
    #[error("the Docker daemon failed {attempted}: {message}")]
    Failed {
        /// What it was asked to do, such as `pushing app:v1`.
        attempted: String,
        /// What it said.
        message: String,
    },
    /// The archive on its way to or from the daemon could not be written or read.
    #[error(transparent)]
    Archive(#[from] crate::transfer::Error),
    /// The connection to the daemon broke.
    #[error("the Docker daemon went away while {attempted}")]
    Lost {
        /// What it was asked to do.
        attempted: String,
        /// How it was noticed.
        #[source]
        source: bollard::errors::Error,
    },
}
