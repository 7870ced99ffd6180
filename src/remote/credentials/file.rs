//! One file with credentials: Docker's `config.json`, or the `auth.json` of podman and its relatives, which adds keys for parts
//! of a registry: <https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md>.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::Deserialize;
use storage_layout::RepositoryName;

use super::helper::Helper;
use crate::remote::{Credential, Error, RegistryName};
use crate::secret::Secret;

/// The longest file that is read, in bytes.
const MAX_FILE: u64 = 4 * 1024 * 1024;
/// Docker pads what it encodes; people who write the file by hand may not.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A file with credentials.
#[derive(Debug)]
pub(super) struct ConfigFile {
    path: PathBuf,
    document: Document,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default)]
    creds_store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
struct Entry {
    /// Name and password, joined by a colon.
    auth: Option<Encoded>,
    username: Option<String>,
    password: Option<Encoded>,
    identitytoken: Option<Encoded>,
    registrytoken: Option<Encoded>,
}

/// A text of the file that is not to be shown.
#[derive(Debug, Deserialize)]
#[serde(from = "String")]
struct Encoded(Secret);

impl From<String> for Encoded {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl Encoded {
    /// Returns the text. Empty is absent: Docker writes empty fields where a helper has the credentials.
    fn text(field: Option<&Self>) -> Option<&str> {
        field.map(|encoded| encoded.0.reveal()).filter(|text| !text.is_empty())
    }
}

impl ConfigFile {
    /// Reads a file, or returns `None` if there is none.
    pub(super) fn read(path: &Path, registry: &RegistryName) -> Result<Option<Self>, Error> {
        let unusable = |problem: String| unusable(path, registry, problem);
        match fs::metadata(path) {
            Ok(found) if found.len() > MAX_FILE => return Err(unusable(format!("it has more than {MAX_FILE} bytes"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            _ => {}
        }
        let bytes = fs::read(path).map_err(|error| unusable(error.to_string()))?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        // The parser's message could quote a password; where it stopped is enough.
        let document = serde_json::from_slice(&bytes).map_err(|error| {
            unusable(format!("it is not what it should be in line {}, column {}", error.line(), error.column()))
        })?;
        Ok(Some(Self { path: path.to_owned(), document }))
    }

    /// Returns the program that the file names for a registry.
    pub(super) fn helper(&self, registry: &RegistryName) -> Option<Helper> {
        let own = self.document.cred_helpers.iter().find(|(key, _)| is_key_of(key, registry)).map(|(_, name)| name);
        let name = own.or(self.document.creds_store.as_ref()).filter(|name| !name.is_empty())?;
        Some(Helper::new(name, &self.path))
    }

    /// Returns what the file itself holds for a repository: of its longest key that fits.
    pub(super) fn find(
        &self,
        registry: &RegistryName,
        repository: Option<&RepositoryName>,
    ) -> Result<Option<Credential>, Error> {
        let mut part = repository.map(|name| format!("{registry}/{name}"));
        while let Some(key) = part {
            if key == registry.as_str() {
                break;
            }
            if let Some(found) = self.document.auths.get(&key).map(|entry| self.credential(&key, entry, registry)) {
                return found;
            }
            part = key.rsplit_once('/').map(|(shorter, _)| shorter.to_owned());
        }
        // Exactly as it is written goes before what is only meant by it.
        let exact = self.document.auths.get_key_value(registry.docker_key());
        let keyed = || self.document.auths.iter().find(|(key, _)| is_key_of(key, registry));
        match exact.or_else(keyed) {
            Some((key, entry)) => self.credential(key, entry, registry),
            None => Ok(None),
        }
    }

    fn credential(&self, key: &str, entry: &Entry, registry: &RegistryName) -> Result<Option<Credential>, Error> {
        let token = |text: &str| Secret::from(text);
        if let Some(text) = Encoded::text(entry.registrytoken.as_ref()) {
            return Ok(Some(Credential::RegistryToken(token(text))));
        }
        if let Some(text) = Encoded::text(entry.identitytoken.as_ref()) {
            return Ok(Some(Credential::IdentityToken(token(text))));
        }
        if let Some(text) = Encoded::text(entry.auth.as_ref()) {
            let decoded = BASE64.decode(text.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = decoded.as_deref().and_then(|text| text.split_once(':'));
            let (username, password) = pair.ok_or_else(|| {
                let problem = format!("\"auth\" of {key:?} is not a name and a password, joined by a colon, in base64");
                unusable(&self.path, registry, problem)
            })?;
            // Docker's oldest versions padded with zero bytes.
            let password = password.trim_end_matches('\0').into();
            return Ok(Some(Credential::Password { username: username.to_owned(), password }));
        }
        match (&entry.username, Encoded::text(entry.password.as_ref())) {
            (Some(username), Some(password)) => {
                Ok(Some(Credential::Password { username: username.clone(), password: password.into() }))
            }
            _ => Ok(None),
        }
    }
}

fn unusable(path: &Path, registry: &RegistryName, problem: String) -> Error {
    Error::Credentials { registry: registry.to_string(), place: path.display().to_string(), problem }
}

/// Tells whether a key of a file means a whole registry. Docker's first API is still in the keys of many files, and so is its
/// scheme; a key with any other path is for a part of the registry.
pub(super) fn is_key_of(key: &str, registry: &RegistryName) -> bool {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    let whole = matches!(path.trim_end_matches('/'), "" | "v1" | "v2") || bare.len() < key.len();
    whole && host.parse::<RegistryName>().is_ok_and(|named| named == *registry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> ConfigFile {
        ConfigFile { path: PathBuf::from("config.json"), document: serde_json::from_str(text).unwrap() }
    }

    fn registry(text: &str) -> RegistryName {
        text.parse().unwrap()
    }

    fn user_of(file: &ConfigFile, place: &str) -> Option<String> {
        let (host, name) = place.split_once('/').map_or((place, None), |(host, name)| (host, Some(name)));
        let name = name.map(|name| name.parse().unwrap());
        match file.find(&registry(host), name.as_ref()).unwrap()? {
            Credential::Password { username, .. } => Some(username),
            Credential::IdentityToken(token) => Some(format!("identity {}", token.reveal())),
            Credential::RegistryToken(token) => Some(format!("registry {}", token.reveal())),
        }
    }

    #[test]
    fn the_longest_key_that_fits_is_meant() {
        // Base64 of host:x, org:x, app:x, hub:x.
        let file = file(
            r#"{"auths": {
                "quay.io": {"auth": "aG9zdDp4"},
                "quay.io/org": {"auth": "b3JnOng="},
                "quay.io/org/app": {"auth": "YXBwOng"},
                "https://index.docker.io/v1/": {"auth": "aHViOng="},
                "https://old.example.com/v1/": {"username": "old", "password": "x"},
                "localhost:5000": {"auth": "", "identitytoken": "t"},
                "r.example.com": {"registrytoken": "r", "auth": "aG9zdDp4"},
                "empty.example.com": {}
            }}"#,
        );
        for (place, user) in [
            ("quay.io", Some("host")),
            ("quay.io/other", Some("host")),
            ("quay.io/organisation", Some("host")),
            ("quay.io/org/app", Some("app")),
            ("quay.io/org/app/sub", Some("app")),
            ("quay.io/org/application", Some("org")),
            ("docker.io/library/alpine", Some("hub")),
            ("old.example.com/a", Some("old")),
            ("localhost:5000/a", Some("identity t")),
            ("r.example.com/a", Some("registry r")),
            ("localhost:5001/a", None),
            ("empty.example.com/a", None),
            ("evilquay.io/a", None),
            ("quay.io.evil.com/a", None),
        ] {
            assert_eq!(user_of(&file, place).as_deref(), user, "{place}");
        }
    }

    #[test]
    fn a_helper_for_the_registry_goes_before_the_one_for_all() {
        let both =
            file(r#"{"credsStore": "all", "credHelpers": {"ghcr.io": "one", "https://index.docker.io/v1/": "hub"}}"#);
        for (host, name) in [("ghcr.io", "one"), ("docker.io", "hub"), ("quay.io", "all")] {
            assert_eq!(both.helper(&registry(host)), Some(Helper::new(name, Path::new("config.json"))));
        }
        assert_eq!(file(r#"{"credsStore": ""}"#).helper(&registry("ghcr.io")), None);
    }

    #[test]
    fn a_damaged_file_is_told_of_without_what_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let read = || ConfigFile::read(&path, &registry("ghcr.io"));
        assert!(read().unwrap().is_none());
        fs::write(&path, " \n").unwrap();
        assert!(read().unwrap().is_none());
        for text in [r#"{"auths": {"ghcr.io": {"auth": hunter2}}}"#, r#"{"auths": "hunter2"}"#, "hunter2"] {
            fs::write(&path, text).unwrap();
            let error = read().unwrap_err().to_string();
            assert!(error.contains("line 1") && error.contains("config.json") && !error.contains("hunter2"), "{error}");
        }
        for text in ["aHVudGVyMg==", "%%%", "/w=="] {
            let file = file(&format!(r#"{{"auths": {{"ghcr.io": {{"auth": "{text}"}}}}}}"#));
            let error = file.find(&registry("ghcr.io"), None).unwrap_err().to_string();
            assert!(error.contains("ghcr.io") && !error.contains("hunter2") && !error.contains(text), "{error}");
        }
    }
}
