//! What an agent tells an executor through its environment.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use api::v1::{AgentId, ExecutorId, FrameworkId};
use libprocess::{Address, Node, StartError, Upid};

use crate::driver::address::address_facing;

/// The variables an agent sets for an executor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecutorEnvironment {
    /// `MESOS_FRAMEWORK_ID`
    pub framework_id: FrameworkId,
    /// `MESOS_EXECUTOR_ID`
    pub executor_id: ExecutorId,
    /// `MESOS_SLAVE_ID`
    pub agent_id: AgentId,
    /// `MESOS_SLAVE_PID`, the agent's process.
    pub agent: Upid,
    /// `MESOS_DIRECTORY`, the sandbox.
    pub directory: PathBuf,
    /// `MESOS_CHECKPOINT`: whether the executor is to outlive its agent, which will look for it again.
    pub checkpoint: bool,
    /// `MESOS_RECOVERY_TIMEOUT`: how long to wait for the agent then.
    pub recovery_timeout: Duration,
    /// `MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD`: how much time a shutdown leaves before the agent kills.
    pub shutdown_grace_period: Duration,
    /// `LIBPROCESS_IP`, the address to be reached at, if the agent knows better than the system.
    pub ip: Option<IpAddr>,
    /// `LIBPROCESS_PORT`; 0 takes a free one.
    pub port: u16,
}

/// Why the environment is not that of an executor.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvironmentError {
    /// A variable is not set.
    #[error("`{0}` is not set; executors are started by an agent")]
    Missing(&'static str),
    /// A variable has a value of the wrong kind.
    #[error("`{name}` is `{value}`, which is not {expected}")]
    Invalid {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What it should be.
        expected: &'static str,
    },
}

impl ExecutorEnvironment {
    /// Reads this program's environment.
    pub fn of_this_program() -> Result<ExecutorEnvironment, EnvironmentError> {
        ExecutorEnvironment::read(|name| std::env::var(name).ok())
    }

    /// Reads the environment that `variable` knows.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<ExecutorEnvironment, EnvironmentError> {
        let text = |name: &'static str| variable(name).ok_or(EnvironmentError::Missing(name));
        let invalid = |name, value: &str, expected| EnvironmentError::Invalid {
            name,
            value: value.to_owned(),
            expected,
        };
        let duration = |name, otherwise| match variable(name) {
            None => Ok(otherwise),
            Some(value) => {
                api::duration::parse(&value).map_err(|_| invalid(name, &value, "a duration such as `5secs`"))
            }
        };
        let agent = text("MESOS_SLAVE_PID")?;
        let ip = variable("LIBPROCESS_IP")
            .map(|value| value.parse().map_err(|_| invalid("LIBPROCESS_IP", &value, "an IP address")));
        let port = variable("LIBPROCESS_PORT").map(|value| {
            value.parse().map_err(|_| invalid("LIBPROCESS_PORT", &value, "a number up to 65535"))
        });
        Ok(ExecutorEnvironment {
            framework_id: text("MESOS_FRAMEWORK_ID")?.into(),
            executor_id: text("MESOS_EXECUTOR_ID")?.into(),
            agent_id: text("MESOS_SLAVE_ID")?.into(),
            agent: Upid::parse_ip(&agent)
                .ok_or_else(|| invalid("MESOS_SLAVE_PID", &agent, "a process: `id@ip:port`"))?,
            directory: text("MESOS_DIRECTORY")?.into(),
            checkpoint: variable("MESOS_CHECKPOINT").is_some_and(|value| value == "1"),
            recovery_timeout: duration("MESOS_RECOVERY_TIMEOUT", Duration::from_secs(15 * 60))?,
            shutdown_grace_period: duration("MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", Duration::from_secs(5))?,
            ip: ip.transpose()?,
            port: port.transpose()?.unwrap_or(0),
        })
    }

    /// Starts a node that the agent can reach.
    pub fn start_node(&self) -> Result<Node, StartError> {
        let ip = match self.ip {
            Some(ip) => ip,
            None => address_facing(self.agent.address()).map_err(StartError::NoAddress)?,
        };
        Node::builder().listen(Address::new(ip, self.port).to_string()).start()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPLETE: [(&str, &str); 8] = [
        ("MESOS_FRAMEWORK_ID", "f"),
        ("MESOS_EXECUTOR_ID", "e"),
        ("MESOS_SLAVE_ID", "a"),
        ("MESOS_SLAVE_PID", "slave(1)@127.0.0.1:5051"),
        ("MESOS_DIRECTORY", "/sandbox"),
        ("MESOS_CHECKPOINT", "1"),
        ("MESOS_RECOVERY_TIMEOUT", "15mins"),
        ("LIBPROCESS_PORT", "0"),
    ];

    fn read(change: (&str, Option<&str>)) -> Result<ExecutorEnvironment, EnvironmentError> {
        ExecutorEnvironment::read(|name| match name == change.0 {
            true => change.1.map(str::to_owned),
            false => COMPLETE.iter().find(|it| it.0 == name).map(|it| it.1.to_owned()),
        })
    }

    #[test]
    fn an_agents_environment_is_read() {
        let environment = read(("", None)).unwrap();
        assert_eq!(environment.agent.to_string(), "slave(1)@127.0.0.1:5051");
        assert!(environment.checkpoint);
        assert_eq!(environment.shutdown_grace_period, Duration::from_secs(5));
        assert_eq!(environment.recovery_timeout, Duration::from_secs(900));
        assert!(!read(("MESOS_CHECKPOINT", Some("0"))).unwrap().checkpoint);
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        for (change, message) in [
            (("MESOS_SLAVE_PID", None), "`MESOS_SLAVE_PID` is not set; executors are started by an agent"),
            (
                ("MESOS_SLAVE_PID", Some("x")),
                "`MESOS_SLAVE_PID` is `x`, which is not a process: `id@ip:port`",
            ),
            (
                ("MESOS_RECOVERY_TIMEOUT", Some("soon")),
                "`MESOS_RECOVERY_TIMEOUT` is `soon`, which is not a duration such as `5secs`",
            ),
            (
                ("LIBPROCESS_PORT", Some("70000")),
                "`LIBPROCESS_PORT` is `70000`, which is not a number up to 65535",
            ),
            (("LIBPROCESS_IP", Some("here")), "`LIBPROCESS_IP` is `here`, which is not an IP address"),
        ] {
            assert_eq!(read(change).unwrap_err().to_string(), message);
        }
    }
}
