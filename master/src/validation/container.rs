//! Containers of tasks and executors.

use api::v1::{ContainerInfo, container_info};

use super::Invalid;

/// A container's volumes and kind.
pub fn container(container: &ContainerInfo) -> Result<(), Invalid> {
    for volume in &container.volumes {
        let set = [volume.host_path.is_some(), volume.image.is_some(), volume.source.is_some()];
        if set.into_iter().filter(|set| *set).count() != 1 {
            return Err(format!(
                "Volume at '{}' must have exactly one of 'host_path', 'image' and 'source' set",
                volume.container_path
            ));
        }
    }
    if container.r#type() == container_info::Type::Docker {
        let Some(docker) = &container.docker else {
            return Err("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".into());
        };
        if docker.parameters.iter().any(|parameter| parameter.key == "name") {
            return Err("Parameter in DockerInfo must not be 'name': the agent names the container".into());
        }
    }
    Ok(())
}
