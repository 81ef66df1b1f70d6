"""Machines: one network namespace each, all at one switch. Needs root, `ip` and /dev/net/tun.

Nothing leaves the namespaces: their only way out is an interface whose other end is the switch's file descriptor.
"""

import ctypes
import fcntl
import http.client
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time

PREFIX = "mesos-failover-"
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1

libc = ctypes.CDLL(None, use_errno=True)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, stdin=subprocess.DEVNULL)


def set_namespace(fd):
    if libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def namespaces():
    listed = subprocess.run(["ip", "netns", "list"], check=True, stdout=subprocess.PIPE, text=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line.startswith(PREFIX)]


def processes_in(namespace):
    listed = subprocess.run(["ip", "netns", "pids", namespace], stdout=subprocess.PIPE, text=True).stdout
    return [int(pid) for pid in listed.split()]


def remove(namespace):
    """Whatever runs in a namespace of ours was started by a test, and ends with it."""
    deadline = time.monotonic() + 10
    while (pids := processes_in(namespace)) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.02)
    ip("netns", "del", namespace)


def remove_leftovers():
    """Namespaces of runs that were killed: the name says by which process they were made."""
    for namespace in namespaces():
        if not is_running(namespace[len(PREFIX):].split("-")[0]):
            remove(namespace)


def is_running(pid):
    try:
        with open("/proc/%s/stat" % pid) as stat:
            # One that nobody has waited for is still listed.
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Connection(http.client.HTTPConnection):
    """HTTP with a machine from within it: a cut does not come between."""

    def __init__(self, machine, port, timeout):
        super().__init__(machine.ip, port, timeout=timeout)
        self.machine = machine

    def connect(self):
        with self.machine:
            self.sock = socket.create_connection((self.host, self.port), self.timeout)


class Machine:
    def __init__(self, name, number):
        self.name, self.number = name, number
        self.ip = "10.77.0.%d" % number
        self.namespace = "%s%d-%s" % (PREFIX, os.getpid(), name)
        ip("netns", "add", self.namespace)
        self.fd = os.open("/run/netns/" + self.namespace, os.O_RDONLY | os.O_CLOEXEC)
        self.home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        with self:
            self.tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            request = struct.pack("16sH22x", b"eth0", IFF_TAP | IFF_NO_PI)
            fcntl.ioctl(self.tap, TUNSETIFF, request)
        within = ["-n", self.namespace]
        ip(*within, "link", "set", "lo", "up")
        ip(*within, "link", "set", "eth0", "address", "02:00:00:00:00:%02x" % number, "up")
        ip(*within, "addr", "add", self.ip + "/24", "dev", "eth0")

    def __enter__(self):
        """Sockets and interfaces made from here on are the machine's."""
        set_namespace(self.fd)

    def __exit__(self, *_):
        set_namespace(self.home)

    def start(self, command, log, **options):
        """Starts a process on the machine. It ends with this one, however that ends."""

        def prepare():
            set_namespace(self.fd)
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

        with open(log, "ab") as out:
            return subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, preexec_fn=prepare, **options
            )

    def processes(self):
        return processes_in(self.namespace)

    def ask(self, port, path, timeout=1.0):
        """GET: status, headers, body; `None` when nobody answers."""
        connection = Connection(self, port, timeout)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()

    def json(self, port, path):
        answer = self.ask(port, path)
        return json.loads(answer[2]) if answer and answer[0] == 200 else None

    def remove(self):
        remove(self.namespace)
        for fd in (self.fd, self.home, self.tap):
            os.close(fd)


class Network:
    """Machines by name, and how the network between them is."""

    def __init__(self, names, delay=0.001):
        self.machines = {}
        self.switch = None
        self.delay, self.loss, self.cuts = delay, 0.0, set()
        try:
            for number, name in enumerate(names, 1):
                self.machines[name] = Machine(name, number)
            taps = [machine.tap for machine in self.machines.values()]
            path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "switch.py")
            self.switch = subprocess.Popen(
                [sys.executable, path, *map(str, taps)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, pass_fds=taps, text=True,
            )
            self.apply()
        except BaseException:
            self.remove()
            raise

    def __getitem__(self, name):
        return self.machines[name]

    def apply(self):
        wanted = {"delay": self.delay, "loss": self.loss, "cuts": sorted(self.cuts)}
        self.switch.stdin.write(json.dumps(wanted) + "\n")
        self.switch.stdin.flush()
        if self.switch.stdout.readline() != "ok\n":
            raise RuntimeError("the switch has ended")

    def cut(self, some, others):
        """Nothing passes between these machines and those, either way."""
        for a in some:
            for b in others:
                self.cut_one_way(a, b, apply=False)
                self.cut_one_way(b, a, apply=False)
        self.apply()

    def cut_one_way(self, source, destination, apply=True):
        self.cuts.add((self[source].number, self[destination].number))
        if apply:
            self.apply()

    def heal(self):
        self.cuts.clear()
        self.apply()

    def lose(self, share):
        self.loss = share
        self.apply()

    def remove(self):
        for machine in self.machines.values():
            machine.remove()
        if self.switch is not None:
            self.switch.stdin.close()
            self.switch.wait()
