//! A push that the daemon makes, to a registry in this process.

use std::sync::Arc;

use storage_layout::{Manifest, Reference, Repository, Tag};

use super::cost::Allowance;
use super::from_docker::Pushing;
use crate::commands::Context;
use crate::commands::bridge::Bridge;
use crate::commands::tally::Tally;
use crate::transfer::{BlobStatus, CopiedBlob, RepositorySource, Source};
use crate::ui::{CommandError, ExitStatus};

/// The first version of Docker's API that pushes one platform of several.
const PUSHES_PLATFORM: (u32, u32) = (1, 46);

impl Pushing<'_> {
    /// Has the daemon push the image. Returns `None` if it began to send more than `allowance`; it was then stopped.
    pub(super) async fn by_registry(
        &self,
        bridge: Bridge,
        allowance: Option<Allowance>,
        tally: &Tally,
        context: &Context,
    ) -> Result<Option<Manifest>, CommandError> {
        let (engine, tag, name, attempted) = (self.engine, self.tag, self.repository.name(), self.attempted.as_str());
        if self.platform.is_some() && self.daemon.api < PUSHES_PLATFORM {
            bridge.stop().await;
            let message = format!("{attempted}: Docker {} cannot push one platform of several", self.daemon.version);
            return Err(CommandError::usage(message).hint("use --transport archive"));
        }
        let temporary = bridge.registry.repository(name);
        // Not given up half-way: a name that the daemon makes after it was taken away would stay.
        let tagged = engine.tag(&self.image.id, &temporary, tag.as_str()).await;
        let pushed = context.unless_stopped(self.doing(), async {
            tagged.map_err(|error| CommandError::because(attempted, error))?;
            let push = bridge.watch(attempted, engine.push(&bridge.registry, name, tag, self.platform));
            tokio::select! {
                pushed = push => pushed.map(Some),
                () = tally.exceeds(allowance) => Ok(None),
            }
        });
        let pushed = pushed.await;
        // On every way out: the daemon keeps no name of ours.
        if let Err(error) = engine.untag(&format!("{temporary}:{tag}")).await {
            tracing::warn!(%error, "the temporary name {temporary}:{tag} is left in the Docker daemon");
        }
        // containerd's store looks at the tag first and sends nothing if that is its image already.
        let received = bridge.journal.tagged(tag).or_else(|| bridge.journal.answered(tag));
        bridge.stop().await;
        match pushed? {
            Some(()) => read_back(self.repository, tag, received, attempted).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Success means that the tag says so: the daemon's word is not enough.
async fn read_back(
    repository: &Repository,
    tag: &Tag,
    received: Option<storage_layout::Descriptor>,
    attempted: &str,
) -> Result<Manifest, CommandError> {
    let Some(received) = received else {
        return Err(CommandError::new(
            ExitStatus::Docker,
            format!("{attempted}: the Docker daemon ended without sending a manifest"),
        ));
    };
    let manifest = repository
        .get_manifest(&Reference::Tag(tag.clone()))
        .await
        .map_err(|error| CommandError::because(format!("{attempted}: reading the tag back"), error))?;
    if *manifest.digest() != received.digest {
        let message = format!("{attempted}: the tag {tag} now names {}, not {}", manifest.digest(), received.digest);
        return Err(
            CommandError::new(ExitStatus::Conflict, message).hint("somebody else pushed to it at the same time")
        );
    }
    Ok(manifest)
}

/// Returns the image's blobs, and which of them travelled.
pub(in crate::commands) async fn contents(
    repository: &Repository,
    root: &Manifest,
    tally: &Tally,
) -> Result<Vec<CopiedBlob>, crate::transfer::Error> {
    let mut manifests = vec![root.clone()];
    let source = RepositorySource::new(Arc::new(repository.clone()), Reference::Digest(root.digest().clone()));
    for child in root.manifests() {
        match source.manifest(child).await {
            Ok(manifest) => manifests.push(manifest),
            // A sparse index is legal.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    let mut seen = std::collections::HashSet::new();
    let blobs = manifests.iter().flat_map(Manifest::blobs).filter(|blob| seen.insert(blob.digest.clone()));
    Ok(blobs
        .map(|descriptor| {
            let sent = tally.was_sent(&descriptor.digest);
            CopiedBlob {
                descriptor: descriptor.clone(),
                status: if sent { BlobStatus::Sent } else { BlobStatus::Exists },
            }
        })
        .collect())
}
