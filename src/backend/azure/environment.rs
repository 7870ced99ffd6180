//! What Azure's store is told by the environment, where the configuration says nothing.

use std::path::PathBuf;

use super::connection_string::ConnectionString;
use super::{AzureConfig, CredentialType};
use crate::backend::Secret;
use crate::backend::error::{Error, Kind};
use crate::backend::http::{BadEndpoint, check_endpoint, no_proxy};

/// Where every machine of Azure's has its metadata service.
const METADATA: &str = "http://169.254.169.254";

/// The configuration with its gaps filled from the environment.
#[derive(Debug)]
pub(in crate::backend) struct Settings {
    pub(super) account: String,
    /// The URL of the account's blobs, without a slash at its end.
    pub(super) endpoint: String,
    /// Whether it is not Azure's own public one.
    pub(super) own_endpoint: bool,
    pub(super) identity: Identity,
    /// Where the key or the signature was given.
    pub(super) origin: &'static str,
    /// Who gives tokens for applications.
    pub(super) authority: String,
    /// Hosts that are reached without the proxy, as `NO_PROXY` has them.
    pub(super) no_proxy: String,
}

/// As whom requests are sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Identity {
    Anonymous,
    SharedKey(Secret),
    Sas(Secret),
    /// As the first of them that has credentials.
    Login(Vec<Login>),
}

/// A place that gives tokens.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Login {
    ClientSecret { client: String, tenant: String, secret: Secret },
    WorkloadIdentity { client: String, tenant: String, file: PathBuf },
    ManagedIdentity { client: Option<String>, url: String },
    AzureCli { tenant: Option<String> },
}

/// What is known of an application.
struct Application {
    client: Option<String>,
    tenant: Option<String>,
    secret: Option<Secret>,
    file: Option<PathBuf>,
    metadata: String,
}

impl Settings {
    /// Fills the gaps of `config`. `env` looks up a variable; an empty one counts as absent.
    pub(super) fn resolve(config: &AzureConfig, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let any = |names: &[&str]| names.iter().find_map(|name| env(name));

        // What was asked for by flag is not mixed with a text that happens to be in the environment.
        let asked = config.account_name.is_some() || config.account_key.is_some() || config.sas_token.is_some();
        let string = config
            .connection_string
            .clone()
            .or_else(|| if asked { None } else { env("AZURE_STORAGE_CONNECTION_STRING").map(Secret::from) });
        let string = match string {
            None => ConnectionString::default(),
            Some(string) => ConnectionString::parse(string.reveal()).map_err(|problem| {
                Error::new(Kind::Credentials, format!("the connection string {problem}"))
                    .with_hint("copy it whole from the account's access keys (AZURE_STORAGE_CONNECTION_STRING)")
            })?,
        };
        let given = config.endpoint.clone().or(string.endpoint);
        let account = config
            .account_name
            .clone()
            .or(string.account)
            .or_else(|| any(&["AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"]))
            .or_else(|| given.as_deref().and_then(account_in));
        let account = check_account(account)?;
        let endpoint = endpoint(given.as_deref(), &account)?;

        let of_string = "the connection string";
        let key = named(config.account_key.clone(), "--account-key").or_else(|| named(string.key, of_string));
        let sas = named(config.sas_token.clone(), "--sas-token").or_else(|| named(string.sas, of_string));
        // A key or signature that was given with the account is not outdone by one of the environment.
        let (key, sas) = match (key, sas) {
            (None, None) => (
                ["AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"]
                    .into_iter()
                    .find_map(|name| named(env(name).map(Secret::from), name)),
                named(env("AZURE_STORAGE_SAS_TOKEN").map(Secret::from), "AZURE_STORAGE_SAS_TOKEN"),
            ),
            given => given,
        };
        let application = Application {
            client: config.client_id.clone().or_else(|| env("AZURE_CLIENT_ID")),
            tenant: config.tenant_id.clone().or_else(|| env("AZURE_TENANT_ID")),
            secret: config.secret.clone().or_else(|| any(&["AZURE_CLIENT_SECRET", "AZURE_SECRET"]).map(Secret::from)),
            file: env("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from),
            metadata: env("IDENTITY_ENDPOINT").unwrap_or_else(|| {
                let host = env("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| METADATA.to_owned());
                format!("{}/metadata/identity/oauth2/token", host.trim_end_matches('/'))
            }),
        };
        let of_key = key.as_ref().map(|(_, origin)| *origin);
        let of_sas = sas.as_ref().map(|(_, origin)| *origin);
        let identity =
            application.identity(config.credential_type, key.map(|(key, _)| key), sas.map(|(sas, _)| sas))?;
        let origin = if matches!(identity, Identity::Sas(_)) { of_sas } else { of_key };
        Ok(Self {
            origin: origin.unwrap_or_default(),
            identity,
            authority: authority(env("AZURE_AUTHORITY_HOST"), &endpoint),
            own_endpoint: given.is_some(),
            account,
            endpoint,
            no_proxy: no_proxy(&env, "169.254.169.254"),
        })
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.identity == Identity::Anonymous
    }
}

/// Returns a secret with the name of the place where it was given.
fn named(secret: Option<Secret>, origin: &'static str) -> Option<(Secret, &'static str)> {
    secret.map(|secret| (secret, origin))
}

impl Application {
    fn identity(
        self,
        asked: Option<CredentialType>,
        key: Option<Secret>,
        sas: Option<Secret>,
    ) -> Result<Identity, Error> {
        let missing = |kind: CredentialType, parts: &str| {
            Error::new(Kind::Credentials, format!("--credential-type {kind} lacks {parts}"))
                .with_hint("set what is missing, or leave --credential-type out to use what is there")
        };
        let Self { client, tenant, secret, file, metadata } = self;
        let Some(kind) = asked else {
            return Ok(match (key, sas) {
                (Some(key), _) => Identity::SharedKey(key),
                (None, Some(sas)) => Identity::Sas(sas),
                (None, None) => Identity::Login(default(client, tenant, secret, file, metadata)),
            });
        };
        Ok(match kind {
            CredentialType::Default => Identity::Login(default(client, tenant, secret, file, metadata)),
            CredentialType::Anonymous => Identity::Anonymous,
            CredentialType::SharedKey => Identity::SharedKey(
                key.ok_or_else(|| missing(kind, "a key: --account-key (AZURE_STORAGE_KEY) or a connection string"))?,
            ),
            CredentialType::SasToken => {
                Identity::Sas(sas.ok_or_else(|| missing(kind, "a signature: --sas-token (AZURE_STORAGE_SAS_TOKEN)"))?)
            }
            CredentialType::ClientSecret => match (client, tenant, secret) {
                (Some(client), Some(tenant), Some(secret)) => {
                    Identity::Login(vec![Login::ClientSecret { client, tenant, secret }])
                }
                (client, tenant, secret) => {
                    let parts = [
                        (client.is_none(), "--client-id (AZURE_CLIENT_ID)"),
                        (tenant.is_none(), "--tenant-id (AZURE_TENANT_ID)"),
                        (secret.is_none(), "--secret (AZURE_CLIENT_SECRET)"),
                    ];
                    return Err(missing(kind, &absent(&parts)));
                }
            },
            CredentialType::WorkloadIdentity => match (client, tenant, file) {
                (Some(client), Some(tenant), Some(file)) => {
                    Identity::Login(vec![Login::WorkloadIdentity { client, tenant, file }])
                }
                (client, tenant, file) => {
                    let parts = [
                        (client.is_none(), "--client-id (AZURE_CLIENT_ID)"),
                        (tenant.is_none(), "--tenant-id (AZURE_TENANT_ID)"),
                        (file.is_none(), "AZURE_FEDERATED_TOKEN_FILE"),
                    ];
                    return Err(missing(kind, &absent(&parts)));
                }
            },
            CredentialType::ManagedIdentity => Identity::Login(vec![Login::ManagedIdentity { client, url: metadata }]),
            CredentialType::AzureCli => Identity::Login(vec![Login::AzureCli { tenant }]),
        })
    }
}

fn absent(parts: &[(bool, &str)]) -> String {
    parts.iter().filter(|(absent, _)| *absent).map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
}

/// What is configured whole is meant; only without it is the machine asked, and then `az`.
fn default(
    client: Option<String>,
    tenant: Option<String>,
    secret: Option<Secret>,
    file: Option<PathBuf>,
    metadata: String,
) -> Vec<Login> {
    match (client, tenant, secret, file) {
        (Some(client), Some(tenant), Some(secret), _) => vec![Login::ClientSecret { client, tenant, secret }],
        (Some(client), Some(tenant), None, Some(file)) => vec![Login::WorkloadIdentity { client, tenant, file }],
        (client, tenant, ..) => {
            vec![Login::ManagedIdentity { client, url: metadata }, Login::AzureCli { tenant }]
        }
    }
}

/// Returns the account that an address is of: the first part of Azure's host names, or of the path where the host is a
/// server of its own.
fn account_in(endpoint: &str) -> Option<String> {
    let (_, rest) = endpoint.split_once("://")?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    match host.split_once(".blob.") {
        Some((account, _)) => Some(account.to_owned()),
        None => path.split('/').next().filter(|account| !account.is_empty()).map(str::to_owned),
    }
}

fn check_account(account: Option<String>) -> Result<String, Error> {
    let Some(account) = account else {
        return Err(Error::usage("the storage account is not known")
            .with_hint("pass --account-name (AZURE_STORAGE_ACCOUNT), or a connection string"));
    };
    // It becomes part of a host name.
    if account.is_empty() || !account.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(Error::usage(format!("\"{}\" cannot be a storage account", account.escape_debug()))
            .with_hint("the name of an account is made of lower-case letters and digits"));
    }
    Ok(account)
}

fn endpoint(given: Option<&str>, account: &str) -> Result<String, Error> {
    let Some(given) = given else { return Ok(format!("https://{account}.blob.core.windows.net")) };
    match check_endpoint(given) {
        // The address of a cloud, without the account.
        Ok(endpoint) => match endpoint.split_once("://blob.") {
            Some((scheme, rest)) => Ok(format!("{scheme}://{account}.blob.{rest}")),
            None => Ok(endpoint),
        },
        Err(BadEndpoint::Secret) => {
            Err(Error::usage("the endpoint holds a user name or password, which Azure does not use")
                .with_hint("pass --endpoint without it, and the key in AZURE_STORAGE_KEY"))
        }
        Err(BadEndpoint::Malformed) => {
            // A signature may be behind a question mark.
            let shown = given.split(['?', '#']).next().unwrap_or_default();
            Err(Error::usage(format!("\"{}\" cannot be an endpoint", shown.escape_debug())).with_hint(
                "write it as https://ACCOUNT.blob.core.windows.net or http://host:port/ACCOUNT (--endpoint)",
            ))
        }
    }
}

/// Returns who gives tokens: whoever was named, or who does so in the endpoint's cloud.
fn authority(named: Option<String>, endpoint: &str) -> String {
    use object_store::azure::authority_hosts;
    if let Some(named) = named {
        let named = named.trim_end_matches('/');
        return if named.contains("://") { named.to_owned() } else { format!("https://{named}") };
    }
    let host = endpoint.split_once("://").map_or(endpoint, |(_, host)| host);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    let authority = match host {
        host if host.ends_with(".chinacloudapi.cn") => authority_hosts::AZURE_CHINA,
        host if host.ends_with(".usgovcloudapi.net") => authority_hosts::AZURE_GOVERNMENT,
        _ => authority_hosts::AZURE_PUBLIC_CLOUD,
    };
    authority.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Env<'a> = &'a [(&'a str, &'a str)];

    fn resolve(config: &AzureConfig, env: Env<'_>) -> Result<Settings, Error> {
        let lookup = |name: &str| env.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Settings::resolve(config, &lookup)
    }

    fn account(name: &str) -> AzureConfig {
        AzureConfig { account_name: Some(name.to_owned()), ..AzureConfig::default() }
    }

    #[test]
    fn the_address_follows_from_the_account_or_the_account_from_the_address() {
        let public = "https://acct.blob.core.windows.net";
        let china = "https://acct.blob.core.chinacloudapi.cn";
        let cases: [(_, _, Env<'_>, _, _, _); 6] = [
            (Some("acct"), None, &[], "acct", public, "login.microsoftonline.com"),
            (None, None, &[("AZURE_STORAGE_ACCOUNT", "acct")], "acct", public, "login.microsoftonline.com"),
            (None, Some(china), &[], "acct", china, "login.chinacloudapi.cn"),
            (Some("acct"), Some("https://blob.core.chinacloudapi.cn/"), &[], "acct", china, "login.chinacloudapi.cn"),
            (
                None,
                Some("http://127.0.0.1:10000/devstoreaccount1"),
                &[("AZURE_AUTHORITY_HOST", "login.example/")],
                "devstoreaccount1",
                "http://127.0.0.1:10000/devstoreaccount1",
                "login.example",
            ),
            (
                None,
                None,
                &[("AZURE_STORAGE_CONNECTION_STRING", "AccountName=acct;AccountKey=k"), ("AZURE_STORAGE_ACCOUNT", "b")],
                "acct",
                public,
                "login.microsoftonline.com",
            ),
        ];
        for (name, endpoint, env, account, expected, authority) in cases {
            let config = AzureConfig {
                account_name: name.map(str::to_owned),
                endpoint: endpoint.map(str::to_owned),
                ..AzureConfig::default()
            };
            let settings = resolve(&config, env).unwrap();
            assert_eq!((settings.account.as_str(), settings.endpoint.as_str()), (account, expected));
            assert_eq!(settings.authority, format!("https://{authority}"));
        }
        for (config, says) in [
            (AzureConfig::default(), "is not known"),
            (account("a/b"), "cannot be a storage account"),
            (AzureConfig { endpoint: Some("h?sig=hunter2".into()), ..account("a") }, "\"h\" cannot be an endpoint"),
            (AzureConfig { endpoint: Some("https://u:hunter2@h".into()), ..account("a") }, "password"),
        ] {
            let error = resolve(&config, &[]).unwrap_err();
            assert!(error.kind() == Kind::Usage && error.to_string().contains(says), "{error}");
            assert!(!format!("{error:?}").contains("hunter2"));
        }
    }

    #[test]
    fn the_type_decides_and_else_what_is_there() {
        let all = [
            ("AZURE_STORAGE_KEY", "key"),
            ("AZURE_STORAGE_SAS_TOKEN", "sas"),
            ("AZURE_CLIENT_ID", "client"),
            ("AZURE_TENANT_ID", "tenant"),
            ("AZURE_SECRET", "secret"),
            ("AZURE_FEDERATED_TOKEN_FILE", "/token"),
        ];
        let client_secret = || {
            let (client, tenant) = ("client".to_owned(), "tenant".to_owned());
            Identity::Login(vec![Login::ClientSecret { client, tenant, secret: "secret".into() }])
        };
        let workload = || {
            let (client, tenant) = ("client".to_owned(), "tenant".to_owned());
            Identity::Login(vec![Login::WorkloadIdentity { client, tenant, file: "/token".into() }])
        };
        let url = || format!("{METADATA}/metadata/identity/oauth2/token");
        let machine = |client: Option<&str>| Login::ManagedIdentity { client: client.map(str::to_owned), url: url() };
        let cases = [
            (None, &all[..], Identity::SharedKey("key".into())),
            (None, &all[1..], Identity::Sas("sas".into())),
            (None, &all[2..], client_secret()),
            (None, &[all[2], all[3], all[5]], workload()),
            (None, &[all[2]], Identity::Login(vec![machine(Some("client")), Login::AzureCli { tenant: None }])),
            (None, &[], Identity::Login(vec![machine(None), Login::AzureCli { tenant: None }])),
            (Some("default_credentials"), &all, client_secret()),
            (Some("client_secret"), &all, client_secret()),
            (Some("shared_key"), &all, Identity::SharedKey("key".into())),
            (Some("sas_token"), &all, Identity::Sas("sas".into())),
            (Some("workload_identity"), &all, workload()),
            (Some("managed_identity"), &[], Identity::Login(vec![machine(None)])),
            (Some("azure_cli"), &all[3..4], Identity::Login(vec![Login::AzureCli { tenant: Some("tenant".into()) }])),
            (Some("anonymous"), &all, Identity::Anonymous),
        ];
        for (kind, env, expected) in cases {
            let credential_type = kind.map(|kind| kind.parse().unwrap());
            let settings = resolve(&AzureConfig { credential_type, ..account("acct") }, env).unwrap();
            assert_eq!(settings.identity, expected, "{kind:?} {env:?}");
        }
        for (kind, says) in [
            ("client_secret", "--secret (AZURE_CLIENT_SECRET)"),
            ("workload_identity", "AZURE_FEDERATED_TOKEN_FILE"),
            ("shared_key", "AZURE_STORAGE_KEY"),
            ("sas_token", "AZURE_STORAGE_SAS_TOKEN"),
        ] {
            let credential_type = Some(kind.parse().unwrap());
            let error = resolve(&AzureConfig { credential_type, ..account("acct") }, &all[2..4]).unwrap_err();
            assert!(error.kind() == Kind::Credentials && error.to_string().contains(says), "{error}");
        }
        assert!("nonsense".parse::<CredentialType>().unwrap_err().contains("shared_key"));
    }
}
