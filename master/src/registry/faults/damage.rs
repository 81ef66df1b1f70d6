//! The log after bytes were flipped, and files shortened or lost.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::super::files::System;
use super::super::group::Write;
use super::history::{History, open};
use super::recorder::{Unsynced, contents, crashed};

/// Opens what was damaged: it holds all there was, or is refused with a word of what to do, and stays as it is.
fn check(history: &History, acknowledged: usize, dir: &TempDir, what: &dyn std::fmt::Debug) -> bool {
    let before = contents(dir.path());
    match open(System, dir) {
        Ok((_, found)) => {
            history.check(&found, Some(acknowledged), what);
            true
        }
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains("restore the directory from a copy"), "{what:?}: {text}");
            assert!(text.contains(&dir.path().display().to_string()), "{what:?}: {text}");
            assert!(contents(dir.path()) == before, "{what:?}: it was changed, and refused: {text}");
            false
        }
    }
}

fn copied(from: &Path) -> TempDir {
    let dir = super::recorder::in_memory();
    fs::create_dir(dir.path().join("log")).unwrap();
    for (path, bytes) in contents(from) {
        fs::write(dir.path().join(path.strip_prefix(from).unwrap()), bytes).unwrap();
    }
    dir
}

/// Damages one file of a copy.
fn damaged(from: &Path, path: &Path, damage: impl FnOnce(&mut Vec<u8>)) -> TempDir {
    let dir = copied(from);
    let path = dir.path().join(path.strip_prefix(from).unwrap());
    let mut bytes = fs::read(&path).unwrap();
    damage(&mut bytes);
    fs::write(&path, bytes).unwrap();
    dir
}

/// The files at the end, and as a crash left them after a vote alone was written.
fn sources(history: &History) -> Vec<(usize, TempDir)> {
    let n = history.writes.len();
    let is_vote =
        |write: &Write| write.entries.is_empty() && write.install.is_none() && write.compact.is_none();
    let vote = 1 + history.writes.iter().rposition(is_vote).unwrap();
    let crashed = crashed(&history.journal[..history.acknowledged[vote]], Unsynced::Lost);
    vec![(n, copied(history.dir.path())), (vote, crashed)]
}

#[test]
fn a_flipped_bit_is_found_or_does_no_harm() {
    let history = History::new();
    let (mut n_refused, mut n_harmless) = (0, 0);
    for (acknowledged, source) in sources(&history) {
        for (path, bytes) in contents(source.path()) {
            // Every byte of the small file, and of the others those at the ends and a sample.
            let n = bytes.len();
            let sampled = (0..n).filter(|at| n <= 64 || *at < 40 || at + 40 >= n || at % 29 == 0);
            for at in sampled {
                let dir = damaged(source.path(), &path, |bytes| bytes[at] ^= 1 << (at % 8));
                match check(&history, acknowledged, &dir, &(&path, at)) {
                    true => n_harmless += 1,
                    false => n_refused += 1,
                }
            }
        }
    }
    println!("{n_refused} refused, {n_harmless} harmless");
    assert!(n_refused > 300 && n_harmless > 0, "{n_refused} refused, {n_harmless} harmless");
}

#[test]
fn a_file_that_is_shorter_or_gone_is_found_or_does_no_harm() {
    let history = History::new();
    let mut n_refused = 0;
    for (acknowledged, source) in sources(&history) {
        let files: Vec<(PathBuf, Vec<u8>)> = contents(source.path()).into_iter().collect();
        for (path, bytes) in &files {
            let n = bytes.len();
            let lengths =
                (0..n).filter(|length| n <= 64 || *length < 20 || length + 20 >= n || length % 61 == 0);
            for length in lengths {
                let dir = damaged(source.path(), path, |bytes| bytes.truncate(length));
                n_refused += usize::from(!check(&history, acknowledged, &dir, &(path, length)));
            }
            let dir = copied(source.path());
            fs::remove_file(dir.path().join(path.strip_prefix(source.path()).unwrap())).unwrap();
            n_refused += usize::from(!check(&history, acknowledged, &dir, &(path, "removed")));
        }
        // Every log file at once.
        let dir = copied(source.path());
        fs::remove_dir_all(dir.path().join("log")).unwrap();
        assert!(!check(&history, acknowledged, &dir, &"no log"));
    }
    assert!(n_refused > 50, "{n_refused} refused");
}
