//! The parts of the `mesos` command that agents start, and an agent itself, for the tests of this crate.

use std::process::ExitCode;
use std::time::Duration;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let two = [words.next(), words.next()].map(|word| word.and_then(|word| word.into_string().ok()));
    match two.each_ref().map(|word| word.as_deref()) {
        [Some("containerizer"), Some("launch")] => agent::launcher::main(words),
        [Some("containerizer"), Some("fetch")] => agent::launcher::fetch_main(words),
        [Some("executor"), Some("command")] => agent::executor::command::main(),
        [Some(master), Some(work_dir)] => match run_agent(master, work_dir) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        },
        _ => ExitCode::FAILURE,
    }
}

fn run_agent(master: &str, work_dir: &str) -> Result<(), Box<dyn std::error::Error>> {
    let node = libprocess::Node::builder().listen("127.0.0.1:0").delegate("slave(1)").start()?;
    let mut flags = agent::Flags::new(master, work_dir);
    flags.registration_backoff_factor = Duration::from_millis(20);
    flags.resources = Some("cpus:64;mem:65536".to_owned());
    let agent = agent::start(&node, flags)?;
    while agent.ended().wait(Duration::from_secs(3600)).is_err() {}
    Ok(())
}
