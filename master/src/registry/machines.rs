//! Maintenance: which machines are planned to be away when, and which are.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use api::internal::registry::Machine;
use api::v1::maintenance::Schedule;
use api::v1::{MachineId, MachineInfo, Unavailability, machine_info::Mode};

use super::operation::Machines;
use super::state::{Refused, Registry};

/// A machine as it is looked up: the same fields are set to the same values, host names in whatever case.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MachineKey {
    hostname: Option<String>,
    ip: Option<String>,
}

impl MachineKey {
    /// The key of a machine.
    pub fn of(id: &MachineId) -> MachineKey {
        // An empty text is what some clients send for none.
        let set = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        MachineKey { hostname: set(&id.hostname).map(|it| it.to_ascii_lowercase()), ip: set(&id.ip) }
    }
}

impl fmt::Display for MachineKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.hostname, &self.ip) {
            (Some(hostname), Some(ip)) => write!(f, "{hostname} ({ip})"),
            (Some(one), None) | (None, Some(one)) => f.write_str(one),
            (None, None) => f.write_str("without a name"),
        }
    }
}

/// A machine that can be meant.
fn checked(id: &MachineId) -> Result<MachineKey, Refused> {
    let key = MachineKey::of(id);
    if key.hostname.is_none() && key.ip.is_none() {
        return Err(Refused::invalid("a machine has a hostname, an IP address or both, but one has neither"));
    }
    if let Some(ip) = &key.ip
        && ip.parse::<Ipv4Addr>().is_err()
    {
        return Err(Refused::invalid(format!("`{ip}` is no IPv4 address of a machine")));
    }
    Ok(key)
}

impl Registry {
    /// The machines that are planned to be away, or are.
    pub fn machines(&self) -> impl Iterator<Item = (&MachineKey, &MachineInfo)> {
        self.machines.iter().map(|(key, machine)| (key, &machine.info))
    }

    /// A machine that is planned to be away, or is.
    pub fn machine(&self, key: &MachineKey) -> Option<&MachineInfo> {
        self.machines.get(key).map(|machine| &machine.info)
    }

    /// Whether anything is known of any machine.
    pub fn has_machines(&self) -> bool {
        !self.machines.is_empty()
    }

    /// The plan, if there is one.
    pub fn schedule(&self) -> Option<&Schedule> {
        self.rest.schedules.first()
    }

    pub(super) fn update_schedule(&mut self, schedule: &Schedule) -> Result<(), Refused> {
        let planned = planned(schedule)?;
        let is_down = |machine: &Machine| machine.info.mode() == Mode::Down;
        if let Some((key, _)) =
            self.machines.iter().find(|(key, machine)| is_down(machine) && !planned.contains_key(key))
        {
            return Err(Refused::invalid(format!(
                "machine {key} is down, so the plan has to keep it; bring it up first"
            )));
        }
        let machine = |(key, (id, unavailability)): (MachineKey, (&MachineId, Unavailability))| {
            let mode = self.machines.get(&key).map_or(Mode::Draining, |machine| machine.info.mode());
            let info =
                MachineInfo { id: id.clone(), mode: Some(mode.into()), unavailability: Some(unavailability) };
            (key, Arc::new(Machine { info }))
        };
        self.machines = planned.into_iter().map(machine).collect();
        let schedules = if schedule.windows.is_empty() { vec![] } else { vec![schedule.clone()] };
        Arc::make_mut(&mut self.rest).schedules = schedules;
        Ok(())
    }

    pub(super) fn start_maintenance(&mut self, machines: &Machines) -> Result<(), Refused> {
        for key in self.those_in(machines, Mode::Draining)? {
            if let Some(machine) = self.machines.get_mut(&key) {
                Arc::make_mut(machine).info.mode = Some(Mode::Down.into());
            }
        }
        Ok(())
    }

    pub(super) fn stop_maintenance(&mut self, machines: &Machines) -> Result<(), Refused> {
        let keys = self.those_in(machines, Mode::Down)?;
        for key in &keys {
            self.machines.remove(key);
        }
        let schedules = &mut Arc::make_mut(&mut self.rest).schedules;
        for schedule in schedules.iter_mut() {
            for window in &mut schedule.windows {
                window.machine_ids.retain(|id| keys.binary_search(&MachineKey::of(id)).is_err());
            }
            schedule.windows.retain(|window| !window.machine_ids.is_empty());
        }
        schedules.retain(|schedule| !schedule.windows.is_empty());
        Ok(())
    }

    /// The machines meant, sorted, if all are planned and in that mode.
    fn those_in(&self, machines: &Machines, mode: Mode) -> Result<Vec<MachineKey>, Refused> {
        if machines.ids.is_empty() {
            return Err(Refused::invalid("there has to be at least one machine"));
        }
        let mut keys = machines.ids.iter().map(checked).collect::<Result<Vec<_>, _>>()?;
        keys.sort();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Refused::invalid(format!("machine {} is there twice", pair[0])));
        }
        for key in &keys {
            let Some(machine) = self.machines.get(key) else {
                return Err(Refused::invalid(format!(
                    "machine {key} is not part of the maintenance schedule"
                )));
            };
            let found = machine.info.mode();
            if found != mode {
                return Err(Refused::invalid(format!(
                    "machine {key} is {}, not {}",
                    found.as_str_name(),
                    mode.as_str_name()
                )));
            }
        }
        Ok(keys)
    }
}

/// When each machine of a plan is away.
fn planned(schedule: &Schedule) -> Result<BTreeMap<MachineKey, (&MachineId, Unavailability)>, Refused> {
    let mut planned = BTreeMap::new();
    for window in &schedule.windows {
        if window.machine_ids.is_empty() {
            return Err(Refused::invalid("a window of the maintenance schedule has no machines"));
        }
        if let Some(duration) = window.unavailability.duration.filter(|it| it.nanoseconds < 0) {
            return Err(Refused::invalid(format!(
                "a window of the maintenance schedule lasts {} ns; that is negative",
                duration.nanoseconds
            )));
        }
        for id in &window.machine_ids {
            let key = checked(id)?;
            if planned.contains_key(&key) {
                return Err(Refused::invalid(format!("machine {key} is in the maintenance schedule twice")));
            }
            planned.insert(key, (id, window.unavailability));
        }
    }
    Ok(planned)
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    fn schedule(json: &str) -> Kind {
        Kind::UpdateSchedule(api::json::from_slice(json.as_bytes()).unwrap())
    }

    fn machines(names: &[&str]) -> Machines {
        let id = |name: &&str| match name.split_once('@') {
            Some((hostname, ip)) => MachineId { hostname: Some(hostname.into()), ip: Some(ip.into()) },
            None => MachineId { hostname: Some((*name).into()), ip: None },
        };
        Machines { ids: names.iter().map(id).collect() }
    }

    fn down(names: &[&str]) -> Kind {
        Kind::StartMaintenance(machines(names))
    }

    fn up(names: &[&str]) -> Kind {
        Kind::StopMaintenance(machines(names))
    }

    fn check(steps: Vec<(Kind, &str)>) {
        let mut registry = Registry::default();
        for (kind, expected) in steps {
            let before = registry.clone();
            let seen = match registry.apply(&kind.clone().into()) {
                Ok(()) => {
                    let machine = |(key, info): (&MachineKey, &MachineInfo)| {
                        let start = info.unavailability.map(|it| it.start.nanoseconds);
                        format!("{key} {} {}", info.mode().as_str_name(), start.unwrap_or(-1))
                    };
                    let windows = registry.schedule().map_or(0, |schedule| schedule.windows.len());
                    let all: Vec<_> = registry.machines().map(machine).collect();
                    format!("{} in {windows}", all.join(", "))
                }
                Err(refused) => {
                    assert_eq!(registry, before, "refused as a whole");
                    refused.to_string()
                }
            };
            assert_eq!(seen, expected, "{kind:?}");
            assert_eq!(Registry::from_proto(registry.to_proto()), Ok(registry.clone()), "proto round trip");
        }
    }

    const BOTH: &str = r#"{"windows": [
        {"machine_ids": [{"hostname": "A"}], "unavailability": {"start": {"nanoseconds": 1}}},
        {"machine_ids": [{"hostname": "b", "ip": "10.0.0.2"}], "unavailability": {"start": {"nanoseconds": 2}}}]}"#;

    #[test]
    fn machines_are_planned_taken_down_and_brought_up() {
        let moved = BOTH.replace(r#""nanoseconds": 1"#, r#""nanoseconds": 9"#);
        check(vec![
            (schedule(BOTH), "a DRAINING 1, b (10.0.0.2) DRAINING 2 in 2"),
            (up(&["a"]), "machine a is DRAINING, not DOWN"),
            (down(&["a"]), "a DOWN 1, b (10.0.0.2) DRAINING 2 in 2"),
            (down(&["B@10.0.0.2", "a"]), "machine a is DOWN, not DRAINING"),
            (schedule(&moved), "a DOWN 9, b (10.0.0.2) DRAINING 2 in 2"),
            (down(&["B@10.0.0.2"]), "a DOWN 9, b (10.0.0.2) DOWN 2 in 2"),
            (up(&["a"]), "b (10.0.0.2) DOWN 2 in 1"),
            (up(&["a"]), "machine a is not part of the maintenance schedule"),
            (up(&["b@10.0.0.2"]), " in 0"),
            (schedule(BOTH), "a DRAINING 1, b (10.0.0.2) DRAINING 2 in 2"),
            (schedule("{}"), " in 0"),
        ]);
    }

    #[test]
    fn a_machine_that_is_down_stays_in_the_plan() {
        let one = r#"{"windows": [{"machine_ids": [{"hostname": "a"}], "unavailability": {"start": {"nanoseconds": 1}}}]}"#;
        check(vec![
            (schedule(BOTH), "a DRAINING 1, b (10.0.0.2) DRAINING 2 in 2"),
            (down(&["b@10.0.0.2"]), "a DRAINING 1, b (10.0.0.2) DOWN 2 in 2"),
            (schedule(one), "machine b (10.0.0.2) is down, so the plan has to keep it; bring it up first"),
            (schedule("{}"), "machine b (10.0.0.2) is down, so the plan has to keep it; bring it up first"),
        ]);
    }

    #[test]
    fn what_cannot_be_planned_is_named() {
        let window = |ids: &str, more: &str| {
            schedule(&format!(
                r#"{{"windows": [{{"machine_ids": [{ids}], "unavailability": {{"start": {{"nanoseconds": 1}}{more}}}}}]}}"#
            ))
        };
        let twice = r#"{"hostname": "h"}, {"hostname": "H"}"#;
        let negative = r#", "duration": {"nanoseconds": -1}"#;
        check(vec![
            (window("", ""), "a window of the maintenance schedule has no machines"),
            (window("{}", ""), "a machine has a hostname, an IP address or both, but one has neither"),
            (
                window(r#"{"hostname": ""}"#, ""),
                "a machine has a hostname, an IP address or both, but one has neither",
            ),
            (window(r#"{"ip": "10.0.0"}"#, ""), "`10.0.0` is no IPv4 address of a machine"),
            (window(twice, ""), "machine h is in the maintenance schedule twice"),
            (
                window(r#"{"hostname": "h"}"#, negative),
                "a window of the maintenance schedule lasts -1 ns; that is negative",
            ),
            (down(&[]), "there has to be at least one machine"),
            (up(&[]), "there has to be at least one machine"),
            (down(&["h", "H"]), "machine h is there twice"),
            (down(&["h"]), "machine h is not part of the maintenance schedule"),
        ]);
    }
}
