//! A task that brings a command and no executor gets one made for it.

use std::path::Path;
use std::time::Duration;

use api::v1::{CommandInfo, DurationInfo, ExecutorId, ExecutorInfo, Resource, TaskInfo, resource, value};

/// What the executor of a command task needs beside the task's own resources.
pub const OVERHEAD_CPUS: f64 = 0.1;
/// The same in megabytes.
pub const OVERHEAD_MEM_MB: f64 = 32.0;
/// What an executor may need, beyond its task's grace, to notice the end and report it.
const SHUTDOWN_SLACK: Duration = Duration::from_secs(2);
/// How much of the command the executor's name shows.
const NAME_COMMAND_CHARS: usize = 15;

/// The words after the `mesos` command that make it the command executor.
pub const EXECUTOR_ARGUMENTS: [&str; 2] = ["executor", "command"];

/// The executor for `task`, run by `launcher`, or `None` when the task brings its own.
pub fn executor_info(task: &TaskInfo, launcher: &Path) -> Option<ExecutorInfo> {
    let command = match (&task.executor, &task.command) {
        (None, Some(command)) => command,
        _ => return None,
    };
    let launcher = launcher.display().to_string();
    let mut arguments = vec![launcher.clone()];
    arguments.extend(EXECUTOR_ARGUMENTS.map(str::to_owned));
    let role = task.resources.iter().find_map(|resource| resource.allocation_info.clone());
    let scalar = |name: &str, amount: f64| Resource {
        name: name.to_owned(),
        r#type: value::Type::Scalar as i32,
        scalar: Some(value::Scalar { value: amount }),
        allocation_info: role.clone(),
        ..Default::default()
    };
    Some(ExecutorInfo {
        executor_id: ExecutorId::from(task.task_id.value.clone()),
        name: Some(format!("Command Executor (Task: {}) (Command: {})", task.task_id.value, shown(command))),
        source: Some(task.task_id.to_string()),
        command: Some(CommandInfo {
            shell: Some(false),
            value: Some(launcher),
            arguments,
            uris: command.uris.clone(),
            environment: command.environment.clone(),
            user: command.user.clone(),
        }),
        container: task.container.clone(),
        labels: task.labels.clone(),
        discovery: task.discovery.clone(),
        resources: vec![scalar("cpus", OVERHEAD_CPUS), scalar("mem", OVERHEAD_MEM_MB)],
        shutdown_grace_period: task.kill_policy.as_ref().and_then(|policy| policy.grace_period).map(
            |grace| DurationInfo {
                nanoseconds: grace.nanoseconds.saturating_add(SHUTDOWN_SLACK.as_nanos() as i64),
            },
        ),
        ..Default::default()
    })
}

/// The command as the executor's name shows it.
fn shown(command: &CommandInfo) -> String {
    if command.shell.unwrap_or(true) {
        match &command.value {
            None => "NO COMMAND".to_owned(),
            Some(value) if value.chars().count() <= NAME_COMMAND_CHARS => format!("sh -c '{value}'"),
            Some(value) => {
                let head: String = value.chars().take(NAME_COMMAND_CHARS - 3).collect();
                format!("sh -c '{head}...'")
            }
        }
    } else {
        match &command.value {
            None => "NO EXECUTABLE".to_owned(),
            Some(value) => {
                let words: Vec<&str> =
                    std::iter::once(value).chain(&command.arguments).map(String::as_str).collect();
                format!("[{}]", words.join(", "))
            }
        }
    }
}

/// The role that a resource is allocated to, when it says.
pub fn allocation_role(resources: &[Resource]) -> Option<&str> {
    resources.iter().find_map(|resource| match &resource.allocation_info {
        Some(resource::AllocationInfo { role: Some(role), .. }) => Some(role.as_str()),
        _ => None,
    })
}

/// A scalar amount of `name` in `resources`, summed.
pub fn scalar_amount(resources: &[Resource], name: &str) -> f64 {
    // An empty sum of floats is -0.0, which nobody wants to read.
    resources
        .iter()
        .filter(|r| r.name == name)
        .filter_map(|r| r.scalar.as_ref())
        .fold(0.0, |sum, s| sum + s.value)
}

#[cfg(test)]
mod tests {
    use api::v1::{KillPolicy, TaskId};
    use expect_test::expect;

    use super::*;

    fn name(command: CommandInfo) -> String {
        let task = TaskInfo { task_id: TaskId::from("t1"), command: Some(command), ..Default::default() };
        executor_info(&task, Path::new("/usr/bin/mesos")).unwrap().name.unwrap()
    }

    fn shell(value: &str) -> CommandInfo {
        CommandInfo { value: Some(value.into()), ..Default::default() }
    }

    #[test]
    fn the_name_shows_the_task_and_the_beginning_of_its_command() {
        let argv =
            CommandInfo { shell: Some(false), arguments: vec!["x".into(), "y".into()], ..shell("/bin/x") };
        let names = [
            shell("sleep 10"),
            shell("exactly-15-char"),
            shell("this one is longer"),
            argv,
            CommandInfo::default(),
            CommandInfo { shell: Some(false), ..Default::default() },
        ];
        expect![[r#"
            Command Executor (Task: t1) (Command: sh -c 'sleep 10')
            Command Executor (Task: t1) (Command: sh -c 'exactly-15-char')
            Command Executor (Task: t1) (Command: sh -c 'this one is ...')
            Command Executor (Task: t1) (Command: [/bin/x, x, y])
            Command Executor (Task: t1) (Command: NO COMMAND)
            Command Executor (Task: t1) (Command: NO EXECUTABLE)"#]]
        .assert_eq(&names.map(name).join("\n"));
    }

    #[test]
    fn the_executor_takes_over_what_concerns_it_and_runs_the_mesos_command() {
        let task = TaskInfo {
            task_id: TaskId::from("t"),
            command: Some(CommandInfo { user: Some("nobody".into()), ..shell("true") }),
            kill_policy: Some(KillPolicy { grace_period: Some(DurationInfo { nanoseconds: 7_000_000_000 }) }),
            ..Default::default()
        };
        let executor = executor_info(&task, Path::new("/usr/bin/mesos")).unwrap();
        let command = executor.command.unwrap();
        assert_eq!(command.arguments, ["/usr/bin/mesos", "executor", "command"]);
        assert_eq!(command.user.as_deref(), Some("nobody"));
        assert_eq!(executor.executor_id.value, "t");
        assert_eq!(executor.shutdown_grace_period.unwrap().nanoseconds, 9_000_000_000);
        assert_eq!(scalar_amount(&executor.resources, "cpus"), OVERHEAD_CPUS);
    }

    #[test]
    fn a_task_with_its_own_executor_gets_none() {
        let task = TaskInfo { executor: Some(ExecutorInfo::default()), ..Default::default() };
        assert!(executor_info(&task, Path::new("mesos")).is_none());
    }
}
