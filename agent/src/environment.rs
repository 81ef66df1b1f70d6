//! The variables an executor finds in its environment.

use std::collections::BTreeMap;
use std::path::Path;

use api::v1::{Environment, ExecutorInfo, FrameworkId, environment};

use crate::flags::Flags;
use api::duration;

/// The search path of a container whose environment names none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What the environment of an executor says beside its command's own variables.
#[derive(Debug, Clone, Copy)]
pub struct Agent<'a> {
    /// The agent's id.
    pub id: &'a str,
    /// The agent as a libprocess process, `slave(1)@ip:port`.
    pub upid: &'a str,
    /// `ip:port` of its HTTP endpoints.
    pub endpoint: &'a str,
    /// Its configuration.
    pub flags: &'a Flags,
    /// `LIBPROCESS_IP` of the agent's own environment, handed on so that executors on a machine with
    /// several addresses bind the one the agent uses.
    pub libprocess_ip: Option<&'a str>,
}

/// The environment of `executor`: later entries of the following list replace earlier ones of the same
/// name. The agent's address; the operator's variables; the agent's; the command's own.
pub fn of_executor(
    agent: Agent<'_>,
    executor: &ExecutorInfo,
    framework_id: &FrameworkId,
    checkpoint: bool,
    sandbox: &Path,
) -> BTreeMap<String, String> {
    let flags = agent.flags;
    let mut variables = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        variables.insert(name.to_owned(), value.to_owned());
    };
    set("PATH", DEFAULT_PATH);
    if let Some(ip) = agent.libprocess_ip {
        set("LIBPROCESS_IP", ip);
    }
    for (name, value) in &flags.executor_environment_variables {
        set(name, value);
    }
    let sandbox = sandbox.display().to_string();
    set("LIBPROCESS_PORT", "0");
    set("MESOS_FRAMEWORK_ID", &framework_id.value);
    set("MESOS_EXECUTOR_ID", &executor.executor_id.value);
    set("MESOS_DIRECTORY", &sandbox);
    set("MESOS_SANDBOX", &sandbox);
    set("MESOS_SLAVE_ID", agent.id);
    set("MESOS_SLAVE_PID", agent.upid);
    set("MESOS_AGENT_ENDPOINT", agent.endpoint);
    set("MESOS_CHECKPOINT", if checkpoint { "1" } else { "0" });
    set("MESOS_HTTP_COMMAND_EXECUTOR", "0");
    let grace = executor
        .shutdown_grace_period
        .and_then(|grace| u64::try_from(grace.nanoseconds).ok())
        .map_or(flags.executor_shutdown_grace_period, std::time::Duration::from_nanos);
    set("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", &duration::format(grace));
    if checkpoint {
        set("MESOS_RECOVERY_TIMEOUT", &duration::format(flags.recovery_timeout));
        set("MESOS_SUBSCRIPTION_BACKOFF_MAX", &duration::format(flags.executor_reregistration_timeout));
    }
    let own = executor.command.as_ref().and_then(|command| command.environment.as_ref());
    for (name, value) in own.into_iter().flat_map(plain_variables) {
        set(name, value);
    }
    variables
}

/// The variables that carry a plain value. Secrets are not resolved here, and a variable without its
/// secret must not appear with an empty value.
pub fn plain_variables(environment: &Environment) -> impl Iterator<Item = (&str, &str)> {
    use environment::variable::Type;
    environment.variables.iter().filter_map(|variable| match variable.r#type {
        Some(kind) if kind == Type::Secret as i32 => None,
        // A NUL ends a variable for the system; the rest would be lost in silence.
        _ if variable.name.is_empty() || variable.name.contains(['=', '\0']) => None,
        _ => Some((variable.name.as_str(), variable.value.as_deref().filter(|value| !value.contains('\0'))?)),
    })
}

#[cfg(test)]
mod tests {
    use api::v1::{CommandInfo, ExecutorId};
    use expect_test::expect;

    use super::*;

    fn of(executor: &ExecutorInfo, flags: &Flags, checkpoint: bool) -> String {
        let agent = Agent {
            id: "S0",
            upid: "slave(1)@10.0.0.2:5051",
            endpoint: "10.0.0.2:5051",
            flags,
            libprocess_ip: None,
        };
        let framework = FrameworkId::from("F");
        of_executor(agent, executor, &framework, checkpoint, Path::new("/sandbox"))
            .iter()
            .map(|(name, value)| format!("{name}={value}\n"))
            .collect()
    }

    fn variable(name: &str, value: &str) -> environment::Variable {
        environment::Variable { name: name.into(), value: Some(value.into()), ..Default::default() }
    }

    #[test]
    fn a_checkpointing_framework_is_told_how_long_to_wait_for_the_agent() {
        let executor = ExecutorInfo { executor_id: ExecutorId::from("e"), ..Default::default() };
        expect![[r#"
            LIBPROCESS_PORT=0
            MESOS_AGENT_ENDPOINT=10.0.0.2:5051
            MESOS_CHECKPOINT=1
            MESOS_DIRECTORY=/sandbox
            MESOS_EXECUTOR_ID=e
            MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs
            MESOS_FRAMEWORK_ID=F
            MESOS_HTTP_COMMAND_EXECUTOR=0
            MESOS_RECOVERY_TIMEOUT=15mins
            MESOS_SANDBOX=/sandbox
            MESOS_SLAVE_ID=S0
            MESOS_SLAVE_PID=slave(1)@10.0.0.2:5051
            MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs
            PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        "#]]
        .assert_eq(&of(&executor, &Flags::new("m", "/w"), true));
    }

    #[test]
    fn the_commands_own_variables_win_and_secrets_are_left_out() {
        let mut secret = variable("TOKEN", "x");
        secret.r#type = Some(environment::variable::Type::Secret as i32);
        let executor = ExecutorInfo {
            command: Some(CommandInfo {
                environment: Some(Environment {
                    variables: vec![variable("PATH", "/opt/bin"), variable("A=B", "1"), secret],
                }),
                ..Default::default()
            }),
            ..Default::default()
        };
        let mut flags = Flags::new("m", "/w");
        flags.executor_environment_variables =
            [("PATH".to_owned(), "/operator".to_owned()), ("LIBPROCESS_PORT".to_owned(), "9".to_owned())]
                .into();
        let variables = of(&executor, &flags, false);
        assert!(variables.contains("PATH=/opt/bin\n"), "{variables}");
        assert!(variables.contains("LIBPROCESS_PORT=0\n"), "{variables}");
        assert!(variables.contains("MESOS_CHECKPOINT=0\n"), "{variables}");
        assert!(!variables.contains("TOKEN") && !variables.contains("RECOVERY"), "{variables}");
    }
}
