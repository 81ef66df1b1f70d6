//! One command as a task.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use api::resources::{ParseError, Resources};
use api::v1::{
    CommandInfo, Environment, FrameworkId, FrameworkInfo, MasterInfo, Offer, TaskInfo, TaskState, TaskStatus,
    environment, task_status,
};
use detector::Masters;
use libprocess::{Node, Promise, SpawnError};

use crate::driver::{Scheduler, SchedulerCalls, SchedulerDriver, refuse_for};
use crate::work::Cancel;

/// How soon a cancelled run notices.
const CANCEL_POLL: Duration = Duration::from_millis(20);
/// How long a driver gets to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an offer that is too small stays away.
const REFUSAL: Duration = Duration::from_secs(5);

/// How often the master is asked for the task, should the launch or an update of it have been lost.
const RECONCILIATION_INTERVAL: Duration = Duration::from_secs(15);

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// Of the framework and the task.
    pub name: String,
    /// For the shell, or with `argv` the program.
    pub command: String,
    /// Arguments, the program's name first: then there is no shell.
    pub argv: Option<Vec<String>>,
    /// Variables of the command.
    pub environment: Vec<(String, String)>,
    /// What it needs, as in `cpus:1;mem:128`.
    pub resources: String,
    /// Who runs it, if not whoever runs this program.
    pub user: Option<String>,
    /// The framework's role.
    pub role: String,
}

/// Why the command has no outcome.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// What it needs cannot be read.
    #[error("`{text}` does not say what the command needs")]
    Resources {
        /// As given.
        text: String,
        /// What is wrong with it.
        source: ParseError,
    },
    /// It was cancelled, and the task is killed.
    #[error("cancelled")]
    Cancelled,
    /// The master refused the framework.
    #[error("the master refuses the framework: {0}")]
    Refused(String),
    /// See [`SpawnError`].
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The scheduler ended without a result.
    #[error("the scheduler has ended unexpectedly")]
    Ended,
}

/// Something the user may want to see.
#[derive(Clone, Debug)]
pub enum Event {
    /// The framework is registered.
    Registered(FrameworkId),
    /// The task was sent to an agent on this host.
    Launched {
        /// The task.
        task: String,
        /// The agent's host.
        hostname: String,
    },
    /// The state of the task has changed.
    Update(Box<TaskStatus>),
    /// The master is lost, or found again.
    Connected(bool),
}

/// Runs a command on the cluster of `masters`, as a framework on `node`, which these must be able to reach. Tells `follow` what happens and returns the task's last status. Blocks until then.
pub fn run(
    node: &Node,
    masters: impl Into<Masters>,
    options: Options,
    follow: impl FnMut(&Event) + Send + 'static,
    cancel: &Cancel,
) -> Result<TaskStatus, ExecuteError> {
    let needed = Resources::parse(&options.resources, "*")
        .map_err(|source| ExecuteError::Resources { text: options.resources.clone(), source })?;
    let framework = FrameworkInfo {
        user: options.user.clone().unwrap_or_else(crate::user),
        name: options.name.clone(),
        roles: vec![options.role.clone()],
        capabilities: vec![multi_role()],
        ..Default::default()
    };
    let (promise, future) = Promise::new();
    let (sender, receiver) = channel();
    future.settled(move |result| {
        // Nobody waits any more for a run that was cancelled.
        let _ = sender.send(result.unwrap_or(Err(ExecuteError::Ended)));
    });
    let scheduler =
        ExecuteScheduler { options, needed, follow: Box::new(follow), launched: false, done: Some(promise) };
    let driver = SchedulerDriver::start(node, scheduler, framework, masters)?;
    let result = loop {
        match receiver.recv_timeout(CANCEL_POLL) {
            Ok(result) => break result,
            Err(RecvTimeoutError::Disconnected) => break Err(ExecuteError::Ended),
            Err(RecvTimeoutError::Timeout) if cancel.is_cancelled() => break Err(ExecuteError::Cancelled),
            Err(RecvTimeoutError::Timeout) => {}
        }
    };
    driver.stop(false);
    if driver.gone().wait(STOP_TIMEOUT).is_err() {
        tracing::warn!("the driver has not ended in time");
    }
    result
}

fn multi_role() -> api::v1::framework_info::Capability {
    use api::v1::framework_info::{Capability, capability::Type};
    Capability { r#type: Some(Type::MultiRole as i32) }
}

struct ExecuteScheduler {
    options: Options,
    needed: Resources,
    follow: Box<dyn FnMut(&Event) + Send>,
    launched: bool,
    done: Option<Promise<Result<TaskStatus, ExecuteError>>>,
}

type Calls<'a> = SchedulerCalls<'a, ExecuteScheduler>;

impl Scheduler for ExecuteScheduler {
    fn registered(&mut self, calls: &mut Calls<'_>, id: &FrameworkId, _: &MasterInfo) {
        (self.follow)(&Event::Registered(id.clone()));
        calls.after(RECONCILIATION_INTERVAL, Self::reconcile_regularly);
    }

    fn reregistered(&mut self, calls: &mut Calls<'_>, _: &MasterInfo) {
        (self.follow)(&Event::Connected(true));
        self.reconcile(calls);
    }

    fn disconnected(&mut self, _: &mut Calls<'_>) {
        (self.follow)(&Event::Connected(false));
    }

    fn resource_offers(&mut self, calls: &mut Calls<'_>, offers: Vec<Offer>) {
        for offer in offers {
            let offered = Resources::try_from(&offer.resources).unwrap_or_default().unallocated();
            if self.launched || !offered.contains(&self.needed) {
                calls.decline(vec![offer.id], Some(refuse_for(REFUSAL)));
                continue;
            }
            self.launched = true;
            let task = self.task(&offer);
            (self.follow)(&Event::Launched { task: self.options.name.clone(), hostname: offer.hostname });
            calls.launch(vec![offer.id], vec![task], None);
            calls.suppress(vec![]);
        }
    }

    fn status_update(&mut self, calls: &mut Calls<'_>, status: TaskStatus) {
        if status.reason == Some(task_status::Reason::Reconciliation as i32) && !is_terminal(status.state()) {
            // No news: it was asked for.
            return;
        }
        (self.follow)(&Event::Update(Box::new(status.clone())));
        if is_terminal(status.state()) {
            // First, for after this the framework is gone.
            calls.acknowledge(&status);
            if let Some(done) = self.done.take() {
                done.set(Ok(status));
            }
            calls.stop(false);
        }
    }

    fn error(&mut self, _: &mut Calls<'_>, message: &str) {
        if let Some(done) = self.done.take() {
            done.set(Err(ExecuteError::Refused(message.to_owned())));
        }
    }
}

impl ExecuteScheduler {
    /// A master that was just elected does not answer before its agents are back, hence more than once.
    fn reconcile_regularly(&mut self, calls: &mut Calls<'_>) {
        self.reconcile(calls);
        calls.after(RECONCILIATION_INTERVAL, Self::reconcile_regularly);
    }

    /// An update may have passed us by.
    fn reconcile(&mut self, calls: &mut Calls<'_>) {
        if self.launched {
            calls.reconcile(vec![(self.options.name.as_str().into(), None)]);
        }
    }

    fn task(&self, offer: &Offer) -> TaskInfo {
        let variables = self.options.environment.iter().map(|(name, value)| environment::Variable {
            name: name.clone(),
            value: Some(value.clone()),
            ..Default::default()
        });
        let command = CommandInfo {
            shell: Some(self.options.argv.is_none()),
            value: Some(self.options.command.clone()),
            arguments: self.options.argv.clone().unwrap_or_default(),
            environment: Some(Environment { variables: variables.collect() }),
            user: self.options.user.clone(),
            ..Default::default()
        };
        TaskInfo {
            name: self.options.name.clone(),
            task_id: self.options.name.as_str().into(),
            agent_id: offer.agent_id.clone(),
            resources: self.needed.to_messages(),
            command: Some(command),
            ..Default::default()
        }
    }
}

/// Whether a task in this state will never be in another one.
fn is_terminal(state: TaskState) -> bool {
    !matches!(
        state,
        TaskState::TaskStaging
            | TaskState::TaskStarting
            | TaskState::TaskRunning
            | TaskState::TaskKilling
            | TaskState::TaskUnreachable
            | TaskState::TaskUnknown
    )
}
