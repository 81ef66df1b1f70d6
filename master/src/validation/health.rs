//! Checks and health checks of tasks.

use api::v1::{CheckInfo, CommandInfo, HealthCheck, check_info, environment, health_check};

use super::Invalid;

/// The variables of a command's environment.
pub fn command(command: &CommandInfo) -> Result<(), Invalid> {
    use environment::variable::Type;
    for variable in command.environment.iter().flat_map(|environment| &environment.variables) {
        let name = &variable.name;
        match variable.r#type() {
            Type::Value if variable.value.is_none() => {
                return Err(format!("Environment variable '{name}' of type 'VALUE' must have a value set"));
            }
            Type::Value if variable.secret.is_some() => {
                return Err(format!(
                    "Environment variable '{name}' of type 'VALUE' must not have a secret set"
                ));
            }
            Type::Secret if variable.secret.is_none() => {
                return Err(format!("Environment variable '{name}' of type 'SECRET' must have a secret set"));
            }
            Type::Secret if variable.value.is_some() => {
                return Err(format!(
                    "Environment variable '{name}' of type 'SECRET' must not have a value set"
                ));
            }
            Type::Unknown => return Err(format!("Environment variable '{name}' is of an unknown type")),
            Type::Value | Type::Secret => {}
        }
    }
    Ok(())
}

/// A general check.
pub fn check(check: &CheckInfo) -> Result<(), Invalid> {
    use check_info::Type;
    if check.r#type.is_none() {
        return Err("CheckInfo must specify 'type'".into());
    }
    match check.r#type() {
        Type::Command => {
            let part = check.command.as_ref().ok_or("Expecting 'command' to be set for COMMAND check")?;
            if part.command.value.is_none() {
                let what = if part.command.shell() { "Shell command" } else { "Executable path" };
                return Err(format!("{what} in COMMAND check is not specified"));
            }
            command(&part.command)?;
        }
        Type::Http => {
            let http = check.http.as_ref().ok_or("Expecting 'http' to be set for HTTP check")?;
            path("HTTP check", http.path.as_deref())?;
        }
        Type::Tcp => {
            check.tcp.as_ref().ok_or("Expecting 'tcp' to be set for TCP check")?;
        }
        Type::Unknown => return Err("'UNKNOWN' is not a valid check type".into()),
    }
    not_negative("delay_seconds", check.delay_seconds)?;
    not_negative("interval_seconds", check.interval_seconds)?;
    not_negative("timeout_seconds", check.timeout_seconds)
}

/// What an older scheduler left out is clear from what it set.
pub fn infer_health_check_type(check: &mut HealthCheck) {
    use health_check::Type;
    if check.r#type.is_none() {
        check.r#type = match (&check.command, &check.http) {
            (Some(_), None) => Some(Type::Command.into()),
            (None, Some(_)) => Some(Type::Http.into()),
            _ => None,
        };
    }
}

/// A health check.
pub fn health_check(check: &HealthCheck) -> Result<(), Invalid> {
    use health_check::Type;
    if check.r#type.is_none() {
        return Err("HealthCheck must specify 'type'".into());
    }
    match check.r#type() {
        Type::Command => {
            let part =
                check.command.as_ref().ok_or("Expecting 'command' to be set for COMMAND health check")?;
            if part.value.is_none() {
                let what = if part.shell() { "Shell command" } else { "Executable path" };
                return Err(format!("{what} in COMMAND health check is not specified"));
            }
            command(part)?;
        }
        Type::Http => {
            let http = check.http.as_ref().ok_or("Expecting 'http' to be set for HTTP health check")?;
            if let Some(scheme) = http.scheme.as_deref().filter(|it| !matches!(*it, "http" | "https")) {
                return Err(format!(
                    "Unsupported HTTP health check scheme: '{scheme}'; it is 'http' or 'https'"
                ));
            }
            path("HTTP health check", http.path.as_deref())?;
        }
        Type::Tcp => {
            check.tcp.as_ref().ok_or("Expecting 'tcp' to be set for TCP health check")?;
        }
        Type::Unknown => return Err("'UNKNOWN' is not a valid health check type".into()),
    }
    not_negative("delay_seconds", check.delay_seconds)?;
    not_negative("grace_period_seconds", check.grace_period_seconds)?;
    not_negative("interval_seconds", check.interval_seconds)?;
    not_negative("timeout_seconds", check.timeout_seconds)
}

fn path(what: &str, path: Option<&str>) -> Result<(), Invalid> {
    match path {
        Some(path) if !path.starts_with('/') => {
            Err(format!("The path '{path}' of {what} must start with '/'"))
        }
        _ => Ok(()),
    }
}

fn not_negative(name: &str, seconds: Option<f64>) -> Result<(), Invalid> {
    match seconds {
        Some(seconds) if seconds >= 0.0 => Ok(()),
        Some(seconds) => Err(format!("Expecting '{name}' to be non-negative, it is {seconds}")),
        None => Ok(()),
    }
}
