//! `man`: the manual pages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_mangen::Man;

use crate::ui::{CommandError, Printer};

/// Which pages, and where to.
#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// The verb whose page is printed, such as: artifact push; by default it is the page of oci-store itself
    #[arg(value_name = "VERB")]
    verb: Vec<String>,
    /// Writes all pages into this folder instead: oci-store.1, oci-store-push.1 …
    #[arg(long, value_name = "DIR", conflicts_with = "verb")]
    dir: Option<PathBuf>,
}

impl ManArgs {
    /// Prints or writes pages of what `top` defines.
    pub(super) fn run(self, top: Command, printer: &Printer) -> Result<(), CommandError> {
        // Pages of `help` would say what others do.
        let mut top = without_help(top);
        top.build();
        if let Some(dir) = &self.dir {
            return fs::create_dir_all(dir)
                .and_then(|()| write(&top, dir))
                .map_err(|error| CommandError::because(format!("cannot write pages into {}", dir.display()), error));
        }
        let mut text = Vec::new();
        let rendered = page(find(&top, &self.verb)?).render(&mut text);
        rendered.map_err(|error| CommandError::because("cannot write the manual page", error))?;
        printer.raw(&text);
        Ok(())
    }
}

fn without_help(command: Command) -> Command {
    command.disable_help_subcommand(true).mut_subcommands(without_help)
}

fn find<'a>(top: &'a Command, verb: &[String]) -> Result<&'a Command, CommandError> {
    verb.iter().try_fold(top, |command, name| {
        command.find_subcommand(name).ok_or_else(|| {
            let of = command.get_bin_name().unwrap_or(command.get_name());
            let known: Vec<_> = command.get_subcommands().map(Command::get_name).collect();
            let hint = if known.is_empty() { "it has none".to_owned() } else { format!("it has {}", known.join(", ")) };
            CommandError::usage(format!("there is no verb {name:?} of {of}")).hint(hint)
        })
    })
}

fn page(command: &Command) -> Man {
    Man::new(command.clone()).source(concat!("oci-store ", env!("CARGO_PKG_VERSION")))
}

/// Writes the page of a command, and those of all below it.
fn write(command: &Command, dir: &Path) -> io::Result<()> {
    page(command).generate_to(dir)?;
    command.get_subcommands().try_for_each(|verb| write(verb, dir))
}
