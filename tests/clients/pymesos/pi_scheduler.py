"""Pi on a cluster, as a framework for Apache Mesos would compute it: an unmodified pymesos scheduler.

Usage: pi_scheduler.py MASTER [TASKS] [POINTS]

Every task is handed to a custom executor (pi_executor.py beside this file), which sends how many of its points
fell inside as a framework message and then finishes. Exits with 0 when pi is right, with 1 when it is not or
when something took too long.
"""

import math
import os
import pwd
import sys
import threading
import uuid

from pymesos import MesosSchedulerDriver, Scheduler, decode_data, encode_data

CPUS, MEM = 0.5, 64
HERE = os.path.dirname(os.path.abspath(__file__))


class PiScheduler(Scheduler):
    def __init__(self, n_tasks, n_points):
        self.waiting = list(range(n_tasks))
        self.n_tasks = n_tasks
        self.n_points = n_points
        self.inside = {}
        self.states = {}
        self.started = {}
        self.finished = set()
        self.failure = None
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

    def resourceOffers(self, driver, offers):
        for offer in offers:
            cpus, mem = amount(offer, "cpus") - 0.1, amount(offer, "mem") - 32
            tasks = []
            while self.waiting and cpus >= CPUS and mem >= MEM:
                index = self.waiting.pop()
                cpus, mem = cpus - CPUS, mem - MEM
                tasks.append(self.task(index, offer))
            if tasks:
                driver.launchTasks(offer["id"], tasks)
            else:
                driver.declineOffer(offer["id"], {"refuse_seconds": 1})

    def task(self, index, offer):
        task_id = "pi-%d-%s" % (index, uuid.uuid4())
        self.started[task_id] = index
        return {
            "task_id": {"value": task_id},
            "name": "pi %d" % index,
            "agent_id": offer["agent_id"],
            "executor": self.executor,
            "data": encode_data(("%d %d" % (index, self.n_points)).encode()),
            "resources": [scalar("cpus", CPUS), scalar("mem", MEM)],
        }

    def frameworkMessage(self, driver, executor_id, agent_id, message):
        index, inside = decode_data(message).split()
        self.inside[int(index)] = int(inside)
        self.look()

    def statusUpdate(self, driver, status):
        task_id, state = status["task_id"]["value"], status["state"]
        index = self.started[task_id]
        print("task %d: %s" % (index, state), flush=True)
        self.states.setdefault(task_id, []).append(state)
        if state == "TASK_FINISHED":
            self.finished.add(index)
            self.look()
        elif state in ("TASK_FAILED", "TASK_LOST", "TASK_KILLED", "TASK_DROPPED", "TASK_GONE"):
            print("task %d runs again: %s" % (index, status.get("message", "")), flush=True)
            self.waiting.append(index)
            driver.reviveOffers()
        elif state == "TASK_ERROR":
            self.fail("task %d: %s" % (index, status.get("message", "")))

    def error(self, driver, message):
        self.fail("the master refused: %s" % message)

    def fail(self, reason):
        self.failure = reason
        self.done.set()

    def look(self):
        if len(self.finished) == self.n_tasks and len(self.inside) == self.n_tasks:
            self.done.set()


def scalar(name, value):
    return {"name": name, "type": "SCALAR", "scalar": {"value": value}}


def amount(offer, name):
    return sum(r["scalar"]["value"] for r in offer["resources"] if r["name"] == name)


def main():
    master = sys.argv[1]
    n_tasks = int(sys.argv[2]) if len(sys.argv) > 2 else 4
    n_points = int(sys.argv[3]) if len(sys.argv) > 3 else 100000
    scheduler = PiScheduler(n_tasks, n_points)
    framework = {
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "name": "pi (pymesos)",
        "capabilities": [{"type": "MULTI_ROLE"}, {"type": "PARTITION_AWARE"}],
        "roles": ["*"],
    }
    driver = MesosSchedulerDriver(scheduler, framework, master)
    driver.start()
    in_time = scheduler.done.wait(timeout=90)
    driver.stop()
    driver.join()
    if scheduler.failure or not in_time:
        print("failed: %s" % (scheduler.failure or "not done within 90 s: %r" % scheduler.states), file=sys.stderr)
        return 1
    total = n_tasks * n_points
    pi = 4.0 * sum(scheduler.inside.values()) / total
    error = 4.0 * math.sqrt(math.pi / 4 * (1 - math.pi / 4) / total)
    print("pi = %.5f +- %.5f" % (pi, error))
    return 0 if abs(pi - math.pi) < 5 * error else 1


if __name__ == "__main__":
    sys.exit(main())
