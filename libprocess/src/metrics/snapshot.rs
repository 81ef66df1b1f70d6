//! All values of a node at one moment, and how they are written.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Metric, Pull, Queued, Registry};
use crate::event::Event;
use crate::future::{Future, Promise};
use crate::upid::Upid;

/// What a value is, to those who tell the kinds apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It grows, but for resets.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// For example `master/tasks_running`.
    pub name: Arc<str>,
    /// What it is.
    pub kind: Kind,
    /// Its value.
    pub value: f64,
}

/// The values of all metrics, sorted by name. It serializes as a JSON object of names and numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot(Vec<Sample>);

impl Snapshot {
    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        let index = self.0.binary_search_by(|sample| (*sample.name).cmp(name)).ok()?;
        Some(self.0[index].value)
    }

    /// All values, sorted by name.
    pub fn samples(&self) -> &[Sample] {
        &self.0
    }

    /// As a JSON object. What JSON cannot write (infinities, not-a-number) is left out.
    pub fn to_json(&self) -> Vec<u8> {
        // A map of strings to finite numbers has no way to fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// In Prometheus's text format. Names are spelled in its alphabet; of names that come out alike, each
    /// bears its own as a label.
    pub fn to_prometheus(&self) -> String {
        let mut spelled: Vec<(String, &Sample)> =
            self.0.iter().map(|sample| (prometheus_name(&sample.name), sample)).collect();
        spelled.sort_by(|a, b| a.0.cmp(&b.0));
        let mut out = String::with_capacity(self.0.len() * 64);
        for alike in spelled.chunk_by(|a, b| a.0 == b.0) {
            let (name, first) = &alike[0];
            let kind = match first.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
            };
            // Writing to a string does not fail.
            let _ = writeln!(out, "# TYPE {name} {kind}");
            for (_, sample) in alike {
                let _ = match alike.len() {
                    1 => writeln!(out, "{name} {}", prometheus_value(sample.value)),
                    _ => writeln!(
                        out,
                        "{name}{{name=\"{}\"}} {}",
                        escaped(&sample.name),
                        prometheus_value(sample.value)
                    ),
                };
            }
        }
        out
    }
}

impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for sample in self.0.iter().filter(|sample| sample.value.is_finite()) {
            map.serialize_entry(&*sample.name, &sample.value)?;
        }
        map.end()
    }
}

fn prometheus_name(name: &str) -> String {
    let mut spelled = String::with_capacity(name.len());
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        spelled.push('_');
    }
    spelled.extend(name.chars().map(|c| if c.is_ascii_alphanumeric() || c == ':' { c } else { '_' }));
    spelled
}

fn prometheus_value(value: f64) -> String {
    if value == f64::INFINITY {
        "+Inf".to_owned()
    } else if value == f64::NEG_INFINITY {
        "-Inf".to_owned()
    } else {
        value.to_string()
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// A snapshot that waits for processes to answer.
struct Pending {
    samples: Vec<Sample>,
    /// Shares of processes that are still out.
    n_out: usize,
    promise: Option<Promise<Snapshot>>,
}

/// One process's share of a snapshot. Dropping it, answered or not, counts it in.
struct Share(Arc<Mutex<Pending>>);

impl Drop for Share {
    fn drop(&mut self) {
        self.0.lock().n_out -= 1;
        finish(&self.0, false);
    }
}

/// Delivers the snapshot if every share is in, or if time is up.
fn finish(pending: &Mutex<Pending>, time_is_up: bool) {
    let mut pending = pending.lock();
    if pending.n_out > 0 && !time_is_up {
        return;
    }
    let Some(promise) = pending.promise.take() else { return };
    let mut samples = std::mem::take(&mut pending.samples);
    drop(pending);
    // Nearly sorted already: only what processes answered comes out of turn.
    samples.sort_by(|a, b| a.name.cmp(&b.name));
    promise.set(Snapshot(samples));
}

/// What one process is asked for.
#[derive(Default)]
struct Asked {
    pulls: Vec<(Arc<str>, Pull)>,
    queues: Vec<(Arc<str>, Queued)>,
}

/// Has a process evaluate its gauges.
fn pull_all(upid: &Upid, pulls: Vec<(Arc<str>, Pull)>, share: Share) {
    if pulls.is_empty() {
        return;
    }
    upid.post(Event::Call(Box::new(move |process, _| {
        let process = &*process;
        let values: Vec<Sample> = pulls
            .into_iter()
            .map(|(name, pull)| Sample { name, kind: Kind::Gauge, value: pull(process) })
            .collect();
        share.0.lock().samples.extend(values);
    })));
}

pub(super) fn take(registry: &Registry, timeout: Option<Duration>) -> Future<Snapshot> {
    let now = registry.environment.now();
    let mut samples = Vec::new();
    // One call per process, however many gauges it has.
    let mut asked: BTreeMap<Upid, Asked> = BTreeMap::new();
    {
        let entries = registry.entries.read();
        samples.reserve(entries.len());
        for (name, entry) in entries.iter() {
            let sample = |kind, value| Sample { name: name.clone(), kind, value };
            let recorder = match &entry.metric {
                Metric::Counter(counter) => {
                    samples.push(sample(Kind::Counter, counter.get() as f64));
                    counter.0.history.as_ref()
                }
                Metric::Gauge(gauge) => {
                    samples.push(sample(Kind::Gauge, gauge.get()));
                    None
                }
                Metric::Timer(timer) => {
                    samples.extend(timer.last_ms().map(|value| sample(Kind::Gauge, value)));
                    timer.0.windowed.then_some(&timer.0.recorder)
                }
                Metric::Pull(pull) => {
                    if let Some(owner) = &entry.owner {
                        asked.entry(owner.clone()).or_default().pulls.push((name.clone(), pull.clone()));
                    }
                    None
                }
                Metric::Queue(kind) => {
                    if let Some(owner) = &entry.owner {
                        asked.entry(owner.clone()).or_default().queues.push((name.clone(), *kind));
                    }
                    None
                }
            };
            let statistics = recorder.and_then(|recorder| recorder.history.lock().statistics(now));
            for (suffix, value) in statistics.into_iter().flatten() {
                let name = format!("{name}/{suffix}").into();
                samples.push(Sample { name, kind: Kind::Gauge, value });
            }
        }
    }
    let (promise, future) = Promise::new();
    let pending = Arc::new(Mutex::new(Pending { samples, n_out: asked.len() + 1, promise: Some(promise) }));
    // Held while the calls go out, so that the first answer does not finish the snapshot.
    let all_asked = Share(pending.clone());
    for (upid, Asked { pulls, queues }) in asked {
        let share = Share(pending.clone());
        match upid.local().filter(|_| !queues.is_empty()) {
            None => pull_all(&upid, pulls, share),
            // The queue first, or the call would count itself.
            Some(local) => {
                let (promise, waiting) = Promise::new();
                local.arena.queued(local.key, promise);
                let upid = upid.clone();
                waiting.settled(move |events| {
                    if let Ok(events) = events {
                        let sample = |(name, kind): (Arc<str>, Queued)| Sample {
                            name,
                            kind: Kind::Gauge,
                            value: kind.count(&events) as f64,
                        };
                        share.0.lock().samples.extend(queues.into_iter().map(sample));
                    }
                    pull_all(&upid, pulls, share);
                });
            }
        }
    }
    drop(all_asked);
    if let Some(timeout) = timeout
        && pending.lock().promise.is_some()
    {
        registry.environment.schedule(timeout, None, Box::new(move || finish(&pending, true)));
    }
    future
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(name: &str, kind: Kind, value: f64) -> Sample {
        Sample { name: name.into(), kind, value }
    }

    #[test]
    fn json_numbers_have_a_fraction_and_what_json_lacks_is_left_out() {
        let snapshot = Snapshot(vec![
            sample("a/count", Kind::Counter, 3.0),
            sample("b", Kind::Gauge, f64::NAN),
            sample("c \"quoted\"", Kind::Gauge, 0.25),
        ]);
        let json = String::from_utf8(snapshot.to_json()).unwrap();
        assert_eq!(json, r#"{"a/count":3.0,"c \"quoted\"":0.25}"#);
    }

    #[test]
    fn prometheus_names_are_spelled_in_its_alphabet_and_stay_apart() {
        let snapshot = Snapshot(vec![
            sample("1st", Kind::Gauge, f64::INFINITY),
            sample("a-b", Kind::Counter, 1.0),
            sample("a/b", Kind::Counter, 2.5),
            sample("master/tasks_running", Kind::Gauge, 7.0),
        ]);
        assert_eq!(
            snapshot.to_prometheus(),
            "# TYPE _1st gauge\n_1st +Inf\n\
             # TYPE a_b counter\na_b{name=\"a-b\"} 1\na_b{name=\"a/b\"} 2.5\n\
             # TYPE master_tasks_running gauge\nmaster_tasks_running 7\n"
        );
    }
}
