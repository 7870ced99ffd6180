//! How a registry is spoken to.

use std::path::PathBuf;
use std::time::Duration;

use crate::secret::Secret;

/// How a registry is spoken to.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// Who asks.
    pub login: Login,
    /// Whether the registry is spoken to without TLS.
    pub plain_http: bool,
    /// Whether the registry's certificate is not verified.
    pub insecure: bool,
    /// A PEM file with certificates to trust besides the system's.
    pub ca_file: Option<PathBuf>,
    /// The HTTP proxy. Its address may hold a password.
    pub proxy: Option<Secret>,
    /// How often a failed request is tried again.
    pub retries: u32,
    /// How long is waited.
    pub timeouts: Timeouts,
    /// Hosts besides the registry's own domain that may be sent its credentials in exchange for a token.
    pub token_hosts: Vec<String>,
}

impl Default for RemoteOptions {
    fn default() -> Self {
        Self {
            login: Login::Anonymous,
            plain_http: false,
            insecure: false,
            ca_file: None,
            proxy: None,
            retries: 10,
            timeouts: Timeouts::default(),
            token_hosts: Vec::new(),
        }
    }
}

/// How long is waited for a registry.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes, of an answer or of what is sent.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), idle: Duration::from_mins(1) }
    }
}

/// Who asks a registry.
#[derive(Clone, Debug, Default)]
pub enum Login {
    /// Nobody: no credentials are sent, whatever files hold.
    #[default]
    Anonymous,
    /// These.
    As(Credential),
    /// Whoever the files of Docker and podman name for the registry.
    FromFiles(CredentialFiles),
}

/// What a registry knows somebody by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A name and a password, or what stands for one.
    Password {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token that the token server takes in exchange for others.
    IdentityToken(Secret),
    /// A token for the registry itself.
    RegistryToken(Secret),
}

/// The files that credentials are looked for in, the first first.
#[derive(Clone, Debug, Default)]
pub struct CredentialFiles {
    /// Docker's `config.json`. `login` writes this one.
    pub docker: Option<PathBuf>,
    /// Where `REGISTRY_AUTH_FILE` says. It is asked before all others.
    pub named: Option<PathBuf>,
    /// The `auth.json` of podman, skopeo and buildah, asked after Docker's.
    pub podman: Vec<PathBuf>,
}
