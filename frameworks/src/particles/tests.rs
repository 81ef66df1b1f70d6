//! The whole framework, on a cluster that loses things.

#![allow(clippy::unwrap_used)] // A test that cannot go on ends.

use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

use super::generate::generate;
use super::job::ParticlesWork;
use super::*;
use crate::work::testing::{Faults, no_program, start};

fn file_of(lines: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(lines).unwrap();
    file
}

fn options(input: &Path, tasks: u64) -> Options {
    Options { input: input.to_owned(), tasks, strict: false, executor: no_program() }
}

fn run_with(options: Options, faults: Faults) -> Result<Summary, ParticlesError> {
    let (node, cluster) = start::<ParticlesWork>(2, faults);
    run(&node, cluster.upid().clone(), options, (), &Cancel::new())
}

fn generated(count: u64) -> Vec<u8> {
    let mut lines = Vec::new();
    generate(count, 5, &mut lines).unwrap();
    lines
}

#[test]
fn a_file_is_tallied_on_a_cluster() {
    let lines = generated(5_000);
    let file = file_of(&lines);
    let whole = chunk::tally_data(&lines, 0);
    for tasks in [1, 7, 64] {
        let summary = run_with(options(file.path(), tasks), Faults::default()).unwrap();
        assert_eq!(summary.tally, whole, "{tasks} tasks");
        let text = summary.to_string();
        let expected = format!(
            "left = {}, right = {}, never = {} ({tasks} tasks, 5000 lines, 0 malformed, ",
            whole.left, whole.right, whole.never
        );
        assert!(text.starts_with(&expected), "{text}");
    }
}

#[test]
fn what_is_lost_is_run_again_and_counted_once() {
    let lines = generated(5_000);
    let file = file_of(&lines);
    let faults = Faults {
        lose: BTreeSet::from([1, 9]),
        kill_executor: BTreeSet::from([4]),
        lose_agent: Some(6),
        repeat: true,
        ..Default::default()
    };
    let summary = run_with(options(file.path(), 16), faults).unwrap();
    assert_eq!(summary.tally, chunk::tally_data(&lines, 0));
    assert!(summary.tasks_failed >= 3);
}

#[test]
fn malformed_lines_are_named_by_number_and_fatal_only_if_asked_for() {
    let mut lines = generated(100);
    lines.extend(b"sand\n");
    lines.extend(generated(100));
    let file = file_of(&lines);
    let summary = run_with(options(file.path(), 9), Faults::default()).unwrap();
    assert_eq!((summary.tally.malformed, summary.tally.lines), (1, 201));
    assert_eq!(summary.malformed_lines(), ["line 101: 1 fields instead of the three of `a,b,c`"]);
    let strict = Options { strict: true, ..options(file.path(), 9) };
    let text = run_with(strict, Faults::default()).unwrap_err().to_string();
    assert!(text.contains("line 101: 1 fields"), "{text}");
}

#[test]
fn lines_travel_to_executors_that_cannot_read_them() {
    let lines = generated(50_000);
    let file = file_of(&lines);
    let (node, cluster) = start::<ParticlesWork>(2, Faults::default());
    let (path, fingerprint) = open(file.path()).unwrap();
    // To an executor it is another file: as if its machine had none or an old one.
    let job = ParticlesJob { path, fingerprint: fingerprint.of_another_file(), n_tasks: 4 };
    let ranges = split(fingerprint.length(), 4);
    let finished =
        run_job(&node, cluster.upid().clone(), job, ranges, no_program(), Box::new(()), &Cancel::new())
            .unwrap();
    let mut tally = Tally::default();
    finished.ledger.parts().for_each(|(_, part)| tally.append(part));
    assert_eq!(tally, chunk::tally_data(&lines, 0));
    assert!(cluster.dispatch(|it, _| it.payloads).wait(Duration::from_secs(10)).unwrap());
}

#[test]
fn no_file_and_an_empty_file_are_told_apart() {
    let file = file_of(b"");
    let empty = run_with(options(file.path(), 2), Faults::default()).unwrap_err();
    assert!(matches!(empty, ParticlesError::Empty { .. }));
    let missing = run_with(options(Path::new("/nowhere/at/all"), 2), Faults::default()).unwrap_err();
    assert_eq!(missing.to_string(), "could not read `/nowhere/at/all`");
}
