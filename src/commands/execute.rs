//! `mesos execute`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anyhow::Context;
use api::v1::TaskState;
use frameworks::execute::{self, Event};

use super::framework::Place;
use crate::cli::ExecuteFlags;
use crate::logging;

pub(crate) fn run(flags: ExecuteFlags) -> anyhow::Result<ExitCode> {
    logging::start(&flags.logging_level, false);
    anyhow::ensure!(
        flags.argv.is_empty() || !flags.shell,
        "--argv is for a program, not for the shell: add --no-shell"
    );
    let environment: BTreeMap<String, String> = match &flags.env {
        Some(json) => serde_json::from_str(json).context("--env is no JSON object of strings")?,
        None => BTreeMap::new(),
    };
    let argv = match (flags.shell, flags.argv) {
        (true, _) => None,
        (false, argv) if argv.is_empty() => Some(vec![flags.command.clone()]),
        (false, argv) => Some(argv),
    };
    let options = execute::Options {
        name: flags.name,
        command: flags.command,
        argv,
        environment: environment.into_iter().collect(),
        resources: flags.resources,
        user: None,
        role: flags.role,
    };
    let place = Place::new(Some(flags.master))?;
    let status = execute::run(&place.node, place.masters.clone(), options, follow, &place.cancel)?;
    Ok(if status.state() == TaskState::TaskFinished { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What happens goes to stdout: it is what the command was called for.
fn follow(event: &Event) {
    match event {
        Event::Registered(id) => println!("framework {id}"),
        Event::Launched { task, hostname } => println!("task {task} on {hostname}"),
        Event::Update(status) => {
            let message = status.message.as_deref().map(|text| format!(": {text}")).unwrap_or_default();
            println!("{}{message}", status.state().as_str_name());
        }
        Event::Connected(true) => eprintln!("the master is back"),
        Event::Connected(false) => eprintln!("the master is lost; waiting for it"),
    }
}
