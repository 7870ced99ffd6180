//! What is attached to the images of a layout from outside: signatures, SBOMs, attestations.
//!
//! No specification says where a layout keeps that. Written is what oras writes, an entry of `index.json` without a name; what is
//! found by a tag gets an entry of that name. Read is also what regctl writes, the tag of the referrers' tag schema:
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#referrers-tag-schema>.

use std::collections::{BTreeMap, HashMap, HashSet};

use storage_layout::{Descriptor, Digest, Manifest, Tag, media_type};

use super::layout_source::{LayoutSource, REF_NAME};
use crate::transfer::{Error, Referrer, Source, is_digest_tag};

/// What the entries of an `index.json` are to each other.
#[derive(Debug, Default)]
pub(super) struct Survey {
    attached: HashMap<Digest, Vec<Referrer>>,
    /// What is no image of its own: attached, or a part of an index.
    parts: HashSet<Digest>,
}

impl Survey {
    /// Looks at all entries, and what is below them.
    pub(super) async fn of(source: &LayoutSource, entries: &[Descriptor]) -> Result<Self, Error> {
        let mut survey = Self::default();
        let mut seen = HashSet::new();
        for entry in entries {
            let name = entry.annotations.get(REF_NAME).filter(|name| is_digest_tag(name));
            let Some(manifest) = there(source, entry).await? else { continue };
            if let Some((tag, subject)) = name.and_then(|name| subject_of_tag(name)) {
                survey.add(subject, Referrer { descriptor: manifest.descriptor(), tag: Some(tag) });
                continue;
            }
            let lists_referrers = name.is_some();
            if lists_referrers {
                survey.parts.insert(manifest.digest().clone());
            }
            for child in manifest.manifests() {
                survey.parts.insert(child.digest.clone());
                if lists_referrers
                    && seen.insert(child.digest.clone())
                    && let Some(child) = there(source, child).await?
                {
                    survey.add_by_subject(&child);
                }
            }
            if seen.insert(manifest.digest().clone()) {
                survey.add_by_subject(&manifest);
            }
        }
        Ok(survey)
    }

    fn add_by_subject(&mut self, manifest: &Manifest) {
        if let Some(subject) = manifest.subject() {
            self.add(subject.digest.clone(), Referrer { descriptor: manifest.referrer_descriptor(), tag: None });
        }
    }

    fn add(&mut self, subject: Digest, referrer: Referrer) {
        self.parts.insert(referrer.descriptor.digest.clone());
        self.attached.entry(subject).or_default().push(referrer);
    }

    /// Returns what is attached to `subject`.
    pub(super) fn referrers(&self, subject: &Digest) -> Vec<Referrer> {
        self.attached.get(subject).cloned().unwrap_or_default()
    }

    /// Tells whether an entry stands for no image of its own.
    pub(super) fn is_part(&self, entry: &Descriptor) -> bool {
        self.parts.contains(&entry.digest)
    }
}

/// Returns an entry's manifest. What is elsewhere, and what is no manifest that we know, refers to nothing.
async fn there(source: &LayoutSource, entry: &Descriptor) -> Result<Option<Manifest>, Error> {
    if !media_type::is_image(&entry.media_type) && !media_type::is_index(&entry.media_type) {
        return Ok(None);
    }
    match source.manifest(entry).await {
        Ok(manifest) => Ok(Some(manifest)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads `sha256-<hex>.sig`. Without anything behind the digest the tag lists referrers, and is none.
fn subject_of_tag(name: &str) -> Option<(Tag, Digest)> {
    let (digest, _) = name.split_once('.')?;
    Some((name.parse().ok()?, digest.replacen('-', ":", 1).parse().ok()?))
}

/// Returns the entry of an `index.json` for something that is attached.
pub(super) fn attached_entry(manifest: &Manifest, tag: Option<&Tag>) -> Descriptor {
    match tag {
        Some(tag) => Descriptor {
            annotations: BTreeMap::from([(REF_NAME.to_owned(), tag.to_string())]),
            ..manifest.descriptor()
        },
        None => manifest.referrer_descriptor(),
    }
}
