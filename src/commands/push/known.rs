//! What a bucket has of an image, by the names that a daemon knows it by.
//!
//! A bucket keeps blobs by the digest of their compressed bytes; Docker's own store knows layers by their digest uncompressed, the
//! diffID. Both stand together in every pair of a manifest and its config. The newest of such pairs of one repository are read;
//! what other repositories have is found when the daemon knows its digest, and else compressed once more.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use storage_layout::{Digest, Error, Manifest, Reference, Repository, Tag};

use crate::archive::{CompressionFormat, ImageConfig, LayerBlob};

/// How many manifests are read, the newest first.
const MANIFESTS: usize = 32;
/// How large a config may be to be read, in bytes.
const MAX_CONFIG: u64 = 2 * 1024 * 1024;
/// How many requests are under way at once.
const AT_ONCE: usize = 16;

/// Layers that the bucket has, by diffID.
pub(super) type KnownLayers = HashMap<Digest, LayerBlob>;

/// The newest images of a repository.
#[derive(Debug)]
pub(super) struct KnownImages {
    repository: Repository,
    /// First what the tag stands for, then the newest.
    manifests: Vec<Manifest>,
}

impl KnownImages {
    /// Reads manifests. One that is lost or damaged says nothing.
    pub(super) async fn read(repository: &Repository, tag: &Tag) -> Result<Self, Error> {
        let tagged = async {
            match repository.resolve(&Reference::Tag(tag.clone())).await {
                Ok(digest) => Ok(Some(digest)),
                Err(Error::ManifestUnknown { .. } | Error::Corrupt { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let (tagged, newest) = tokio::try_join!(tagged, repository.newest_manifests(MANIFESTS))?;
        let mut seen = HashSet::new();
        let digests = tagged.into_iter().chain(newest).filter(|digest| seen.insert(digest.clone()));
        let read = |digest| async {
            match repository.get_manifest(&Reference::Digest(digest)).await {
                Ok(manifest) => Ok(Some(manifest)),
                Err(Error::ManifestUnknown { .. } | Error::Corrupt { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        };
        let manifests: Vec<Option<Manifest>> =
            futures::stream::iter(digests.collect::<Vec<_>>()).map(read).buffered(AT_ONCE).try_collect().await?;
        Ok(Self { repository: repository.clone(), manifests: manifests.into_iter().flatten().collect() })
    }

    /// Returns the image with that config. With a format, only one whose layers are all in it.
    pub(super) fn image(&self, id: &str, format: Option<CompressionFormat>) -> Option<&Manifest> {
        self.manifests.iter().find(|manifest| {
            let is_of =
                |format| manifest.layers().iter().all(|layer| CompressionFormat::of_layer(layer) == Some(format));
            manifest.config().is_some_and(|config| config.digest.as_str() == id) && format.is_none_or(is_of)
        })
    }

    /// Returns those of the layers that the bucket has in a format. They are looked for and linked to the repository, so that a
    /// manifest may name them.
    pub(super) async fn layers(&self, diff_ids: &[Digest], format: CompressionFormat) -> Result<KnownLayers, Error> {
        let pairs = futures::stream::iter(&self.manifests).map(|manifest| self.pairs(manifest)).buffered(AT_ONCE);
        let pairs: Vec<Vec<(Digest, LayerBlob)>> = pairs.try_collect().await?;
        let mut candidates = HashMap::new();
        for (diff_id, blob) in pairs.into_iter().flatten() {
            if blob.format == format && diff_ids.contains(&diff_id) {
                candidates.entry(diff_id).or_insert(blob);
            }
        }
        let confirmed = futures::stream::iter(candidates).map(|(diff_id, blob)| async {
            let is_there = self.repository.adopt_blob_of_size(&blob.digest, blob.size).await?;
            Ok(is_there.then_some((diff_id, blob)))
        });
        confirmed.buffer_unordered(AT_ONCE).try_filter_map(|pair| async { Ok(pair) }).try_collect().await
    }

    /// Returns the layers of an image by diffID.
    async fn pairs(&self, manifest: &Manifest) -> Result<Vec<(Digest, LayerBlob)>, Error> {
        let Some(config) = manifest.config() else { return Ok(Vec::new()) };
        let bytes = match self.repository.read_small_blob(&config.digest, MAX_CONFIG).await {
            Ok(bytes) => bytes,
            Err(Error::BlobUnknown(_) | Error::Corrupt { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        // The config of something that is no image.
        let Ok(config) = ImageConfig::read("the bucket", bytes) else { return Ok(Vec::new()) };
        if config.diff_ids().len() != manifest.layers().len() {
            return Ok(Vec::new());
        }
        let layers = config.diff_ids().iter().zip(manifest.layers());
        Ok(layers.filter_map(|(diff_id, layer)| Some((diff_id.clone(), LayerBlob::of(layer)?))).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use object_store::memory::InMemory;
    use serde_json::json;
    use storage_layout::{Algorithm, Descriptor, Store, StoreOptions, media_type};

    use super::*;

    fn digest(text: &str) -> Digest {
        Algorithm::Sha256.digest(text.as_bytes())
    }

    async fn put(repository: &Repository, media_type: &str, text: String) -> Descriptor {
        let (digest, size) = (digest(&text), text.len() as u64);
        let body = futures::stream::iter([Ok(Bytes::from(text))]);
        repository.put_blob(&digest, Some(size), body).await.unwrap();
        Descriptor::new(media_type, digest, size)
    }

    /// Pushes an image of layers that are called `packed NAME`, with the diffIDs of `names`. Returns its ID.
    async fn push(repository: &Repository, names: &[&str], diff_ids: &[&str], layer_type: &str, tag: &str) -> String {
        let diff_ids: Vec<Digest> = diff_ids.iter().map(|name| digest(name)).collect();
        let config = json!({"rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string();
        let config = put(repository, media_type::DOCKER_CONFIG, config).await;
        let mut layers = Vec::new();
        for name in names {
            layers.push(put(repository, layer_type, format!("packed {name}")).await);
        }
        let document =
            json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": layers});
        let manifest = Manifest::parse(document.to_string().into(), Algorithm::Sha256, None).unwrap();
        repository.put_manifest(&manifest, &[tag.parse().unwrap()]).await.unwrap();
        config.digest.to_string()
    }

    #[tokio::test]
    async fn layers_and_images_are_known_by_what_the_daemon_calls_them() {
        let store = Store::new(Arc::new(InMemory::new()), StoreOptions::default());
        let repository = store.repository(&"app".parse().unwrap());
        let tag: Tag = "new".parse().unwrap();
        assert!(KnownImages::read(&repository, &tag).await.unwrap().image("sha256:", None).is_none());
        let gzip = push(&repository, &["a", "b"], &["a", "b"], media_type::DOCKER_LAYER_GZIP, "old").await;
        let zstd = push(&repository, &["z"], &["c"], media_type::OCI_LAYER_ZSTD, "zstd").await;
        // Which layer is which is not said.
        push(&repository, &["d"], &["d", "e"], media_type::DOCKER_LAYER_GZIP, "odd").await;
        let known = KnownImages::read(&repository, &tag).await.unwrap();
        let wanted = ["b", "c", "d", "unknown"].map(digest);
        for (format, expected) in
            [(CompressionFormat::Gzip, ("b", "packed b")), (CompressionFormat::Zstd, ("c", "packed z"))]
        {
            let layers = known.layers(&wanted, format).await.unwrap();
            let layers: Vec<_> = layers.into_iter().map(|(diff_id, blob)| (diff_id, blob.digest)).collect();
            assert_eq!(layers, [(digest(expected.0), digest(expected.1))], "{format}");
        }
        assert!(known.image(&gzip, None).is_some() && known.image(&gzip, Some(CompressionFormat::Zstd)).is_none());
        assert!(known.image(&zstd, Some(CompressionFormat::Zstd)).is_some());
        assert!(known.image(digest("b").as_str(), None).is_none());
    }
}
