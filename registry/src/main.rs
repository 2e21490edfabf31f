//! `wharf-registry`: chooses the cryptography, parses the command line and runs one command.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use wharf_registry::cli::Cli;

fn main() -> ExitCode {
    // Both libraries panic later if nothing was chosen; a second choice, which can't be, would change nothing.
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match wharf_registry::commands::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut stderr = std::io::stderr();
            for line in error.to_string().lines() {
                // Nobody is left to tell if stderr is closed.
                let _ = writeln!(stderr, "wharf-registry: {line}");
            }
            ExitCode::FAILURE
        }
    }
}
