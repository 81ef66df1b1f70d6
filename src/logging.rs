//! Where the log goes: stderr, one line an event.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::SystemTime;

/// Starts the log. `level` is Mesos's (`INFO`, `WARNING`, `ERROR`); `RUST_LOG` says it more finely, and wins.
pub(crate) fn start(level: &str, quiet: bool) {
    if quiet {
        return;
    }
    let level = match level.to_ascii_uppercase().as_str() {
        "WARNING" => "warn",
        "ERROR" => "error",
        _ => "info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    // A second start would fail; the first one's choice stands.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_timer(SystemTime)
        .with_target(false)
        .try_init();
}
