//! Credentials for Azure's store.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use object_store::azure::{AzureAccessKey, AzureConfigKey, AzureCredential, MicrosoftAzureBuilder, split_sas};
use object_store::{RetryConfig, StaticCredentialProvider};
use serde_json::Value;
use tokio::process::Command;

use super::environment::{Identity, Login, Settings};
use super::{AzureConfig, Credentials, Error, Kind, Limits};
use crate::backend::credentials::{Candidate, Chain, Fresh, Kept, LocalConnector, Source, no_credentials};
use crate::backend::failure::{Cause, LOOKED_AT, NoCredentials};
use crate::backend::http::{Pace, client_options};

/// The name of the store in errors of `object_store`.
const STORE: &str = "MicrosoftAzure";
/// What a token is asked for, in all of Azure's clouds.
const SCOPE: &str = "https://storage.azure.com/.default";
/// How long a token of `az` holds that does not say so.
const SHORT: Duration = Duration::from_mins(6);

/// Returns the provider of the credentials that the settings name. Nothing is asked yet.
pub(super) fn of(config: &AzureConfig, settings: &Settings, limits: &Limits) -> Result<Credentials, Error> {
    let fixed = |credential| -> Credentials { Arc::new(StaticCredentialProvider::new(credential)) };
    let logins = match &settings.identity {
        Identity::Anonymous => return Ok(fixed(AzureCredential::BearerToken(String::new()))),
        Identity::SharedKey(key) => {
            // The decoder's error quotes what it met.
            let key = AzureAccessKey::try_new(key.reveal()).map_err(|_| {
                Error::new(Kind::Credentials, "the account key is not base64")
                    .with_hint("copy it whole from the account's access keys (AZURE_STORAGE_KEY)")
            })?;
            return Ok(fixed(AzureCredential::AccessKey(key)));
        }
        Identity::Sas(sas) => {
            let refused = || {
                Error::new(Kind::Credentials, "the shared access signature cannot be used")
                    .with_hint("copy it whole, from sv= to sig= (AZURE_STORAGE_SAS_TOKEN)")
            };
            let pairs = split_sas(sas.reveal().trim_start_matches('?')).map_err(|_| refused())?;
            if !pairs.iter().any(|(name, _)| name == "sig") {
                return Err(refused());
            }
            return Ok(fixed(AzureCredential::SASToken(pairs)));
        }
        Identity::Login(logins) => logins,
    };
    Ok(Arc::new(chain(logins, config, settings, limits)?))
}

/// Says which credentials the settings name and where they come from. Logins are asked for a token.
pub(super) async fn found(config: &AzureConfig, settings: &Settings, limits: &Limits) -> Result<String, Error> {
    // What is wrong with a key or a signature is told as when the container is opened.
    of(config, settings, limits)?;
    let Settings { account, origin, .. } = settings;
    match &settings.identity {
        Identity::Anonymous => Ok("none: requests are not signed (--credential-type anonymous)".to_owned()),
        Identity::SharedKey(_) => Ok(format!("a key of account {account} from {origin}")),
        Identity::Sas(_) => Ok(format!("a shared access signature from {origin}")),
        Identity::Login(logins) => chain(logins, config, settings, limits)?.found().await,
    }
}

fn chain(
    logins: &[Login],
    config: &AzureConfig,
    settings: &Settings,
    limits: &Limits,
) -> Result<Chain<AzureCredential>, Error> {
    let candidates: Result<Vec<_>, Error> =
        logins.iter().map(|login| candidate(login, config, settings, limits)).collect();
    Ok(Chain::new(STORE, candidates?, advice(logins)))
}

fn advice(logins: &[Login]) -> Vec<String> {
    match logins {
        [Login::ClientSecret { .. }] => {
            vec![
                "check --client-id, --tenant-id and --secret (AZURE_CLIENT_ID, AZURE_TENANT_ID, AZURE_CLIENT_SECRET)"
                    .to_owned(),
            ]
        }
        [Login::WorkloadIdentity { .. }] => {
            vec!["check AZURE_CLIENT_ID, AZURE_TENANT_ID, and that the federated credential of the application fits the token".to_owned()]
        }
        [Login::ManagedIdentity { .. }] => {
            vec![
                "give the machine an identity; if it has several, name one with --client-id (AZURE_CLIENT_ID)"
                    .to_owned(),
            ]
        }
        [Login::AzureCli { .. }] => vec!["log in with `az login`".to_owned()],
        _ => vec![
            format!(
                "{LOOKED_AT}--connection-string (AZURE_STORAGE_CONNECTION_STRING), --account-key (AZURE_STORAGE_KEY), \
                 --sas-token (AZURE_STORAGE_SAS_TOKEN), AZURE_CLIENT_ID with AZURE_TENANT_ID and AZURE_CLIENT_SECRET or \
                 AZURE_FEDERATED_TOKEN_FILE, the machine's managed identity, the login of `az`"
            ),
            "set AZURE_STORAGE_KEY, or log in with `az login`".to_owned(),
            "for a container that is open to everyone, pass --credential-type anonymous".to_owned(),
        ],
    }
}

fn candidate(
    login: &Login,
    config: &AzureConfig,
    settings: &Settings,
    limits: &Limits,
) -> Result<Candidate<AzureCredential>, Error> {
    let authority = &settings.authority;
    // Secrets are not sent for everybody to read, but a server of a test may be on this machine.
    let local = Some(authority.as_str())
        .filter(|authority| ["http://127.0.0.1", "http://localhost"].iter().any(|host| authority.starts_with(host)));
    let pace = Pace::Preflight { request: limits.request, retries: limits.retries };
    let client = client_options(&config.options, local, &settings.no_proxy, config.options.ca_file.as_deref())?;
    let builder = MicrosoftAzureBuilder::new()
        .with_account("unused")
        .with_container_name("unused")
        .with_config(AzureConfigKey::AuthorityHost, authority)
        .with_client_options(pace.limit(client))
        .with_retry(pace.retries(0));
    let (name, limit, builder) = match login {
        Login::ClientSecret { client, tenant, secret } => (
            format!("application {client}"),
            limits.credentials,
            builder
                .with_config(AzureConfigKey::ClientId, client)
                .with_config(AzureConfigKey::AuthorityId, tenant)
                .with_config(AzureConfigKey::ClientSecret, secret.reveal())
                .with_config(AzureConfigKey::CredentialType, "client_secret"),
        ),
        Login::WorkloadIdentity { client, tenant, file } => (
            format!("application {client} with the token in \"{}\"", file.display()),
            limits.credentials,
            builder
                .with_config(AzureConfigKey::ClientId, client)
                .with_config(AzureConfigKey::AuthorityId, tenant)
                .with_config(AzureConfigKey::FederatedTokenFile, file.to_string_lossy())
                .with_config(AzureConfigKey::CredentialType, "workload_identity"),
        ),
        Login::ManagedIdentity { client, url } => {
            let mut builder = builder
                .with_config(AzureConfigKey::MsiEndpoint, url)
                .with_config(AzureConfigKey::CredentialType, "managed_identity")
                .with_http_connector(LocalConnector)
                .with_retry(RetryConfig { max_retries: 0, ..RetryConfig::default() });
            if let Some(client) = client {
                builder = builder.with_config(AzureConfigKey::ClientId, client);
            }
            (format!("the machine's managed identity ({url})"), limits.credentials, builder)
        }
        Login::AzureCli { tenant } => {
            let provider = Arc::new(Kept::new(AzureCli { program: "az".to_owned(), tenant: tenant.clone() }));
            // It is a Python program, which takes its time.
            return Ok(Candidate { name: "`az`".to_owned(), limit: limits.credentials * 8 / 5, provider });
        }
    };
    let built = builder.build().map_err(|error| {
        Error::new(Kind::Credentials, format!("{name} cannot be used")).with_source(Cause::of(&error))
    })?;
    Ok(Candidate { name, limit, provider: Arc::clone(built.credentials()) })
}

/// The login of Azure's own command line. The provider of `object_store` blocks a thread for as long as the program runs.
#[derive(Debug)]
struct AzureCli {
    program: String,
    tenant: Option<String>,
}

#[async_trait]
impl Source for AzureCli {
    type Credential = AzureCredential;

    async fn obtain(&self) -> Result<Fresh<AzureCredential>, NoCredentials> {
        let mut command = Command::new(&self.program);
        command.args(["account", "get-access-token", "--output", "json", "--scope", SCOPE]);
        if let Some(tenant) = &self.tenant {
            command.args(["--tenant", tenant]);
        }
        let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await.map_err(|error| {
            no_credentials(match error.kind() {
                std::io::ErrorKind::NotFound => "not installed".to_owned(),
                _ => error.to_string(),
            })
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let line = said.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("it failed");
            return Err(no_credentials(line.chars().filter(|c| !c.is_control()).take(200).collect::<String>()));
        }
        let body: Value = serde_json::from_slice(&output.stdout).map_err(|_| no_credentials("it printed no JSON"))?;
        let Some(token) = body.get("accessToken").and_then(Value::as_str) else {
            return Err(no_credentials("it printed no token"));
        };
        // Versions before 2.54 give local time only.
        let expiry = body.get("expires_on").and_then(Value::as_u64).map(|at| UNIX_EPOCH + Duration::from_secs(at));
        Ok(Fresh {
            credential: AzureCredential::BearerToken(token.to_owned()),
            expiry: expiry.unwrap_or_else(|| SystemTime::now() + SHORT),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn the_program_is_asked_and_what_it_says_is_told() {
        let folder = tempfile::tempdir().unwrap();
        for (script, expected) in [
            ("echo '{\"accessToken\": \"hunter2\", \"expires_on\": 4102444800}'", Ok(4_102_444_800)),
            ("echo; echo 'ERROR: Please run az login' >&2; exit 1", Err("ERROR: Please run az login")),
            ("echo nonsense", Err("it printed no JSON")),
            ("echo {}", Err("it printed no token")),
        ] {
            let program = folder.path().join("az");
            // Replaced, not rewritten: a program that runs cannot be written to.
            drop(std::fs::remove_file(&program));
            std::fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let cli = AzureCli { program: program.display().to_string(), tenant: None };
            match (cli.obtain().await, expected) {
                (Ok(fresh), Ok(at)) => assert_eq!(fresh.expiry, UNIX_EPOCH + Duration::from_secs(at)),
                (Err(error), Err(says)) => assert_eq!(error.reason, says),
                (result, _) => panic!("{script}: {:?}", result.map(|fresh| fresh.expiry)),
            }
        }
        let cli = AzureCli { program: "/no/such/az".to_owned(), tenant: None };
        assert_eq!(cli.obtain().await.err().unwrap().reason, "not installed");
    }
}
