//! `login` and `logout`.

use std::io::{self, IsTerminal};
use std::path::PathBuf;

use clap::Args;

use super::env_vars::Env;
use super::registry_args::{RegistryArgs, credential_files};
use crate::commands::{Context, login, logout};
use crate::remote::RegistryName;
use crate::ui::CommandError;

/// What `login` takes.
#[derive(Debug, Args)]
pub(super) struct LoginArgs {
    /// The registry: HOST[:PORT], such as ghcr.io or docker.io
    #[arg(value_name = "HOST")]
    registry: RegistryName,
    /// The same as --insecure
    #[arg(short = 'k', hide = true, overrides_with = "k")]
    k: bool,
    #[command(flatten)]
    registry_args: RegistryArgs,
}

/// What `logout` takes.
#[derive(Debug, Args)]
pub(super) struct LogoutArgs {
    /// The registry: HOST[:PORT]
    #[arg(value_name = "HOST")]
    registry: RegistryName,
}

impl LoginArgs {
    /// Reads what is not on the command line from the terminal.
    pub(super) fn request(mut self, env: &Env, context: &Context) -> Result<login::Request, CommandError> {
        if self.registry_args.anonymous {
            return Err(CommandError::usage("nobody logs in with --anonymous"));
        }
        self.registry_args.insecure |= self.k;
        let registry = self.registry;
        let (username, password) = self.registry_args.given(env, context)?;
        let username = match username {
            Some(username) => username,
            None => ask_username(&registry, context)?,
        };
        let password = match password {
            Some(password) => password,
            None => ask_password(&registry)?,
        };
        let connection = self.registry_args.connection(env, context)?;
        Ok(login::Request { registry, username, password: password.into(), connection, file: config_file(env)? })
    }
}

impl LogoutArgs {
    pub(super) fn request(self, env: &Env) -> Result<logout::Request, CommandError> {
        Ok(logout::Request { registry: self.registry, file: config_file(env)? })
    }
}

fn config_file(env: &Env) -> Result<PathBuf, CommandError> {
    credential_files(env).docker.ok_or_else(|| {
        CommandError::usage("there is no folder for Docker's configuration")
            .hint("set HOME, or name the folder in DOCKER_CONFIG")
    })
}

fn ask_username(registry: &RegistryName, context: &Context) -> Result<String, CommandError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return Err(CommandError::usage(format!("cannot log in to {registry} without a user name"))
            .hint("give it with --username"));
    }
    context.printer.prompt(&format!("Username for {registry}: "));
    let mut line = String::new();
    stdin.read_line(&mut line).map_err(|error| CommandError::because("cannot read the user name", error))?;
    let username = line.trim_end_matches(['\r', '\n']);
    if username.is_empty() {
        return Err(CommandError::usage("the user name is empty"));
    }
    Ok(username.to_owned())
}

fn ask_password(registry: &RegistryName) -> Result<String, CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::usage(format!("cannot log in to {registry} without a password"))
            .hint("give it with --password-stdin"));
    }
    let password = rpassword::prompt_password("Password: ").map_err(|error| match error.kind() {
        io::ErrorKind::Interrupted => CommandError::interrupted(format!("logging in to {registry} was interrupted")),
        _ => CommandError::because("cannot read the password", error),
    })?;
    if password.is_empty() {
        return Err(CommandError::usage("the password is empty"));
    }
    Ok(password)
}
