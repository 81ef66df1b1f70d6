//! What every node answers at `/version`.

use libprocess::{Node, SpawnError, Version};

/// The same as of a master, which answers by itself.
pub(crate) fn serve(node: &Node) -> Result<(), SpawnError> {
    node.spawn("version", Version::new(master::version_document())).map(drop)
}
