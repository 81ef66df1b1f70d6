"""The switch between the machines of a test: an Ethernet switch in user space.

Usage: switch.py FD... A line of JSON on stdin says how the network is from then on, and is answered with a line:
{"delay": SECONDS, "loss": SHARE, "cuts": [[FROM, TO], ...]}. Ports are numbered from 1, in the order of their file
descriptors; a frame from FROM to TO of a cut is dropped without a word. Ends when stdin does.

It does what `tc netem` and packet filters would: many kernels are built without netem, and here delay, loss and
one-way cuts are the same everywhere.
"""

import heapq
import json
import os
import random
import select
import sys
import time

FRAME_MAX = 65536
# More than this many frames under way: the rest is dropped, as a switch does when its buffers are full.
UNDER_WAY_MAX = 20000
BROADCAST = b"\xff" * 6
IPV6 = b"\x86\xdd"


class Switch:
    def __init__(self, taps):
        self.taps = taps  # port -> file descriptor
        self.delay, self.loss, self.cuts = 0.0, 0.0, frozenset()
        self.under_way = []  # heap of (due, number, file descriptor, frame)
        self.n_frames = 0
        self.random = random.Random(1)

    def configure(self, line):
        wanted = json.loads(line)
        self.delay, self.loss = wanted["delay"], wanted["loss"]
        self.cuts = frozenset((a, b) for a, b in wanted["cuts"])

    def take(self, port, frame, now):
        to = frame[:6]
        # Machines speak IPv4 here; what IPv6 sends unasked would only be noise.
        if len(frame) < 14 or frame[12:14] == IPV6 or len(self.under_way) >= UNDER_WAY_MAX:
            return
        if to == BROADCAST:
            ports = [other for other in self.taps if other != port]
        else:
            # The last byte of a machine's address is its port.
            ports = [to[5]] if to[5] in self.taps else []
        for other in ports:
            if (port, other) in self.cuts or self.random.random() < self.loss:
                continue
            self.n_frames += 1
            heapq.heappush(self.under_way, (now + self.delay, self.n_frames, self.taps[other], frame))

    def deliver(self, now):
        while self.under_way and self.under_way[0][0] <= now:
            _, _, tap, frame = heapq.heappop(self.under_way)
            try:
                os.write(tap, frame)
            except OSError:
                pass  # Its queue is full, or the interface is down: dropped, as on any network.

    def run(self):
        ports = {tap: port for port, tap in self.taps.items()}
        control = sys.stdin.fileno()
        rest = b""
        while True:
            wait = max(0.0, self.under_way[0][0] - time.monotonic()) if self.under_way else None
            readable, _, _ = select.select([control, *ports], [], [], wait)
            for fd in readable:
                if fd == control:
                    data = os.read(control, 65536)
                    if not data:
                        return
                    *lines, rest = (rest + data).split(b"\n")
                    for line in lines:
                        self.configure(line)
                        print("ok", flush=True)
                else:
                    try:
                        self.take(ports[fd], os.read(fd, FRAME_MAX), time.monotonic())
                    except OSError:
                        pass  # The interface is not up yet.
            self.deliver(time.monotonic())


if __name__ == "__main__":
    Switch({port: int(fd) for port, fd in enumerate(sys.argv[1:], 1)}).run()
