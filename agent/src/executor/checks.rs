//! Checks and health checks of a task: what is probed, when, and what the findings mean.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use api::v1::{
    CheckInfo, CheckStatusInfo, CommandInfo, HealthCheck, check_info, check_status_info, health_check,
    network_info,
};
use libprocess::Time;

use crate::wait_status;

/// The longest that anything is waited for when a check sets no limit.
const NO_TIMEOUT: Duration = Duration::from_secs(3600);

/// What is probed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Probe {
    /// A command, by how it exits.
    Command(CommandInfo),
    /// An HTTP server on this machine, by the status it answers with.
    Http { https: bool, address: SocketAddr, path: String },
    /// A port on this machine, by whether it takes connections.
    Tcp { address: SocketAddr },
}

/// What a probe found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Finding {
    /// The command's exit code.
    Exited(i32),
    /// The server's answer.
    Answered(u16),
    /// Whether the port took the connection.
    Connected(bool),
    /// There is no finding: it took too long, or could not be probed.
    Nothing(String),
}

impl Finding {
    fn is_healthy(&self) -> bool {
        match self {
            Finding::Exited(code) => *code == 0,
            Finding::Answered(status) => (200..400).contains(status),
            Finding::Connected(connected) => *connected,
            Finding::Nothing(_) => false,
        }
    }

    pub(super) fn of_exit(status: Option<i32>) -> Finding {
        match status.map(|status| (wait_status::exit_code(status), status)) {
            Some((Some(code), _)) => Finding::Exited(code),
            Some((None, status)) => Finding::Nothing(format!("the check {}", wait_status::describe(status))),
            None => Finding::Nothing("the check ended, and nobody knows how".to_owned()),
        }
    }
}

/// A probe with its times.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Plan {
    pub(super) probe: Probe,
    /// From the task's start to the first run.
    pub(super) delay: Duration,
    /// From the end of one run to the next.
    pub(super) interval: Duration,
    /// For one run.
    pub(super) timeout: Duration,
}

fn seconds(given: Option<f64>, default: f64) -> Duration {
    Duration::try_from_secs_f64(given.unwrap_or(default)).unwrap_or(Duration::from_secs_f64(default))
}

fn timeout(given: Option<f64>) -> Duration {
    let timeout = seconds(given, 20.0);
    if timeout.is_zero() { NO_TIMEOUT } else { timeout }
}

fn local(protocol: Option<i32>, port: u32) -> Option<SocketAddr> {
    let ip = match protocol {
        Some(protocol) if protocol == network_info::Protocol::IPv6 as i32 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        _ => IpAddr::V4(Ipv4Addr::LOCALHOST),
    };
    Some(SocketAddr::new(ip, u16::try_from(port).ok()?))
}

/// How a task's health is probed; `None` when its description says nothing that can be.
pub(super) fn plan_health(check: &HealthCheck) -> Option<Plan> {
    let kind = match health_check::Type::try_from(check.r#type.unwrap_or_default()) {
        Ok(health_check::Type::Unknown) | Err(_) if check.command.is_some() => health_check::Type::Command,
        Ok(health_check::Type::Unknown) | Err(_) => health_check::Type::Http,
        Ok(kind) => kind,
    };
    let probe = match kind {
        health_check::Type::Command => Probe::Command(check.command.clone()?),
        health_check::Type::Tcp => Probe::Tcp { address: local(None, check.tcp.as_ref()?.port)? },
        _ => {
            let http = check.http.as_ref()?;
            Probe::Http {
                https: http.scheme.as_deref() == Some("https"),
                address: local(http.protocol, http.port)?,
                path: http.path.clone().unwrap_or_default(),
            }
        }
    };
    Some(Plan {
        probe,
        delay: seconds(check.delay_seconds, 15.0),
        interval: seconds(check.interval_seconds, 10.0),
        timeout: timeout(check.timeout_seconds),
    })
}

/// How a task is checked; `None` when its description says nothing that can be.
pub(super) fn plan_check(check: &CheckInfo) -> Option<Plan> {
    let probe = match check.r#type() {
        check_info::Type::Command => Probe::Command(check.command.as_ref()?.command.clone()),
        check_info::Type::Http => {
            let http = check.http.as_ref()?;
            let path = http.path.clone().unwrap_or_default();
            Probe::Http { https: false, address: local(None, http.port)?, path }
        }
        check_info::Type::Tcp => Probe::Tcp { address: local(None, check.tcp.as_ref()?.port)? },
        check_info::Type::Unknown => return None,
    };
    Some(Plan {
        probe,
        delay: seconds(check.delay_seconds, 15.0),
        interval: seconds(check.interval_seconds, 10.0),
        timeout: timeout(check.timeout_seconds),
    })
}

/// What to do about a finding on a task's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing anybody would want to know.
    Silence,
    /// Tell the framework.
    Report { healthy: bool },
    /// Tell the framework, and kill the task.
    Kill,
}

/// A task's health over time.
#[derive(Debug, Clone)]
pub(super) struct Health {
    /// Failures before this do not count, until the first success.
    grace_until: Time,
    failures_max: u32,
    failures: u32,
    was_healthy: bool,
    reported: Option<bool>,
}

impl Health {
    pub(super) fn new(check: &HealthCheck, now: Time) -> Health {
        Health {
            grace_until: now + seconds(check.grace_period_seconds, 10.0),
            failures_max: check.consecutive_failures.unwrap_or(3),
            failures: 0,
            was_healthy: false,
            reported: None,
        }
    }

    /// A probe found something. A success is told when it is the first or follows failures; a failure
    /// always, and after enough of them in a row the task is killed.
    pub(super) fn judge(&mut self, finding: &Finding, now: Time) -> Verdict {
        if finding.is_healthy() {
            self.was_healthy = true;
            self.failures = 0;
            if self.reported.replace(true) == Some(true) {
                return Verdict::Silence;
            }
            return Verdict::Report { healthy: true };
        }
        if !self.was_healthy && now < self.grace_until {
            return Verdict::Silence;
        }
        self.failures += 1;
        self.reported = Some(false);
        if self.failures_max > 0 && self.failures >= self.failures_max {
            return Verdict::Kill;
        }
        Verdict::Report { healthy: false }
    }
}

/// The status of a check before its first result.
pub(super) fn empty_status(check: &CheckInfo) -> CheckStatusInfo {
    let kind = check.r#type();
    CheckStatusInfo {
        r#type: Some(kind as i32),
        command: (kind == check_info::Type::Command).then(Default::default),
        http: (kind == check_info::Type::Http).then(Default::default),
        tcp: (kind == check_info::Type::Tcp).then(Default::default),
    }
}

/// The status of a check after a finding; one without a finding is as empty as before the first.
pub(super) fn status_of(check: &CheckInfo, finding: &Finding) -> CheckStatusInfo {
    let mut status = empty_status(check);
    match finding {
        Finding::Exited(code) => status.command = Some(check_status_info::Command { exit_code: Some(*code) }),
        Finding::Answered(code) => {
            status.http = Some(check_status_info::Http { status_code: Some(u32::from(*code)) });
        }
        Finding::Connected(connected) => {
            status.tcp = Some(check_status_info::Tcp { succeeded: Some(*connected) });
        }
        Finding::Nothing(_) => {}
    }
    status
}

/// Probes a server or a port. Blocks for at most `timeout`, more or less.
pub(super) fn probe_network(probe: &Probe, timeout: Duration) -> Finding {
    match probe {
        Probe::Tcp { address } => Finding::Connected(TcpStream::connect_timeout(address, timeout).is_ok()),
        Probe::Http { https: false, address, path } => {
            let url = format!("http://{address}{path}");
            match ask(*address, path, timeout) {
                // A redirection is followed, where there is a program that does.
                Ok(status) if (300..400).contains(&status) => {
                    ask_with_curl(&url, timeout).unwrap_or(Finding::Answered(status))
                }
                Ok(status) => Finding::Answered(status),
                Err(error) => Finding::Nothing(format!("{url}: {error}")),
            }
        }
        Probe::Http { https: true, address, path } => {
            let url = format!("https://{address}{path}");
            let failed = |error| Finding::Nothing(format!("{url}: curl could not be run: {error}"));
            ask_with_curl(&url, timeout).unwrap_or_else(failed)
        }
        Probe::Command(_) => Finding::Nothing("a command is not probed over the network".to_owned()),
    }
}

/// The status of the answer to a GET.
fn ask(address: SocketAddr, path: &str, timeout: Duration) -> std::io::Result<u16> {
    let invalid = || std::io::Error::other("the answer is no HTTP");
    if path.contains(|c: char| c.is_ascii_control() || c == ' ') {
        return Err(std::io::Error::other("the path holds a blank or a control character"));
    }
    let path = if path.is_empty() { "/" } else { path };
    let mut stream = TcpStream::connect_timeout(&address, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.set_write_timeout(Some(timeout))?;
    write!(
        stream,
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: mesos\r\nConnection: close\r\n\r\n"
    )?;
    // `HTTP/1.1 200` is all that is needed.
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let text = std::str::from_utf8(&head).map_err(|_| invalid())?;
    text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..)?.parse().ok()).ok_or_else(invalid)
}

/// The same over TLS, or along redirections, which is left to a program that knows it; whose certificate it is
/// does not matter. An error when there is no such program.
fn ask_with_curl(url: &str, timeout: Duration) -> std::io::Result<Finding> {
    let output = Command::new("curl")
        .args(["-s", "-S", "-L", "-k", "-w", "%{http_code}", "-o", "/dev/null", "-g", "--max-time"])
        .arg(timeout.as_secs().max(1).to_string())
        .arg(url)
        .stdin(Stdio::null())
        .output()?;
    Ok(match String::from_utf8_lossy(&output.stdout).trim().parse() {
        Ok(status) if status > 0 => Finding::Answered(status),
        _ => {
            let reason: String = String::from_utf8_lossy(&output.stderr).trim().chars().take(200).collect();
            Finding::Nothing(format!("{url}: {reason}"))
        }
    })
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn verdicts(check: &HealthCheck, findings: &[(f64, bool)]) -> Vec<Verdict> {
        let at = Time::from_secs_f64;
        let mut health = Health::new(check, at(0.0));
        let judged = findings.iter().map(|(now, up)| health.judge(&Finding::Connected(*up), at(*now)));
        judged.collect()
    }

    #[test]
    fn failures_in_the_grace_period_do_not_count_until_the_first_success() {
        let check = HealthCheck { grace_period_seconds: Some(10.0), ..Default::default() };
        let up = Verdict::Report { healthy: true };
        let down = Verdict::Report { healthy: false };
        assert_eq!(verdicts(&check, &[(1.0, false), (2.0, false)]), [Verdict::Silence; 2]);
        assert_eq!(verdicts(&check, &[(1.0, true), (2.0, true), (3.0, false)]), [up, Verdict::Silence, down]);
        assert_eq!(verdicts(&check, &[(11.0, false), (12.0, true)]), [down, up]);
    }

    #[test]
    fn enough_failures_in_a_row_kill() {
        let check = HealthCheck { consecutive_failures: Some(2), ..Default::default() };
        let [down, up] = [false, true].map(|healthy| Verdict::Report { healthy });
        let findings = [(20.0, false), (21.0, true), (22.0, false), (23.0, false)];
        assert_eq!(verdicts(&check, &findings), [down, up, down, Verdict::Kill]);
    }

    #[test]
    fn what_is_probed_is_read_from_the_description() {
        let http = health_check::HttpCheckInfo { port: 80, path: Some("/x".into()), ..Default::default() };
        let plan = plan_health(&HealthCheck { http: Some(http), ..Default::default() }).unwrap();
        let address = "127.0.0.1:80".parse().unwrap();
        assert_eq!(plan.probe, Probe::Http { https: false, address, path: "/x".into() });
        assert_eq!((plan.delay.as_secs(), plan.interval.as_secs(), plan.timeout.as_secs()), (15, 10, 20));
        assert_eq!(plan_health(&HealthCheck::default()), None);
        let endless = HealthCheck {
            command: Some(CommandInfo::default()),
            timeout_seconds: Some(0.0),
            ..Default::default()
        };
        assert_eq!(plan_health(&endless).unwrap().timeout, NO_TIMEOUT);
        assert_eq!(plan_check(&CheckInfo::default()), None);
    }

    #[test]
    fn a_redirection_is_followed_where_curl_is_there_to_do_so() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut asked = [0; 8];
                stream.read_exact(&mut asked).unwrap();
                let answer = match &asked {
                    b"GET /up " => "302 Found\r\nLocation: /there",
                    _ => "503 Service Unavailable",
                };
                write!(stream, "HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .unwrap();
                // The rest of the request is read, so that the answer is not lost with it.
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = stream.read_to_end(&mut Vec::new());
            }
        });
        let there_is_curl = Command::new("curl").arg("--version").output().is_ok();
        let probe = Probe::Http { https: false, address, path: "/up".into() };
        let expected = Finding::Answered(if there_is_curl { 503 } else { 302 });
        assert_eq!(probe_network(&probe, Duration::from_secs(10)), expected);
    }

    #[test]
    fn servers_and_ports_are_probed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let second = Duration::from_secs(1);
        assert_eq!(probe_network(&Probe::Tcp { address }, second), Finding::Connected(true));
        drop(listener.accept().unwrap());
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut asked = [0; 16];
            stream.read_exact(&mut asked).unwrap();
            stream.write_all(b"HTTP/1.1 404 Not Found\r\n\r\n").unwrap();
            asked
        });
        let probe = Probe::Http { https: false, address, path: "/up".into() };
        assert_eq!(probe_network(&probe, second), Finding::Answered(404));
        assert_eq!(&server.join().unwrap(), b"GET /up HTTP/1.1");
        // A port that nobody listens on; the one just given up may be another's by now.
        let nobody = "127.0.0.1:1".parse().unwrap();
        assert_eq!(probe_network(&Probe::Tcp { address: nobody }, second), Finding::Connected(false));
        let probe = Probe::Http { https: false, address: nobody, path: String::new() };
        assert!(matches!(probe_network(&probe, second), Finding::Nothing(_)));
    }
}
