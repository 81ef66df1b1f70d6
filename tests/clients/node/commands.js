"use strict";

// Usage: node commands.js HOST PORT [INSTANCES]
//
// An unmodified mesos-framework scheduler that runs a shell command a few times, waits until every instance has
// finished, and tears itself down. Exits with 0 when all of them finished.

const { Scheduler, Mesos } = require("mesos-framework");
const builder = Mesos.getMesos();

const [host, port, instances] = [process.argv[2], Number(process.argv[3]), Number(process.argv[4] || 3)];

const scheduler = new Scheduler({
    masterUrl: host,
    port: port,
    frameworkName: "commands (mesos-framework)",
    logging: { level: "error" },
    restartStates: ["TASK_FAILED", "TASK_KILLED", "TASK_LOST", "TASK_ERROR"],
    tasks: {
        greetings: {
            priority: 1,
            instances: instances,
            commandInfo: new builder.CommandInfo(null, null, true, "echo hello from $MESOS_EXECUTOR_ID", null, null),
            resources: { cpus: 0.2, mem: 32, ports: 1, disk: 0 },
        },
    },
});

const finished = new Set();
const deadline = setTimeout(() => {
    console.error(`failed: ${finished.size} of ${instances} tasks finished within 60 s`);
    process.exit(1);
}, 60000);

scheduler.on("subscribed", (event) => console.log(`subscribed as ${event.frameworkId}`));
scheduler.on("error", (error) => console.error(`error: ${error.message || JSON.stringify(error)}`));
scheduler.on("update", (status) => {
    const update = status.status || status;
    console.log(`${update.task_id.value}: ${update.state}`);
    if (update.state === "TASK_FINISHED") {
        finished.add(update.task_id.value);
    }
    if (finished.size === instances) {
        clearTimeout(deadline);
        // The last acknowledgement goes out before the framework is gone.
        setTimeout(() => {
            scheduler.teardown();
            setTimeout(() => process.exit(0), 500);
        }, 500);
    }
});
scheduler.on("ready", () => scheduler.subscribe());
