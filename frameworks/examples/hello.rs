//! A whole framework: runs a few tasks that say hello, one after the other or side by side, and ends.
//!
//! `hello m1:5050,m2:5050,m3:5050` is the scheduler; agents start the same program as the executor.

use std::process::ExitCode;
use std::time::Duration;

use api::resources::Resources;
use api::v1::{
    CommandInfo, ExecutorInfo, FrameworkId, FrameworkInfo, MasterInfo, Offer, TaskInfo, TaskState, TaskStatus,
};
use frameworks::driver::{
    Executor, ExecutorCalls, ExecutorDriver, Masters, Outcome, Scheduler, SchedulerCalls, SchedulerDriver,
    node_facing,
};

/// What one task needs.
const TASK: &str = "cpus:0.1;mem:16";

struct Hello {
    program: String,
    n_launched: usize,
    n_finished: usize,
    n_tasks: usize,
}

impl Scheduler for Hello {
    fn registered(&mut self, _: &mut SchedulerCalls<'_, Self>, id: &FrameworkId, _: &MasterInfo) {
        println!("registered as {id}");
    }

    fn resource_offers(&mut self, calls: &mut SchedulerCalls<'_, Self>, offers: Vec<Offer>) {
        for offer in offers {
            let needed = Resources::parse(TASK, "*").unwrap_or_default();
            let offered = Resources::try_from(&offer.resources).unwrap_or_default();
            if self.n_launched < self.n_tasks
                && offered.cpus() >= needed.cpus()
                && offered.mem() >= needed.mem()
            {
                let task = self.next_task(&offer, &needed);
                calls.launch(vec![offer.id], vec![task], None);
            } else {
                calls.decline(vec![offer.id], None);
            }
        }
    }

    fn status_update(&mut self, calls: &mut SchedulerCalls<'_, Self>, status: TaskStatus) {
        println!("{} is {}: {}", status.task_id, status.state().as_str_name(), status.message());
        match status.state() {
            TaskState::TaskFinished => self.n_finished += 1,
            TaskState::TaskRunning | TaskState::TaskStarting | TaskState::TaskStaging => {}
            _ => calls.abort(Some(format!("{} did not finish", status.task_id))),
        }
        if self.n_finished == self.n_tasks {
            calls.stop(false);
        }
    }
}

impl Hello {
    fn next_task(&mut self, offer: &Offer, needed: &Resources) -> TaskInfo {
        self.n_launched += 1;
        TaskInfo {
            name: "hello".to_owned(),
            task_id: format!("hello-{}", self.n_launched).into(),
            agent_id: offer.agent_id.clone(),
            resources: needed.to_messages(),
            // Tasks with the same executor share its process on an agent.
            executor: Some(ExecutorInfo {
                executor_id: "hello".into(),
                command: Some(CommandInfo {
                    shell: Some(false),
                    value: Some(self.program.clone()),
                    arguments: vec![self.program.clone(), "--executor".to_owned()],
                    ..Default::default()
                }),
                ..Default::default()
            }),
            data: Some(format!("number {}", self.n_launched).into_bytes()),
            ..Default::default()
        }
    }
}

struct Greeter;

impl Executor for Greeter {
    fn launch_task(&mut self, calls: &mut ExecutorCalls<'_, Self>, task: TaskInfo) {
        let greeting = format!("hello from {}", String::from_utf8_lossy(task.data()));
        // Neither state is refused; see `send_status_update`.
        let _ = calls.report(task.task_id.clone(), TaskState::TaskRunning, None);
        let _ = calls.report(task.task_id, TaskState::TaskFinished, Some(greeting));
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    match run(&arguments) {
        Ok(Outcome::Stopped) => ExitCode::SUCCESS,
        Ok(Outcome::Aborted(reason)) => {
            eprintln!("aborted: {}", reason.unwrap_or_default());
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<Outcome, Box<dyn std::error::Error>> {
    match arguments.get(1).map(String::as_str) {
        None => Err("usage: hello MASTER:PORT,...".into()),
        Some("--executor") => Ok(ExecutorDriver::run(Greeter)?),
        Some(masters) => {
            let program = std::env::current_exe()?.display().to_string();
            let scheduler = Hello { program, n_launched: 0, n_finished: 0, n_tasks: 5 };
            let framework =
                FrameworkInfo { user: "root".to_owned(), name: "hello".to_owned(), ..Default::default() };
            let masters: Masters = masters.parse()?;
            let node = node_facing(&masters)?;
            let outcome = SchedulerDriver::start(&node, scheduler, framework, masters)?.join();
            // What was said last is still on its way to the master.
            node.shutdown().wait(Duration::from_secs(1))?;
            Ok(outcome)
        }
    }
}
