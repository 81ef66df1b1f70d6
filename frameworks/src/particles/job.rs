//! Particles as work: what travels between its scheduler and its executors.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};

use prost::Message;

use super::chunk;
use super::landings::Landings;
use super::parabola::Parabola;
use super::tally::{Malformed, N_MALFORMED_MAX, N_SAMPLE_MAX, Sample, Tally};
use crate::work::{Answer, Fetch, Job, Step, Work};

/// Bytes between two partial results: a tenth of a second or so.
const BYTES_PER_STEP: u64 = 16 << 20;
/// Bytes an executor is given at a time, about: two seconds of one core.
const BYTES_AT_ONCE: u64 = 256 << 20;

#[derive(Clone, PartialEq, Eq, Message)]
struct Task {
    #[prost(uint64, tag = "1")]
    start: u64,
    #[prost(uint64, tag = "2")]
    end: u64,
    #[prost(string, tag = "3")]
    path: String,
    #[prost(message, required, tag = "4")]
    fingerprint: Fingerprint,
    /// The lines that start in the range, for an executor that cannot read the file.
    #[prost(bytes = "vec", optional, tag = "5")]
    lines: Option<Vec<u8>>,
    /// Where the first of them starts.
    #[prost(uint64, tag = "6")]
    first: u64,
}

/// Tells a file from another one of the same name on another machine.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub(super) struct Fingerprint {
    #[prost(uint64, tag = "1")]
    length: u64,
    /// Of its first and its last bytes.
    #[prost(uint64, tag = "2")]
    hash: u64,
}

impl Fingerprint {
    pub(super) fn of(file: &mut File) -> io::Result<Fingerprint> {
        const ENDS: u64 = 4096;
        let length = file.metadata()?.len();
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        for start in [0, length.saturating_sub(ENDS)] {
            file.seek(SeekFrom::Start(start))?;
            let mut bytes = Vec::new();
            file.take(ENDS).read_to_end(&mut bytes)?;
            // FNV-1a: this guards against a mistake, not against an attack.
            hash =
                bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
        }
        Ok(Fingerprint { length, hash })
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    #[cfg(test)]
    pub(super) fn of_another_file(self) -> Fingerprint {
        Fingerprint { hash: !self.hash, ..self }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Reply {
    /// The input cannot be read; the rest means nothing then.
    #[prost(bool, tag = "1")]
    no_input: bool,
    #[prost(uint64, tag = "2")]
    start: u64,
    #[prost(uint64, tag = "3")]
    end: u64,
    #[prost(uint64, repeated, tag = "4")]
    counts: Vec<u64>,
    #[prost(message, repeated, tag = "5")]
    malformed: Vec<MalformedReply>,
    #[prost(sint32, repeated, tag = "6")]
    bins: Vec<i32>,
    #[prost(uint64, repeated, tag = "7")]
    bin_counts: Vec<u64>,
    #[prost(uint64, repeated, tag = "8")]
    sample_offsets: Vec<u64>,
    #[prost(double, repeated, tag = "9")]
    sample_coefficients: Vec<f64>,
}

#[derive(Clone, PartialEq, Eq, Message)]
struct MalformedReply {
    #[prost(uint64, tag = "1")]
    line: u64,
    #[prost(string, tag = "2")]
    reason: String,
}

impl Reply {
    fn of(range: Range<u64>, tally: &Tally) -> Reply {
        let malformed = tally.first_malformed.iter();
        let (bins, bin_counts) = tally.landings.bins().unzip();
        Reply {
            no_input: false,
            start: range.start,
            end: range.end,
            counts: vec![tally.lines, tally.left, tally.right, tally.never, tally.malformed],
            malformed: malformed
                .map(|it| MalformedReply { line: it.line, reason: it.reason.clone() })
                .collect(),
            bins,
            bin_counts,
            sample_offsets: tally.sample.iter().map(|(offset, _)| offset).collect(),
            sample_coefficients: tally.sample.iter().flat_map(|(_, it)| [it.a, it.b, it.c]).collect(),
        }
    }

    fn into_answer(self) -> Result<Answer<Tally>, String> {
        if self.no_input {
            return Ok(Answer::NoInput);
        }
        let [lines, left, right, never, malformed] = self.counts[..] else {
            return Err(format!("{} counts instead of five", self.counts.len()));
        };
        let outcomes = [left, right, never, malformed].into_iter().try_fold(0, u64::checked_add);
        if self.start > self.end || outcomes.is_none_or(|n| n > lines) || lines > self.end - self.start {
            return Err(format!("{lines} lines in the bytes {} to {}", self.start, self.end));
        }
        let mut landings = Landings::default();
        if self.bins.len() != self.bin_counts.len()
            || !self.bins.iter().zip(&self.bin_counts).all(|(bin, count)| landings.add(*bin, *count))
        {
            return Err("a histogram with bins that do not exist".to_owned());
        }
        let (coefficients, odd) = self.sample_coefficients.as_chunks::<3>();
        let n_sample = self.sample_offsets.len();
        if !odd.is_empty() || coefficients.len() != n_sample || n_sample > N_SAMPLE_MAX {
            return Err(format!("a sample of {n_sample} trajectories"));
        }
        if !self.sample_coefficients.iter().all(|it| it.is_finite()) {
            return Err("a trajectory that is not finite".to_owned());
        }
        let mut sample = Sample::default();
        for (offset, [a, b, c]) in self.sample_offsets.iter().zip(coefficients) {
            sample.offer(*offset, Parabola { a: *a, b: *b, c: *c });
        }
        let first_malformed = self.malformed.into_iter().take(N_MALFORMED_MAX);
        let first_malformed =
            first_malformed.map(|it| Malformed { line: it.line, reason: it.reason }).collect();
        let tally = Tally { lines, left, right, never, malformed, first_malformed, landings, sample };
        Ok(Answer::Result(self.start..self.end, tally))
    }
}

pub(super) struct ParticlesJob {
    pub(super) path: PathBuf,
    pub(super) fingerprint: Fingerprint,
    pub(super) n_tasks: u64,
}

impl Job for ParticlesJob {
    type Result = Tally;

    fn name(&self) -> &'static str {
        "particles"
    }

    fn length(&self) -> u64 {
        self.fingerprint.length
    }

    fn tasks_at_once(&self) -> usize {
        (BYTES_AT_ONCE / (self.length() / self.n_tasks.max(1)).max(1)).clamp(1, 100) as usize
    }

    fn task_data(&self, range: &Range<u64>, payload: Option<Vec<u8>>) -> Vec<u8> {
        // A payload begins with its place, see `fetch`.
        let payload = payload.as_deref().and_then(|payload| payload.split_first_chunk::<8>());
        let (first, lines) = match payload {
            Some((first, lines)) => (u64::from_le_bytes(*first), Some(lines.to_vec())),
            None => (0, None),
        };
        let path = self.path.to_string_lossy().into_owned();
        let fingerprint = self.fingerprint;
        Task { start: range.start, end: range.end, path, fingerprint, lines, first }.encode_to_vec()
    }

    fn read_answer(&self, data: &[u8]) -> Result<Answer<Tally>, String> {
        Reply::decode(data).map_err(|error| error.to_string())?.into_answer()
    }

    fn fetch(&self, range: Range<u64>) -> Option<Fetch> {
        let path = self.path.clone();
        Some(Box::new(move || {
            let (first, lines) = chunk::read_lines(File::open(path)?, range)?;
            Ok([&first.to_le_bytes()[..], &lines].concat())
        }))
    }
}

pub(super) struct ParticlesWork {
    task: Task,
    file: Option<File>,
    /// Lines that start before this byte are tallied.
    at: u64,
    tally: Tally,
}

impl Work for ParticlesWork {
    fn begin(data: &[u8]) -> Result<Self, String> {
        let task = Task::decode(data).map_err(|error| format!("not a task of particles: {error}"))?;
        if task.start > task.end {
            return Err(format!("not a task of particles: bytes {} to {}", task.start, task.end));
        }
        Ok(ParticlesWork { at: task.start, file: None, tally: Tally::default(), task })
    }

    fn step(&mut self) -> Step {
        if let Some(lines) = self.task.lines.take() {
            self.tally = chunk::tally_data(&lines, self.task.first);
            self.at = self.task.end;
            return self.done();
        }
        let next = self.task.end.min(self.at.saturating_add(BYTES_PER_STEP));
        match self.read(self.at..next) {
            Ok(tally) => self.tally.append(&tally),
            Err(error) => {
                let reply = Reply { no_input: true, ..Default::default() };
                let reason = format!("cannot read `{}` here: {error}", self.task.path);
                return Step::Failed(reason, Some(reply.encode_to_vec()));
            }
        }
        self.at = next;
        match self.at == self.task.end {
            true => self.done(),
            false => Step::Partial(self.reply()),
        }
    }
}

impl ParticlesWork {
    fn read(&mut self, range: Range<u64>) -> io::Result<Tally> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut file = File::open(Path::new(&self.task.path))?;
                if Fingerprint::of(&mut file)? != self.task.fingerprint {
                    return Err(io::Error::other("it is another file than the scheduler's"));
                }
                none.insert(file)
            }
        };
        chunk::tally(file, range)
    }

    fn done(&self) -> Step {
        Step::Done(self.reply())
    }

    fn reply(&self) -> Vec<u8> {
        Reply::of(self.task.start..self.at, &self.tally).encode_to_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn job(lines: &str) -> (tempfile::NamedTempFile, ParticlesJob) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        let fingerprint = Fingerprint::of(file.as_file_mut()).unwrap();
        let job = ParticlesJob { path: file.path().to_owned(), fingerprint, n_tasks: 2 };
        (file, job)
    }

    fn answer(job: &ParticlesJob, data: &[u8]) -> Tally {
        match job.read_answer(data) {
            Ok(Answer::Result(_, tally)) => tally,
            Ok(Answer::NoInput) => panic!("no input"),
            Err(reason) => panic!("{reason}"),
        }
    }

    #[test]
    fn read_here_or_sent_the_answer_is_the_same() {
        let (file, job) = job("1,0,-1\nsand\n1,3,2\n0,0,1\n");
        let range = 3..20;
        let Step::Done(read) = ParticlesWork::begin(&job.task_data(&range, None)).unwrap().step() else {
            panic!()
        };
        let payload = job.fetch(range.clone()).unwrap()().unwrap();
        drop(file);
        let mut sent = ParticlesWork::begin(&job.task_data(&range, Some(payload))).unwrap();
        let Step::Done(sent) = sent.step() else { panic!() };
        assert_eq!(answer(&job, &read), answer(&job, &sent));
        assert_eq!(answer(&job, &read).first_malformed[0].line, 0);
    }

    #[test]
    fn a_file_that_is_not_there_or_another_one_is_asked_for() {
        let (file, job) = job("1,0,-1\n");
        let data = job.task_data(&(0..7), None);
        std::fs::write(file.path(), "1,0,-2\n").unwrap();
        for _ in 0..2 {
            let Step::Failed(reason, Some(data)) = ParticlesWork::begin(&data).unwrap().step() else {
                panic!()
            };
            assert!(reason.starts_with("cannot read"), "{reason}");
            assert!(matches!(job.read_answer(&data), Ok(Answer::NoInput)));
            let _ = std::fs::remove_file(file.path());
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let (_file, job) = job("1,0,-1\n1,0,-1\n");
        let Step::Done(data) = ParticlesWork::begin(&job.task_data(&(0..14), None)).unwrap().step() else {
            panic!()
        };
        let good = Reply::decode(&data[..]).unwrap();
        let bad: [fn(&mut Reply); 8] = [
            |it| it.counts.push(1),
            |it| it.counts[1] = u64::MAX,
            |it| it.counts[0] = 100,
            |it| it.start = 15,
            |it| it.bins[0] = i32::MAX,
            |it| it.bin_counts.clear(),
            |it| it.sample_coefficients[0] = f64::NAN,
            |it| it.sample_offsets.push(1),
        ];
        assert!(good.clone().into_answer().is_ok());
        for (i, spoil) in bad.into_iter().enumerate() {
            let mut reply = good.clone();
            spoil(&mut reply);
            assert!(reply.into_answer().is_err(), "{i}");
        }
    }
}
