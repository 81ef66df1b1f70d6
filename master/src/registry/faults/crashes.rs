//! The log after a crash at every point.

use super::super::files::System;
use super::history::{History, open};
use super::recorder::{Op, Recorder, Unsynced, crashed};

#[test]
fn a_crash_between_any_two_operations_loses_nothing_that_was_acknowledged() {
    let history = History::new();
    let has = |wanted: fn(&Op) -> bool| history.journal.iter().filter(|(_, op)| wanted(op)).count();
    let n_deleted = has(|op| matches!(op, Op::Delete));
    let n_created = has(|op| matches!(op, Op::Create));
    assert!(n_deleted > 3 && n_created > 8, "{n_created} files made, {n_deleted} deleted: too easy");
    let mut n_crashes = 0;
    for at in 0..=history.journal.len() {
        let kinds = [Unsynced::Lost, Unsynced::Kept, Unsynced::Torn, Unsynced::Scattered(at as u64)];
        for unsynced in kinds {
            let dir = crashed(&history.journal[..at], unsynced);
            let what = (at, unsynced);
            let (_, found) = open(System, &dir).unwrap_or_else(|error| panic!("{what:?}: {error}"));
            history.check(&found, history.n_acknowledged(at), &what);
            n_crashes += 1;
        }
    }
    println!("{n_crashes} crashes at {} points, {} writes", history.journal.len() + 1, history.writes.len());
}

/// The process ends, starts again, and then the power fails, while it opens the log or when it has.
#[test]
fn a_crash_while_the_log_is_opened_after_a_crash_loses_nothing_either() {
    let history = History::new();
    for at in (0..=history.journal.len()).step_by(5) {
        let dir = crashed(&history.journal[..at], Unsynced::Kept);
        let recorder = Recorder::new(dir.path());
        let (log, first) = open(recorder.clone(), &dir).unwrap();
        let opened = recorder.n_ops();
        drop(log);
        let mut journal = history.journal[..at].to_vec();
        journal.extend(recorder.journal());
        for later in 0..=opened {
            for unsynced in [Unsynced::Lost, Unsynced::Torn, Unsynced::Scattered((at + later) as u64)] {
                let what = (at, later, unsynced);
                let dir = crashed(&journal[..at + later], unsynced);
                let (_, found) = open(System, &dir).unwrap_or_else(|error| panic!("{what:?}: {error}"));
                history.check(&found, history.n_acknowledged(at), &what);
                assert!(later < opened || found == first, "{what:?}: what was found once is not there again");
            }
        }
    }
}
