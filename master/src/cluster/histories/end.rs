//! In the end nothing fails any more, and everybody agrees.

use super::*;

impl History {
    /// Everything that was cut off is reached again, and whoever is not there any more is given up.
    pub(super) fn heal(&mut self) {
        self.slow = false;
        self.settle();
        self.happen(Event::MachineDown { down: false });
        self.settle();
        for id in self.clients.keys().cloned().collect::<Vec<_>>() {
            if !self.is_connected(&id) && !self.cluster.frameworks.is_completed(&id) {
                self.subscribe(Some(id), true);
                self.settle();
            }
        }
        for _ in 0..2 {
            for n in 0..4 {
                self.come_back(n, n, true, false);
                self.settle();
                self.retry(n);
                self.settle();
            }
        }
        for id in self.cluster.agents.registered.keys().cloned().collect::<Vec<_>>() {
            if self.host_of(&id).is_none() {
                self.cluster.agent_is_silent(&id);
                self.settle();
            }
        }
        for _ in 0..100 {
            let Some(wait) = self.waits.pop() else { break };
            self.now += 60;
            self.cluster.at(Time::from_secs_f64(f64::from(self.now)));
            self.time_out(wait);
            self.settle();
        }
        assert_eq!(self.waits, []);
    }

    pub(super) fn check_peace(&mut self) {
        assert!(self.cluster.agents.recovered.is_empty(), "nobody is expected any more");
        for (id, framework) in &self.cluster.frameworks.registered {
            for task in framework.tasks.values().filter(|task| !is_terminal(task.state())) {
                let there = self.hosts.values().any(|host| {
                    host.id.as_ref() == Some(&task.agent_id) && host.tasks.contains_key(&task.task_id)
                });
                assert!(there, "{} of {id} runs, says the master, but it does not", task.task_id);
            }
        }
        for (n, host) in &self.hosts {
            for task in host.running() {
                let id = &task.framework_id;
                let known = self.cluster.task(id, &task.task_id).is_some();
                assert!(known, "{} of {id} runs on host {n}, but the master does not know", task.task_id);
            }
        }
        for (id, client) in &self.clients {
            if self.cluster.frameworks.get(id).is_none() {
                continue;
            }
            for (task_id, told) in client.told.iter().filter(|(_, told)| told.runs()) {
                assert!(told.current, "{id} does not know what became of {task_id}");
            }
        }
    }
}
