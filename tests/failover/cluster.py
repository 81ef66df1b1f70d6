"""Three masters, two agents, and frameworks, each on a machine of its own."""

import math
import os
import re
import shutil
import signal
import time
from urllib.parse import urlparse

from network import Network

MASTER_PORT, AGENT_PORT = 5050, 5051
MASTERS, AGENTS, FRAMEWORKS = ["m1", "m2", "m3"], ["a1", "a2"], "f1"
# The longest anything may take that should happen soon, in seconds.
SOON = 20


class Failed(Exception):
    """A case did not hold. The text says what was wanted and what there was."""


def eventually(what, reached, within=SOON):
    """Waits until `reached()` is true, and returns that. Fails with `what` and the last answer when it takes too long."""
    deadline = time.monotonic() + within
    while True:
        last = reached()
        if last:
            return last
        if time.monotonic() > deadline:
            raise Failed("not within %g s: %s" % (within, what))
        time.sleep(0.02)


class Daemon:
    def __init__(self, cluster, name, arguments, nice=0):
        self.cluster, self.name, self.arguments, self.nice = cluster, name, arguments, nice
        self.machine = cluster.network[name]
        self.log = os.path.join(cluster.directory, name + ".log")
        self.work_dir = os.path.join(cluster.directory, name)
        self.process = None

    def start(self):
        priority = ["nice", "-n", str(self.nice)] if self.nice else []
        command = [*priority, self.cluster.mesos, *self.arguments, "--work_dir=" + self.work_dir]
        self.process = self.machine.start(command, self.log, env=environment())

    def kill(self):
        self.process.kill()
        self.process.wait()

    def signal(self, number):
        self.process.send_signal(number)

    def is_running(self):
        return self.process is not None and self.process.poll() is None


class Master(Daemon):
    def __init__(self, cluster, name):
        super().__init__(cluster, name, [
            "master", "--ip=" + cluster.network[name].ip, "--port=%d" % MASTER_PORT, "--masters=" + cluster.masters_flag,
            "--agent_ping_timeout=1secs", "--max_agent_ping_timeouts=5",
        ])
        self.address = "%s:%d" % (self.machine.ip, MASTER_PORT)

    def leader(self):
        """Who leads, says this one."""
        answer = self.machine.ask(MASTER_PORT, "/redirect", timeout=0.5)
        return urlparse(answer[1].get("Location", "")).netloc if answer and answer[0] == 307 else None

    def claims_to_lead(self):
        return self.leader() == self.address

    def json(self, path):
        return self.machine.json(MASTER_PORT, path)

    def n_finished(self):
        metrics = self.json("/metrics/snapshot") or {}
        return metrics.get("master/tasks_finished", 0)


class Agent(Daemon):
    def __init__(self, cluster, name):
        # Tasks may take all there is of the processor; masters and agents of a real cluster have machines of their own.
        super().__init__(cluster, name, [
            "agent", "--ip=" + cluster.network[name].ip, "--port=%d" % AGENT_PORT, "--master=" + cluster.masters_flag,
            "--resources=cpus:2;mem:2048;disk:1024;ports:[31000-31100]", "--registration_backoff_factor=200ms",
        ], nice=10)

    def id(self):
        state = self.machine.json(AGENT_PORT, "/state") or {}
        return state.get("id")


def environment():
    """Ours without flags for Mesos, and with metrics that answer as often as they are asked."""
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith("MESOS_")}
    return {**kept, "LIBPROCESS_METRICS_SNAPSHOT_ENDPOINT_RATE_LIMIT": ""}


class Cluster:
    """Started, with a leader, and both agents registered."""

    def __init__(self, mesos, directory):
        self.mesos, self.directory = mesos, directory
        os.makedirs(directory)
        self.network = Network([*MASTERS, *AGENTS, FRAMEWORKS])
        self.n_frameworks = 0
        try:
            self.masters_flag = ",".join("%s:%d" % (self.network[name].ip, MASTER_PORT) for name in MASTERS)
            self.masters = [Master(self, name) for name in MASTERS]
            self.agents = [Agent(self, name) for name in AGENTS]
            for daemon in [*self.masters, *self.agents]:
                daemon.start()
            self.agent_ids = None
            self.settled()
            self.agent_ids = self.registered_agents()
        except BaseException:
            self.stop()
            raise

    def stop(self):
        # A namespace ends with all that runs in it.
        self.network.remove()
        for daemon in [*getattr(self, "masters", []), *getattr(self, "agents", [])]:
            if daemon.process is not None:
                daemon.process.wait()

    def leader(self, of=None):
        """The master that leads, by the word of itself and of all the others in `of`; `None` while they differ."""
        of = of or self.masters
        said = {master.leader() for master in of}
        return next((master for master in of if said == {master.address}), None)

    def wait_for_leader(self, of=None):
        return eventually("the masters agree on a leader", lambda: self.leader(of))

    def registered_agents(self):
        """The ids of the agents that are active with the leader."""
        leader = self.leader()
        answer = leader and leader.json("/slaves")
        return sorted(agent["id"] for agent in answer["slaves"] if agent["active"]) if answer else None

    def settled(self):
        """All is as if nothing had happened: one leader for all, each agent there once, no task, no process."""
        leader = self.wait_for_leader()
        eventually("both agents are registered, once each", self.agents_are_back)

        def no_framework():
            state = leader.json("/state")
            return state is not None and state["frameworks"] == [] and not state.get("unregistered_frameworks")

        eventually("no framework and no task is left", no_framework)
        expected = {daemon.machine.name: [daemon.process.pid] for daemon in [*self.masters, *self.agents]}
        expected[FRAMEWORKS] = []
        for name, pids in expected.items():
            eventually("no process is left on %s" % name, lambda: self.network[name].processes() == pids)
        return leader

    def command(self, *arguments):
        """`mesos …` from the machine of the frameworks; it has to end well."""
        log = os.path.join(self.directory, "commands.log")
        command = self.network[FRAMEWORKS].start(
            [self.mesos, *arguments, "--master=" + self.masters_flag], log, env=environment()
        )
        eventually("`mesos %s` ends" % " ".join(arguments), lambda: command.poll() is not None)
        if command.returncode != 0:
            raise Failed("`mesos %s` exited with %d; see commands.log" % (" ".join(arguments), command.returncode))

    def agents_are_back(self):
        registered = self.registered_agents()
        known = sorted(filter(None, (agent.id() for agent in self.agents)))
        return (
            registered == known
            and len(known) == len(self.agents)
            and (self.agent_ids is None or known == self.agent_ids)
        )


class Framework:
    """π under way on the cluster."""

    def __init__(self, cluster, kind, command, cwd=None):
        self.cluster, self.kind = cluster, kind
        cluster.n_frameworks += 1
        self.log = os.path.join(cluster.directory, "%s-%d.log" % (kind.replace(" ", "-"), cluster.n_frameworks))
        self.before = sum(master.n_finished() for master in cluster.masters)
        self.process = cluster.network[FRAMEWORKS].start(command, self.log, env=environment(), cwd=cwd)

    def wait_until_under_way(self, n_finished):
        def enough():
            if not self.is_running():
                raise Failed("%s ended with %d before %d tasks had finished" % (self.kind, self.process.returncode, n_finished))
            return sum(master.n_finished() for master in self.cluster.masters) >= self.before + n_finished

        eventually("%s has finished %d tasks" % (self.kind, n_finished), enough)

    def is_running(self):
        return self.process.poll() is None

    def result(self, within):
        """Waits for π, which has to be right."""
        eventually("%s ends" % self.kind, lambda: not self.is_running(), within)
        with open(self.log) as log:
            last = (log.read().rstrip("\n").split("\n") or [""])[-1]
        found = re.match(r"pi = ([\d.]+) (?:±|\+-) ([\d.]+)", last)
        if self.process.returncode != 0 or not found:
            raise Failed("%s exited with %d: %s" % (self.kind, self.process.returncode, last))
        pi, error = map(float, found.groups())
        if abs(pi - math.pi) > 5 * error:
            raise Failed("%s got π wrong: %s" % (self.kind, last))
        return pi


def wipe(directory):
    shutil.rmtree(directory)
