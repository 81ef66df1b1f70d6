//! The parts of the `mesos` command that agents start, for the tests of this crate.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let two = [words.next(), words.next()].map(|word| word.and_then(|word| word.into_string().ok()));
    match two.each_ref().map(|word| word.as_deref()) {
        [Some("containerizer"), Some("launch")] => agent::launcher::main(words),
        [Some("containerizer"), Some("fetch")] => agent::launcher::fetch_main(words),
        [Some("executor"), Some("command")] => agent::executor::command::main(),
        _ => ExitCode::FAILURE,
    }
}
