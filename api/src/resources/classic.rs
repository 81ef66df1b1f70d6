//! The JSON object that `/state` and its siblings show for resources.

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Name, Resources, Value};

/// Resources as one JSON object: `cpus`, `gpus`, `mem` and `disk` always, as numbers; other names as they are,
/// ranges as `"[31000-32000]"`, sets as `"{a, b}"`; revocable ones under `name_revocable`.
#[derive(Clone, Copy, Debug)]
pub struct Classic<'a>(pub &'a Resources);

impl Classic<'_> {
    /// The sum of all entries of one name that are revocable or not, as long as they are of the first one's
    /// type.
    fn sum(&self, name: &Name, revocable: bool) -> Option<Value> {
        let mut entries = self.0.iter().filter(|e| e.name() == name && e.is_revocable() == revocable);
        let mut sum = entries.next()?.value().clone();
        entries.for_each(|entry| sum.add(entry.value()));
        Some(sum)
    }
}

const ALWAYS: [Name; 4] = [Name::CPUS, Name::GPUS, Name::MEM, Name::DISK];

impl Serialize for Classic<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for name in ALWAYS {
            match self.sum(&name, false) {
                Some(value) => map.serialize_entry(name.as_str(), &Shown(&value))?,
                None => map.serialize_entry(name.as_str(), &0.0)?,
            }
        }
        for revocable in [false, true] {
            for (i, entry) in self.0.iter().enumerate() {
                let name = entry.name();
                let same = |other: &super::Entry| other.name() == name && other.is_revocable() == revocable;
                let shown = self.0.iter().take(i).any(same) || (!revocable && ALWAYS.contains(name));
                if entry.is_revocable() != revocable || shown {
                    continue;
                }
                if let Some(value) = self.sum(name, revocable) {
                    match revocable {
                        false => map.serialize_entry(name.as_str(), &Shown(&value))?,
                        true => map.serialize_entry(&format!("{name}_revocable"), &Shown(&value))?,
                    }
                }
            }
        }
        map.end()
    }
}

struct Shown<'a>(&'a Value);

impl Serialize for Shown<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Scalar(amount) => serializer.serialize_f64(amount.to_f64()),
            Value::Ranges(ranges) => serializer.collect_str(ranges),
            Value::Set(items) => serializer.collect_str(items),
        }
    }
}
