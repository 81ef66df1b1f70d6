//! The record of a run.

use std::fmt::Write;

use crate::event::Event;
use crate::time::Time;
use crate::upid::Upid;

/// Lines of what happened, and a digest over all of them.
pub(super) struct Log {
    text: Option<String>,
    digest: u64,
    line: String,
}

impl Log {
    pub(super) fn new() -> Log {
        // FNV-1a's offset basis.
        Log { text: Some(String::new()), digest: 0xcbf2_9ce4_8422_2325, line: String::new() }
    }

    pub(super) fn keep_no_text(&mut self) {
        self.text = None;
    }

    pub(super) fn text(&self) -> String {
        self.text.clone().unwrap_or_default()
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn event(&mut self, at: Time, upid: &Upid, event: &Event) {
        let _ = match event {
            Event::Message { from, message } => {
                write!(self.line, "{at:?} {upid} message {} from {from}", message.wire_name())
            }
            Event::Wire(message) => {
                write!(self.line, "{at:?} {upid} message {} from {}", message.name, message.from)
            }
            Event::Exited(pid) => write!(self.line, "{at:?} {upid} exited {pid}"),
            Event::Http { request, .. } => {
                write!(self.line, "{at:?} {upid} http {} {}", request.method, request.path)
            }
            Event::Call(_) => write!(self.line, "{at:?} {upid} dispatch"),
            Event::Terminate => write!(self.line, "{at:?} {upid} terminate"),
        };
        self.end_line();
    }

    pub(super) fn note(&mut self, at: Time, what: std::fmt::Arguments<'_>) {
        let _ = write!(self.line, "{at:?} {what}");
        self.end_line();
    }

    fn end_line(&mut self) {
        self.line.push('\n');
        for byte in self.line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        if let Some(text) = &mut self.text {
            text.push_str(&self.line);
        }
        self.line.clear();
    }
}
