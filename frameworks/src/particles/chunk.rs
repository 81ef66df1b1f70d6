//! Reading a file by byte ranges. A range owns the lines that start inside it, so that ranges which tile the
//! file tile its lines, and each can be read without knowing the others.

use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::ops::Range;

use super::parabola::MalformedLine;
use super::tally::Tally;

/// The longest line that is looked at, in bytes. Three doubles written out in full have a thousand digits
/// or so; whatever is longer is not one of ours and need not be held in memory.
pub const LINE_LENGTH_MAX: usize = 4096;

/// Large enough that a system call per buffer costs nothing beside parsing it.
const BUFFER_BYTES: usize = 256 * 1024;

/// Tallies the lines of `file` that start inside `range`.
pub fn tally(file: impl Read + Seek, range: Range<u64>) -> io::Result<Tally> {
    let (mut reader, at) = lines_from(file, range.start)?;
    tally_lines(&mut reader, at, range.end)
}

/// Tallies `data`, which holds whole lines of a file from byte `offset` on.
pub fn tally_data(data: &[u8], offset: u64) -> Tally {
    let mut reader = data;
    // Reading from memory has no way to fail.
    tally_lines(&mut reader, offset, offset.saturating_add(data.len() as u64)).unwrap_or_default()
}

/// The bytes of all lines that start inside `range`, for somebody who cannot read the file.
pub fn read_lines(file: impl Read + Seek, range: Range<u64>) -> io::Result<(u64, Vec<u8>)> {
    let (mut reader, first) = lines_from(file, range.start)?;
    let mut data = Vec::new();
    let mut at = first;
    if at < range.end {
        at += reader.by_ref().take(range.end - at).read_to_end(&mut data)? as u64;
        if at == range.end && data.last() != Some(&b'\n') {
            // The rest of the last line; of one that is too long just enough to show that it is.
            reader.take(LINE_LENGTH_MAX as u64 + 1).read_until(b'\n', &mut data)?;
        }
    }
    Ok((first, data))
}

/// How many lines start before byte `offset`.
pub fn lines_before(file: impl Read, offset: u64) -> io::Result<u64> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file.take(offset));
    let mut n_lines = 0;
    while reader.skip_until(b'\n')? > 0 {
        n_lines += 1;
    }
    Ok(n_lines)
}

/// A reader that stands at the first line which starts at `start` or after it, and where that is.
fn lines_from<R: Read + Seek>(mut file: R, start: u64) -> io::Result<(BufReader<R>, u64)> {
    // One byte early: if that is a line's end, the line at `start` is the first.
    let before = start.saturating_sub(1);
    file.seek(SeekFrom::Start(before))?;
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let skipped = if start > 0 { reader.skip_until(b'\n')? as u64 } else { 0 };
    Ok((reader, before + skipped))
}

fn tally_lines(reader: &mut impl BufRead, mut at: u64, end: u64) -> io::Result<Tally> {
    let mut tally = Tally::default();
    let mut line = Vec::with_capacity(128);
    while at < end {
        line.clear();
        let mut length = reader.take(LINE_LENGTH_MAX as u64 + 1).read_until(b'\n', &mut line)?;
        match line.last() {
            None => break,
            Some(b'\n') => tally.line(at, &line),
            Some(_) if length <= LINE_LENGTH_MAX => tally.line(at, &line),
            Some(_) => {
                tally.malformed(&MalformedLine::TooLong { limit: LINE_LENGTH_MAX });
                length += reader.skip_until(b'\n')?;
            }
        }
        at += length as u64;
    }
    Ok(tally)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::split;
    use crate::particles::tally::{Malformed, N_MALFORMED_MAX, N_SAMPLE_MAX};
    use proptest::prelude::*;
    use std::io::Cursor;

    const FILE: &str = "1,-3,2\n1,3,2\r\n\n1,0,1\nsand\n0,2,-4\n1,2\n1,2,0";

    fn by_parts(file: &[u8], n_parts: u64) -> Tally {
        let mut total = Tally::default();
        for range in split(file.len() as u64, n_parts) {
            total.append(&tally(Cursor::new(file), range).unwrap());
        }
        total
    }

    #[test]
    fn each_kind_of_line_is_told_apart() {
        let tally = by_parts(FILE.as_bytes(), 1);
        assert_eq!((tally.left, tally.right, tally.never, tally.malformed, tally.lines), (1, 3, 1, 2, 8));
        let malformed = |line, reason: &str| Malformed { line, reason: reason.into() };
        assert_eq!(
            tally.first_malformed,
            [
                malformed(4, "1 fields instead of the three of `a,b,c`"),
                malformed(6, "2 fields instead of the three of `a,b,c`")
            ]
        );
        assert_eq!(tally.landings.total(), 4);
    }

    #[test]
    fn however_it_is_cut_the_tally_is_the_same() {
        let whole = by_parts(FILE.as_bytes(), 1);
        for n_parts in 2..=FILE.len() as u64 {
            assert_eq!(by_parts(FILE.as_bytes(), n_parts), whole, "{n_parts} parts");
        }
    }

    #[test]
    fn an_endless_line_is_malformed_and_skipped() {
        let mut file = b"1,0,-1\n".to_vec();
        file.extend(std::iter::repeat_n(b'7', 10 * LINE_LENGTH_MAX));
        file.extend(b"\n1,0,-1\n");
        let whole = by_parts(&file, 1);
        assert_eq!((whole.right, whole.malformed, whole.lines), (2, 1, 3));
        assert_eq!(whole.first_malformed[0].reason, "longer than 4096 bytes");
        assert_eq!(by_parts(&file, 13), whole);
    }

    #[test]
    fn a_line_of_exactly_the_limit_is_read() {
        let line = format!("1,0,-1{}", " ".repeat(LINE_LENGTH_MAX - 6));
        assert_eq!(by_parts(line.as_bytes(), 1).right, 1);
        assert_eq!(by_parts(format!("{line} ").as_bytes(), 1).malformed, 1);
    }

    #[test]
    fn what_is_named_and_kept_is_bounded() {
        let file = "x\n".repeat(1000) + &"1,0,-1\n".repeat(1000);
        let tally = by_parts(file.as_bytes(), 7);
        assert_eq!((tally.malformed, tally.first_malformed.len()), (1000, N_MALFORMED_MAX));
        assert_eq!(tally.sample.iter().count(), N_SAMPLE_MAX);
    }

    #[test]
    fn a_range_past_the_end_has_no_lines() {
        assert_eq!(tally(Cursor::new(FILE), 1000..2000).unwrap(), Tally::default());
    }

    #[test]
    fn lines_are_counted_up_to_an_offset() {
        for (offset, n_lines) in [(0, 0), (1, 1), (7, 1), (8, 2), (14, 2), (15, 3), (16, 4), (1000, 8)] {
            assert_eq!(lines_before(Cursor::new(FILE), offset).unwrap(), n_lines, "{offset}");
        }
    }

    proptest! {
        #[test]
        fn sent_as_data_it_tallies_as_if_read(
            file in "([0-9.,-]{0,9}\n|1,[0-9],-2\r?\n|\n){0,20}[0-9,]{0,5}", n_parts in 1u64..9
        ) {
            let whole = by_parts(file.as_bytes(), 1);
            let mut total = Tally::default();
            for range in split(file.len() as u64, n_parts) {
                let (offset, data) = read_lines(Cursor::new(&file), range).unwrap();
                total.append(&tally_data(&data, offset));
            }
            prop_assert_eq!(&total, &whole);
            prop_assert_eq!(&by_parts(file.as_bytes(), n_parts), &whole);
        }
    }
}
