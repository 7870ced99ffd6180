//! Running the binary.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// The binary that is tested, with nothing of the caller's environment that could steer it.
pub(crate) fn oci_store() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oci-store"));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if [
            "AWS_",
            "AZURE_",
            "GOOGLE_",
            "GCE_",
            "STORAGE_",
            "CLOUDSDK_",
            "IDENTITY_",
            "OCI_STORE_",
            "DOCKER_",
            "HTTP",
            "http",
            "CI",
            "NO_COLOR",
        ]
        .iter()
        .any(|prefix| name.starts_with(prefix))
        {
            command.env_remove(name);
        }
    }
    // No credentials and no configuration of whoever runs the tests.
    command.env("HOME", "/nonexistent").env("AWS_EC2_METADATA_DISABLED", "true").stdin(Stdio::null());
    command
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// Demands success and returns the one line of stdout.
    pub(crate) fn line(&self) -> &str {
        assert_eq!(self.code, Some(0), "{self:#?}");
        assert_eq!(self.stdout.lines().count(), 1, "{self:#?}");
        self.stdout.trim_end()
    }

    /// Demands success and returns the digest at the end of the one line.
    pub(crate) fn digest(&self) -> &str {
        let (_, digest) = self.line().rsplit_once('@').expect("the line ends in a digest");
        digest
    }

    /// Demands an exit code and that stderr says something.
    pub(crate) fn failed(&self, code: i32, says: &str) {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(self.stderr.contains(says), "stderr does not say {says:?}: {self:#?}");
        assert!(self.stderr.contains("error: "), "{self:#?}");
        assert_eq!(self.stdout, "", "a failure has no result");
    }
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ran {
    command.output().expect("the command starts").into()
}

/// Runs `oci-store` with arguments split at spaces, in a folder.
pub(crate) fn in_folder(folder: &Path, line: &str) -> Ran {
    run(oci_store().current_dir(folder).args(line.split(' ')))
}
