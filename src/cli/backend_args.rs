//! Flags of the backends, and how they and the environment make a configuration.
#![expect(clippy::doc_markdown, reason = "what is a help text shows no markdown")]

use std::path::PathBuf;

use clap::Args;

use super::env_vars::Env;
use crate::backend::{BackendConfig, FsConfig, Options, S3Config, Scheme, Secret};
use crate::commands::Context;
use crate::ui::{CommandError, ExitStatus};

/// No flags: the backend's were given with its name.
#[derive(Debug, Clone, Copy, Args)]
pub(super) struct NoArgs {}

/// Flags of S3.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "S3 options")]
pub(super) struct S3Args {
    #[command(flatten)]
    only: S3OnlyArgs,
    #[command(flatten)]
    root: RootArgs,
}

#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "S3 options")]
pub(super) struct S3OnlyArgs {
    /// The bucket's region; without it the bucket is asked [env: AWS_REGION, AWS_DEFAULT_REGION]
    #[arg(short, long, global = true)]
    region: Option<String>,
    /// Where the storage is, such as http://127.0.0.1:9000 [env: AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL]
    #[arg(short, long, global = true, value_name = "URL", alias = "endpoint-url")]
    endpoint: Option<String>,
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
    #[command(flatten)]
    s3: S3OnlyArgs,
    #[command(flatten)]
    fs: FsOnlyArgs,
    #[command(flatten)]
    root: RootArgs,
}

/// Flags of a backend, and which it is if that is known before the reference is read.
#[derive(Debug, Clone)]
pub(super) enum BackendArgs {
    S3(S3Args),
    Fs(FsArgs),
    Any(Box<AnyArgs>),
}

impl BackendArgs {
    /// Returns the backend that was named, if one was.
    pub(super) fn scheme(&self) -> Option<Scheme> {
        match self {
            Self::S3(_) => Some(Scheme::S3),
            Self::Fs(_) => Some(Scheme::Fs),
            Self::Any(_) => None,
        }
    }

    /// Makes the configuration of the backend `scheme`.
    pub(super) fn config(self, scheme: Scheme, env: &Env, context: &Context) -> Result<BackendConfig, CommandError> {
        let any = match self {
            Self::S3(args) => AnyArgs { s3: args.only, root: args.root, ..AnyArgs::default() },
            Self::Fs(args) => AnyArgs { fs: args.only, root: args.root, ..AnyArgs::default() },
            Self::Any(args) => *args,
        };
        let options = Options {
            retries: context.settings.retries,
            ca_file: context.settings.ca_file.clone(),
            proxy: context.settings.proxy.clone().map(Secret::from),
            root_dir: env.or(any.root.root_dir, &["OCI_STORE_ROOT_DIR"]),
        };
        match scheme {
            Scheme::S3 => any.s3.config(env, context, options),
            Scheme::Fs => any.fs.config(env, options),
        }
    }
}

impl S3OnlyArgs {
    fn config(self, env: &Env, context: &Context, options: Options) -> Result<BackendConfig, CommandError> {
        if self.secret_key.is_some() || self.session_token.is_some() {
            context.printer.note(
                "warning: secrets on the command line can be read by everybody on this machine; use the environment",
            );
        }
        let path_style = match (
            env.switch(self.path_style, "OCI_STORE_PATH_STYLE")?,
            env.switch(self.virtual_hosted, "OCI_STORE_VIRTUAL_HOSTED")?,
        ) {
            _ if self.path_style => Some(true),
            _ if self.virtual_hosted => Some(false),
            (true, true) => {
                return Err(CommandError::new(
                    ExitStatus::Usage,
                    "OCI_STORE_PATH_STYLE and OCI_STORE_VIRTUAL_HOSTED are both set",
                ));
            }
            (true, false) => Some(true),
            (false, true) => Some(false),
            (false, false) => None,
        };
        Ok(BackendConfig::S3(S3Config {
            region: env.or(self.region, &["OCI_STORE_REGION"]),
            endpoint: env.or(self.endpoint, &["OCI_STORE_ENDPOINT"]),
            access_key: env.or(self.access_key, &["OCI_STORE_ACCESS_KEY"]),
            secret_key: env.or(self.secret_key, &["OCI_STORE_SECRET_KEY"]).map(Secret::from),
            session_token: env.or(self.session_token, &["OCI_STORE_SESSION_TOKEN"]).map(Secret::from),
            profile: env.or(self.profile, &["OCI_STORE_PROFILE"]),
            no_sign_request: env.switch(self.no_sign_request, "OCI_STORE_NO_SIGN_REQUEST")?,
            path_style,
            storage_class: env.or(self.storage_class, &["OCI_STORE_STORAGE_CLASS"]),
            sse: env.or(self.sse, &["OCI_STORE_SSE"]),
            sse_kms_key_id: env.or(self.sse_kms_key_id, &["OCI_STORE_SSE_KMS_KEY_ID"]),
            options,
        }))
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
