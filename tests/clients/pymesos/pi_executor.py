"""The executor of pi_scheduler.py: an unmodified pymesos executor."""

import random
import sys
import threading
import time

from pymesos import Executor, MesosExecutorDriver, decode_data, encode_data


class PiExecutor(Executor):
    def launchTask(self, driver, task):
        threading.Thread(target=self.run, args=(driver, task)).start()

    def run(self, driver, task):
        self.update(driver, task, "TASK_RUNNING")
        index, n_points = (int(word) for word in decode_data(task["data"]).split())
        draw = random.Random(index).random
        inside = sum(1 for _ in range(n_points) if draw() ** 2 + draw() ** 2 < 1.0)
        result = encode_data(("%d %d" % (index, inside)).encode())
        # A message may be lost on its way, with a master for example; an update comes until it is acknowledged.
        driver.sendFrameworkMessage(result)
        self.update(driver, task, "TASK_FINISHED", data=result)

    @staticmethod
    def update(driver, task, state, **more):
        driver.sendStatusUpdate({"task_id": task["task_id"], "state": state, "timestamp": time.time(), **more})

    def shutdown(self, driver):
        driver.stop()


if __name__ == "__main__":
    driver = MesosExecutorDriver(PiExecutor())
    driver.run()
    sys.exit(0)
