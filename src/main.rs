//! The `mesos` command: one binary for every part of a cluster.

mod args;
mod cli;
mod commands;
mod http;
mod logging;
mod progress;
mod values;
mod version;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

/// Messages are built by one thread and dropped by another, by the hundred thousand when all agents of a cluster come
/// back at once. glibc's allocator spends a third of a master's time on that; this one is made for it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // The two helpers that agents start for every task come first: they must not wait for anything.
    let mut given = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned());
    match (given.next().as_deref(), given.next().as_deref()) {
        (Some("containerizer"), Some("launch")) => return commands::internal::launch(),
        (Some("containerizer"), Some("fetch")) => return commands::internal::fetch(),
        (Some("executor"), Some("command")) => return commands::internal::command_executor(),
        _ => {}
    }
    match parse().and_then(run) {
        Ok(code) => code,
        Err(Failure::Usage(error)) => {
            let code = u8::from(error.use_stderr());
            let _ = error.print();
            ExitCode::from(code)
        }
        Err(Failure::Failed(error)) => report(&error),
    }
}

/// What ends a run other than success.
enum Failure {
    /// The command line; `--help` is one of these.
    Usage(clap::Error),
    Failed(anyhow::Error),
}

fn parse() -> Result<cli::Cli, Failure> {
    let mut command = cli::Cli::command();
    let given: Result<Vec<String>, _> = std::env::args_os().map(|word| word.into_string()).collect();
    let given = given.map_err(|word| {
        let text = format!("`{}` is not UTF-8", word.to_string_lossy());
        Failure::Usage(command.error(clap::error::ErrorKind::InvalidUtf8, text))
    })?;
    // A variable that is not UTF-8 is somebody else's.
    let variables = || {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
    };
    let given = match given.get(1).and_then(|name| command.find_subcommand(name)) {
        Some(subcommand) => {
            let flags = args::normalize(subcommand, &given[2..], variables()).map_err(|error| {
                Failure::Usage(command.error(clap::error::ErrorKind::InvalidValue, error))
            })?;
            given[..2].iter().cloned().chain(flags).collect()
        }
        None => given,
    };
    let matches = command.try_get_matches_from_mut(given).map_err(Failure::Usage)?;
    cli::Cli::from_arg_matches(&matches).map_err(Failure::Usage)
}

fn run(cli: cli::Cli) -> Result<ExitCode, Failure> {
    use cli::Command;
    let outcome = match cli.command {
        Command::Master(flags) => commands::master::run(flags),
        Command::Agent(flags) => commands::agent::run(flags),
        Command::Local(flags) => commands::local::run(flags),
        Command::Pi(flags) => commands::pi::run(flags),
        Command::PiExecutor => commands::internal::pi_executor(),
        Command::Particles(flags) => commands::particles::run(flags),
        Command::ParticlesExecutor => commands::internal::particles_executor(),
        Command::Execute(flags) => commands::execute::run(flags),
        Command::Masters(flags) => commands::masters::run(flags),
    };
    outcome.map_err(Failure::Failed)
}

/// The error and its causes, on stderr, each said once.
fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("mesos: {error}");
    for cause in error.chain().skip(1) {
        eprintln!("  because: {cause}");
    }
    ExitCode::FAILURE
}
