//! Wait statuses in words.

/// What `strsignal` calls the signals, by number.
const SIGNALS: [&str; 32] = [
    "Unknown signal 0",
    "Hangup",
    "Interrupt",
    "Quit",
    "Illegal instruction",
    "Trace/breakpoint trap",
    "Aborted",
    "Bus error",
    "Floating point exception",
    "Killed",
    "User defined signal 1",
    "Segmentation fault",
    "User defined signal 2",
    "Broken pipe",
    "Alarm clock",
    "Terminated",
    "Stack fault",
    "Child exited",
    "Continued",
    "Stopped (signal)",
    "Stopped",
    "Stopped (tty input)",
    "Stopped (tty output)",
    "Urgent I/O condition",
    "CPU time limit exceeded",
    "File size limit exceeded",
    "Virtual timer expired",
    "Profiling timer expired",
    "Window changed",
    "I/O possible",
    "Power failure",
    "Bad system call",
];

/// The exit code in a raw wait status; `None` when a signal ended the process.
pub fn exit_code(status: i32) -> Option<i32> {
    (status & 0x7f == 0).then_some((status >> 8) & 0xff)
}

/// What a raw wait status says: `exited with status 1`, `terminated with signal Killed`.
pub fn describe(status: i32) -> String {
    match exit_code(status) {
        Some(code) => format!("exited with status {code}"),
        None => {
            let number = (status & 0x7f) as usize;
            let name =
                SIGNALS.get(number).map_or_else(|| format!("Unknown signal {number}"), |n| (*n).to_owned());
            let core = if status & 0x80 == 0 { "" } else { " (core dumped)" };
            format!("terminated with signal {name}{core}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_an_exit_code_or_a_signal() {
        assert_eq!(describe(3 << 8), "exited with status 3");
        assert_eq!(describe(9), "terminated with signal Killed");
        assert_eq!(describe(6 | 0x80), "terminated with signal Aborted (core dumped)");
        assert_eq!(describe(60), "terminated with signal Unknown signal 60");
        assert_eq!((exit_code(0), exit_code(15)), (Some(0), None));
    }
}
