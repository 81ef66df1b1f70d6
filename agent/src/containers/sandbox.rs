//! What is done, off the actors, between the decision to launch and a process that waits in its sandbox.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, PipeWriter, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown, fchown};
use std::path::{Path, PathBuf};
use std::process::Command;

use api::v1::{CommandInfo, ContainerInfo, NetworkInfo, container_info};
use nix::fcntl::OFlag;
use nix::unistd::{User, geteuid};

use super::containerizer::ContainerizerSettings;
use super::fetcher::{Item, Orders};
use super::isolators::IsolatorError;
use super::launcher::{self, FETCH_ARGUMENTS, GO, LAUNCH_ARGUMENTS, LaunchError, Plan, VEIL};
use super::processes::{self, Started};
use crate::checkpoint::{CheckpointError, Write};
use crate::workload::Launch;

/// Why a container could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum SandboxError {
    #[error("the executor's command names no program")]
    NoProgram,
    #[error(
        "this agent cannot make the container: {0} needs an isolator or a containerizer that it does not have"
    )]
    Unsupported(&'static str),
    #[error("could not make the sandbox: {what}")]
    Sandbox { what: String, source: io::Error },
    #[error("could not start the launcher `{program}`")]
    Start { program: PathBuf, source: io::Error },
    #[error(transparent)]
    User(#[from] LaunchError),
    #[error("this agent may not run anything as user `{user}`: it is not root")]
    NotRoot { user: String },
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Isolator(#[from] IsolatorError),
}

/// A container's first process, which waits to be let go.
#[derive(Debug)]
pub(super) struct Forked {
    pub(super) started: Started,
    /// The other end of its standard input.
    go: PipeWriter,
}

impl Forked {
    /// Lets it become what it is to be. Dropping this instead ends it.
    pub(super) fn go(mut self) -> (Started, io::Result<()>) {
        let told = self.go.write_all(&[GO]);
        (self.started, told)
    }
}

/// Makes the sandbox and the first process in it, isolated but not let go. Blocks.
pub(super) fn fork(settings: &ContainerizerSettings, launch: &Launch) -> Result<Forked, SandboxError> {
    let (program, arguments) = program_of(&launch.command)?;
    if let Some(container) = &launch.executor.container {
        refuse_what_is_not_built(container)?;
    }
    let owner = owner_of(launch)?;
    for isolator in &settings.isolators {
        isolator.prepare(launch)?;
    }
    make_sandbox(&launch.sandbox, owner.as_ref())?;
    // The launcher need not look up whom it already is.
    let user = owner.as_ref().map(|owner| owner.name.clone());
    let plan = Plan { user, directory: launch.sandbox.clone(), program, arguments };
    let (started, go) = start(settings, launch, LAUNCH_ARGUMENTS, &plan, owner.as_ref())?;
    if let Some(path) = &launch.forked_pid {
        Write::text(path.clone(), started.pid.to_string()).perform()?;
    }
    for isolator in &settings.isolators {
        isolator.isolate(&launch.container_id, started.pid)?;
    }
    Ok(Forked { started, go })
}

/// Starts fetching what the command lists. Blocks.
pub(super) fn fetch(settings: &ContainerizerSettings, launch: &Launch) -> Result<Started, SandboxError> {
    let owner = owner_of(launch)?;
    let plan = Plan {
        user: owner.as_ref().map(|owner| owner.name.clone()),
        directory: launch.sandbox.clone(),
        program: OsString::new(),
        arguments: Vec::new(),
    };
    let orders = Orders {
        items: launch.command.uris.iter().map(Item::from).collect(),
        // Where the fetcher stands already: its user may not be able to walk there.
        sandbox: ".".into(),
        frameworks_home: settings.frameworks_home.clone(),
    };
    let failed = |source| SandboxError::Start { program: settings.launcher.clone(), source };
    let text = serde_json::to_vec(&orders).map_err(|error| failed(error.into()))?;
    let (started, mut told) = start(settings, launch, FETCH_ARGUMENTS, &plan, owner.as_ref())?;
    told.write_all(&text).map_err(failed)?;
    Ok(started)
}

/// A container that is more than a sandbox must not run as if it were not.
fn refuse_what_is_not_built(container: &ContainerInfo) -> Result<(), SandboxError> {
    let named = |network: &NetworkInfo| network.name.is_some();
    let asks_for = [
        (container.r#type() == container_info::Type::Docker, "a Docker container"),
        (container.mesos.as_ref().is_some_and(|mesos| mesos.image.is_some()), "a container image"),
        (!container.volumes.is_empty(), "a volume"),
        (container.network_infos.iter().any(named), "a network of its own"),
        (container.linux_info.is_some(), "`linux_info`"),
        (container.rlimit_info.is_some(), "`rlimit_info`"),
        (container.tty_info.is_some(), "a terminal"),
    ];
    match asks_for.into_iter().find(|(asked, _)| *asked) {
        Some((_, what)) => Err(SandboxError::Unsupported(what)),
        None => Ok(()),
    }
}

/// What to execute, with its whole argument vector.
fn program_of(command: &CommandInfo) -> Result<(OsString, Vec<OsString>), SandboxError> {
    let value = command.value.as_ref().filter(|value| !value.is_empty()).ok_or(SandboxError::NoProgram)?;
    if command.shell.unwrap_or(true) {
        return Ok(("/bin/sh".into(), vec!["sh".into(), "-c".into(), value.into()]));
    }
    let mut arguments: Vec<OsString> = command.arguments.iter().map(OsString::from).collect();
    if arguments.is_empty() {
        arguments.push(value.into());
    }
    Ok((value.into(), arguments))
}

/// Whom the sandbox must be given to: the user to become, unless that is who we are.
fn owner_of(launch: &Launch) -> Result<Option<User>, SandboxError> {
    let Some(name) = &launch.user else { return Ok(None) };
    let user = launcher::look_up(name)?;
    if user.uid == geteuid() {
        return Ok(None);
    }
    if !geteuid().is_root() {
        return Err(SandboxError::NotRoot { user: name.clone() });
    }
    Ok(Some(user))
}

fn failed(what: impl Into<String>) -> impl FnOnce(io::Error) -> SandboxError {
    let what = what.into();
    move |source| SandboxError::Sandbox { what, source }
}

fn give_to(path: &Path, owner: Option<&User>) -> Result<(), SandboxError> {
    let Some(owner) = owner else { return Ok(()) };
    chown(path, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).map_err(failed(format!(
        "giving `{}` to `{}`",
        path.display(),
        owner.name
    )))
}

fn make_sandbox(sandbox: &Path, owner: Option<&User>) -> Result<(), SandboxError> {
    let making = || failed(format!("`{}`", sandbox.display()));
    fs::create_dir_all(sandbox).map_err(making())?;
    fs::set_permissions(sandbox, fs::Permissions::from_mode(0o750)).map_err(making())?;
    give_to(sandbox, owner)?;
    if let (Some(runs), Some(name)) = (sandbox.parent(), sandbox.file_name()) {
        Write::Link { path: runs.join("latest"), target: name.into() }.perform()?;
    }
    Ok(())
}

/// Opens an output file of a sandbox. The sandbox is its user's already, who may run other tasks: a link in
/// the place of the file would lead whoever opens it, who may be root, to any file on the machine.
fn open_output(path: &Path) -> io::Result<File> {
    let no_link = OFlag::O_NOFOLLOW.bits();
    OpenOptions::new().create(true).append(true).mode(0o644).custom_flags(no_link).open(path)
}

fn start(
    settings: &ContainerizerSettings,
    launch: &Launch,
    helper: [&str; 2],
    plan: &Plan,
    owner: Option<&User>,
) -> Result<(Started, PipeWriter), SandboxError> {
    let output = |name: &str| -> Result<File, SandboxError> {
        let path = launch.sandbox.join(name);
        let making = || failed(format!("`{}`", path.display()));
        let file = open_output(&path).map_err(making())?;
        if let Some(owner) = owner {
            fchown(&file, Some(owner.uid.as_raw()), Some(owner.gid.as_raw())).map_err(making())?;
        }
        Ok(file)
    };
    let starting = |source| SandboxError::Start { program: settings.launcher.clone(), source };
    // The launcher waits on its standard input; that way no other child can hold this pipe open.
    let (waits, go) = io::pipe().map_err(starting)?;
    let mut command = Command::new(&settings.launcher);
    command.args(helper).args(plan.arguments());
    command.env_clear();
    match owner {
        None => command.envs(&launch.environment),
        Some(_) => {
            let veiled = |(name, value): (&String, &String)| (format!("{VEIL}{name}"), value.clone());
            command.envs(launch.environment.iter().map(veiled))
        }
    };
    command.stdin(waits).stdout(output("stdout")?).stderr(output("stderr")?);
    let (_, started) = processes::start(&mut command).map_err(starting)?;
    Ok((started, go))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_never_written_through_a_link() {
        let directory = tempfile::tempdir().unwrap();
        let (victim, link) = (directory.path().join("victim"), directory.path().join("stdout"));
        fs::write(&victim, "").unwrap();
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        assert!(open_output(&link).is_err());
        fs::remove_file(&link).unwrap();
        open_output(&link).unwrap().write_all(b"x").unwrap();
        open_output(&link).unwrap().write_all(b"y").unwrap();
        assert_eq!((fs::read(&link).unwrap(), fs::read(&victim).unwrap()), (b"xy".to_vec(), Vec::new()));
    }
}
