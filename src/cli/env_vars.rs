//! Environment variables. A flag wins over `OCI_STORE_<FLAG>`, which wins over the provider's own variables.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::ui::CommandError;

/// The environment, as it was when the process began. An empty variable counts as absent.
#[derive(Clone, Debug, Default)]
pub(super) struct Env(HashMap<String, String>);

impl Env {
    pub(super) fn of_process() -> Self {
        Self(
            std::env::vars_os()
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
        )
    }

    /// Returns the first of several variables that is set.
    pub(super) fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|&name| self.0.get(name).filter(|value| !value.is_empty()).cloned())
    }

    /// Returns what was given by flag, or else the first variable that is set.
    pub(super) fn or(&self, flag: Option<String>, names: &[&str]) -> Option<String> {
        flag.or_else(|| self.first(names))
    }

    pub(super) fn path_or(&self, flag: Option<PathBuf>, names: &[&str]) -> Option<PathBuf> {
        flag.or_else(|| self.first(names).map(PathBuf::from))
    }

    /// Returns whether a switch is on, by flag or by variable.
    pub(super) fn switch(&self, flag: bool, name: &str) -> Result<bool, CommandError> {
        match self.first(&[name]).as_deref() {
            _ if flag => Ok(true),
            None | Some("0" | "false" | "no") => Ok(false),
            Some("1" | "true" | "yes") => Ok(true),
            Some(other) => Err(CommandError::usage(format!("{name} is {other:?}")).hint("use 1 or 0")),
        }
    }

    /// Returns a value given by flag, or else reads the variable.
    pub(super) fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
        &self,
        flag: Option<T>,
        name: &str,
    ) -> Result<Option<T>, CommandError> {
        match (flag, self.first(&[name])) {
            (Some(flag), _) => Ok(Some(flag)),
            (None, None) => Ok(None),
            (None, Some(text)) => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(error) => Err(CommandError::usage(format!("{name} is {text:?}: {error}"))),
            },
        }
    }
}

#[cfg(test)]
impl<const N: usize> From<[(&str, &str); N]> for Env {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect())
    }
}
