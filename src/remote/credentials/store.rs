//! Keeping and forgetting credentials where Docker keeps them.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::file::{ConfigFile, is_key_of};
use crate::remote::{Error, RegistryName};
use crate::secret::Secret;

/// Where credentials were put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// In a program.
    Helper(String),
    /// In the file itself, readable by whoever can read that.
    File(PathBuf),
}

/// Keeps a name and a password for a registry where Docker does: in the program that `file` names for it, else in `file`.
///
/// # Errors
/// If the file cannot be read or written, or the program fails. The file is then as it was.
pub async fn keep(file: &Path, registry: &RegistryName, username: &str, password: &Secret) -> Result<Kept, Error> {
    let password = password.reveal();
    let helper = ConfigFile::read(file, registry)?.and_then(|config| config.helper(registry));
    let entry = match &helper {
        Some(helper) => {
            helper.store(registry, username, password).await?;
            // As Docker leaves it, so that its own logout finds the registry.
            json!({})
        }
        None => json!({ "auth": BASE64_STANDARD.encode(format!("{username}:{password}")) }),
    };
    change(file, registry, |auths| {
        auths.retain(|key, _| !is_key_of(key, registry));
        auths.insert(registry.docker_key().to_owned(), entry);
        true
    })?;
    Ok(match helper {
        Some(helper) => Kept::Helper(helper.program()),
        None => Kept::File(file.to_owned()),
    })
}

/// Forgets a registry's credentials, in the program that `file` names for it and in `file`. Returns whether there were any.
///
/// # Errors
/// As [`keep`].
pub async fn forget(file: &Path, registry: &RegistryName) -> Result<bool, Error> {
    let Some(config) = ConfigFile::read(file, registry)? else { return Ok(false) };
    let in_helper = match config.helper(registry) {
        Some(helper) => helper.erase(registry).await?,
        None => false,
    };
    let mut in_file = false;
    change(file, registry, |auths| {
        let before = auths.len();
        auths.retain(|key, _| !is_key_of(key, registry));
        in_file = auths.len() < before;
        in_file
    })?;
    Ok(in_helper || in_file)
}

/// Changes the entries of a file and nothing else of it. `edit` tells whether it changed something.
fn change(
    file: &Path,
    registry: &RegistryName,
    edit: impl FnOnce(&mut Map<String, Value>) -> bool,
) -> Result<(), Error> {
    let unusable = |problem: String| Error::Credentials {
        registry: registry.to_string(),
        place: file.display().to_string(),
        problem,
    };
    let failed = |error: io::Error| unusable(error.to_string());
    let mut document = match fs::read(file) {
        Ok(bytes) if bytes.iter().all(u8::is_ascii_whitespace) => json!({}),
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| unusable("it is no JSON".to_owned()))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => json!({}),
        Err(error) => return Err(failed(error)),
    };
    let object = document.as_object_mut().ok_or_else(|| unusable("it is no JSON object".to_owned()))?;
    let auths = object.entry("auths").or_insert_with(|| json!({}));
    let auths = auths.as_object_mut().ok_or_else(|| unusable("\"auths\" is no JSON object".to_owned()))?;
    if !edit(auths) {
        return Ok(());
    }
    // Docker indents with tabs.
    let mut text = Vec::new();
    let mut json =
        serde_json::Serializer::with_formatter(&mut text, serde_json::ser::PrettyFormatter::with_indent(b"\t"));
    document.serialize(&mut json).map_err(|error| unusable(error.to_string()))?;
    text.push(b'\n');
    write(file, &text).map_err(failed)
}

/// Puts a new file in the place of the old one, which only its owner can read. A link to a file elsewhere stays one.
fn write(file: &Path, text: &[u8]) -> io::Result<()> {
    let target = match fs::canonicalize(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => file.to_owned(),
        target => target?,
    };
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // Such a file is made with mode 0600.
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.as_file().set_permissions(fs::Permissions::from_mode(0o600))?;
    new.write_all(text)?;
    new.as_file().sync_all()?;
    new.persist(&target)?;
    Ok(())
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Helper(program) => f.write_str(program),
            Self::File(file) => file.display().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::Credential;

    #[tokio::test]
    async fn what_else_is_in_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("docker/config.json");
        let registry: RegistryName = "localhost:5000".parse().unwrap();
        assert!(!forget(&file, &registry).await.unwrap());
        assert_eq!(keep(&file, &registry, "me", &"pass".into()).await.unwrap(), Kept::File(file.clone()));
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let before = concat!(
            "{\n\t\"psFormat\": \"x\",\n\t\"auths\": {\n\t\t\"z.example.com\": {\n\t\t\t\"auth\": \"eDp5\",\n",
            "\t\t\t\"email\": \"e\"\n\t\t}\n\t},\n\t\"currentContext\": \"far\"\n}\n"
        );
        fs::write(&file, before).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let link = folder.path().join("link.json");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        keep(&link, &registry, "me", &"pass:word".into()).await.unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let found = ConfigFile::read(&file, &registry).unwrap().unwrap().find(&registry, None).unwrap();
        assert_eq!(found, Some(Credential::Password { username: "me".to_owned(), password: "pass:word".into() }));
        assert!(forget(&file, &registry).await.unwrap());
        assert!(!forget(&file, &registry).await.unwrap());
        assert_eq!(fs::read_to_string(&file).unwrap(), before);
    }

    #[tokio::test]
    async fn a_damaged_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        let registry: RegistryName = "localhost:5000".parse().unwrap();
        for text in ["{\"auths\": ", "[]", "{\"auths\": []}"] {
            fs::write(&file, text).unwrap();
            keep(&file, &registry, "me", &"pass".into()).await.unwrap_err();
            assert_eq!(fs::read_to_string(&file).unwrap(), text);
        }
    }
}
