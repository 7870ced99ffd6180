//! What is attached to an image from outside: signatures, SBOMs, attestations.
//!
//! There are two ways to attach. A manifest names the image as its subject, and registries list it:
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers>. Or, as cosign did before there were
//! subjects, the image's digest makes a tag: `sha256-<hex>.sig`.

use std::collections::HashSet;

use futures::{StreamExt, TryStreamExt};
use storage_layout::{Descriptor, Digest, Manifest, Reference, Tag, referrers_tag};

use super::{Error, Repository, Source};

/// What cosign appends to a digest to make a tag: signatures, attestations, SBOMs.
const SUFFIXES: [&str; 3] = ["sig", "att", "sbom"];
/// Signatures of signatures: more levels than this are not followed.
const MAX_DEPTH: usize = 8;
/// More referrers than this of one image are not followed.
const MAX_REFERRERS: usize = 10_000;
/// How many manifests are asked about at once.
const AT_ONCE: usize = 8;

/// A manifest that is attached to another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Referrer {
    /// The manifest.
    pub descriptor: Descriptor,
    /// The tag by which it is found, if it does not name its subject.
    pub tag: Option<Tag>,
}

/// A manifest that is attached to what is copied, with all that it needs.
#[derive(Clone, Debug)]
pub struct Attached {
    /// What it is attached to.
    pub subject: Digest,
    /// What is attached.
    pub manifest: Manifest,
    /// The tag by which it is found, if it does not name its subject.
    pub tag: Option<Tag>,
    /// The manifests below it, if it is an index: children before their parents.
    pub(super) children: Vec<Manifest>,
}

/// Tells whether a tag is made of a digest, and stands for what is attached to that and no image of its own.
pub fn is_digest_tag(tag: &str) -> bool {
    let Some((algorithm, rest)) = tag.split_once('-') else { return false };
    let hex = rest.split_once('.').map_or(rest, |(hex, _)| hex);
    matches!(algorithm, "sha256" | "sha512") && hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Returns the tags that cosign makes of a digest.
pub fn cosign_tags(subject: &Digest) -> impl Iterator<Item = Tag> {
    let base = referrers_tag(subject);
    SUFFIXES.into_iter().map(move |suffix| format!("{base}.{suffix}").parse().expect("it is short enough for a tag"))
}

/// Returns all that is attached to a manifest of a repository, in both ways.
pub(super) async fn in_repository(repository: &dyn Repository, subject: &Digest) -> Result<Vec<Referrer>, Error> {
    let by_subject = repository.referrers(subject);
    let by_tag = futures::stream::iter(cosign_tags(subject))
        .map(|tag| async move {
            match repository.get_manifest(&Reference::Tag(tag.clone())).await {
                Ok(manifest) => Ok(Some(Referrer { descriptor: manifest.descriptor(), tag: Some(tag) })),
                Err(error) if error.is_not_found() => Ok(None),
                Err(error) => Err(error),
            }
        })
        .buffered(SUFFIXES.len())
        .try_collect::<Vec<_>>();
    let (by_subject, by_tag) = futures::try_join!(by_subject, by_tag)?;
    let by_subject = by_subject.into_iter().map(|descriptor| Referrer { descriptor, tag: None });
    Ok(by_subject.chain(by_tag.into_iter().flatten()).collect())
}

/// Returns all that is attached to `subjects`, and to that in turn, each once: what is attached comes after what it is attached to.
pub(super) async fn gather(source: &dyn Source, subjects: Vec<Digest>) -> Result<Vec<Attached>, Error> {
    let mut found: Vec<Attached> = Vec::new();
    let mut seen: HashSet<(Digest, Option<Tag>)> = HashSet::new();
    let mut level = subjects;
    for _ in 0..MAX_DEPTH {
        let listed: Vec<(Digest, Vec<Referrer>)> = futures::stream::iter(level)
            .map(|subject| async move { source.referrers(&subject).await.map(|referrers| (subject, referrers)) })
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let mut next = Vec::new();
        for (subject, referrers) in listed {
            for referrer in referrers {
                if !seen.insert((referrer.descriptor.digest.clone(), referrer.tag.clone())) {
                    continue;
                }
                if seen.len() > MAX_REFERRERS {
                    return Err(Error::Invalid(format!("more than {MAX_REFERRERS} manifests refer to {subject}")));
                }
                let Some(attached) = read(source, &subject, referrer).await? else { continue };
                next.push(attached.manifest.digest().clone());
                next.extend(attached.children.iter().map(|child| child.digest().clone()));
                found.push(attached);
            }
        }
        if next.is_empty() {
            return Ok(found);
        }
        level = next;
    }
    Err(Error::Invalid(format!("what refers to the image is referred to itself, more than {MAX_DEPTH} levels deep")))
}

async fn read(source: &dyn Source, subject: &Digest, referrer: Referrer) -> Result<Option<Attached>, Error> {
    let digest = &referrer.descriptor.digest;
    let manifest = source.manifest(&referrer.descriptor).await.map_err(|error| match error {
        error if error.is_not_found() => {
            Error::Invalid(format!("{digest} is listed as referring to {subject}, and is not there"))
        }
        error => error,
    })?;
    // Whoever lists may be wrong; the manifest says itself what it refers to.
    if referrer.tag.is_none() && manifest.subject().is_none_or(|named| named.digest != *subject) {
        tracing::warn!("{digest} is listed as referring to {subject}, and does not say so: it is left out");
        return Ok(None);
    }
    let children = super::copy::walk(source, &manifest).await?;
    Ok(Some(Attached { subject: subject.clone(), manifest, tag: referrer.tag, children }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_made_of_digests_and_known_again() {
        let digest: Digest = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        assert_eq!(referrers_tag(&digest).as_str(), format!("sha256-{}", "a".repeat(64)));
        let tags: Vec<String> = cosign_tags(&digest).map(|tag| tag.to_string()).collect();
        assert_eq!(tags[0], format!("sha256-{}.sig", "a".repeat(64)));
        assert!(tags.iter().all(|tag| is_digest_tag(tag)));
        let long: Digest = format!("sha512:{}", "b".repeat(128)).parse().unwrap();
        assert!(is_digest_tag(referrers_tag(&long).as_str()));
        for tag in ["v1", "sha256-", "sha256-abc", "sha256-abc.sig", "latest.sig"] {
            assert!(!is_digest_tag(tag), "{tag}");
        }
    }
}
