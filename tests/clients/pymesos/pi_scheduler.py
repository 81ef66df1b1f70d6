"""Pi on a cluster, as a framework for Apache Mesos would compute it: an unmodified pymesos scheduler.

Usage: pi_scheduler.py MASTER[,MASTER...] [TASKS] [POINTS]

Every task is handed to a custom executor (pi_executor.py beside this file), which sends how many of its points
fell inside as a framework message, and again with its last update. Exits with 0 when pi is right, with 1 when it is
not or when something took too long.

The first MASTER is where it registers. Of several the one that leads is followed, and any may fail: what was said to
one that is no more is lost, so the scheduler asks again and again what became of its tasks.
"""

import math
import os
import pwd
import sys
import threading
import uuid

from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data

from leader import LeaderDetector

CPUS, MEM = 0.5, 64
HERE = os.path.dirname(os.path.abspath(__file__))
# How often the master is asked what became of the tasks, in seconds.
RECONCILIATION_INTERVAL = 3.0
# Nobody will run the task, or it has ended badly. One that is unreachable may come back.
ENDED_BADLY = (
    "TASK_FAILED", "TASK_LOST", "TASK_KILLED", "TASK_DROPPED", "TASK_GONE", "TASK_GONE_BY_OPERATOR", "TASK_UNKNOWN",
)


class Driver(MesosSchedulerDriver):
    # How long a master may take to answer a call, in seconds. pymesos lets it take a day, and holds the lock meanwhile
    # under which it would learn of another master.
    ANSWER_WITHIN = 2

    def _get_conn(self):
        connection = super()._get_conn()
        if connection is not None:
            connection.timeout = self.ANSWER_WITHIN
        return connection


class PiScheduler(Scheduler):
    def __init__(self, n_tasks, n_points):
        self.waiting = list(range(n_tasks))
        self.n_tasks = n_tasks
        self.n_points = n_points
        self.inside = {}
        self.n_messages = 0
        self.states = {}
        self.started = {}  # task id -> index
        self.running = {}  # of these, the tasks that have not ended
        self.finished = set()
        self.failure = None
        self.lock = threading.RLock()
        self.done = threading.Event()
        python = sys.executable
        self.executor = {
            "executor_id": {"value": "pi-executor"},
            "name": "pi executor",
            "framework_id": None,
            "command": {"value": "%s %s" % (python, os.path.join(HERE, "pi_executor.py"))},
            "resources": [scalar("cpus", 0.1), scalar("mem", 32)],
        }

    def registered(self, driver, framework_id, master_info):
        print("registered as %s at %s:%s" % (framework_id["value"], master_info["hostname"], master_info["port"]), flush=True)
        self.executor["framework_id"] = framework_id

    def reregistered(self, driver, master_info):
        print("registered again at %s:%s" % (master_info["hostname"], master_info["port"]), flush=True)

    def resourceOffers(self, driver, offers):
        with self.lock:
            for offer in offers:
                cpus, mem = amount(offer, "cpus") - 0.1, amount(offer, "mem") - 32
                tasks = []
                while self.waiting and cpus >= CPUS and mem >= MEM:
                    index = self.waiting.pop()
                    cpus, mem = cpus - CPUS, mem - MEM
                    tasks.append(self.task(index, offer))
                if tasks:
                    tell(driver.launchTasks, offer["id"], tasks)
                else:
                    tell(driver.declineOffer, offer["id"], {"refuse_seconds": 1})

    def task(self, index, offer):
        task_id = "pi-%d-%s" % (index, uuid.uuid4())
        self.started[task_id] = self.running[task_id] = index
        return {
            "task_id": {"value": task_id},
            "name": "pi %d" % index,
            "agent_id": offer["agent_id"],
            "executor": self.executor,
            "data": encode_data(("%d %d" % (index, self.n_points)).encode()),
            "resources": [scalar("cpus", CPUS), scalar("mem", MEM)],
        }

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        with self.lock:
            self.n_messages += 1
            self.result(message)

    def result(self, data):
        index, inside = decode_data(data).split()
        self.inside[int(index)] = int(inside)

    def statusUpdate(self, driver, status):
        task_id, state = status["task_id"]["value"], status["state"]
        with self.lock:
            index = self.started[task_id]
            print("task %d: %s" % (index, state), flush=True)
            self.states.setdefault(task_id, []).append(state)
            if state == "TASK_FINISHED":
                self.running.pop(task_id, None)
                if "data" in status:
                    self.result(status["data"])
                    self.finished.add(index)
                    # It may have been given up, and be waiting to run again.
                    self.waiting = [other for other in self.waiting if other != index]
                if len(self.finished) == self.n_tasks:
                    self.done.set()
            elif state in ENDED_BADLY and self.running.pop(task_id, None) is not None and index not in self.finished:
                print("task %d runs again: %s" % (index, status.get("message", "")), flush=True)
                self.waiting.append(index)
                tell(driver.reviveOffers)
            elif state == "TASK_ERROR":
                self.fail("task %d: %s" % (index, status.get("message", "")))
        tell(driver.acknowledgeStatusUpdate, status)

    def reconcile(self, driver):
        """A launch, or the news of a task's end, may have been lost with a master."""
        with self.lock:
            tasks = [{"task_id": {"value": task_id}} for task_id in self.running]
            if tasks:
                tell(driver.reconcileTasks, tasks)

    def error(self, driver, message):
        self.fail("the master refused: %s" % message)

    def fail(self, reason):
        self.failure = reason
        self.done.set()


def tell(call, *arguments):
    """Calls the master. pymesos gives up when a call fails in a callback; here it is what a failover looks like."""
    try:
        call(*arguments)
    except Exception as error:
        print("%s: %s" % (call.__name__, error), file=sys.stderr, flush=True)


def scalar(name, value):
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}


def amount(offer, name):
    return sum(r["scalar"]["value"] for r in offer["resources"] if r["name"] == name)


def main():
    masters = sys.argv[1].split(",")
    n_tasks = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    n_points = int(sys.argv[3]) if len(sys.argv) > 3 else 100000
    scheduler = PiScheduler(n_tasks, n_points)
    framework = {
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "name": "pi (pymesos)",
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}],
        "roles": ["*"],
    }
    driver = Driver(scheduler, framework, masters[0], implicit_acknowledgements=False)
    driver.start()
    detector = LeaderDetector(driver, masters) if len(masters) > 1 else None
    if detector:
        detector.start()
    for _ in range(int(90 / RECONCILIATION_INTERVAL)):
        if scheduler.done.wait(timeout=RECONCILIATION_INTERVAL):
            break
        scheduler.reconcile(driver)
    if detector:
        detector.stop()
    driver.stop()
    driver.join()
    if scheduler.failure or not scheduler.done.is_set():
        print("failed: %s" % (scheduler.failure or "not done within 90 s: %r" % scheduler.states), file=sys.stderr)
        return 1
    total = n_tasks * n_points
    pi = 4.0 * sum(scheduler.inside.values()) / total
    error = 4.0 * math.sqrt(math.pi / 4 * (1 - math.pi / 4) / total)
    print("%d of %d results came as messages, too" % (scheduler.n_messages, n_tasks))
    print("pi = %.5f +- %.5f" % (pi, error))
    return 0 if abs(pi - math.pi) < 5 * error else 1


if __name__ == "__main__":
    sys.exit(main())
