//! A push of what the daemon saves, while it saves it: layers are compressed as they go by, and what the bucket has is read past.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use storage_layout::{Algorithm, Descriptor, Digest, Error as BucketError, Repository, Tag, Upload};
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet};

use super::known::KnownLayers;
use crate::archive::{Compressor, DockerStream, ImageConfig, LayerBlob};
use crate::docker::LocalImage;
use crate::transfer::{
    BlobProgress, BlobStatus, ByteStream, Copied, CopiedBlob, Error, Label, Reporter, Repository as _,
};

/// A push under way.
#[derive(Debug)]
pub(super) struct OnePass<'a> {
    pub(super) image: &'a LocalImage,
    pub(super) repository: &'a Repository,
    pub(super) tag: &'a Tag,
    /// The layers that the bucket has.
    pub(super) known: KnownLayers,
    pub(super) compressor: Compressor,
    /// How many blobs travel at once.
    pub(super) jobs: usize,
    pub(super) reporter: &'a Arc<dyn Reporter>,
}

/// Layers on their way into the bucket while the next are compressed.
pub(super) type Sending = JoinSet<Sent>;

/// A layer that was sent, or had not to be.
type Sent = Result<(Digest, BlobStatus), BucketError>;

/// What became of the blobs that were not known beforehand.
type Statuses = HashMap<Digest, BlobStatus>;

impl OnePass<'_> {
    /// Pushes the image that `archive` holds. Nothing of it is visible before all of it is verified and there. When this fails,
    /// `sending` has to be shut down.
    pub(super) async fn run(
        mut self,
        label: &str,
        archive: ByteStream,
        sending: &mut Sending,
    ) -> Result<Copied, Error> {
        let mut statuses = Statuses::new();
        let config = self.read(label, archive, sending, &mut statuses).await?;
        self.check(&config)?;
        let root = config.manifest(label, &self.known)?;
        while let Some(sent) = sending.join_next().await {
            statuses.extend([ended(sent)?]);
        }
        if let Some(descriptor) = root.config() {
            let status = self.put_config(descriptor, config.bytes()).await?;
            statuses.insert(descriptor.digest.clone(), status);
        }
        self.repository.put_manifest(&root, std::slice::from_ref(self.tag)).await?;
        let mut seen = HashSet::new();
        let blobs = root.blobs().filter(|blob| seen.insert(blob.digest.clone())).map(|blob| {
            let status = statuses.get(&blob.digest).copied().unwrap_or(BlobStatus::Exists);
            if status == BlobStatus::Exists {
                self.reporter.blob_exists(Label::Digest(&blob.digest), blob.size);
            }
            CopiedBlob { descriptor: blob.clone(), status }
        });
        Ok(Copied { blobs: blobs.collect(), root: root.clone(), referrers: Vec::new() })
    }

    /// Reads the archive and sends its layers. Afterwards all of them are known, and many are still on their way.
    async fn read(
        &mut self,
        label: &str,
        archive: ByteStream,
        sending: &mut Sending,
        statuses: &mut Statuses,
    ) -> Result<ImageConfig, Error> {
        let mut stream = DockerStream::new(label.to_owned(), archive, &self.image.layers);
        let turns = Arc::new(Semaphore::new(self.jobs.max(1)));
        while let Some(layer) = stream.next_layer().await? {
            // A bucket that fails is not told of only when all was compressed.
            while let Some(sent) = sending.try_join_next() {
                statuses.extend([ended(sent)?]);
            }
            if let Some(blob) = layer.probably.as_ref().and_then(|diff_id| self.known.get(diff_id)) {
                tracing::debug!(digest = %blob.digest, size = layer.size, "a layer that the bucket has is read past");
                continue;
            }
            let label = layer.probably.as_ref().map_or(Label::Unknown("layer"), Label::Digest);
            let progress = self.reporter.blob_started(label, None);
            let (diff_id, upload) = self.compress(&mut stream, &*progress).await?;
            let format = self.compressor.compression().format();
            let blob = LayerBlob { digest: upload.digest(), size: upload.offset(), format };
            // Its name did not tell, or two layers have the same bytes.
            if self.known.contains_key(&diff_id) {
                continue;
            }
            tracing::debug!(%diff_id, digest = %blob.digest, plain = layer.size, size = blob.size, "a layer is compressed");
            self.known.insert(diff_id, blob.clone());
            sending.spawn(send(self.repository.clone(), Arc::clone(&turns), blob, upload, progress));
        }
        stream.finish()
    }

    async fn compress(
        &self,
        stream: &mut DockerStream,
        progress: &dyn BlobProgress,
    ) -> Result<(Digest, Upload), Error> {
        let mut upload = self.repository.begin_upload(Algorithm::Sha256);
        let mut compressed = self.compressor.compress(stream.layer());
        loop {
            match compressed.try_next().await {
                Ok(Some(piece)) => {
                    progress.advanced(piece.len() as u64);
                    upload.write(piece).await?;
                }
                Ok(None) => break,
                Err(error) => {
                    drop(compressed);
                    return Err(stream.failed(error));
                }
            }
        }
        let diff_id = compressed.diff_id().expect("the last byte came").clone();
        Ok((diff_id, upload))
    }

    /// What was saved must be what was looked at: by its name, which may have moved meanwhile.
    fn check(&self, config: &ImageConfig) -> Result<(), Error> {
        if self.image.id == config.digest().as_str() {
            return Ok(());
        }
        let (name, id, saved) = (&self.image.name, &self.image.id, config.digest());
        Err(Error::Invalid(format!("the Docker daemon was asked for {id}, which is {name}, and saved {saved}")))
    }

    async fn put_config(&self, descriptor: &Descriptor, bytes: &Bytes) -> Result<BlobStatus, Error> {
        if self.repository.has_blob(descriptor).await? {
            return Ok(BlobStatus::Exists);
        }
        let progress = self.reporter.blob_started(Label::of(descriptor), Some(descriptor.size));
        let body = futures::stream::iter([Ok(bytes.clone())]);
        self.repository.put_blob(&descriptor.digest, Some(descriptor.size), body).await?;
        progress.advanced(descriptor.size);
        progress.finished(&descriptor.digest);
        Ok(BlobStatus::Sent)
    }
}

/// Sends a compressed layer, unless the bucket has it.
async fn send(
    repository: Repository,
    turns: Arc<Semaphore>,
    blob: LayerBlob,
    upload: Upload,
    progress: Box<dyn BlobProgress>,
) -> Sent {
    let _turn = turns.acquire_owned().await.expect("the semaphore is never closed");
    if repository.adopt_blob_of_size(&blob.digest, blob.size).await? {
        return Ok((blob.digest, BlobStatus::Exists));
    }
    upload.commit(&blob.digest).await?;
    progress.finished(&blob.digest);
    Ok((blob.digest, BlobStatus::Sent))
}

/// Returns what a task says. One that panicked, or was stopped with the runtime, has failed.
fn ended(sent: Result<Sent, JoinError>) -> Sent {
    sent.map_err(|error| BucketError::Body(error.into()))?
}
