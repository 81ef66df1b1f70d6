//! Where the log goes: stderr, one line an event.

use std::io::IsTerminal;

use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, fmt, reload};

/// Starts the log. `level` is Mesos's (`INFO`, `WARNING`, `ERROR`); `RUST_LOG` says it more finely, and wins.
/// `/logging/toggle` makes it say more for a while.
pub(crate) fn start(level: &str, quiet: bool) {
    if quiet {
        return;
    }
    let level = match level.to_ascii_uppercase().as_str() {
        // The storage engine tells of each time it starts, and that it drops a write that was under way when the
        // process died. Whether anything is missing, the registry looks for itself, and says so.
        "WARNING" => "warn,raft_engine=error",
        "ERROR" => "error",
        _ => "info,raft_engine=error",
    };
    let initial = move || EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let (filter, handle) = reload::Layer::new(initial());
    let lines = fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_timer(SystemTime)
        .with_target(false);
    // A second start would fail; the first one's choice stands.
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        libprocess::set_log_toggler(move |verbosity| {
            let filter = match verbosity {
                0 => initial(),
                1 => EnvFilter::new("debug"),
                _ => EnvFilter::new("trace"),
            };
            // The subscriber lives as long as the program.
            let _ = handle.reload(filter);
        });
    }
}
