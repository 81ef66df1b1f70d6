"""Which master leads, without ZooKeeper: what pymesos needs to follow the lead from master to master.

pymesos follows a redirect to the leader by itself. When that leader is gone it goes on knocking at the same door;
`change_master`, which its detector for ZooKeeper calls, shows it another one.
"""

import http.client
import threading
from urllib.parse import urlparse


class LeaderDetector(threading.Thread):
    """Asks all masters, and tells the driver when another one leads."""

    INTERVAL = 0.3
    TIMEOUT = 1.0

    def __init__(self, driver, masters):
        super().__init__(daemon=True)
        self.driver, self.masters = driver, masters
        self.stopped = threading.Event()

    def run(self):
        while not self.stopped.wait(self.INTERVAL):
            leader = self.find()
            if leader and leader != self.driver.master:
                self.driver.change_master(leader)

    def stop(self):
        self.stopped.set()

    def find(self):
        for master in self.masters:
            leader = self.leader_by(master)
            # One that does not answer, or says something else, leads no more, whatever others still believe.
            if leader and (leader == master or self.leader_by(leader) == leader):
                return leader
        return None

    def leader_by(self, master):
        connection = http.client.HTTPConnection(master, timeout=self.TIMEOUT)
        try:
            connection.request("GET", "/redirect")
            answer = connection.getresponse()
            return urlparse(answer.getheader("Location", "")).netloc if answer.status == 307 else None
        except (OSError, http.client.HTTPException):
            return None
        finally:
            connection.close()
