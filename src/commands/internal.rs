//! What agents start: not for people.

use std::process::ExitCode;

use frameworks::driver::Outcome;

/// `mesos containerizer launch`: becomes an executor.
pub(crate) fn launch() -> ExitCode {
    agent::containers::launcher::main(std::env::args_os().skip(3))
}

/// `mesos containerizer fetch`: fills a sandbox.
pub(crate) fn fetch() -> ExitCode {
    agent::containers::launcher::fetch_main(std::env::args_os().skip(3))
}

/// `mesos executor command`: the executor of tasks that bring none.
pub(crate) fn command_executor() -> ExitCode {
    agent::executor::command::main()
}

/// `mesos pi-executor`: the executor of `mesos pi`.
pub(crate) fn pi_executor() -> anyhow::Result<ExitCode> {
    Ok(outcome(frameworks::pi::executor()?))
}

/// `mesos particles-executor`: the executor of `mesos particles`.
pub(crate) fn particles_executor() -> anyhow::Result<ExitCode> {
    Ok(outcome(frameworks::particles::executor()?))
}

fn outcome(outcome: Outcome) -> ExitCode {
    match outcome {
        Outcome::Stopped => ExitCode::SUCCESS,
        Outcome::Aborted(reason) => {
            eprintln!("aborted{}", reason.map(|reason| format!(": {reason}")).unwrap_or_default());
            ExitCode::FAILURE
        }
    }
}
