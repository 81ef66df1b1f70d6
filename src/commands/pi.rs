//! `mesos pi`.

use std::process::ExitCode;

use frameworks::pi;
use frameworks::work::ExecutorCommand;

use super::framework::Place;
use crate::cli::PiFlags;
use crate::logging;
use crate::progress::OnStderr;

pub(crate) fn run(flags: PiFlags) -> anyhow::Result<ExitCode> {
    logging::start(&flags.logging_level, false);
    let place = Place::new(flags.master)?;
    let options = pi::Options {
        tasks: flags.tasks.into(),
        points_per_task: flags.points,
        seed: flags.seed,
        executor: ExecutorCommand::this_program("pi-executor")?,
    };
    let summary =
        pi::run(&place.node, place.masters.clone(), options, OnStderr::new("points"), &place.cancel)?;
    // The cluster ends before the result is printed: whoever reads it finds nothing running any more.
    drop(place);
    println!("{summary}");
    Ok(ExitCode::SUCCESS)
}
