//! How far a run is, on stderr: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use frameworks::work::{Progress, RunState};
use indicatif::{HumanCount, ProgressBar, ProgressStyle};

/// How often a line is written where no terminal watches.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Progress in the way that suits stderr.
pub(crate) enum OnStderr {
    Bar(Bar),
    Lines(Lines),
}

impl OnStderr {
    /// `unit` is what is counted, in the plural.
    pub(crate) fn new(unit: &'static str) -> OnStderr {
        if std::io::stderr().is_terminal() {
            OnStderr::Bar(Bar::new(unit))
        } else {
            OnStderr::Lines(Lines::new(unit))
        }
    }
}

impl Progress for OnStderr {
    fn changed(&mut self, state: &RunState) {
        match self {
            OnStderr::Bar(bar) => bar.changed(state),
            OnStderr::Lines(lines) => lines.changed(state),
        }
    }

    fn note(&mut self, text: &str) {
        match self {
            OnStderr::Bar(bar) => bar.note(text),
            OnStderr::Lines(lines) => lines.note(text),
        }
    }
}

pub(crate) struct Bar(ProgressBar);

impl Bar {
    fn new(unit: &str) -> Bar {
        let bar = ProgressBar::new(0);
        let template = format!(
            "{{bar:40}} {{percent:>3}} %  {{human_pos}} of {{human_len}} {unit}  {{per_sec}}  {{eta}} left  {{msg}}"
        );
        // The template is ours; were it wrong, indicatif's own is as good.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        Bar(bar)
    }
}

impl Progress for Bar {
    fn changed(&mut self, state: &RunState) {
        self.0.set_length(state.total);
        self.0.set_position(state.done);
        self.0.set_message(format!("{} tasks on {} executors", state.tasks_running, state.executors));
        if state.done == state.total {
            self.0.finish_and_clear();
        }
    }

    fn note(&mut self, text: &str) {
        self.0.println(text);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

pub(crate) struct Lines {
    unit: &'static str,
    begun: Instant,
    next: Duration,
}

impl Lines {
    #[expect(clippy::disallowed_methods, reason = "no actor: it shows people how far something is")]
    fn new(unit: &'static str) -> Lines {
        Lines { unit, begun: Instant::now(), next: LINE_EVERY }
    }
}

impl Progress for Lines {
    fn changed(&mut self, state: &RunState) {
        let elapsed = self.begun.elapsed();
        if elapsed < self.next || state.done == 0 {
            return;
        }
        self.next = elapsed + LINE_EVERY;
        let rate = state.done as f64 / elapsed.as_secs_f64();
        let left = (state.total - state.done) as f64 / rate;
        eprintln!(
            "{} of {} {}, {}/s, {left:.0} s left, {} tasks on {} executors",
            HumanCount(state.done),
            HumanCount(state.total),
            self.unit,
            HumanCount(rate as u64),
            state.tasks_running,
            state.executors
        );
    }

    fn note(&mut self, text: &str) {
        eprintln!("{text}");
    }
}
