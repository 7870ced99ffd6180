//! What a client does to push and to pull.

use bytes::Bytes;
use futures::TryStreamExt;

use super::Image;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::name::{Reference, Tag};
use crate::store::Repository;

/// How a client sends blobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Write {
    /// The digest is said first, with the length.
    DigestFirst,
    /// The digest is said when all bytes were sent, as Docker does.
    DigestLast,
}

impl Write {
    /// Both ways.
    pub const ALL: [Self; 2] = [Self::DigestFirst, Self::DigestLast];
}

/// Does what a client does to push: asks for each blob, sends those that are missing, then stores the manifest.
pub async fn push(repository: &Repository, image: &Image, tag: Option<&Tag>, write: Write) -> Result<()> {
    for child in &image.children {
        Box::pin(push(repository, child, None, write)).await?;
    }
    for (descriptor, content) in &image.blobs {
        match repository.stat_blob(&descriptor.digest).await {
            Ok(_) => {}
            // A damaged link is mended by sending what it stands for.
            Err(Error::BlobUnknown(_) | Error::Corrupt { .. }) => {
                send(repository, &descriptor.digest, content, write).await?;
            }
            Err(error) => return Err(error),
        }
    }
    repository.put_manifest(&image.manifest, tag.map(std::slice::from_ref).unwrap_or_default()).await
}

/// Sends one blob, in pieces of odd length.
pub async fn send(repository: &Repository, digest: &Digest, content: &Bytes, write: Write) -> Result<()> {
    let pieces = content.chunks(100_003).map(|piece| content.slice_ref(piece));
    match write {
        Write::DigestFirst => {
            let body = futures::stream::iter(pieces.map(Ok));
            repository.put_blob(digest, Some(content.len() as u64), body).await?;
        }
        Write::DigestLast => {
            let mut upload = repository.begin_upload(digest.algorithm());
            for piece in pieces {
                upload.write(piece).await?;
            }
            upload.commit(digest).await?;
        }
    }
    Ok(())
}

/// Does what a client does to pull: reads the manifest and all that it names, and checks each digest and length.
///
/// # Errors
/// The store's; [`Error::Corrupt`] if a blob is damaged.
///
/// # Panics
/// If wrong content is handed out as right.
pub async fn pull(repository: &Repository, reference: &Reference) -> Result<Image> {
    let manifest = repository.get_manifest(reference).await?;
    assert_eq!(manifest.digest().algorithm().digest(manifest.bytes()), *manifest.digest());
    if let Reference::Digest(digest) = reference {
        assert_eq!(manifest.digest(), digest, "another manifest was handed out");
    }
    let mut blobs = Vec::new();
    for descriptor in manifest.blobs() {
        blobs.push((descriptor.clone(), read(repository, &descriptor.digest).await?));
        let (_, content) = blobs.last().expect("one was pushed just now");
        assert_eq!(content.len() as u64, descriptor.size, "{} has another length", descriptor.digest);
    }
    let mut children = Vec::new();
    for child in manifest.manifests() {
        children.push(Box::pin(pull(repository, &child.digest.clone().into())).await?);
    }
    Ok(Image { manifest, blobs, children })
}

/// Reads a blob to its end.
///
/// # Errors
/// The store's; [`Error::Corrupt`] if the blob is damaged.
///
/// # Panics
/// If wrong content is handed out as right.
pub async fn read(repository: &Repository, digest: &Digest) -> Result<Bytes> {
    let stat = repository.find_blob(digest).await?;
    let reader = repository.open_blob(&stat, None).await?;
    let pieces: Result<Vec<Bytes>, _> = reader.stream.try_collect().await;
    let pieces = pieces.map_err(|error| Error::from_blob_stream(digest, error))?;
    let content = Bytes::from(pieces.concat());
    assert_eq!(digest.algorithm().digest(&content), *digest, "wrong bytes were handed out");
    assert_eq!(content.len() as u64, reader.size, "another length was announced");
    Ok(content)
}
