//! The command line: raw arguments, to a typed command, to its exit code.
//!
//! Docker's options follow Go's flag library, clap's do not; so [`walk`] reads the raw arguments as
//! docker would (and makes docker's errors), clap turns what is left into types, and
//! [`crate::output::help`] lays out the help of both. To add a command: a file in [`crate::commands`],
//! a variant of [`Command`], a row in [`words`].

mod docker;
pub(crate) mod walk;
pub(crate) mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::app::App;
use crate::commands;
use crate::config::Settings;
use crate::error::{Error, Kind, Result};
use crate::output::{Output, help};

/// Everything that can stand on the command line.
#[derive(Debug, Parser)]
#[command(
    name = "wharf",
    disable_help_flag = true,
    disable_help_subcommand = true,
    disable_version_flag = true,
    args_override_self = true
)]
pub struct Cli {
    /// The flags that stand before the command.
    #[command(flatten)]
    pub global: Global,
    /// The command; without one the help is printed.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The flags that stand before the command.
#[derive(Debug, Args)]
pub struct Global {
    /// Location of client config files
    #[arg(long, value_name = "string")]
    pub config: Option<String>,
    /// Enable debug mode
    #[arg(short = 'D', long)]
    pub debug: bool,
    /// Print version information and quit
    #[arg(short, long)]
    pub version: bool,
}

/// One variant a command.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum Command {
    /// `wharf attach`.
    Attach(commands::start::Attach),
    /// `wharf create`.
    Create(commands::run::Create),
    /// `wharf exec`.
    Exec(commands::exec::Exec),
    /// `wharf images`.
    Images(commands::images::Images),
    /// `wharf import`.
    Import(commands::import::Import),
    /// `wharf info`.
    Info(commands::info::Info),
    /// `wharf inspect`.
    Inspect(commands::inspect::Inspect),
    /// `wharf load`.
    Load(commands::load::Load),
    /// `wharf kill`.
    Kill(commands::stop::Kill),
    /// `wharf login`.
    Login(commands::login::Login),
    /// `wharf logout`.
    Logout(commands::logout::Logout),
    /// `wharf logs`.
    Logs(commands::logs::Logs),
    /// `wharf port`.
    Port(commands::start::Port),
    /// `wharf ps`.
    Ps(commands::ps::Ps),
    /// `wharf pull`.
    Pull(commands::pull::Pull),
    /// `wharf push`.
    Push(commands::push::Push),
    /// `wharf rm`.
    Rm(commands::stop::Rm),
    /// `wharf rmi`.
    Rmi(commands::rmi::Rmi),
    /// `wharf save`.
    Save(commands::save::Save),
    /// `wharf run`.
    Run(commands::run::Run),
    /// `wharf search`.
    Search(commands::search::Search),
    /// `wharf start`.
    Start(commands::start::Start),
    /// `wharf stop`.
    Stop(commands::stop::Stop),
    /// `wharf tag`.
    Tag(commands::tag::Tag),
    /// `wharf version`.
    Version(commands::version::Version),
    /// `wharf wait`.
    Wait(commands::start::Wait),
    /// `wharf container …`.
    #[command(subcommand)]
    Container(ContainerCommand),
    /// `wharf image …`.
    #[command(subcommand)]
    Image(ImageCommand),
    /// `wharf system …`.
    #[command(subcommand)]
    System(SystemCommand),
}

/// The commands of `wharf container`.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum ContainerCommand {
    /// `wharf container attach`.
    Attach(commands::start::Attach),
    /// `wharf container create`.
    Create(commands::run::Create),
    /// `wharf container exec`.
    Exec(commands::exec::Exec),
    /// `wharf container inspect`.
    Inspect(commands::inspect::InspectContainer),
    /// `wharf container kill`.
    Kill(commands::stop::Kill),
    /// `wharf container logs`.
    Logs(commands::logs::Logs),
    /// `wharf container ls`.
    #[command(alias = "list", alias = "ps")]
    Ls(commands::ps::Ps),
    /// `wharf container port`.
    Port(commands::start::Port),
    /// `wharf container rm`.
    #[command(alias = "remove")]
    Rm(commands::stop::Rm),
    /// `wharf container run`.
    Run(commands::run::Run),
    /// `wharf container start`.
    Start(commands::start::Start),
    /// `wharf container stop`.
    Stop(commands::stop::Stop),
    /// `wharf container wait`.
    Wait(commands::start::Wait),
}

/// The commands of `wharf image`.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum ImageCommand {
    /// `wharf image import`.
    Import(commands::import::Import),
    /// `wharf image inspect`.
    Inspect(commands::inspect::InspectImage),
    /// `wharf image load`.
    Load(commands::load::Load),
    /// `wharf image ls`.
    #[command(alias = "list")]
    Ls(commands::images::Images),
    /// `wharf image pull`.
    Pull(commands::pull::Pull),
    /// `wharf image push`.
    Push(commands::push::Push),
    /// `wharf image rm`.
    #[command(alias = "remove")]
    Rm(commands::rmi::Rmi),
    /// `wharf image save`.
    Save(commands::save::Save),
    /// `wharf image tag`.
    Tag(commands::tag::Tag),
}

/// The commands of `wharf system`.
#[derive(Debug, Subcommand)]
#[command(disable_help_subcommand = true)]
pub enum SystemCommand {
    /// `wharf system info`.
    Info(commands::info::Info),
}

/// Runs what the arguments say and returns the exit code. The first argument is the program's name.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let output = Output::standard();
    match start(arguments, &output) {
        Ok(code) => code,
        Err(error) => {
            if error.kind() != Kind::ClosedPipe {
                output.error(&error);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

fn start(arguments: &[OsString], output: &Output) -> Result<ExitCode> {
    let mut words = Vec::with_capacity(arguments.len());
    for argument in arguments.iter().skip(1) {
        let Some(word) = argument.to_str() else {
            return Err(Error::new(
                Kind::BadArguments,
                format!("the argument {} is not UTF-8", argument.to_string_lossy()),
            ));
        };
        words.push(word);
    }
    let tree = Cli::command();
    match walk::walk(&tree, &words)? {
        walk::Request::Help { path, deprecated } => {
            if deprecated {
                output.note("Flag shorthand -h has been deprecated, use --help");
            }
            output.data(&help::page(&tree, &path))?;
            Ok(ExitCode::SUCCESS)
        }
        walk::Request::Version => {
            output.line(&format!(
                "Wharf version {}, build {}",
                crate::VERSION,
                crate::BUILD
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        walk::Request::Run { path, arguments } => {
            let matches = tree
                .clone()
                .try_get_matches_from(arguments)
                .map_err(|error| walk::bad_value(&tree, &path, &error))?;
            let cli = Cli::from_arg_matches(&matches)
                .map_err(|error| Error::new(Kind::BadArguments, error.to_string()))?;
            run(cli, output.clone())
        }
    }
}

fn run(cli: Cli, output: Output) -> Result<ExitCode> {
    let Some(command) = cli.command else {
        return Err(Error::new(Kind::BadArguments, "no command given"));
    };
    let docker_config = crate::config::docker_folder(cli.global.config);
    let app = App::new(output, Settings::load()?, docker_config, cli.global.debug);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::io("start the async runtime", error))?;
    let result = runtime.block_on(execute(command, &app));
    if let Err(error) = &result
        && app.debug
    {
        app.output.note(&format!("{error:#?}"));
    }
    // A blocked thread (a read of a terminal, a lock) must not keep an interrupted command alive.
    runtime.shutdown_background();
    result
}

/// Runs a command. One line a variant.
async fn execute(command: Command, app: &App) -> Result<ExitCode> {
    match command {
        Command::Attach(command) | Command::Container(ContainerCommand::Attach(command)) => {
            command.execute(app)
        }
        Command::Exec(command) | Command::Container(ContainerCommand::Exec(command)) => command.execute(app),
        Command::Logs(command) | Command::Container(ContainerCommand::Logs(command)) => command.execute(app),
        Command::Port(command) | Command::Container(ContainerCommand::Port(command)) => command.execute(app),
        Command::Ps(command) | Command::Container(ContainerCommand::Ls(command)) => command.execute(app),
        Command::Container(ContainerCommand::Inspect(command)) => command.execute(app),
        Command::Start(command) | Command::Container(ContainerCommand::Start(command)) => {
            command.execute(app)
        }
        Command::Wait(command) | Command::Container(ContainerCommand::Wait(command)) => command.execute(app),
        Command::Create(command) | Command::Container(ContainerCommand::Create(command)) => {
            command.execute(app).await
        }
        Command::Kill(command) | Command::Container(ContainerCommand::Kill(command)) => command.execute(app),
        Command::Rm(command) | Command::Container(ContainerCommand::Rm(command)) => command.execute(app),
        Command::Run(command) | Command::Container(ContainerCommand::Run(command)) => {
            command.execute(app).await
        }
        Command::Stop(command) | Command::Container(ContainerCommand::Stop(command)) => command.execute(app),
        Command::Images(command) | Command::Image(ImageCommand::Ls(command)) => command.execute(app),
        Command::Import(command) | Command::Image(ImageCommand::Import(command)) => command.execute(app),
        Command::Info(command) | Command::System(SystemCommand::Info(command)) => command.execute(app),
        Command::Inspect(command) => command.execute(app),
        Command::Load(command) | Command::Image(ImageCommand::Load(command)) => command.execute(app),
        Command::Login(command) => command.execute(app).await,
        Command::Logout(command) => command.execute(app),
        Command::Pull(command) | Command::Image(ImageCommand::Pull(command)) => command.execute(app).await,
        Command::Push(command) | Command::Image(ImageCommand::Push(command)) => command.execute(app).await,
        Command::Rmi(command) | Command::Image(ImageCommand::Rm(command)) => command.execute(app),
        Command::Save(command) | Command::Image(ImageCommand::Save(command)) => command.execute(app),
        Command::Search(command) => command.execute(app).await,
        Command::Tag(command) | Command::Image(ImageCommand::Tag(command)) => command.execute(app),
        Command::Version(command) => command.execute(app),
        Command::Image(ImageCommand::Inspect(command)) => command.execute(app),
    }
}

#[cfg(test)]
mod tests;
