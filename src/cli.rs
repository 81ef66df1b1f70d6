//! The command line: every subcommand with its flags and their help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand};
use detector::{HostPort, Masters};

use crate::values;

/// A cluster kernel: two-level scheduling as Apache Mesos does it, in one binary.
#[derive(Parser, Debug)]
#[command(name = "mesos", version, about, arg_required_else_help = true, disable_help_subcommand = false)]
#[command(after_help = "Examples:
  mesos pi                                   compute π on a cluster started for the purpose
  mesos local --agents 3                     a whole cluster in this process, until Ctrl-C
  mesos master --work_dir=/var/lib/mesos     a master on port 5050
  mesos agent --master=m1:5050,m2:5050,m3:5050 --work_dir=/var/lib/mesos
  mesos execute --master=m1:5050 --name=hello --command='echo hello'

Flags bear Mesos's names; dashes are as good as underscores, and MESOS_WORK_DIR in the environment as good as
--work_dir. `mesos COMMAND --help` describes each.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Run a master.
    Master(Box<MasterFlags>),
    /// Run an agent.
    Agent(Box<AgentFlags>),
    /// Run a whole cluster in this process, until Ctrl-C.
    Local(LocalFlags),
    /// Compute π by Monte Carlo on a cluster.
    Pi(PiFlags),
    #[command(hide = true)]
    PiExecutor,
    /// Follow particles along their parabolas and count where they land.
    Particles(ParticlesFlags),
    #[command(hide = true)]
    ParticlesExecutor,
    /// Run one command as a task, follow it, and exit with its outcome.
    Execute(ExecuteFlags),
    /// List the masters of a cluster, and change who they are.
    Masters(MastersFlags),
}

/// Flags of every part that listens.
#[derive(Args, Debug, Clone)]
pub(crate) struct ListenFlags {
    /// The IP address to listen on; all of them by default.
    #[arg(long = "ip", value_name = "IP")]
    pub(crate) ip: Option<std::net::IpAddr>,
    /// The IP address others are told, when it is not the one listened on.
    #[arg(long = "advertise_ip", value_name = "IP")]
    pub(crate) advertise_ip: Option<std::net::IpAddr>,
    /// The port others are told, when it is not the one listened on.
    #[arg(long = "advertise_port", value_name = "PORT")]
    pub(crate) advertise_port: Option<u16>,
    /// The host name announced; by default the IP address is.
    #[arg(long = "hostname", value_name = "NAME")]
    pub(crate) hostname: Option<String>,
}

/// Flags about the log.
#[derive(Args, Debug, Clone)]
pub(crate) struct LogFlags {
    /// What is logged to stderr: INFO, WARNING or ERROR. RUST_LOG says it more finely.
    #[arg(long = "logging_level", value_name = "LEVEL", default_value = "INFO", value_parser = ["INFO", "WARNING", "ERROR"])]
    pub(crate) logging_level: String,
    /// Log nothing.
    #[arg(long = "quiet", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = false, action = ArgAction::Set)]
    pub(crate) quiet: bool,
}

#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:
  mesos master --work_dir=/var/lib/mesos
  mesos master --work_dir=/var/lib/mesos --masters=m1:5050,m2:5050,m3:5050
                                             one of three, of which any may fail: the same on each machine
  mesos master --registry=in_memory --port=5050 --cluster=test
  MESOS_WORK_DIR=/var/lib/mesos mesos master")]
pub(crate) struct MasterFlags {
    /// Where the registry is kept. Required unless --registry=in_memory.
    #[arg(long = "work_dir", value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,
    /// All masters of the cluster, this one included: the same list on each. Without it this one is alone.
    ///
    /// Which of them this is, its port tells, and --hostname, --ip, --advertise_ip or what the names mean on this
    /// machine. A group that exists is changed by `mesos masters`, not by this list.
    #[arg(long = "masters", value_name = "HOST:PORT,…", value_delimiter = ',', action = ArgAction::Set,
          value_parser = values::master)]
    pub(crate) masters: Option<Vec<HostPort>>,
    /// The port to listen on.
    #[arg(long = "port", default_value_t = 5050)]
    pub(crate) port: u16,
    #[command(flatten)]
    pub(crate) listen: ListenFlags,
    #[command(flatten)]
    pub(crate) log: LogFlags,
    /// A name for the cluster, to be shown.
    #[arg(long = "cluster", value_name = "NAME")]
    pub(crate) cluster: Option<String>,
    /// `replicated_log` keeps the registry on disk, `in_memory` forgets it.
    #[arg(long = "registry", default_value = "replicated_log", value_parser = ["replicated_log", "in_memory"])]
    pub(crate) registry: String,
    /// How long reading the registry at the start may take.
    #[arg(long = "registry_fetch_timeout", default_value = "1mins", value_parser = values::duration)]
    pub(crate) registry_fetch_timeout: Duration,
    /// How long one change of the registry may take.
    #[arg(long = "registry_store_timeout", default_value = "20secs", value_parser = values::duration)]
    pub(crate) registry_store_timeout: Duration,
    /// How often unreachable and gone agents are looked through for those to forget.
    #[arg(long = "registry_gc_interval", default_value = "15mins", value_parser = values::duration)]
    pub(crate) registry_gc_interval: Duration,
    /// How long an unreachable or gone agent is remembered.
    #[arg(long = "registry_max_agent_age", default_value = "2weeks", value_parser = values::duration)]
    pub(crate) registry_max_agent_age: Duration,
    /// How many unreachable or gone agents are remembered.
    #[arg(long = "registry_max_agent_count", default_value_t = 102_400)]
    pub(crate) registry_max_agent_count: usize,
    /// A fault domain: {"fault_domain":{"region":{"name":"r"},"zone":{"name":"z"}}}.
    #[arg(long = "domain", value_name = "JSON")]
    pub(crate) domain: Option<String>,
    /// The only roles allowed, separated by commas. Deprecated.
    #[arg(long = "roles", value_name = "ROLE,…")]
    pub(crate) roles: Option<String>,
    /// Who decides who is offered what: `hierarchical`, also called `HierarchicalDRF`.
    #[arg(long = "allocator", value_name = "NAME", default_value = "hierarchical")]
    pub(crate) allocator: String,
    /// How roles take turns: `drf` by dominant share, `random` by lot.
    #[arg(long = "role_sorter", alias = "user_sorter", value_name = "SORTER", default_value = "drf")]
    pub(crate) role_sorter: String,
    /// How the frameworks of a role take turns; the same as --role_sorter.
    #[arg(long = "framework_sorter", value_name = "SORTER", default_value = "drf")]
    pub(crate) framework_sorter: String,
    /// After a failover with quota set, offers wait no longer than this for agents to come back.
    #[arg(long = "allocator_recovery_timeout", default_value = "10mins", value_parser = values::duration)]
    pub(crate) allocator_recovery_timeout: Duration,
    /// The part of the agents, 0 to 1, for which offers wait then.
    #[arg(long = "allocator_agent_recovery_factor", default_value_t = 0.8)]
    pub(crate) allocator_agent_recovery_factor: f64,
    /// A file of host names, read again every 5 s: only agents of these are offered. Without it, or with `*`, all are.
    #[arg(long = "whitelist", value_name = "FILE")]
    pub(crate) whitelist: Option<PathBuf>,
    /// What a regular expression of an offer constraint may take once compiled.
    #[arg(long = "offer_constraints_re2_max_mem", value_name = "SIZE", default_value = "4KB", value_parser = values::bytes)]
    pub(crate) offer_constraints_re2_max_mem: u64,
    /// How many instructions the program of such an expression may have.
    #[arg(long = "offer_constraints_re2_max_program_size", default_value_t = 100)]
    pub(crate) offer_constraints_re2_max_program_size: u32,
    /// How long after one look at all agents the next one comes.
    #[arg(long = "allocation_interval", default_value = "1secs", value_parser = values::duration)]
    pub(crate) allocation_interval: Duration,
    /// An offer has to hold one of these sets: names and amounts, `;` within a set, `|` between sets.
    #[arg(long = "min_allocatable_resources", default_value = "cpus:0.01|mem:32")]
    pub(crate) min_allocatable_resources: String,
    /// Also offer what is left where all cpus or all memory of an agent are kept for guarantees of other roles, as
    /// Mesos does. Without, only frameworks that named least amounts of their own are offered that.
    #[arg(long = "headroom_scraps", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    pub(crate) headroom_scraps: bool,
    /// Resources that do not count towards a share, separated by commas.
    #[arg(long = "fair_sharing_excluded_resource_names", value_name = "NAME,…")]
    pub(crate) fair_sharing_excluded_resource_names: Option<String>,
    /// Offer agents with GPUs only to frameworks that know GPU_RESOURCES.
    #[arg(long = "filter_gpu_resources", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value_t = true, action = ArgAction::Set)]
    pub(crate) filter_gpu_resources: bool,
    /// Rescind offers that are not answered within this time; never by default.
    #[arg(long = "offer_timeout", value_name = "DURATION", value_parser = values::duration)]
    pub(crate) offer_timeout: Option<Duration>,
    /// Let frameworks run as root.
    #[arg(long = "root_submissions", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value_t = true, action = ArgAction::Set)]
    pub(crate) root_submissions: bool,
    /// How long an agent may take to answer a ping.
    #[arg(long = "agent_ping_timeout", alias = "slave_ping_timeout", default_value = "15secs", value_parser = values::duration)]
    pub(crate) agent_ping_timeout: Duration,
    /// How many pings in a row may go unanswered before an agent is unreachable.
    #[arg(long = "max_agent_ping_timeouts", alias = "max_slave_ping_timeouts", default_value_t = 5)]
    pub(crate) max_agent_ping_timeouts: u32,
    /// How long a disconnected or recovered agent may take to come back; at least 10mins.
    #[arg(long = "agent_reregister_timeout", alias = "slave_reregister_timeout", default_value = "10mins", value_parser = values::duration)]
    pub(crate) agent_reregister_timeout: Duration,
    /// Exit rather than give up more than this part of the agents after a restart.
    #[arg(
        long = "recovery_agent_removal_limit",
        alias = "recovery_slave_removal_limit",
        default_value = "100%"
    )]
    pub(crate) recovery_agent_removal_limit: String,
    /// Give up so many agents per time at most, such as `10/1mins`; any number if not set.
    #[arg(
        long = "agent_removal_rate_limit",
        alias = "slave_removal_rate_limit",
        value_name = "NUMBER/DURATION"
    )]
    pub(crate) agent_removal_rate_limit: Option<String>,
    /// Weights of roles to begin with, such as `a=2,b=0.5`; once the registry has weights, those hold.
    #[arg(long = "weights", value_name = "ROLE=WEIGHT,...")]
    pub(crate) weights: Option<String>,
    /// Refuse agents without a fault domain.
    #[arg(long = "require_agent_domain", value_name = "BOOL", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", default_value_t = false, action = ArgAction::Set)]
    pub(crate) require_agent_domain: bool,
    /// How many completed frameworks are remembered.
    #[arg(long = "max_completed_frameworks", default_value_t = 50)]
    pub(crate) max_completed_frameworks: usize,
    /// How many completed tasks of a framework are remembered.
    #[arg(long = "max_completed_tasks_per_framework", default_value_t = 1000)]
    pub(crate) max_completed_tasks_per_framework: usize,
    /// How many unreachable tasks of a framework are remembered.
    #[arg(long = "max_unreachable_tasks_per_framework", default_value_t = 1000)]
    pub(crate) max_unreachable_tasks_per_framework: usize,
}

#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:
  mesos agent --master=m1:5050,m2:5050,m3:5050 --work_dir=/var/lib/mesos
  mesos agent --master=file:///etc/mesos/masters --work_dir=/var/lib/mesos
  mesos agent --master=m1:5050 --work_dir=/tmp/a1 --port=5052 --resources='cpus:4;mem:8192;ports:[31000-32000]'
  mesos agent --master=m1:5050 --work_dir=/tmp/a1 --attributes='rack:a1;os:linux'")]
pub(crate) struct AgentFlags {
    /// The masters, any of which tells who leads: m1:5050,m2:5050,m3:5050. Or a file that names them, read again every
    /// 5 s: file:///etc/mesos/masters.
    #[arg(long = "master", value_name = "HOST:PORT,…", value_parser = values::masters)]
    pub(crate) master: Masters,
    /// Where sandboxes and checkpoints lie. Nothing else may clean it.
    #[arg(long = "work_dir", value_name = "DIR")]
    pub(crate) work_dir: PathBuf,
    /// The port to listen on.
    #[arg(long = "port", default_value_t = 5051)]
    pub(crate) port: u16,
    #[command(flatten)]
    pub(crate) listen: ListenFlags,
    #[command(flatten)]
    pub(crate) log: LogFlags,
    /// What the agent offers: `cpus:4;mem:1024;ports:[31000-32000]`, or a JSON array. What is missing is detected.
    #[arg(long = "resources", value_name = "RESOURCES")]
    pub(crate) resources: Option<String>,
    /// What frameworks are told of the agent: `rack:a1;os:linux`.
    #[arg(long = "attributes", value_name = "KEY:VALUE;…")]
    pub(crate) attributes: Option<String>,
    /// The role of resources that name none.
    #[arg(long = "default_role", default_value = "*")]
    pub(crate) default_role: String,
    /// A fault domain: {"fault_domain":{"region":{"name":"r"},"zone":{"name":"z"}}}.
    #[arg(long = "domain", value_name = "JSON")]
    pub(crate) domain: Option<String>,
    /// The span that the wait before the first attempt to register is drawn from, unless the master that leads names
    /// a shorter one; it doubles with each attempt, up to 1mins. At most 1mins.
    #[arg(long = "registration_backoff_factor", default_value = "1secs", value_parser = values::duration)]
    pub(crate) registration_backoff_factor: Duration,
    /// How long an executor may take from launch to registration.
    #[arg(long = "executor_registration_timeout", default_value = "1mins", value_parser = values::duration)]
    pub(crate) executor_registration_timeout: Duration,
    /// How long an executor that is told to shut down may take, when it names no time itself.
    #[arg(long = "executor_shutdown_grace_period", default_value = "5secs", value_parser = values::duration)]
    pub(crate) executor_shutdown_grace_period: Duration,
    /// Variables for every executor: a JSON object of strings.
    #[arg(long = "executor_environment_variables", value_name = "JSON")]
    pub(crate) executor_environment_variables: Option<String>,
    /// Run tasks as the user they name; needs root.
    #[arg(long = "switch_user", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = ArgAction::Set)]
    pub(crate) switch_user: Option<bool>,
    /// What relative URIs are relative to.
    #[arg(long = "frameworks_home", value_name = "DIR")]
    pub(crate) frameworks_home: Option<PathBuf>,
    /// How long the directories of finished executors stay.
    #[arg(long = "gc_delay", default_value = "1weeks", value_parser = values::duration)]
    pub(crate) gc_delay: Duration,
    /// The part of the disk to keep free: the fuller, the sooner directories go.
    #[arg(long = "gc_disk_headroom", default_value_t = 0.1)]
    pub(crate) gc_disk_headroom: f64,
    /// How often the disk's usage is looked at.
    #[arg(long = "disk_watch_interval", default_value = "1mins", value_parser = values::duration)]
    pub(crate) disk_watch_interval: Duration,
    /// How many finished executors of a framework are remembered.
    #[arg(long = "max_completed_executors_per_framework", default_value_t = 150)]
    pub(crate) max_completed_executors_per_framework: usize,
    /// The isolators, separated by commas.
    #[arg(long = "isolation", default_value = "posix/cpu,posix/mem")]
    pub(crate) isolation: String,
}

#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:
  mesos local
  mesos local --agents 3 --resources='cpus:2;mem:1024'
  mesos local --masters 3 --agents 5          three masters on ports 5050 to 5052, of which one leads
  mesos local --port 0                        on a free port, which is printed
  mesos local --masters 3 --agents 5 --chaos 7 --logging_level=ERROR
                                              kills masters and agents while π is computed, which has to be right")]
pub(crate) struct LocalFlags {
    /// How many agents.
    #[arg(long = "agents", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(crate) agents: u16,
    /// How many masters; an odd number. One of them leads, and a majority has to be up.
    #[arg(long = "masters", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=9))]
    pub(crate) masters: u16,
    /// The master's port, or the first of several in a row; 0 takes free ones. Agents take free ones.
    #[arg(long = "port", default_value_t = 5050)]
    pub(crate) port: u16,
    /// The IP address to listen on.
    #[arg(long = "ip", value_name = "IP", default_value = "127.0.0.1")]
    pub(crate) ip: std::net::IpAddr,
    /// Where everything is kept; by default in a directory that goes with the cluster.
    #[arg(long = "work_dir", value_name = "DIR")]
    pub(crate) work_dir: Option<PathBuf>,
    /// What each agent offers; by default what the machine has.
    #[arg(long = "resources", value_name = "RESOURCES")]
    pub(crate) resources: Option<String>,
    /// What frameworks are told of each agent.
    #[arg(long = "attributes", value_name = "KEY:VALUE;…")]
    pub(crate) attributes: Option<String>,
    /// Compute π over and over, kill masters and agents meanwhile and start them again, and say so. Which and when is
    /// drawn from this number. Exits with 1 as soon as a π differs from the first.
    #[arg(long = "chaos", value_name = "SEED")]
    pub(crate) chaos: Option<u64>,
    /// For how long, with --chaos; until Ctrl-C by default.
    #[arg(long = "chaos_for", value_name = "DURATION", requires = "chaos", value_parser = values::duration)]
    pub(crate) chaos_for: Option<Duration>,
    #[command(flatten)]
    pub(crate) log: LogFlags,
}

#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:
  mesos masters list --master=m1:5050,m2:5050,m3:5050
  mesos masters transfer m2:5050              m2 is to lead
  mesos masters add m4:5050                   take in a master that was started with m4:5050 in its --masters
  mesos masters remove m1:5050                let a master go, be it up or down
  mesos masters add m3:5050                   take in m3 with a new disk, in place of the one it had
  mesos masters restore m1:5050 --from=/backup/registry --work_dir=/var/lib/mesos
                                              begin anew with a copy, when most disks are lost

Any master will do: it sends on to the leader. BEHIND is how many entries of the log a master has not got yet,
HEARD when the leader last heard from it. Exits with 1 when nothing was changed, nobody leads, or no master answers,
and says why.")]
pub(crate) struct MastersFlags {
    #[command(subcommand)]
    pub(crate) command: MastersCommand,
    /// The masters to ask, one after another.
    #[arg(long = "master", value_name = "MASTERS", default_value = "127.0.0.1:5050", global = true,
          value_parser = values::masters)]
    pub(crate) master: Masters,
}

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum MastersCommand {
    /// Who they are, who leads, and how far each has got.
    List,
    /// Take a master into the group. It gets the log first, and a vote when it has caught up.
    Add {
        /// The master, by the name it has in its own --masters.
        #[arg(value_name = "HOST:PORT", value_parser = values::master)]
        changed: HostPort,
    },
    /// Let a master go. A leader lets another lead first. Without a majority of the others this is refused.
    Remove {
        /// The master, by the name `mesos masters list` gives it.
        #[arg(value_name = "HOST:PORT", value_parser = values::master)]
        changed: HostPort,
    },
    /// Let another master lead, without the wait that a failure takes.
    Transfer {
        /// The master, by the name `mesos masters list` gives it.
        #[arg(value_name = "HOST:PORT", value_parser = values::master)]
        changed: HostPort,
    },
    /// Make the registry of a new group of a copy, when a majority of the masters' disks is lost for good. Asks nobody:
    /// it is to be run where the one master is that begins with it.
    Restore {
        /// The copy of a master's `<work_dir>/registry`, which stays as it is.
        #[arg(long = "from", value_name = "DIR")]
        from: PathBuf,
        /// The --work_dir of the master, without a registry yet.
        #[arg(long = "work_dir", value_name = "DIR")]
        work_dir: PathBuf,
        /// The master, by the name it will have in its own --masters.
        #[arg(value_name = "HOST:PORT", value_parser = values::master)]
        own: HostPort,
    },
}

#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:
  mesos pi
  mesos pi --tasks 100 --points 50000000
  mesos pi --master m1:5050,m2:5050,m3:5050

The last line on stdout is the result: pi = 3.14159 ± 0.00026 (20 tasks, 40000000 points, 1.2 s)")]
pub(crate) struct PiFlags {
    /// How many tasks the work is split into.
    #[arg(long = "tasks", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) tasks: u32,
    /// How many points each task draws.
    #[arg(long = "points", default_value_t = 2_000_000)]
    pub(crate) points: u64,
    /// Where the random numbers begin. The same seed gives the same π, however the work is split.
    #[arg(long = "seed", default_value_t = 1)]
    pub(crate) seed: u64,
    /// The masters of the cluster to run on, m1:5050,m2:5050,m3:5050, or a file that names them,
    /// file:///etc/mesos/masters; by default a cluster is started in this process for the purpose.
    #[arg(long = "master", value_name = "HOST:PORT,…", value_parser = values::masters)]
    pub(crate) master: Option<Masters>,
    /// What is logged to stderr: INFO, WARNING or ERROR.
    #[arg(long = "logging_level", value_name = "LEVEL", default_value = "ERROR", value_parser = ["INFO", "WARNING", "ERROR"])]
    pub(crate) logging_level: String,
}

#[derive(Args, Debug, Clone)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "Examples:
  mesos particles --count 1000000 --plot landing.svg
  mesos particles --input parabolas.csv --tasks 8 --master m1:5050,m2:5050,m3:5050
  mesos particles generate --count 1000000 --seed 7 --out parabolas.csv

Each line of the input is a parabola `a,b,c`: y = a·x² + b·x + c. A particle lands where its parabola's larger
root is: left of the origin, or right of it (a root at zero is right), or never.")]
pub(crate) struct ParticlesFlags {
    /// Make data instead of reading it.
    #[command(subcommand)]
    pub(crate) command: Option<ParticlesCommand>,
    /// A file with a parabola on each line; by default parabolas are generated.
    #[arg(long = "input", value_name = "FILE")]
    pub(crate) input: Option<PathBuf>,
    /// How many parabolas to generate when there is no input.
    #[arg(long = "count", default_value_t = 1_000_000)]
    pub(crate) count: u64,
    /// Where the generated parabolas begin.
    #[arg(long = "seed", default_value_t = 1)]
    pub(crate) seed: u64,
    /// How many tasks the work is split into.
    #[arg(long = "tasks", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) tasks: u32,
    /// Draw trajectories and a histogram of the landings.
    #[arg(long = "plot", value_name = "OUT.svg")]
    pub(crate) plot: Option<PathBuf>,
    /// Fail on the first line that is no parabola, instead of counting it.
    #[arg(long = "strict", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = false, action = ArgAction::Set)]
    pub(crate) strict: bool,
    /// The masters of the cluster to run on, m1:5050,m2:5050,m3:5050, or a file that names them,
    /// file:///etc/mesos/masters; by default a cluster is started in this process for the purpose.
    #[arg(long = "master", value_name = "HOST:PORT,…", value_parser = values::masters)]
    pub(crate) master: Option<Masters>,
    /// What is logged to stderr: INFO, WARNING or ERROR.
    #[arg(long = "logging_level", value_name = "LEVEL", default_value = "ERROR", value_parser = ["INFO", "WARNING", "ERROR"])]
    pub(crate) logging_level: String,
}

#[derive(Subcommand, Debug, Clone)]
pub(crate) enum ParticlesCommand {
    /// Write random parabolas to a file.
    Generate {
        /// How many.
        #[arg(long = "count", default_value_t = 1_000_000)]
        count: u64,
        /// Where they begin: the same seed makes the same file.
        #[arg(long = "seed", default_value_t = 1)]
        seed: u64,
        /// The file to write.
        #[arg(long = "out", value_name = "FILE")]
        out: PathBuf,
    },
}

#[derive(Args, Debug, Clone)]
#[command(after_help = "Examples:
  mesos execute --master=m1:5050 --name=hello --command='echo hello'
  mesos execute --master=m1:5050,m2:5050,m3:5050 --name=ls --no-shell --command=/bin/ls --argv=/bin/ls --argv=-l

Exits with 0 when the task finishes, with 1 when it does not.")]
pub(crate) struct ExecuteFlags {
    /// The masters of the cluster to run on, m1:5050,m2:5050,m3:5050, or a file that names them,
    /// file:///etc/mesos/masters.
    #[arg(long = "master", value_name = "HOST:PORT,…", value_parser = values::masters)]
    pub(crate) master: Masters,
    /// The name of the task.
    #[arg(long = "name", default_value = "command")]
    pub(crate) name: String,
    /// The command: a line for the shell, or with --no-shell a program.
    #[arg(long = "command", value_name = "COMMAND")]
    pub(crate) command: String,
    /// Whether the command is a line for the shell.
    #[arg(long = "shell", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = true, action = ArgAction::Set)]
    pub(crate) shell: bool,
    /// With --no-shell: the argument vector, argv[0] first; once for each argument.
    #[arg(long = "argv", value_name = "ARG", action = ArgAction::Append, allow_hyphen_values = true)]
    pub(crate) argv: Vec<String>,
    /// Variables for the command: a JSON object of strings.
    #[arg(long = "env", value_name = "JSON")]
    pub(crate) env: Option<String>,
    /// What the task takes.
    #[arg(long = "resources", default_value = "cpus:1;mem:128")]
    pub(crate) resources: String,
    /// The role to take it in.
    #[arg(long = "role", default_value = "*")]
    pub(crate) role: String,
    /// What is logged to stderr: INFO, WARNING or ERROR.
    #[arg(long = "logging_level", value_name = "LEVEL", default_value = "ERROR", value_parser = ["INFO", "WARNING", "ERROR"])]
    pub(crate) logging_level: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_flags_do_not_contradict_each_other() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_master_to_change_and_masters_to_ask_are_two_things() {
        let cli = Cli::try_parse_from(["mesos", "masters", "add", "m4", "--master=m1,m2"]).unwrap();
        let Command::Masters(MastersFlags { command: MastersCommand::Add { changed }, master }) = cli.command
        else {
            panic!("not what was said");
        };
        assert_eq!(
            (changed.to_string().as_str(), master.to_string().as_str()),
            ("m4:5050", "m1:5050,m2:5050")
        );
    }
}
