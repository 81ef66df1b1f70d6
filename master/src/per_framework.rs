//! What is counted for each framework, below `master/frameworks/<name>/<id>/`.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use api::v1::FrameworkId;
use libprocess::Context;
use libprocess::metrics::{Counter, Gauge};

use crate::actor::Master;
use crate::cluster::Cluster;
use crate::effect::FrameworkEvent;

#[derive(Default)]
struct Counted {
    prefix: String,
    counters: HashMap<String, Counter>,
    gauges: HashMap<String, Gauge>,
}

/// The metrics of all frameworks that are known or remembered, and of the principals of their drivers.
#[derive(Default)]
pub(crate) struct PerFramework {
    frameworks: BTreeMap<FrameworkId, Counted>,
    principals: BTreeMap<String, [Counter; 2]>,
}

const PRINCIPAL: [&str; 2] = ["messages_received", "messages_processed"];

impl PerFramework {
    fn of(&mut self, cluster: &Cluster, id: &FrameworkId) -> &mut Counted {
        self.frameworks.entry(id.clone()).or_insert_with(|| {
            let known = cluster.frameworks.get(id).map(|it| it.info.name.clone());
            let removed =
                || cluster.frameworks.completed.iter().find(|it| it.id == *id).map(|it| it.info.name.clone());
            let name = known.or_else(removed).unwrap_or_default();
            Counted { prefix: format!("master/frameworks/{}/{id}/", encoded(&name)), ..Counted::default() }
        })
    }

    /// Counts one more.
    pub(crate) fn count(
        &mut self,
        cluster: &Cluster,
        id: &FrameworkId,
        name: &str,
        ctx: &mut Context<Master>,
    ) {
        let counted = self.of(cluster, id);
        if let Some(counter) = counted.counters.get(name) {
            return counter.inc();
        }
        let counter = ctx.metrics().counter(&format!("{}{name}", counted.prefix));
        counter.inc();
        counted.counters.insert(name.to_owned(), counter);
    }

    /// Counts a message of a principal's driver, when it comes and when it has been dealt with.
    pub(crate) fn count_message(&mut self, principal: &str, processed: bool, ctx: &mut Context<Master>) {
        if !self.principals.contains_key(principal) {
            let counters =
                PRINCIPAL.map(|name| ctx.metrics().counter(&format!("frameworks/{principal}/{name}")));
            self.principals.insert(principal.to_owned(), counters);
        }
        if let Some(counters) = self.principals.get(principal) {
            counters[usize::from(processed)].inc();
        }
    }

    /// Moves a number up or down.
    pub(crate) fn add(
        &mut self,
        cluster: &Cluster,
        id: &FrameworkId,
        name: &str,
        change: f64,
        ctx: &mut Context<Master>,
    ) {
        let counted = self.of(cluster, id);
        let prefix = &counted.prefix;
        let make = |name: &String| ctx.metrics().gauge(&format!("{prefix}{name}"));
        counted.gauges.entry(name.to_owned()).or_insert_with_key(make).add(change);
    }

    /// Shows for each role of a framework whether it is suppressed, and for no other.
    pub(crate) fn show_roles(&mut self, cluster: &Cluster, id: &FrameworkId, ctx: &mut Context<Master>) {
        let Some(framework) = cluster.frameworks.get(id) else { return };
        let quiet: BTreeSet<&String> = framework.options.suppressed_roles.iter().collect();
        let roles = framework.roles().into_iter();
        let roles: BTreeMap<_, _> = roles.map(|role| (suppressed(&role), quiet.contains(&role))).collect();
        let counted = self.of(cluster, id);
        let prefix = &counted.prefix;
        counted.gauges.retain(|name, _| {
            let kept = !name.starts_with(ROLES) || roles.contains_key(name);
            if !kept {
                ctx.metrics().remove(&format!("{prefix}{name}"));
            }
            kept
        });
        for (name, suppressed) in roles {
            let make = |name: &String| ctx.metrics().gauge(&format!("{prefix}{name}"));
            counted.gauges.entry(name).or_insert_with_key(make).set(f64::from(suppressed));
        }
    }

    /// Takes the metrics of a framework away.
    pub(crate) fn forget(&mut self, cluster: &Cluster, id: &FrameworkId, ctx: &mut Context<Master>) {
        let speaks = |principal: &str| {
            let mut all = cluster.frameworks.registered.values();
            all.any(|framework| framework.info.principal.as_deref() == Some(principal))
        };
        self.principals.retain(|principal, _| {
            let kept = speaks(principal);
            for name in PRINCIPAL.iter().filter(|_| !kept) {
                ctx.metrics().remove(&format!("frameworks/{principal}/{name}"));
            }
            kept
        });
        let Some(counted) = self.frameworks.remove(id) else { return };
        for name in counted.counters.keys().chain(counted.gauges.keys()) {
            ctx.metrics().remove(&format!("{}{name}", counted.prefix));
        }
    }
}

const ROLES: &str = "roles/";

/// The gauge of a role, below the framework's own; a nested role's name is several components there too.
fn suppressed(role: &str) -> String {
    format!("{ROLES}{role}/suppressed")
}

/// A name as one component of a metric's name: all but letters, digits and `-_.` percent-encoded.
fn encoded(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.') {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// What an event counts as.
pub(crate) fn event_name(event: &FrameworkEvent) -> &'static str {
    match event {
        FrameworkEvent::Registered(_) | FrameworkEvent::Reregistered(_) => "events/subscribed",
        FrameworkEvent::Offers(_) => "events/offers",
        FrameworkEvent::Rescind(_) => "events/rescind",
        FrameworkEvent::InverseOffers(_) => "events/inverse_offers",
        FrameworkEvent::RescindInverse(_) => "events/rescind_inverse_offer",
        FrameworkEvent::Status(_) => "events/update",
        FrameworkEvent::LostAgent(_) | FrameworkEvent::ExitedExecutor(_) => "events/failure",
        FrameworkEvent::FromExecutor(_) => "events/message",
        FrameworkEvent::OperationStatus(_) => "events/update_operation_status",
        FrameworkEvent::Error(_) => "events/error",
    }
}

#[cfg(test)]
mod tests {
    use super::encoded;

    #[test]
    fn names_are_one_component() {
        assert_eq!(encoded("Pi (Rust)/1.0"), "Pi%20%28Rust%29%2F1.0");
    }
}
