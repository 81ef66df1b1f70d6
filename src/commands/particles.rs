//! `mesos particles`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use frameworks::particles::{self, generate::generate, plot};
use frameworks::work::ExecutorCommand;

use super::framework::Place;
use crate::cli::{ParticlesCommand, ParticlesFlags};
use crate::logging;
use crate::progress::OnStderr;

pub(crate) fn run(flags: ParticlesFlags) -> anyhow::Result<ExitCode> {
    logging::start(&flags.logging_level, false);
    if let Some(ParticlesCommand::Generate { count, seed, out }) = &flags.command {
        write_parabolas(*count, *seed, out)?;
        return Ok(ExitCode::SUCCESS);
    }
    // Generated data goes with the run.
    let mut scratch = None;
    let input = match &flags.input {
        Some(input) => input.clone(),
        None => {
            let dir = tempfile::Builder::new().prefix("mesos-particles-").tempdir()?;
            let path = dir.path().join("parabolas.csv");
            write_parabolas(flags.count, flags.seed, &path)?;
            scratch = Some(dir);
            path
        }
    };
    let place = Place::new(flags.master)?;
    let options = particles::Options {
        input,
        tasks: flags.tasks.into(),
        strict: flags.strict,
        executor: ExecutorCommand::this_program("particles-executor")?,
    };
    let summary =
        particles::run(&place.node, place.masters.clone(), options, OnStderr::new("bytes"), &place.cancel)?;
    drop(place);
    drop(scratch);
    for line in summary.malformed_lines() {
        eprintln!("malformed: {line}");
    }
    if let Some(path) = &flags.plot {
        let svg = plot::svg(&summary.tally)?;
        std::fs::write(path, svg).with_context(|| format!("could not write `{}`", path.display()))?;
        println!("drawn: {}", path.display());
    }
    println!("{summary}");
    Ok(ExitCode::SUCCESS)
}

fn write_parabolas(count: u64, seed: u64, path: &Path) -> anyhow::Result<()> {
    let written = File::create(path).and_then(|file| {
        let mut out = BufWriter::new(file);
        generate(count, seed, &mut out)?;
        out.flush()
    });
    written.with_context(|| format!("could not write `{}`", path.display()))
}
