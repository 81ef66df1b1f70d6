//! What every node answers at `/version`.

use libprocess::{Node, SpawnError, Version};

/// The level of Mesos's API this speaks, as the version, since clients parse it; our own beside it.
pub(crate) fn serve(node: &Node) -> Result<(), SpawnError> {
    let document = serde_json::json!({
        "version": master::API_LEVEL,
        // A build can be repeated byte for byte, so it knows neither when nor by whom it was made.
        "build_date": "",
        "build_time": 0.0,
        "build_user": "",
        "implementation": { "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") },
    });
    node.spawn("version", Version::new(document.to_string())).map(drop)
}
