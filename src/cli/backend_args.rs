//! Flags of the backends, and how they and the environment make a configuration.
#![expect(clippy::doc_markdown, reason = "what is a help text shows no markdown")]

use std::path::PathBuf;

use clap::Args;

use super::env_vars::Env;
use crate::backend::{
    AzureConfig, BackendConfig, CredentialType, FsConfig, GcsConfig, Options, S3Config, Scheme, Secret,
};
use crate::commands::Context;
use crate::ui::CommandError;

/// No flags: the backend's were given with its name.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct NoArgs {}

/// Flags of S3.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "S3 options")]
pub(super) struct S3Args {
    #[command(flatten)]
    only: S3OnlyArgs,
    /// Where the storage is, such as http://127.0.0.1:9000 [env: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL]
    #[arg(short, long, global = true, value_name = "URL", alias = "endpoint-url")]
    endpoint: Option<String>,
    #[command(flatten)]
    root: RootArgs,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "S3 options")]
pub(super) struct S3OnlyArgs {
    /// The bucket's region; without it the bucket is asked [env: AWS_REGION, AWS_DEFAULT_REGION]
    #[arg(short, long, global = true)]
    region: Option<String>,
    /// The access key [env: AWS_ACCESS_KEY_ID]
    #[arg(long, global = true, value_name = "ID")]
    access_key: Option<String>,
    /// The secret key; others on this machine can read it here, so prefer the environment [env: AWS_SECRET_ACCESS_KEY]
    #[arg(long, global = true, value_name = "SECRET")]
    secret_key: Option<String>,
    /// The token of temporary credentials [env: AWS_SESSION_TOKEN]
    #[arg(long, global = true, value_name = "SECRET")]
    session_token: Option<String>,
    /// The profile in the AWS configuration files [env: AWS_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
    /// Sends no credentials, for buckets that everybody may read
    #[arg(long, global = true)]
    no_sign_request: bool,
    /// Puts the bucket into the path of the address, as is the default with --endpoint
    #[arg(long, global = true, conflicts_with = "virtual_hosted")]
    path_style: bool,
    /// Puts the bucket into the host name of the address
    #[arg(long, global = true)]
    virtual_hosted: bool,
    /// The storage class of what is written, such as `STANDARD_IA`
    #[arg(long, global = true, value_name = "CLASS")]
    storage_class: Option<String>,
    /// Encryption by the storage: AES256 or aws:kms
    #[arg(long, global = true, value_name = "KIND")]
    sse: Option<String>,
    /// The KMS key for --sse aws:kms
    #[arg(long, global = true, value_name = "ID")]
    sse_kms_key_id: Option<String>,
    /// Pays for the requests, where the bucket demands that: requester
    #[arg(long, global = true, value_name = "WHO", value_parser = ["requester"])]
    request_payer: Option<String>,
}

/// Flags of Google's store.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "GCS options")]
pub(super) struct GcsArgs {
    #[command(flatten)]
    only: GcsOnlyArgs,
    /// Where the storage is, if not at Google [env: STORAGE_EMULATOR_HOST]
    #[arg(short, long, global = true, value_name = "URL")]
    endpoint: Option<String>,
    #[command(flatten)]
    root: RootArgs,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "GCS options")]
pub(super) struct GcsOnlyArgs {
    /// The project that requests are billed to [env: GOOGLE_CLOUD_PROJECT, where the bucket demands one]
    #[arg(long, global = true, value_name = "ID")]
    project_id: Option<String>,
    /// A JSON file with credentials; without one, the login of `gcloud` or of the machine [env:
    /// GOOGLE_APPLICATION_CREDENTIALS]
    #[arg(long, global = true, value_name = "FILE")]
    keyfile: Option<PathBuf>,
}

/// Flags of Azure's store.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Azure options")]
pub(super) struct AzureArgs {
    #[command(flatten)]
    only: AzureOnlyArgs,
    /// Where the account's blobs are, if not at ACCOUNT.blob.core.windows.net
    #[arg(short, long, global = true, value_name = "URL")]
    endpoint: Option<String>,
    #[command(flatten)]
    root: RootArgs,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Azure options")]
pub(super) struct AzureOnlyArgs {
    /// The storage account [env: AZURE_STORAGE_ACCOUNT]
    #[arg(short, long, global = true, value_name = "NAME")]
    account_name: Option<String>,
    /// The account's key; others on this machine can read it here, so prefer the environment [env: AZURE_STORAGE_KEY]
    #[arg(short = 'k', long, global = true, value_name = "SECRET")]
    account_key: Option<String>,
    /// Which credentials to use if there are several: default_credentials, shared_key, sas_token, client_secret,
    /// workload_identity, managed_identity, azure_cli or anonymous
    #[arg(long, global = true, value_name = "TYPE")]
    credential_type: Option<CredentialType>,
    /// The application or managed identity to log in as [env: AZURE_CLIENT_ID]
    #[arg(long, global = true, value_name = "ID")]
    client_id: Option<String>,
    /// The directory of the application [env: AZURE_TENANT_ID]
    #[arg(long, global = true, value_name = "ID")]
    tenant_id: Option<String>,
    /// The secret of the application [env: AZURE_CLIENT_SECRET, AZURE_SECRET]
    #[arg(long, global = true, value_name = "SECRET")]
    secret: Option<String>,
    /// A shared access signature [env: AZURE_STORAGE_SAS_TOKEN]
    #[arg(long, global = true, value_name = "SECRET")]
    sas_token: Option<String>,
    /// Account, key and address in one text [env: AZURE_STORAGE_CONNECTION_STRING]
    #[arg(long, global = true, value_name = "SECRET")]
    connection_string: Option<String>,
}

/// Flags of folders.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Folder options")]
pub(super) struct FsArgs {
    #[command(flatten)]
    only: FsOnlyArgs,
    #[command(flatten)]
    root: RootArgs,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Folder options")]
pub(super) struct FsOnlyArgs {
    /// The folder that buckets are folders of [default: the current one]
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Does not wait for the disk; a power failure may then lose what was pushed
    #[arg(long, global = true)]
    no_fsync: bool,
}

#[derive(Debug, Clone, Default, Args)]
pub(super) struct RootArgs {
    /// The folder inside the bucket that everything is kept in
    #[arg(long, global = true, value_name = "PATH")]
    root_dir: Option<String>,
}

/// Flags of all backends, where the reference names the backend.
#[derive(Debug, Clone, Default, Args)]
pub(super) struct AnyArgs {
    /// Where the storage is, such as http://127.0.0.1:9000
    #[arg(short, long, global = true, value_name = "URL", alias = "endpoint-url")]
    endpoint: Option<String>,
    #[command(flatten)]
    s3: S3OnlyArgs,
    #[command(flatten)]
    gcs: GcsOnlyArgs,
    #[command(flatten)]
    azure: AzureOnlyArgs,
    #[command(flatten)]
    fs: FsOnlyArgs,
    #[command(flatten)]
    root: RootArgs,
}

/// Flags of a backend, and which it is if that is known before the reference is read.
#[derive(Debug, Clone)]
pub(super) enum BackendArgs {
    S3(S3Args),
    Gcs(GcsArgs),
    Azure(AzureArgs),
    Fs(FsArgs),
    Any(Box<AnyArgs>),
}

impl BackendArgs {
    /// Returns the backend that was named, if one was.
    pub(super) fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::S3(_) => Some(Scheme::S3),
            Self::Gcs(_) => Some(Scheme::Gcs),
            Self::Azure(_) => Some(Scheme::Azure),
            Self::Fs(_) => Some(Scheme::Fs),
            Self::Any(_) => None,
        }
    }

    /// Tells whether an endpoint is given that would be taken for whichever backend it is.
    pub(super) fn has_endpoint(&self, env: &Env) -> bool {
        let flag = match self {
            Self::S3(args) => &args.endpoint,
            Self::Gcs(args) => &args.endpoint,
            Self::Azure(args) => &args.endpoint,
            Self::Any(args) => &args.endpoint,
            Self::Fs(_) => &None,
        };
        flag.is_some() || env.first(&["OCI_STORE_ENDPOINT"]).is_some()
    }

    /// Makes the configuration of the backend `scheme`.
    pub(super) fn config(self, scheme: Scheme, env: &Env, context: &Context) -> Result<BackendConfig, CommandError> {
        let any = match self {
            Self::S3(args) => AnyArgs { s3: args.only, endpoint: args.endpoint, root: args.root, ..AnyArgs::default() },
            Self::Gcs(args) => {
                AnyArgs { gcs: args.only, endpoint: args.endpoint, root: args.root, ..AnyArgs::default() }
            }
            Self::Azure(args) => {
                AnyArgs { azure: args.only, endpoint: args.endpoint, root: args.root, ..AnyArgs::default() }
            }
            Self::Fs(args) => AnyArgs { fs: args.only, root: args.root, ..AnyArgs::default() },
            Self::Any(args) => *args,
        };
        let options = Options {
            retries: context.settings.retries,
            ca_file: context.settings.ca_file.clone(),
            proxy: context.settings.proxy.clone().map(Secret::from),
            root_dir: env.or(any.root.root_dir, &["OCI_STORE_ROOT_DIR"]),
        };
        let endpoint = env.or(any.endpoint, &["OCI_STORE_ENDPOINT"]);
        match scheme {
            Scheme::S3 => any.s3.config(env, context, endpoint, options),
            Scheme::Gcs => Ok(any.gcs.config(env, endpoint, options)),
            Scheme::Azure => any.azure.config(env, context, endpoint, options),
            Scheme::Fs => any.fs.config(env, options),
        }
    }
}

impl S3OnlyArgs {
    fn config(
        self,
        env: &Env,
        context: &Context,
        endpoint: Option<String>,
        options: Options,
    ) -> Result<BackendConfig, CommandError> {
        warn_of_secrets(&[&self.secret_key, &self.session_token], context);
        let path_style = match (
            env.switch(self.path_style, "OCI_STORE_PATH_STYLE")?,
            env.switch(self.virtual_hosted, "OCI_STORE_VIRTUAL_HOSTED")?,
        ) {
            _ if self.path_style => Some(true),
            _ if self.virtual_hosted => Some(false),
            (true, true) => {
                return Err(CommandError::usage("OCI_STORE_PATH_STYLE and OCI_STORE_VIRTUAL_HOSTED are both set"));
            }
            (true, false) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        };
        Ok(BackendConfig::S3(S3Config {
            region: env.or(self.region, &["OCI_STORE_REGION"]),
            endpoint,
            access_key: env.or(self.access_key, &["OCI_STORE_ACCESS_KEY"]),
            secret_key: env.or(self.secret_key, &["OCI_STORE_SECRET_KEY"]).map(Secret::from),
            session_token: env.or(self.session_token, &["OCI_STORE_SESSION_TOKEN"]).map(Secret::from),
            profile: env.or(self.profile, &["OCI_STORE_PROFILE"]),
            no_sign_request: env.switch(self.no_sign_request, "OCI_STORE_NO_SIGN_REQUEST")?,
            path_style,
            storage_class: env.or(self.storage_class, &["OCI_STORE_STORAGE_CLASS"]),
            sse: env.or(self.sse, &["OCI_STORE_SSE"]),
            sse_kms_key_id: env.or(self.sse_kms_key_id, &["OCI_STORE_SSE_KMS_KEY_ID"]),
            requester_pays: match env.or(self.request_payer, &["OCI_STORE_REQUEST_PAYER"]).as_deref() {
                None => false,
                Some("requester") => true,
                Some(other) => {
                    return Err(CommandError::usage(format!("OCI_STORE_REQUEST_PAYER is {other:?}"))
                        .hint("use requester, or unset it"));
                }
            },
            options,
        }))
    }
}

impl GcsOnlyArgs {
    fn config(self, env: &Env, endpoint: Option<String>, options: Options) -> BackendConfig {
        BackendConfig::Gcs(GcsConfig {
            project_id: env.or(self.project_id, &["OCI_STORE_PROJECT_ID"]),
            keyfile: env.path_or(self.keyfile, &["OCI_STORE_KEYFILE"]),
            endpoint,
            options,
        })
    }
}

impl AzureOnlyArgs {
    fn config(
        self,
        env: &Env,
        context: &Context,
        endpoint: Option<String>,
        options: Options,
    ) -> Result<BackendConfig, CommandError> {
        warn_of_secrets(&[&self.account_key, &self.secret, &self.sas_token, &self.connection_string], context);
        let secret = |flag, name: &str| env.or(flag, &[name]).map(Secret::from);
        Ok(BackendConfig::Azure(AzureConfig {
            account_name: env.or(self.account_name, &["OCI_STORE_ACCOUNT_NAME"]),
            account_key: secret(self.account_key, "OCI_STORE_ACCOUNT_KEY"),
            credential_type: env.parsed(self.credential_type, "OCI_STORE_CREDENTIAL_TYPE")?,
            client_id: env.or(self.client_id, &["OCI_STORE_CLIENT_ID"]),
            tenant_id: env.or(self.tenant_id, &["OCI_STORE_TENANT_ID"]),
            secret: secret(self.secret, "OCI_STORE_SECRET"),
            sas_token: secret(self.sas_token, "OCI_STORE_SAS_TOKEN"),
            connection_string: secret(self.connection_string, "OCI_STORE_CONNECTION_STRING"),
            endpoint,
            options,
        }))
    }
}

fn warn_of_secrets(flags: &[&Option<String>], context: &Context) {
    if flags.iter().any(|flag| flag.is_some()) {
        context
            .printer
            .note("warning: secrets on the command line can be read by everybody on this machine; use the environment");
    }
}

impl FsOnlyArgs {
    fn config(self, env: &Env, options: Options) -> Result<BackendConfig, CommandError> {
        Ok(BackendConfig::Fs(FsConfig {
            dir: env.path_or(self.dir, &["OCI_STORE_DIR"]).unwrap_or_else(|| PathBuf::from(".")),
            fsync: !env.switch(self.no_fsync, "OCI_STORE_NO_FSYNC")?,
            options,
        }))
    }
}
