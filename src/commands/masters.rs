//! `mesos masters`: who the masters are, and changes of who they are.

use std::process::ExitCode;

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
    masters: Vec<Member>,
}

#[derive(Deserialize)]
struct Member {
    master: String,
    voter: bool,
    leader: bool,
    matched: Option<u64>,
    heard_ms_ago: Option<u64>,
}

pub(crate) fn run(flags: MastersFlags) -> anyhow::Result<ExitCode> {
    let masters = match flags.master.read()? {
        Masters::Listed(masters) => masters,
        Masters::Appointed(master) => vec![master.address().into()],
        // `read` gives none of these.
        Masters::File(path) => bail!("`{}` names no masters", path.display()),
    };
    let reply = match flags.command {
        MastersCommand::List => ask(&masters, "GET", "/master/masters")?,
    };
    if reply.status != 200 {
        bail!("{}", reply.body.trim());
    }
    let group: Group = serde_json::from_str(&reply.body).context("the answer is no list of masters")?;
    print!("{}", table(&group));
    if group.leader.is_none() {
        bail!("nobody leads; a majority of these masters has to be up and to reach each other");
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks one master after another, and goes where they send on to.
fn ask(masters: &[HostPort], method: &str, path: &str) -> anyhow::Result<Reply> {
    let mut failures = Vec::new();
    for master in masters {
        match follow(master, method, path) {
            Ok(reply) => return Ok(reply),
            Err(error) => failures.push(format!("{error:#}")),
        }
    }
    bail!("no master answered: {}; --master says where masters are", failures.join("; "))
}

fn follow(master: &HostPort, method: &str, path: &str) -> anyhow::Result<Reply> {
    let (mut at, mut path) = (master.clone(), path.to_owned());
    for _ in 0..MAX_REDIRECTS {
        let reply = http::ask(&at, method, &path)?;
        if reply.status != 307 {
            return Ok(reply);
        }
        let location = reply.location.unwrap_or_default();
        let (authority, below) = location
            .strip_prefix("//")
            .and_then(|rest| rest.split_once('/'))
            .with_context(|| format!("{at} sends on to `{location}`, which names no master"))?;
        (at, path) = (authority.parse()?, format!("/{below}"));
    }
    bail!("{master} and others send on to each other; nobody leads yet")
}

fn table(group: &Group) -> String {
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
            table(&group),
            "\
MASTER                 ROLE     BEHIND  HEARD
m1:5050                leader   0       -
master-2.example:5050  standby  2       0.0 s ago
m3:5050                joining  -       -
term 7
"
        );
    }
}
