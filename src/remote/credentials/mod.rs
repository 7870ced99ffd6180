//! Credentials in the files of Docker and podman, and in the programs that those name.

mod file;
mod helper;
mod store;

use std::collections::HashMap;

use storage_layout::RepositoryName;
use tokio::sync::{Mutex, OnceCell};

use super::{Credential, CredentialFiles, Error, Login, RegistryName};
use file::ConfigFile;
use helper::Helper;
pub use store::{Kept, forget, keep};

/// Where credentials come from. Files and programs are asked once.
#[derive(Debug)]
pub(super) struct Keyring {
    login: Login,
    files: OnceCell<Vec<ConfigFile>>,
    from_helpers: Mutex<HashMap<Helper, Option<Credential>>>,
}

impl Keyring {
    pub(super) fn new(login: Login) -> Self {
        Self { login, files: OnceCell::new(), from_helpers: Mutex::default() }
    }

    /// Returns the credentials for a repository, or for the registry itself.
    pub(super) async fn find(
        &self,
        registry: &RegistryName,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<Credential>, Error> {
        let files = match &self.login {
            Login::Anonymous => return Ok(None),
            Login::As(credential) => return Ok(Some(credential.clone())),
            Login::FromFiles(files) => self.files.get_or_try_init(async || read(files, registry)).await?,
        };
        for file in files {
            if let Some(helper) = file.helper(registry) {
                let mut known = self.from_helpers.lock().await;
                let found = if let Some(found) = known.get(&helper) {
                    found.clone()
                } else {
                    let found = helper.get(registry).await?;
                    known.insert(helper, found.clone());
                    found
                };
                if found.is_some() {
                    return Ok(found);
                }
            }
            if let Some(found) = file.find(registry, repository)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Reads all files that are there.
fn read(files: &CredentialFiles, registry: &RegistryName) -> Result<Vec<ConfigFile>, Error> {
    let paths = files.named.iter().chain(&files.docker).chain(&files.podman);
    let read = paths.map(|path| ConfigFile::read(path, registry));
    read.filter_map(Result::transpose).collect()
}
