//! What refers to a manifest: the registry's own list, or where it has none, an index under a tag of the subject's digest:
//! <https://github.com/opencontainers/distribution-spec/blob/main/spec.md#listing-referrers>.

use serde::Deserialize;
use serde_json::json;
use storage_layout::{Algorithm, Descriptor, Digest, Manifest, Reference, media_type, referrers_tag};

use super::auth::Action;
use super::pages::Pages;
use super::{Error, Kind, RemoteRepository};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    #[serde(default)]
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
}

impl RemoteRepository {
    /// Returns descriptors of all manifests whose subject is `subject`.
    pub(super) async fn list_referrers(&self, subject: &Digest) -> Result<Vec<Descriptor>, Error> {
        match self.ask_referrers(subject).await? {
            Some(found) => Ok(found),
            None => Ok(self.fallback_index(subject).await?.map_or_else(Vec::new, |index| index.manifests().to_vec())),
        }
    }

    /// Asks the registry's own list. `None` if it has none.
    async fn ask_referrers(&self, subject: &Digest) -> Result<Option<Vec<Descriptor>>, Error> {
        let attempted = format!("listing what refers to {subject} in {self}");
        let path = self.path(format_args!("referrers/{subject}"));
        let mut pages = Pages::new(self.registry(), path, self.scope(Action::Pull), &attempted);
        let mut found: Vec<Descriptor> = Vec::new();
        loop {
            match pages.next::<Page>().await {
                Ok(None) => return Ok(Some(found)),
                Ok(Some(page)) if page.is_index() => found.extend(page.manifests.unwrap_or_default()),
                // Some registries answer every path with something.
                Ok(Some(_)) => return Ok(None),
                Err(error) if is_unsupported(&error) => return Ok(None),
                Err(error) => return Err(error),
            }
            pages.limit(found.len())?;
        }
    }

    /// Adds a manifest to the index of what refers to its subject.
    pub(super) async fn list_referrer(&self, subject: &Digest, referrer: &Manifest) -> Result<(), Error> {
        let _alone = self.changing_referrers.lock().await;
        let mut listed = self.fallback_index(subject).await?.map_or_else(Vec::new, |index| index.manifests().to_vec());
        if listed.iter().any(|descriptor| descriptor.digest == *referrer.digest()) {
            return Ok(());
        }
        listed.push(referrer.referrer_descriptor());
        self.write_fallback_index(subject, &listed).await
    }

    /// Takes a deleted manifest out of the index of what refers to its subject, if there is such an index.
    pub(super) async fn unlist_referrer(&self, subject: &Digest, referrer: &Digest) -> Result<(), Error> {
        let _alone = self.changing_referrers.lock().await;
        let Some(index) = self.fallback_index(subject).await? else { return Ok(()) };
        let listed: Vec<_> = index.manifests().iter().filter(|found| found.digest != *referrer).cloned().collect();
        if listed.len() == index.manifests().len() {
            return Ok(());
        }
        self.write_fallback_index(subject, &listed).await
    }

    async fn fallback_index(&self, subject: &Digest) -> Result<Option<Manifest>, Error> {
        match self.read_manifest(&Reference::Tag(referrers_tag(subject))).await {
            Ok(index) => Ok(Some(index)),
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn write_fallback_index(&self, subject: &Digest, listed: &[Descriptor]) -> Result<(), Error> {
        let document = json!({ "schemaVersion": 2, "mediaType": media_type::OCI_INDEX, "manifests": listed });
        let index = Manifest::parse(document.to_string().into(), Algorithm::default(), None);
        let index = index.map_err(|error| Error::Unexpected {
            attempted: format!("listing a referrer of {subject} in {self}"),
            problem: error.to_string(),
        })?;
        self.write_manifest(&index, &Reference::Tag(referrers_tag(subject))).await.map(drop)
    }
}

impl Page {
    fn is_index(&self) -> bool {
        self.media_type.as_deref().is_none_or(media_type::is_index) && self.manifests.is_some()
    }
}

/// Tells whether a registry says that it has no such list: many have no such path, and some take it for a wrong one.
fn is_unsupported(error: &Error) -> bool {
    matches!(error, Error::Refused { answer, .. } if matches!(answer.status, 400 | 404 | 405 | 406))
}
