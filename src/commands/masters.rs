//! `mesos masters`: who the masters are, and changes of who they are.

use std::cell::Cell;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use detector::{HostPort, Masters};
use serde::Deserialize;

use crate::cli::{MastersCommand, MastersFlags};
use crate::http::{self, Reply};

/// A redirect names the leader; a second one names the next, when it changes just then.
const MAX_REDIRECTS: usize = 4;

/// What `/masters` answers.
#[derive(Deserialize)]
struct Group {
    term: u64,
    leader: Option<String>,
    waits: Option<String>,
    masters: Vec<Member>,
}

impl Group {
    /// Whether the one that leads has answered: only that knows how far the others are.
    fn is_led(&self) -> bool {
        self.masters.iter().any(|member| member.leader && member.matched.is_some())
    }
}

#[derive(Deserialize)]
struct Member {
    master: String,
    voter: bool,
    leader: bool,
    matched: Option<u64>,
    heard_ms_ago: Option<u64>,
}

/// How long it may take until all know who leads, after a failure or a change.
const SETTLES: Duration = Duration::from_secs(10);

/// How often it is looked whether they do.
const LOOK: Duration = Duration::from_millis(100);

/// After so many looks a master that waits for a group is taken at its word.
const WAITS_FOR_LONG: u32 = 30;

pub(crate) fn run(flags: MastersFlags) -> anyhow::Result<ExitCode> {
    if let MastersCommand::Restore { from, work_dir, own } = &flags.command {
        return restore(from, work_dir, own);
    }
    let masters = match flags.master.read()? {
        Masters::Listed(masters) => masters,
        Masters::Appointed(master) => vec![master.address().into()],
        // `read` gives none of these.
        Masters::File(path) => bail!("`{}` names no masters", path.display()),
    };
    let (change, changed) = match flags.command {
        MastersCommand::List | MastersCommand::Restore { .. } => return list(&masters),
        MastersCommand::Add { changed } => ("add", changed),
        MastersCommand::Remove { changed } => ("remove", changed),
        MastersCommand::Transfer { changed } => ("transfer", changed),
    };
    // To ask again for what was done already is harmless.
    let path = format!("/master/masters/{change}?master={changed}");
    let known = |reply: &Reply| reply.status != 503;
    let reply = patiently(|| ask(&masters, "POST", &path, known), known)?;
    if reply.status != 200 {
        bail!("{}", reply.body.trim());
    }
    // Who was to go may be the one that is asked first.
    let others: Vec<HostPort> = masters.iter().filter(|master| **master != changed).cloned().collect();
    let masters = if change == "remove" && !others.is_empty() { &others } else { &masters };
    let _ = patiently(|| group(masters), Group::is_led);
    list(masters)
}

/// Makes the registry of a new group of a copy, for the master at `own`.
fn restore(from: &Path, work_dir: &Path, own: &HostPort) -> anyhow::Result<ExitCode> {
    std::fs::create_dir_all(work_dir)
        .with_context(|| format!("could not create `{}`", work_dir.display()))?;
    let registry = master::registry::restore(from, &work_dir.join("registry"), &own.to_string())?;
    println!(
        "{own} begins with {} agents, {} unreachable and {} gone. Start it; then start each of the others with an \
         empty directory, and take it in with `mesos masters add`",
        registry.admitted().len(),
        registry.unreachable().count(),
        registry.gone().count()
    );
    Ok(ExitCode::SUCCESS)
}

/// Tries until the outcome is good or no better one is to be expected.
#[expect(clippy::disallowed_methods, reason = "no actor: it waits for the masters to settle")]
fn patiently<T>(
    mut attempt: impl FnMut() -> anyhow::Result<T>,
    good: impl Fn(&T) -> bool,
) -> anyhow::Result<T> {
    let deadline = Instant::now() + SETTLES;
    loop {
        match attempt() {
            Ok(outcome) if good(&outcome) || Instant::now() > deadline => return Ok(outcome),
            Ok(_) => {}
            Err(error) if error.is::<NobodyThere>() || Instant::now() > deadline => return Err(error),
            Err(_) => {}
        }
        std::thread::sleep(LOOK);
    }
}

fn group(masters: &[HostPort]) -> anyhow::Result<Group> {
    let parsed = |reply: &Reply| serde_json::from_str::<Group>(&reply.body);
    let led = |reply: &Reply| parsed(reply).is_ok_and(|group| group.leader.is_some());
    let reply = ask(masters, "GET", "/master/masters", led)?;
    if reply.status != 200 {
        bail!("{}", reply.body.trim());
    }
    parsed(&reply).context("the answer is no list of masters")
}

fn list(masters: &[HostPort]) -> anyhow::Result<ExitCode> {
    // One that has just begun waits for a moment in any case.
    let n_waited = Cell::new(0);
    let good = |group: &Group| {
        n_waited.set(n_waited.get() + 1);
        group.leader.is_some() || (group.waits.is_some() && n_waited.get() > WAITS_FOR_LONG)
    };
    let group = patiently(|| group(masters), good)?;
    // One that names a leader has only not taken over the group yet.
    if let Some(waits) = group.waits.as_ref().filter(|_| group.leader.is_none()) {
        bail!("the master that was asked belongs to no group yet: {waits}");
    }
    let led = group.leader.is_some();
    print!("{}", table(group));
    if !led {
        bail!("nobody leads; a majority of these masters has to be up and to reach each other");
    }
    Ok(ExitCode::SUCCESS)
}

/// No master is up where one was said to be.
#[derive(Debug, thiserror::Error)]
#[error("no master answered: {}; --master says where masters are", .0.join("; "))]
struct NobodyThere(Vec<String>);

/// Asks one master after another, and goes where they send on to, until an answer is good. One that belongs to no
/// group, or is cut off from it, knows less than others.
fn ask(
    masters: &[HostPort],
    method: &str,
    path: &str,
    good: impl Fn(&Reply) -> bool,
) -> anyhow::Result<Reply> {
    let (mut failures, mut best) = (Vec::new(), None);
    let belongs = |answer: &anyhow::Result<Reply>| answer.as_ref().is_ok_and(|reply| !waits(reply));
    for master in masters {
        match http::ask(master, method, path) {
            Ok(reply) => match follow(master, reply, method) {
                Ok(reply) if good(&reply) => return Ok(reply),
                other if best.is_none() || belongs(&other) => best = best.filter(belongs).or(Some(other)),
                _ => {}
            },
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    best.unwrap_or_else(|| Err(NobodyThere(failures).into()))
}

/// Whether that is the answer of a master that belongs to no group yet.
fn waits(reply: &Reply) -> bool {
    serde_json::from_str::<Group>(&reply.body).is_ok_and(|group| group.waits.is_some())
}

fn follow(master: &HostPort, mut reply: Reply, method: &str) -> anyhow::Result<Reply> {
    let mut at = master.clone();
    for _ in 0..MAX_REDIRECTS {
        if reply.status != 307 {
            return Ok(reply);
        }
        let location = reply.location.unwrap_or_default();
        let (authority, below) = location
            .strip_prefix("//")
            .and_then(|rest| rest.split_once('/'))
            .with_context(|| format!("{at} sends on to `{location}`, which names no master"))?;
        at = authority.parse()?;
        reply = http::ask(&at, method, &format!("/{below}"))?;
    }
    bail!("{master} and others send on to each other; nobody leads yet")
}

fn table(mut group: Group) -> String {
    group.masters.sort_by(|a, b| a.master.cmp(&b.master));
    let last = group.masters.iter().filter_map(|it| it.matched).max();
    let mut rows = vec![["MASTER", "ROLE", "BEHIND", "HEARD"].map(str::to_owned)];
    for member in &group.masters {
        let role = match (member.leader, member.voter) {
            (true, _) => "leader",
            (false, true) => "standby",
            (false, false) => "joining",
        };
        let behind = member.matched.zip(last).map(|(at, last)| last.saturating_sub(at).to_string());
        let heard = member.heard_ms_ago.map(|ms| format!("{:.1} s ago", ms as f64 / 1000.0));
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        rows.push([member.master.clone(), role.to_owned(), or_dash(behind), or_dash(heard)]);
    }
    let width = |n: usize| rows.iter().map(|row| row[n].chars().count()).max().unwrap_or(0);
    let (first, second, third) = (width(0), width(1), width(2));
    let lines = rows.iter().map(|[master, role, behind, heard]| {
        format!("{master:first$}  {role:second$}  {behind:third$}  {heard}").trim_end().to_owned() + "\n"
    });
    format!("{}term {}\n", lines.collect::<String>(), group.term)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_who_leads_and_who_is_behind() {
        let group = r#"{"term":7,"leader":"m1:5050","masters":[
            {"master":"m1:5050","id":"1","voter":true,"leader":true,"matched":120},
            {"master":"master-2.example:5050","id":"2","voter":true,"leader":false,"matched":118,"heard_ms_ago":49},
            {"master":"m3:5050","id":"3","voter":false,"leader":false}]}"#;
        let group: Group = serde_json::from_str(group).unwrap();
        assert_eq!(
            table(group),
            "\
MASTER                 ROLE     BEHIND  HEARD
m1:5050                leader   0       -
m3:5050                joining  -       -
master-2.example:5050  standby  2       0.0 s ago
term 7
"
        );
    }
}
