//! The project's own commands, run as `cargo x COMMAND`.
//!
//! Each command is a module: [`dist`] builds the three release programs, [`image`] packs the
//! registry as an OCI archive, [`walk`] is `cargo x try`, [`suites`] is `cargo x test`, [`fuzz`] runs the fuzz targets, [`tidy`] checks what no lint can.
//! [`guest`] repeats the walk in a virtual machine. They share [`workspace`] (where things are), [`process`] (running programs), [`install`] (what
//! a bare machine lacks), [`roots`] (file systems of real programs) and [`say`] (the only printing).
//!
//! This crate knows the three programs by their names and command lines alone; it links none.

#![forbid(unsafe_code)]

pub mod cli;
pub mod dist;
pub mod fuzz;
pub mod guest;
pub mod image;
pub mod install;
pub mod process;
pub mod roots;
pub mod say;
pub mod suites;
pub mod tidy;
pub mod walk;
pub mod workspace;

use std::process::ExitCode;

use cli::Request;
use workspace::Workspace;

/// Runs one command: exit code 0 when it did its work, 1 when it failed, 2 when it was asked wrongly.
pub fn main(arguments: impl Iterator<Item = String>) -> ExitCode {
    let request = match cli::parse(arguments) {
        Ok(request) => request,
        Err(refusal) => {
            say::error(&refusal.to_string());
            return ExitCode::from(2);
        }
    };
    match carry_out(&request) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say::error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// `Ok(false)` is a command that ran to its end and found something wrong, which it has told.
fn carry_out(request: &Request) -> anyhow::Result<bool> {
    // A walk may stand where there is no workspace.
    match request {
        Request::Help => say::line(cli::USAGE),
        Request::Walk(walk) => walk::apart(walk)?,
        Request::Walking(walk) => walk::here(walk)?,
        Request::Try => walk::build_and_walk(&Workspace::locate()?)?,
        Request::Guest { programs } => guest::command(&Workspace::locate()?, programs.as_deref())?,
        Request::Dist => drop(dist::build(&Workspace::locate()?)?),
        Request::Image { programs } => drop(image::command(&Workspace::locate()?, programs.as_deref())?),
        Request::Deny => deny(&Workspace::locate()?)?,
        Request::Test { nextest } => return suites::command(&Workspace::locate()?, nextest),
        Request::Fuzz { each, only } => {
            return Ok(fuzz::run(&Workspace::locate()?, *each, only)?.is_success());
        }
        Request::Tidy => return tidy::command(&Workspace::locate()?),
    }
    Ok(true)
}

fn deny(workspace: &Workspace) -> anyhow::Result<()> {
    let path = install::path_with(&install::tools(workspace)?)?;
    let mut command = process::cargo();
    command
        .current_dir(workspace.root())
        .env("PATH", path)
        .args(["deny", "--config", ".deny.toml", "check"]);
    process::run(command.args(["bans", "licenses", "sources"]))
}
