//! What every command is given.

use std::path::PathBuf;
use std::sync::Arc;

use storage_layout::{Store, StoreOptions};
use tokio_util::sync::CancellationToken;

use crate::backend::{BackendConfig, Intent};
use crate::cache::CacheLimits;
use crate::docker::{self, DaemonChoice, DockerEngine, Surroundings, TransportChoice};
use crate::transfer::Reporter;
use crate::ui::{CommandError, Printer};

/// The memory for the bytes of one blob that is under way, in bytes.
const MEMORY_OF_JOB: u64 = 10 * 1024 * 1024;

/// What every command is given.
#[derive(Clone, Debug)]
pub struct Context {
    /// Where results and messages go.
    pub printer: Printer,
    /// Who hears of the transfer.
    pub reporter: Arc<dyn Reporter>,
    /// Cancelled when the user asks to stop.
    pub cancel: CancellationToken,
    /// What the global flags say.
    pub settings: Settings,
}

/// What the global flags say.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many blobs travel at once.
    pub jobs: usize,
    /// How often a failed request to the storage is tried again.
    pub retries: u32,
    /// The folder for spool files.
    pub spool_dir: PathBuf,
    /// Certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The HTTP proxy for the storage.
    pub proxy: Option<String>,
    /// The folder of blobs that were read once, and how much it may hold.
    pub cache: Option<(PathBuf, CacheLimits)>,
    /// Which Docker daemon is meant.
    pub daemon: DaemonChoice,
    /// Which way images go between the daemon and the bucket.
    pub transport: TransportChoice,
}

impl Context {
    /// Opens a bucket.
    pub(super) async fn open(
        &self,
        backend: &BackendConfig,
        bucket: &str,
        intent: Intent,
    ) -> Result<Store, crate::backend::Error> {
        // The providers' credential chains make a future of some 30 KiB.
        let objects = Box::pin(backend.connect(bucket, intent)).await?;
        Ok(Store::new(objects, self.store_options()))
    }

    /// Returns how much a store may use.
    pub(super) fn store_options(&self) -> StoreOptions {
        let memory = self.settings.jobs as u64 * MEMORY_OF_JOB;
        StoreOptions { spool_dir: self.settings.spool_dir.clone(), memory, ..StoreOptions::default() }
    }

    /// Finds the Docker daemon, without a word to it.
    pub(super) fn docker_unasked(&self) -> Result<DockerEngine, docker::Error> {
        DockerEngine::open(&self.settings.daemon, &Surroundings::of_process())
    }

    /// Runs `work` until it ends or the user asks to stop.
    pub(super) async fn unless_stopped<T>(
        &self,
        what: String,
        work: impl Future<Output = Result<T, CommandError>>,
    ) -> Result<T, CommandError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(CommandError::interrupted(format!("{what} was interrupted"))),
            result = work => result,
        }
    }
}
