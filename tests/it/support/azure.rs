//! The Azure of the tests.

use std::process::Command;

use super::{service, unique};

/// A part of the test container that is this test's own.
#[derive(Clone, Debug)]
pub(crate) struct Azure {
    pub(crate) endpoint: String,
    pub(crate) account: String,
    pub(crate) key: String,
    pub(crate) container: String,
    pub(crate) root: String,
}

impl Azure {
    /// Returns the test server, if there is one.
    pub(crate) fn get() -> Option<Self> {
        let endpoint = service("azure", "OCI_STORE_TEST_AZURE_ENDPOINT")?;
        let variable =
            |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set though the endpoint is"));
        Some(Self {
            endpoint,
            account: variable("OCI_STORE_TEST_AZURE_ACCOUNT"),
            key: variable("OCI_STORE_TEST_AZURE_KEY"),
            container: variable("OCI_STORE_TEST_AZURE_CONTAINER"),
            root: unique("test"),
        })
    }

    /// Points a command at this part of the container.
    pub(crate) fn configure<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .env("AZURE_STORAGE_ACCOUNT", &self.account)
            .env("AZURE_STORAGE_KEY", &self.key)
            .env("OCI_STORE_ENDPOINT", &self.endpoint)
            .env("OCI_STORE_ROOT_DIR", &self.root)
    }
}
