//! Properties that hold for every message, over random messages made from the table of messages.

use api::schema::{Described, Field, Kind, Label, Schema};
use api::{internal, json, v0, v1, wire};
use proptest::prelude::*;
use prost::encoding::{WireType, encode_key, encode_varint};

/// Makes a message from random bytes; when they run out, the smallest one.
struct Maker<'a> {
    entropy: std::slice::Iter<'a, u8>,
    /// Leave out the required field with this number of required ones before it.
    leave_out: Option<usize>,
    /// Where the field that was left out would be.
    left_out: Option<String>,
}

impl Maker<'_> {
    fn byte(&mut self) -> u8 {
        self.entropy.next().copied().unwrap_or(0)
    }

    fn word(&mut self) -> u64 {
        // Small numbers as often as large ones.
        let n_bytes = self.byte() % 9;
        (0..n_bytes).fold(0, |word, _| word << 8 | u64::from(self.byte()))
    }

    fn text(&mut self) -> String {
        const CHARACTERS: [char; 8] = ['a', 'Z', '0', '"', '\\', '\n', 'é', '🦀'];
        (0..self.byte() % 6).map(|_| CHARACTERS[usize::from(self.byte() % 8)]).collect()
    }

    fn message(&mut self, schema: &'static Schema, path: &str, depth: usize) -> Vec<u8> {
        let mut out = Vec::new();
        for field in schema.fields {
            let nested = field.kind.as_message().is_some();
            let path =
                if path.is_empty() { field.name.to_string() } else { format!("{path}.{}", field.name) };
            match field.label {
                Label::Required => {
                    if self.leave_out == Some(0) {
                        self.left_out = Some(path);
                        self.leave_out = None;
                        continue;
                    }
                    self.leave_out = self.leave_out.map(|n| n - 1);
                    self.value(field, &path, depth, &mut out);
                }
                // Plain ones always: reading JSON sets those that have a default.
                Label::Optional if !nested => self.value(field, &path, depth, &mut out),
                Label::Optional => {
                    if depth < 6 && self.byte() % 3 == 1 {
                        self.value(field, &path, depth, &mut out);
                    }
                }
                Label::Repeated | Label::Map if depth >= 6 => {}
                Label::Repeated => {
                    for i in 0..self.byte() % 3 {
                        self.value(field, &format!("{path}[{i}]"), depth, &mut out);
                    }
                }
                // On the wire a list of messages of key and value. One entry at most, so that keys never repeat.
                Label::Map => {
                    if self.byte() % 3 == 1 {
                        let Some([key, value]) = field.kind.as_message().map(|entry| entry.fields) else {
                            unreachable!("a map has an entry of two fields");
                        };
                        let text = self.text();
                        let mut entry = Vec::new();
                        length_delimited(key, text.as_bytes(), &mut entry);
                        self.value(value, &format!("{path}[0].value"), depth, &mut entry);
                        length_delimited(field, &entry, &mut out);
                    }
                }
            }
        }
        out
    }

    fn value(&mut self, field: &'static Field, path: &str, depth: usize, out: &mut Vec<u8>) {
        let varint = match field.kind {
            Kind::Double => {
                let double = f64::from_bits(self.word().reverse_bits());
                let double = if double.is_nan() { 0.5 } else { double };
                encode_key(field.number, WireType::SixtyFourBit, out);
                return out.extend_from_slice(&double.to_le_bytes());
            }
            Kind::String => return length_delimited(field, self.text().as_bytes(), out),
            Kind::Bytes => return length_delimited(field, &self.word().to_le_bytes(), out),
            Kind::Message(_) => {
                let Some(schema) = field.kind.as_message() else { return };
                let inner = self.message(schema, path, depth + 1);
                return length_delimited(field, &inner, out);
            }
            Kind::Enum(_) => {
                let values = field.kind.as_enum().map_or(&[][..], |it| it.values);
                i64::from(values[usize::from(self.byte()) % values.len()].1).cast_unsigned()
            }
            Kind::Bool => u64::from(self.byte() % 2),
            Kind::Int32 => i64::from((self.word() as u32).cast_signed()).cast_unsigned(),
            Kind::Uint32 => u64::from(self.word() as u32),
            Kind::Int64 | Kind::Uint64 => self.word(),
        };
        encode_key(field.number, WireType::Varint, out);
        encode_varint(varint, out);
    }
}

fn length_delimited(field: &Field, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(field.number, WireType::LengthDelimited, out);
    encode_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

fn make<M: Described>(entropy: &[u8]) -> Vec<u8> {
    let mut maker = Maker { entropy: entropy.iter(), leave_out: None, left_out: None };
    maker.message(M::schema(), "", 0)
}

/// Everything at once, since making the messages is most of the work.
fn check<M: Described + PartialEq + serde::Serialize>(entropy: &[u8]) -> Result<(), TestCaseError> {
    let body = make::<M>(entropy);
    let message = wire::decode::<M>(&body).map_err(|error| TestCaseError::fail(error.to_string()))?;

    // Bytes: what prost writes passes the check and gives the same message.
    let again = wire::decode::<M>(&message.encode_to_vec());
    prop_assert_eq!(
        again.map_err(|error| TestCaseError::fail(error.to_string()))?,
        M::decode(&body[..]).unwrap_or_default()
    );

    // JSON: reads as it was written, from text and from a tree.
    let text = json::to_vec(&message);
    let read = json::from_slice::<M>(&text);
    prop_assert_eq!(&read.map_err(|error| TestCaseError::fail(error.to_string()))?, &message);
    let tree = json::to_value(&message);
    prop_assert_eq!(
        &json::from_value::<M>(&tree).map_err(|error| TestCaseError::fail(error.to_string()))?,
        &message
    );

    // A required field left out somewhere is named.
    let leave_out = Some(entropy.iter().map(|byte| usize::from(byte % 4)).sum::<usize>() % 24);
    let mut maker = Maker { entropy: entropy.iter(), leave_out, left_out: None };
    let body = maker.message(M::schema(), "", 0);
    let outcome = wire::decode::<M>(&body).map_err(|error| error.to_string());
    match maker.left_out {
        Some(path) => prop_assert_eq!(outcome, Err(format!("Missing required fields: {path}"))),
        None => prop_assert!(outcome.is_ok()),
    }
    Ok(())
}

/// Whatever the bytes, an answer and no panic; what passes the check can be decoded, and lacks nothing when written
/// again.
fn survive<M: Described>(bytes: &[u8]) -> Result<(), TestCaseError> {
    drop(json::from_slice::<M>(bytes));
    if wire::check::<M>(bytes).is_ok() {
        let message = M::decode(bytes).map_err(|error| TestCaseError::fail(error.to_string()))?;
        let again = wire::check::<M>(&message.encode_to_vec()).map_err(|error| error.to_string());
        prop_assert_eq!(again, Ok(()));
    }
    Ok(())
}

macro_rules! properties {
    ($($name:ident: $message:ty;)*) => { proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]
        $(
            #[test]
            fn $name(entropy in prop::collection::vec(any::<u8>(), 0..600), at in any::<prop::sample::Index>(), to: u8) {
                check::<$message>(&entropy)?;
                let mut damaged = make::<$message>(&entropy);
                if !damaged.is_empty() {
                    let at = at.index(damaged.len());
                    damaged[at] = to;
                }
                survive::<$message>(&damaged)?;
                survive::<$message>(&entropy)?;
            }
        )*
    } };
}

properties! {
    scheduler_call: v1::scheduler::Call;
    scheduler_event: v1::scheduler::Event;
    driver_call: v0::scheduler::Call;
    executor_call: v1::executor::Call;
    executor_event: v1::executor::Event;
    master_call: v1::master::Call;
    master_response: v1::master::Response;
    agent_call: v1::agent::Call;
    agent_response: v1::agent::Response;
    task_info: v1::TaskInfo;
    resource: v1::Resource;
    offer: v1::Offer;
    framework_info: v1::FrameworkInfo;
    register_agent: internal::RegisterSlaveMessage;
    reregister_agent: internal::ReregisterSlaveMessage;
    run_task: internal::RunTaskMessage;
    status_update: internal::StatusUpdateMessage;
    update_agent: internal::UpdateSlaveMessage;
    registry: internal::Registry;
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Any JSON tree, with the names of real fields in it often enough to get deep.
    #[test]
    fn any_json_is_survived(tree in tree()) {
        let text = tree.to_string();
        let from_text = json::from_slice::<v1::scheduler::Call>(text.as_bytes());
        let from_tree = json::from_value::<v1::scheduler::Call>(&tree);
        prop_assert_eq!(from_text.map_err(|e| e.to_string()), from_tree.map_err(|e| e.to_string()));
    }
}

fn tree() -> impl Strategy<Value = serde_json::Value> {
    use serde_json::Value;
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e20..1e20).prop_map(Value::from),
        "[0-9.eE+-]{0,5}|true|Infinity|SUBSCRIBE|LAUNCH|[A-Za-z0-9+/=]{0,8}".prop_map(Value::from),
    ];
    let names = prop::sample::select(vec![
        "type",
        "framework_id",
        "value",
        "subscribe",
        "framework_info",
        "user",
        "name",
        "roles",
        "accept",
        "offer_ids",
        "operations",
        "launch",
        "task_infos",
        "task_id",
        "agent_id",
        "resources",
        "scalar",
        "filters",
        "refuse_seconds",
        "acknowledge",
        "uuid",
        "kill",
        "offer_filters",
        "limits",
        "container",
        "other",
    ]);
    leaf.prop_recursive(8, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_string(), value))
                .collect()),
        ]
    })
}
