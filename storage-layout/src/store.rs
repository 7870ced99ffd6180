//! Handles: the whole bucket, and one repository of it.

use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::name::RepositoryName;
use crate::objects::Objects;
use crate::read_ahead::ReadBudget;
use crate::server_copy::Near;
use crate::sizes::Sizes;
use crate::verified::Verified;

/// One mebibyte, the unit in which memory is handed out.
pub(crate) const MIB: u64 = 1024 * 1024;

/// How much of the machine a [`Store`] may use.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// The folder for spool files.
    pub spool_dir: PathBuf,
    /// The size of a part of a multipart upload, in bytes. All parts of an upload but the last are equal, since some stores
    /// demand that. At least 5 MiB on S3.
    pub part_size: u64,
    /// How much of a blob one request reads, in bytes, where several read it at once.
    pub range_size: u64,
    /// The memory for what is under way, in bytes: parts that are being filled or sent, and ranges that are read ahead of whoever
    /// wants them. For all uploads and downloads together.
    pub memory: u64,
    /// Whether a manifest is stored though blobs that it names are not in the bucket, as the specification lets a registry do.
    /// A blob that is there with another size than the manifest states is refused all the same.
    pub allow_missing_blobs: bool,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            spool_dir: std::env::temp_dir(),
            part_size: 5 * MIB,
            range_size: 2 * MIB,
            memory: 64 * MIB,
            allow_missing_blobs: false,
        }
    }
}

impl StoreOptions {
    /// Returns the budget in MiB. It is room for one part at least: a part larger than it would wait for ever.
    pub(crate) fn permits(&self) -> u32 {
        permits(self.memory.max(self.part_size))
    }
}

/// Returns how many MiB `bytes` take, one at least.
pub(crate) fn permits(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(MIB).max(1)).unwrap_or(u32::MAX)
}

/// A bucket in registry-v2 layout. A cheap handle.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) objects: Objects,
    pub(crate) options: StoreOptions,
    /// One permit for each MiB of [`StoreOptions::memory`].
    pub(crate) memory: Arc<Semaphore>,
    pub(crate) reading: ReadBudget,
    pub(crate) sizes: Sizes,
    pub(crate) verified: Verified,
    /// Removals of what a dropped writer had begun.
    pub(crate) cleanup: TaskTracker,
}

impl Store {
    /// Makes a handle. Nothing is read or written.
    pub fn new(objects: Arc<dyn ObjectStore>, options: StoreOptions) -> Self {
        let memory = Arc::new(Semaphore::new(options.permits() as usize));
        let reading = ReadBudget::new(&options, &memory);
        let inner = Inner {
            objects: Objects(objects),
            options,
            memory,
            reading,
            sizes: Sizes::default(),
            verified: Verified::default(),
            cleanup: TaskTracker::new(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Returns a handle to a repository, which need not exist.
    pub fn repository(&self, name: &RepositoryName) -> Repository {
        Repository { store: self.clone(), name: name.clone(), near: None }
    }

    /// Waits until what dropped writers had begun is removed from the bucket. To be called before the process ends, when nothing
    /// is being written any more.
    pub async fn settle(&self) {
        self.inner.cleanup.close();
        self.inner.cleanup.wait().await;
        self.inner.cleanup.reopen();
    }

    pub(crate) fn objects(&self) -> &Objects {
        &self.inner.objects
    }
}

/// One repository of a bucket. A cheap handle.
#[derive(Clone, Debug)]
pub struct Repository {
    pub(crate) store: Store,
    pub(crate) name: RepositoryName,
    /// What has blobs of another bucket copied, if anything can.
    pub(crate) near: Option<Arc<Near>>,
}

impl Repository {
    /// Returns the repository's name.
    pub fn name(&self) -> &RepositoryName {
        &self.name
    }

    /// Returns the bucket that it is in.
    pub fn store(&self) -> &Store {
        &self.store
    }

    pub(crate) fn objects(&self) -> &Objects {
        self.store.objects()
    }
}
