//! For tests: images that are made up, and a store that fails on demand.

mod client;
mod fault;
mod faulty;
mod images;

use std::collections::BTreeMap;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};

pub use client::{Write, pull, push, read, send};
pub use fault::{Call, Failure, Fault, Operation, Stop};
pub use faulty::FaultyStore;
pub use images::{Image, artifact, docker_image, image, image_from, index, index_of, noise};

/// Returns all keys of a store with what they hold.
pub async fn snapshot(objects: &dyn ObjectStore) -> BTreeMap<String, Bytes> {
    let listed: Vec<ObjectMeta> = objects.list(None).try_collect().await.expect("the store can be listed");
    let mut found = BTreeMap::new();
    for meta in listed {
        let object = objects.get(&meta.location).await.expect("what was listed is there");
        found.insert(meta.location.to_string(), object.bytes().await.expect("what is there can be read"));
    }
    found
}
