//! Artifacts as a whole: what is packed comes back, and what is hostile leaves no trace.

mod hostile;
mod round_trip;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use futures::{StreamExt, stream};
use object_store::memory::InMemory;
use serde_json::{Value, json};
use storage_layout::{Algorithm, Descriptor, Digest, Manifest, Store, StoreOptions, media_type};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::transfer::{CopyOptions, Error, Reporter, Repository, RepositoryTarget, TITLE, copy_image};

fn repository() -> Arc<dyn Repository> {
    let store = Store::new(Arc::new(InMemory::new()), StoreOptions::default());
    Arc::new(store.repository(&"app".parse().unwrap()))
}

fn deaf() -> Arc<dyn Reporter> {
    Arc::new(())
}

async fn push(packed: &Packed, repository: &Arc<dyn Repository>) -> Result<Manifest, Error> {
    let target = RepositoryTarget::new(Arc::clone(repository), "v1".parse().ok());
    let options = CopyOptions { platforms: Vec::new(), jobs: 2 };
    Ok(copy_image(packed, &target, &options, &deaf()).await?.root)
}

async fn pull(
    repository: &Arc<dyn Repository>,
    manifest: &Manifest,
    output: &Path,
    keep_old_files: bool,
) -> Result<Vec<PulledFile>, Error> {
    let fetched = fetch(repository, manifest, output, 2, &deaf()).await?;
    fetched.unpack(keep_old_files, &CancellationToken::new()).await
}

/// Stores a blob and returns its descriptor.
async fn blob(repository: &Arc<dyn Repository>, media_type: &str, bytes: Vec<u8>) -> Descriptor {
    let descriptor = Descriptor::new(media_type, Algorithm::Sha256.digest(&bytes), bytes.len() as u64);
    repository.put_blob(&descriptor, stream::once(async { Ok(bytes.into()) }).boxed()).await.unwrap();
    descriptor
}

/// Stores an artifact of layers with these annotations.
async fn artifact(repository: &Arc<dyn Repository>, config: &str, layers: &[(Vec<u8>, Value)]) -> Manifest {
    let config = blob(repository, config, b"{}".to_vec()).await;
    let mut descriptors = Vec::new();
    for (bytes, annotations) in layers {
        let mut descriptor = blob(repository, "application/octet-stream", bytes.clone()).await;
        descriptor.annotations = serde_json::from_value(annotations.clone()).unwrap();
        descriptors.push(descriptor);
    }
    let document =
        json!({"schemaVersion": 2, "mediaType": media_type::OCI_MANIFEST, "config": config, "layers": descriptors});
    let manifest = Manifest::parse(document.to_string().into(), Algorithm::Sha256, None).unwrap();
    repository.put_manifest(&manifest, &[]).await.unwrap();
    manifest
}

/// Returns all that is below a folder: files with content and mode, links with target.
fn contents(folder: &Path) -> BTreeMap<String, String> {
    fn walk(root: &Path, folder: &Path, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let mode = metadata.permissions().mode() & 0o7777;
            let what = if metadata.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if metadata.is_dir() {
                walk(root, &path, found);
                format!("folder {mode:o}")
            } else {
                format!("{mode:o} {}", String::from_utf8_lossy(&fs::read(&path).unwrap()))
            };
            found.insert(name, what);
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, folder, &mut found);
    found
}
