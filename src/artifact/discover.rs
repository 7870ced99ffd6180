//! What is attached to a manifest, and to that, and so on.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::Serialize;
use storage_layout::{Descriptor, Digest};

use crate::transfer::{Error, Repository};

/// More manifests than this are not shown.
const MAX_FOUND: usize = 10_000;

/// A manifest and what refers to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Discovered {
    /// The manifest's digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its length, in bytes.
    pub size: u64,
    /// What kind of artifact it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// Its annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What refers to it. Of a manifest that is found twice it is told once.
    pub referrers: Vec<Self>,
}

impl From<Descriptor> for Discovered {
    fn from(descriptor: Descriptor) -> Self {
        let Descriptor { digest, media_type, size, artifact_type, annotations, .. } = descriptor;
        Self { digest, media_type, size, artifact_type, annotations, referrers: Vec::new() }
    }
}

/// Looks for all that refers to `subject`, near and far. With `artifact_type` only what is of that type is followed.
///
/// # Errors
/// The repository's; [`Error::Invalid`] if there is no end to it.
pub async fn discover(
    repository: &Arc<dyn Repository>,
    subject: Descriptor,
    artifact_type: Option<&str>,
) -> Result<Discovered, Error> {
    let mut seen = HashSet::from([subject.digest.clone()]);
    // The referrers of the manifests found so far, by number, and of which one each is a referrer.
    let mut found = vec![(subject, 0)];
    let mut next = 0;
    while let Some((manifest, _)) = found.get(next) {
        for referrer in repository.referrers(&manifest.digest).await? {
            let is_wanted = artifact_type.is_none_or(|wanted| referrer.artifact_type.as_deref() == Some(wanted));
            // A registry that lies may name a circle.
            if is_wanted && seen.insert(referrer.digest.clone()) {
                found.push((referrer, next));
            }
        }
        if found.len() > MAX_FOUND {
            return Err(Error::Invalid(format!("more than {MAX_FOUND} manifests refer to it")));
        }
        next += 1;
    }
    let mut nodes: Vec<(Discovered, usize)> =
        found.into_iter().map(|(descriptor, parent)| (descriptor.into(), parent)).collect();
    // A referrer stands behind its subject: from the end on, each is whole when it is handed on.
    while nodes.len() > 1
        && let Some((mut node, parent)) = nodes.pop()
    {
        node.referrers.reverse();
        nodes[parent].0.referrers.push(node);
    }
    let (mut root, _) = nodes.remove(0);
    root.referrers.reverse();
    Ok(root)
}
