//! The command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    oci_store::cli::main()
}
