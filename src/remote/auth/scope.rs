//! What a token is to allow.

use std::collections::BTreeSet;

use storage_layout::RepositoryName;

/// What is done with a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::remote) enum Action {
    Pull,
    Push,
    Delete,
}

impl Action {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pull => "pull",
            Self::Push => "pull,push",
            Self::Delete => "delete",
        }
    }
}

/// What a token is to allow, in the words of
/// <https://distribution.github.io/distribution/spec/auth/scope/>.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::remote) struct Scope {
    /// Whose credentials are to be used: a file may have some for a part of a registry.
    repository: Option<RepositoryName>,
    texts: BTreeSet<String>,
}

impl Scope {
    /// Nothing but to be known.
    pub(in crate::remote) fn nothing() -> Self {
        Self::default()
    }

    pub(in crate::remote) fn catalog() -> Self {
        Self { repository: None, texts: BTreeSet::from(["registry:catalog:*".to_owned()]) }
    }

    pub(in crate::remote) fn of(repository: &RepositoryName, action: Action) -> Self {
        let text = format!("repository:{repository}:{}", action.as_str());
        Self { repository: Some(repository.clone()), texts: BTreeSet::from([text]) }
    }

    /// Adds reading of another repository.
    pub(in crate::remote) fn and_pull(mut self, repository: &RepositoryName) -> Self {
        self.texts.insert(format!("repository:{repository}:pull"));
        self
    }

    /// Adds what the registry says that it takes.
    pub(super) fn add(&mut self, wanted: Vec<String>) {
        self.texts.extend(wanted);
    }

    pub(super) fn repository(&self) -> Option<&RepositoryName> {
        self.repository.as_ref()
    }

    pub(super) fn texts(&self) -> &BTreeSet<String> {
        &self.texts
    }
}
