//! `logout`: credentials that are forgotten.

use std::path::PathBuf;

use serde_json::json;

use super::Context;
use crate::remote::{self, RegistryName};
use crate::ui::{CommandError, Format};

/// Which credentials are to be forgotten.
#[derive(Debug)]
pub struct Request {
    /// The registry that they are for.
    pub registry: RegistryName,
    /// Docker's configuration.
    pub file: PathBuf,
}

/// Forgets a registry's credentials. That there are none is no failure.
///
/// # Errors
/// If the configuration cannot be changed, or a helper fails.
pub async fn run(request: Request, context: &Context) -> Result<(), CommandError> {
    let Request { registry, file } = request;
    let forgotten = remote::forget(&file, &registry)
        .await
        .map_err(|error| CommandError::because(format!("cannot log out from {registry}"), error))?;
    match (context.printer.format(), forgotten) {
        (Format::Json, _) => {
            let document = json!({ "registry": registry.as_str(), "forgotten": forgotten });
            context.printer.result(&document.to_string());
        }
        (Format::Text, true) => context.printer.result(&format!("Removed login credentials for {registry}")),
        (Format::Text, false) => context.printer.result(&format!("Not logged in to {registry}")),
    }
    Ok(())
}
