//! The log when the disk refuses.

use nix::libc::{EIO, ENOSPC};

use super::super::files::System;
use super::super::group::Disk as _;
use super::super::log::LogError;
use super::history::{History, open};
use super::recorder::{Recorder, in_memory};

/// Runs the history with a disk that refuses, and says why it ended early, if it did.
fn refused(history: &History, after: usize, errno: i32, lasting: bool) -> Option<LogError> {
    let what = (after, errno, lasting);
    let dir = in_memory();
    let recorder = Recorder::new(dir.path());
    recorder.refuse(after, errno, lasting);
    let (mut acknowledged, mut error) = (None, None);
    match open(recorder.clone(), &dir) {
        Ok((mut log, _)) => {
            acknowledged = Some(0);
            for write in &history.writes {
                match log.submit(write.clone())() {
                    Ok(()) => acknowledged = acknowledged.map(|n| n + 1),
                    Err(first) => {
                        // Whatever the disk would say now.
                        let n_ops = recorder.n_ops();
                        let again = log.submit(write.clone())().unwrap_err();
                        assert_eq!(again.to_string(), first.to_string(), "{what:?}");
                        assert_eq!(recorder.n_ops(), n_ops, "{what:?}: written after a failure");
                        error = Some(first);
                        break;
                    }
                }
            }
        }
        Err(first) => error = Some(first),
    }
    let (_, found) = open(System, &dir).unwrap_or_else(|error| panic!("{what:?}: {error}"));
    history.check(&found, acknowledged, &what);
    assert!(error.is_some() || !lasting || acknowledged == Some(history.writes.len()));
    error
}

#[test]
fn a_disk_that_refuses_at_any_point_ends_the_log_with_the_file_and_the_cause() {
    let history = History::new();
    let mut n_noticed = 0;
    for after in 0..history.journal.len() {
        for (errno, cause) in [(ENOSPC, "No space left on device"), (EIO, "Input/output error")] {
            let Some(error) = refused(&history, after, errno, after % 2 == 0) else { continue };
            n_noticed += 1;
            let LogError::Disk { file, .. } = &error else { panic!("after {after}: {error}") };
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            assert!(name == "acknowledged" || name.starts_with("00000000"), "after {after}: {error}");
            let text = error.to_string();
            assert!(text.contains(cause) && text.contains("start this master again"), "{text}");
        }
    }
    // Room that is asked for ahead, and what is done when the log is closed, may be refused.
    let n_all = 2 * history.journal.len();
    assert!(n_noticed > n_all * 3 / 4, "{n_noticed} of {n_all}");
}
