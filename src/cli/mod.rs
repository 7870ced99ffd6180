//! Arguments, environment and dispatch: the only code that knows clap.
#![expect(clippy::doc_markdown, reason = "what is a help text shows no markdown")]

mod artifact_args;
mod backend_args;
mod env_vars;
mod global_args;
mod image_args;
mod login_args;
mod man;
mod place;
mod registry_args;
mod verbs;

use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, Parser, Subcommand};
use tokio_util::sync::CancellationToken;

use crate::commands::{Context, doctor, login, logout, push, serve};
use crate::ui::{self, CommandError, ExitStatus, Printer};
use backend_args::{AnyArgs, AzureArgs, BackendArgs, FsArgs, GcsArgs, NoArgs, S3Args};
use env_vars::Env;
use global_args::GlobalArgs;
use image_args::Given;
use login_args::{LoginArgs, LogoutArgs};
use man::ManArgs;
use verbs::Verb;

const AFTER_HELP: &str = "\
Exit codes:
  0 ok                 10 not found              14 storage unavailable
  1 other failure      11 conflict               15 Docker daemon
  2 usage              12 credentials or rights  16 out of space
  3 partly done        13 integrity             130 interrupted

Every option also has an environment variable, OCI_STORE_ and its name: OCI_STORE_SPOOL_DIR.";

/// How long is waited at the end for what is being written to a disk.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// Container images in a bucket, with no registry running.
#[derive(Debug, Parser)]
#[command(name = "oci-store", version, propagate_version = true, after_help = AFTER_HELP, max_term_width = 120)]
struct Cli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Images in S3, or in a store that speaks its language: BUCKET/NAME[:TAG]
    S3(OfBackend<S3Args>),
    /// Images in Google Cloud Storage: BUCKET/NAME[:TAG]
    Gcs(OfBackend<GcsArgs>),
    /// Images in Azure Blob Storage: CONTAINER/NAME[:TAG]
    Azure(OfBackend<AzureArgs>),
    /// Images in a folder: FOLDER/NAME[:TAG] below --dir
    Fs(OfBackend<FsArgs>),
    /// The same verbs, with the backend in the reference: s3://BUCKET/NAME[:TAG]
    #[command(flatten)]
    Verb(Verb<Box<AnyArgs>>),
    /// Logs in to a remote registry, and keeps the credentials where Docker keeps them
    Login(LoginArgs),
    /// Forgets the credentials for a remote registry
    Logout(LogoutArgs),
    /// Prints a script that completes this command line in a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, or that of a verb
    Man(ManArgs),
}

impl Command {
    fn is_serving(&self) -> bool {
        matches!(
            self,
            Self::S3(OfBackend { verb: Verb::Serve { .. }, .. })
                | Self::Gcs(OfBackend { verb: Verb::Serve { .. }, .. })
                | Self::Azure(OfBackend { verb: Verb::Serve { .. }, .. })
                | Self::Fs(OfBackend { verb: Verb::Serve { .. }, .. })
                | Self::Verb(Verb::Serve { .. })
        )
    }
}

/// Flags of the backend are taken before the verb and after it.
#[derive(Debug, clap::Args)]
struct OfBackend<B: clap::Args> {
    #[command(flatten)]
    backend: B,
    #[command(subcommand)]
    verb: Verb<NoArgs>,
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // clap writes help to stdout and errors to stderr, and a reader who went away is no failure.
        Err(error) => {
            drop(error.print());
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(ExitStatus::Usage as u8));
        }
    };
    let env = Env::of_process();
    let global = match cli.global.resolve(&env) {
        Ok(global) => global,
        Err(error) => {
            error.print(&Printer::default());
            return error.status().into();
        }
    };
    ui::init_logging(global.verbosity, cli.command.is_serving());
    let printer = Printer::new(global.format, global.verbosity, global.progress);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            CommandError::because("cannot start", error).print(&printer);
            return ExitStatus::Other.into();
        }
    };
    let cancel = CancellationToken::new();
    let status = runtime.block_on(async {
        let watcher = tokio::spawn(watch_signals(cancel.clone(), printer.clone()));
        let context =
            Context { printer: printer.clone(), reporter: ui::reporter(&printer), cancel, settings: global.settings };
        let result = Box::pin(dispatch(cli.command, &env, &context)).await;
        watcher.abort();
        drop(context);
        match result {
            Ok(status) => status,
            Err(error) => {
                error.print(&printer);
                error.status()
            }
        }
    });
    // What is being written to a disk is written to its end, also when nobody waits for it any more: else half of it is left. A
    // task that hangs in a blocking call must not keep the process.
    runtime.shutdown_timeout(LAST_WRITES);
    status.into()
}

async fn dispatch(command: Command, env: &Env, context: &Context) -> Result<ExitStatus, CommandError> {
    match command {
        Command::S3(of) => run(of.verb, BackendArgs::S3(of.backend), env, context).await,
        Command::Gcs(of) => run(of.verb, BackendArgs::Gcs(of.backend), env, context).await,
        Command::Azure(of) => run(of.verb, BackendArgs::Azure(of.backend), env, context).await,
        Command::Fs(of) => run(of.verb, BackendArgs::Fs(of.backend), env, context).await,
        Command::Verb(verb) => {
            let (verb, backend) = verb.split();
            run(verb, BackendArgs::Any(backend), env, context).await
        }
        Command::Login(args) => {
            login::run(args.request(env, context)?, context).await?;
            Ok(ExitStatus::Ok)
        }
        Command::Logout(args) => {
            logout::run(args.request(env)?, context).await?;
            Ok(ExitStatus::Ok)
        }
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "oci-store", &mut script);
            context.printer.raw(&script);
            Ok(ExitStatus::Ok)
        }
        Command::Man(args) => {
            args.run(Cli::command(), &context.printer)?;
            Ok(ExitStatus::Ok)
        }
    }
}

async fn run(
    verb: Verb<NoArgs>,
    backend: BackendArgs,
    env: &Env,
    context: &Context,
) -> Result<ExitStatus, CommandError> {
    match verb {
        Verb::Push { args, .. } => Box::pin(push::run(args.request(backend, env, context)?, context)).await?,
        Verb::Pull { args, .. } => args.run(Given { backend, env, context }).await?,
        Verb::Serve { args, .. } => serve::run(args.request(backend, env, context)?, context).await?,
        Verb::Copy { args, .. } => return Box::pin(args.run(Given { backend, env, context })).await,
        Verb::Tags { args, .. } => args.run(Given { backend, env, context }).await?,
        Verb::Ls { args, .. } => args.run(Given { backend, env, context }).await?,
        Verb::Inspect { args, .. } => args.run(Given { backend, env, context }).await?,
        Verb::Manifest { args, .. } => args.run(Given { backend, env, context }).await?,
        Verb::Config { args, .. } => args.run(Given { backend, env, context }).await?,
        Verb::Blob { args, .. } => args.run(Given { backend, env, context }).await?,
        Verb::Artifact { args, .. } => Box::pin(args.run(Given { backend, env, context })).await?,
        Verb::Doctor { args, .. } => return Box::pin(doctor::run(args.request(backend, env, context)?, context)).await,
    }
    Ok(ExitStatus::Ok)
}

/// The first signal asks the command to clean up and end; the second one ends the process.
async fn watch_signals(cancel: CancellationToken, printer: Printer) {
    let mut asked = false;
    loop {
        wait_for_signal().await;
        if std::mem::replace(&mut asked, true) {
            #[expect(clippy::exit, reason = "the user asked twice: nothing is waited for any more")]
            std::process::exit(ExitStatus::Interrupted as i32);
        }
        printer.note("interrupted: cleaning up (once more to leave at once)");
        cancel.cancel();
    }
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn flags_of_the_backend_are_taken_everywhere() {
        for line in [
            "oci-store s3 --endpoint http://h push b/a:v1",
            "oci-store s3 push --endpoint http://h b/a:v1",
            "oci-store s3 push b/a:v1 --endpoint http://h",
            "oci-store s3 push b/a:v1 --endpoint-url http://h -r eu-west-1 -i app:v1 -q",
            "oci-store push s3://b/a:v1 --endpoint http://h",
            "oci-store gcs push b/a:v1 --keyfile k.json --project-id p",
            "oci-store push gs://b/a:v1 --endpoint http://h",
            "oci-store azure -a acct push b/a:v1 --credential-type shared_key -k key",
            "oci-store pull az://b/a:v1 --account-name acct --endpoint http://h/acct",
            "oci-store fs push b/a:v1 --dir d",
            "oci-store fs --no-fsync pull b/a:v1",
            "oci-store s3 artifact push b/a:v1 file --endpoint http://h",
            "oci-store s3 --endpoint http://h artifact push b/a:v1 file:text/plain --manifest-config c:a/b",
            "oci-store artifact pull s3://b/a:v1 -o out --endpoint http://h --cache dir",
        ] {
            Cli::try_parse_from(line.split(' ')).expect(line);
        }
        assert!(Cli::try_parse_from(["oci-store", "fs", "push", "b/a", "--region", "x"]).is_err());
    }
}
