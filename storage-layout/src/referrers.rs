//! Referrers: manifests that have another manifest as their subject.
//!
//! One object for each pair, where Docker's registry, its catalog and its garbage collection pass it over. Clients that push
//! through a registry without referrers keep an index under a tag instead; what such a tag holds is merged in.

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::key::{Key, prefix};
use crate::link;
use crate::manifest::Descriptor;
use crate::media_type;
use crate::name::{Reference, Tag};
use crate::objects::for_each;
use crate::store::Repository;

/// Returns the tag under which an index lists what refers to `subject` where a registry has no list of its own:
/// <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>.
pub fn referrers_tag(subject: &Digest) -> Tag {
    // The specification cuts both parts so that the tag is never too long.
    let tag = format!("{:.32}-{:.64}", subject.algorithm().as_str(), subject.hex());
    tag.parse().expect("an algorithm and hexadecimal digits make a tag")
}

impl Repository {
    pub(crate) async fn link_referrer(&self, subject: &Digest, referrer: &Digest) -> Result<()> {
        link::write(self.objects(), &self.referrer_key(subject, referrer), referrer).await
    }

    pub(crate) async fn unlink_referrer(&self, subject: &Digest, referrer: &Digest) -> Result<()> {
        self.objects().delete(&self.referrer_key(subject, referrer).path()).await
    }

    fn referrer_key(&self, subject: &Digest, referrer: &Digest) -> Key {
        Key::ReferrerLink { repository: self.name.clone(), subject: subject.clone(), referrer: referrer.clone() }
    }

    /// Returns descriptors of all manifests whose subject is `subject`, sorted by digest. `artifact_type` filters.
    ///
    /// One that is damaged keeps none of the others back. It is listed without a type, for nobody can tell it: whoever reads it
    /// learns that it is damaged, and not that nothing was ever attached.
    ///
    /// # Errors
    /// The store's. A subject that does not exist has no referrers.
    pub async fn referrers(&self, subject: &Digest, artifact_type: Option<&str>) -> Result<Vec<Descriptor>> {
        let links = self.objects().list(&prefix::referrers(&self.name, subject)).await?;
        let linked = links.iter().filter_map(|meta| match Key::parse(&meta.location) {
            Some(Key::ReferrerLink { referrer, .. }) => Some(referrer),
            _ => None,
        });
        let mut digests: Vec<Digest> = linked.collect();
        digests.extend(self.fallback_digests(subject).await?);
        digests.sort();
        digests.dedup();
        let found = for_each(digests, |digest| async move {
            match self.get_manifest(&Reference::Digest(digest.clone())).await {
                Ok(manifest) => {
                    let refers = manifest.subject().is_some_and(|found| found.digest == *subject);
                    Ok(refers.then(|| manifest.referrer_descriptor()))
                }
                // Deleted by a registry that does not know of the link.
                Err(Error::ManifestUnknown { .. }) => Ok(None),
                Err(error @ Error::Corrupt { .. }) => {
                    tracing::warn!(%error, "{digest}, which is listed as referring to {subject}, cannot be read");
                    let size = self.store().data_size(&digest).await?.unwrap_or_default();
                    Ok(Some(Descriptor::new(media_type::OCI_MANIFEST, digest, size)))
                }
                Err(error) => Err(error),
            }
        });
        let wanted = |descriptor: &Descriptor| {
            artifact_type.is_none_or(|wanted| descriptor.artifact_type.as_deref() == Some(wanted))
        };
        Ok(found.await?.into_iter().flatten().filter(wanted).collect())
    }

    /// Returns what is listed under a tag.
    async fn fallback_digests(&self, subject: &Digest) -> Result<Vec<Digest>> {
        match self.get_manifest(&Reference::Tag(referrers_tag(subject))).await {
            Ok(index) => Ok(index.manifests().iter().map(|descriptor| descriptor.digest.clone()).collect()),
            Err(Error::ManifestUnknown { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}
