//! `login`: credentials that a registry takes, kept where Docker keeps them.

use std::path::PathBuf;

use serde_json::json;

use super::Context;
use crate::remote::{self, Credential, Kept, Login, RegistryName, RemoteOptions, RemoteRegistry};
use crate::secret::Secret;
use crate::ui::{CommandError, Format};

/// Who logs in, and where.
#[derive(Debug)]
pub struct Request {
    /// The registry.
    pub registry: RegistryName,
    /// The user's name.
    pub username: String,
    /// The password, or a token that stands for one.
    pub password: Secret,
    /// How the registry is spoken to.
    pub connection: RemoteOptions,
    /// Docker's configuration.
    pub file: PathBuf,
}

/// Has the registry check the credentials, and keeps them.
///
/// # Errors
/// If the registry does not take them: then nothing is kept.
pub async fn run(request: Request, context: &Context) -> Result<(), CommandError> {
    let Request { registry, username, password, connection, file } = request;
    let attempted = format!("cannot log in to {registry}");
    let because = |error| CommandError::because(attempted.clone(), error);
    let login = Login::As(Credential::Password { username: username.clone(), password: password.clone() });
    let kept = context.unless_stopped(format!("logging in to {registry}"), async {
        let remote = RemoteRegistry::connect(&registry, &RemoteOptions { login, ..connection }).map_err(because)?;
        if !remote.ping().await.map_err(because)? {
            context.printer.note(&format!("warning: {registry} asked for no credentials; these are kept unchecked"));
        }
        remote::keep(&file, &registry, &username, &password).await.map_err(because)
    });
    let kept = kept.await?;
    if let Kept::File(file) = &kept {
        context.printer.note(&format!(
            "warning: the password is kept in {} as it is; a credential helper (credsStore) keeps it safer",
            file.display()
        ));
    }
    match context.printer.format() {
        Format::Text => context.printer.result("Login Succeeded"),
        Format::Json => {
            let kept = kept.to_string();
            let document = json!({ "registry": registry.as_str(), "username": username, "keptIn": kept });
            context.printer.result(&document.to_string());
        }
    }
    Ok(())
}
