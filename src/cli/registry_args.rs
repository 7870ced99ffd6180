//! Flags of remote registries, and how they and the environment make options.

use std::io::{self, Read};
use std::path::PathBuf;

use clap::Args;

use super::env_vars::Env;
use crate::commands::Context;
use crate::remote::{Credential, CredentialFiles, Login, RemoteOptions, Timeouts};
use crate::secret::Secret;
use crate::ui::CommandError;

/// The longest password, in bytes. The tokens of cloud providers have some thousands.
const MAX_PASSWORD: u64 = 64 * 1024;

/// Flags of remote registries.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Registry options")]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag")]
pub(super) struct RegistryArgs {
    /// Sends no credentials, whatever the configuration holds
    #[arg(long, conflicts_with_all = ["username", "password", "password_stdin"])]
    pub(super) anonymous: bool,
    /// The user name at the registry [default: as the configuration of Docker or podman says]
    #[arg(short, long, value_name = "NAME")]
    pub(super) username: Option<String>,
    /// The password or token; others on this machine can read it here, so prefer --password-stdin
    #[arg(short, long, value_name = "SECRET", conflicts_with = "password_stdin")]
    pub(super) password: Option<String>,
    /// Reads the password or token from standard input
    #[arg(long)]
    pub(super) password_stdin: bool,
    /// Speaks to the registry without TLS
    #[arg(long)]
    pub(super) plain_http: bool,
    /// Does not verify the registry's certificate
    #[arg(long, overrides_with = "insecure")]
    pub(super) insecure: bool,
    /// A token server outside the registry's domain that may be sent its credentials; may be repeated
    #[arg(long, value_name = "HOST", value_delimiter = ',')]
    pub(super) token_host: Vec<String>,
}

impl RegistryArgs {
    /// Makes the options, and reads the password from standard input where that is asked for.
    pub(super) fn options(mut self, env: &Env, context: &Context) -> Result<RemoteOptions, CommandError> {
        let login = self.login(env, context)?;
        Ok(RemoteOptions { login, ..self.connection(env, context)? })
    }

    /// Makes the options for nobody in particular.
    pub(super) fn connection(self, env: &Env, context: &Context) -> Result<RemoteOptions, CommandError> {
        let mut token_hosts = self.token_host;
        if token_hosts.is_empty() {
            let listed = env.first(&["OCI_STORE_TOKEN_HOST"]).unwrap_or_default();
            token_hosts = listed.split(',').filter(|host| !host.is_empty()).map(str::to_owned).collect();
        }
        Ok(RemoteOptions {
            login: Login::Anonymous,
            plain_http: env.switch(self.plain_http, "OCI_STORE_PLAIN_HTTP")?,
            insecure: env.switch(self.insecure, "OCI_STORE_INSECURE")?,
            ca_file: context.settings.ca_file.clone(),
            proxy: context.settings.proxy.clone().map(Secret::from),
            retries: context.settings.retries,
            timeouts: Timeouts::default(),
            token_hosts,
        })
    }

    /// Takes the user name and the password that were given.
    pub(super) fn given(
        &mut self,
        env: &Env,
        context: &Context,
    ) -> Result<(Option<String>, Option<String>), CommandError> {
        if self.password.is_some() {
            context.printer.note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        }
        let username = env.or(self.username.take(), &["OCI_STORE_USERNAME"]);
        let password = if env.switch(self.password_stdin, "OCI_STORE_PASSWORD_STDIN")? {
            Some(password_of_stdin()?)
        } else {
            env.or(self.password.take(), &["OCI_STORE_PASSWORD"])
        };
        Ok((username, password))
    }

    /// Decides who asks: what is on the command line wins over all variables, of whichever flag.
    fn login(&mut self, env: &Env, context: &Context) -> Result<Login, CommandError> {
        let is_given = self.username.is_some() || self.password.is_some() || self.password_stdin;
        if self.anonymous || (!is_given && env.switch(false, "OCI_STORE_ANONYMOUS")?) {
            return Ok(Login::Anonymous);
        }
        match self.given(env, context)? {
            (Some(username), Some(password)) => {
                Ok(Login::As(Credential::Password { username, password: password.into() }))
            }
            (None, None) => Ok(Login::FromFiles(credential_files(env))),
            (Some(_), None) => Err(CommandError::usage("there is a user name and no password")
                .hint("give the password with --password-stdin or in OCI_STORE_PASSWORD")),
            (None, Some(_)) => {
                Err(CommandError::usage("there is a password and no user name").hint("give the name with --username"))
            }
        }
    }
}

/// Returns the files that Docker and podman keep credentials in.
pub(super) fn credential_files(env: &Env) -> CredentialFiles {
    let path = |name: &str| env.first(&[name]).map(PathBuf::from);
    let home = path("HOME");
    let below_home = |folder: &str| home.as_ref().map(|home| home.join(folder));
    let docker = path("DOCKER_CONFIG").or_else(|| below_home(".docker"));
    let config = path("XDG_CONFIG_HOME").or_else(|| below_home(".config"));
    CredentialFiles {
        docker: docker.map(|folder| folder.join("config.json")),
        named: path("REGISTRY_AUTH_FILE"),
        podman: [path("XDG_RUNTIME_DIR"), config]
            .into_iter()
            .flatten()
            .map(|folder| folder.join("containers/auth.json"))
            .collect(),
    }
}

/// Reads the password, without the line break that `echo` and providers' tools end it with.
fn password_of_stdin() -> Result<String, CommandError> {
    let unusable =
        |problem: String| CommandError::usage(format!("the password on standard input cannot be used: {problem}"));
    let mut text = String::new();
    io::stdin().take(MAX_PASSWORD + 1).read_to_string(&mut text).map_err(|error| unusable(error.to_string()))?;
    if text.len() as u64 > MAX_PASSWORD {
        return Err(unusable(format!("it has more than {MAX_PASSWORD} bytes")));
    }
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(unusable("it is empty".to_owned()));
    }
    Ok(password.to_owned())
}
