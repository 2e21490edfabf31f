//! The command line: what a user types, as types.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::metadata::Allowance;

/// A self-hosted OCI registry.
#[derive(Debug, Parser)]
#[command(name = "wharf-registry", version, about, disable_help_subcommand = true)]
pub struct Cli {
    /// Where the registry's things are.
    #[command(flatten)]
    pub places: Places,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The flags that every command takes.
#[derive(Debug, Default, Clone, Args)]
#[command(next_help_heading = "Where things are")]
pub struct Places {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
    /// The folder that holds the registry's data
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<String>,
    /// The database: sqlite:PATH (by default in the data folder) or postgres://…
    #[arg(long, value_name = "URL", global = true)]
    pub database: Option<String>,
    /// The storage of blobs: file:PATH (by default in the data folder), s3://BUCKET/PREFIX, gs://…, az://…
    #[arg(long, value_name = "URL", global = true)]
    pub storage: Option<String>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve the registry
    Serve(Serve),
    /// Manage users
    #[command(subcommand)]
    User(UserCommand),
    /// Manage robots: accounts of programs, which log in as robot/NAME
    #[command(subcommand)]
    Robot(RobotCommand),
    /// Manage API keys: what a program shows instead of its user's password
    #[command(subcommand)]
    Key(KeyCommand),
    /// Let a user, or everyone, do something in the repositories that match a pattern
    Grant(Grant),
    /// Take a rule back
    Revoke(Revoke),
    /// Show the rules
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Look at the settings
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Delete what nothing refers to (not built yet)
    Gc(NotBuilt),
    /// Tell why a blob is kept (not built yet)
    Why(NotBuilt),
    /// Bring back what was deleted (not built yet)
    Restore(NotBuilt),
    /// Verify the stored data (not built yet)
    Check(NotBuilt),
}

/// Flags of `serve`.
#[derive(Debug, Default, Clone, Args)]
pub struct Serve {
    /// The address to listen on; port 0 takes a free one
    #[arg(long, value_name = "IP:PORT")]
    pub listen: Option<String>,
    /// The certificate chain, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// On the first start, give the user "admin" the password in this file
    #[arg(long, value_name = "FILE")]
    pub admin_password_file: Option<String>,
}

/// Commands on users.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Add a user, or set the password of one that exists
    Add {
        /// The user's name
        name: String,
        /// Read the password from the first line of stdin
        #[arg(long)]
        password_stdin: bool,
        /// Let the user do everything
        #[arg(long)]
        admin: bool,
    },
    /// Remove a user with their rules and tokens
    Rm {
        /// The user's name
        name: String,
    },
    /// List the users
    Ls,
}

/// Commands on robots.
#[derive(Debug, Subcommand)]
pub enum RobotCommand {
    /// Add a robot, or give one that exists another secret; prints the secret, this once
    Add {
        /// The robot's name; it logs in as robot/NAME
        name: String,
        /// What it may do, as "grant robot/NAME" would say; may be repeated
        #[arg(long, value_name = "PATTERN:ACTIONS")]
        scope: Vec<Allowance>,
        /// For how long it may log in, like 90d; for ever without
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Remove a robot with its rules
    Rm {
        /// The robot's name
        name: String,
    },
    /// List the robots
    Ls,
}

/// Commands on API keys.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Add an API key and print it, this once
    Add {
        /// For whom it acts
        user: String,
        /// What it may do, of what the user may; may be repeated
        #[arg(long, value_name = "PATTERN:ACTIONS", required = true)]
        scope: Vec<Allowance>,
        /// For how long it is good, like 90d; for ever without
        #[arg(long, value_name = "TIME")]
        expires: Option<String>,
    },
    /// Remove an API key
    Rm {
        /// The key's id, as "key ls" shows it
        id: String,
    },
    /// List the API keys
    Ls,
}

/// Arguments of `grant`.
#[derive(Debug, Args)]
pub struct Grant {
    /// A user's name, or robot/NAME, or "anonymous", or "*" for every user who logged in
    pub who: String,
    /// Repositories: a name, with "*" for one component and "**" for any number
    pub pattern: String,
    /// Some of pull,push,delete, separated by commas
    pub actions: String,
}

/// Arguments of `revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    /// The "who" of the rule
    pub who: String,
    /// The pattern of the rule
    pub pattern: String,
}

/// Commands on rules.
#[derive(Debug, Subcommand)]
pub enum RulesCommand {
    /// List the rules
    Ls,
}

/// Commands on the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Verify the settings and show what they come to
    Check(Serve),
}

/// A command that is not built yet, with whatever followed it.
#[derive(Debug, Args)]
pub struct NotBuilt {
    #[arg(hide = true, trailing_var_arg = true, allow_hyphen_values = true)]
    rest: Vec<String>,
}
