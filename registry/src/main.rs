//! `wharf-registry`: parses the command line and runs one command.
use std::io::Write as _;
use std::process::ExitCode;

use clap::Parser as _;
use wharf_registry::cli::Cli;

fn main() -> ExitCode {
    let cli = Cli::parse();
    // A closed stderr leaves nothing to tell the user on.
    let _ = writeln!(
        std::io::stderr(),
        "wharf-registry: {:?} is not built yet",
        cli.command
    );
    ExitCode::FAILURE
}
