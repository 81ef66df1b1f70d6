//! Ids as messages: what prost would generate, but for the type of the text.
//!
//! An id is a key of many maps and part of every message, so it is copied far more often than it is made.
//! The text of these is shared between the copies, or part of the id if it has at most 15 bytes.

use ecow::EcoString;
use prost::DecodeError;
use prost::bytes::{Buf, BufMut};
use prost::encoding::{self, DecodeContext, WireType};

/// The one field of an id: `required string value = 1`.
const VALUE: u32 = 1;

/// Messages of that one field.
macro_rules! messages {
    ($($(#[$doc:meta])* $name:ident)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            /// The text. Cheap to clone.
            pub value: EcoString,
        }

        impl prost::Message for $name {
            fn encode_raw(&self, buf: &mut impl BufMut) {
                encode(&self.value, buf);
            }

            fn merge_field(
                &mut self,
                tag: u32,
                wire_type: WireType,
                buf: &mut impl Buf,
                ctx: DecodeContext,
            ) -> Result<(), DecodeError> {
                if tag != VALUE {
                    return encoding::skip_field(wire_type, tag, buf, ctx);
                }
                merge(wire_type, &mut self.value, buf, ctx).map_err(|mut error| {
                    error.push(stringify!($name), "value");
                    error
                })
            }

            fn encoded_len(&self) -> usize {
                encoded_len(&self.value)
            }

            fn clear(&mut self) {
                self.value = EcoString::new();
            }
        }
    )* };
}

messages! {
    /// Given by the master when a framework first subscribes; kept over failovers.
    FrameworkId
    /// Given by the master when an agent first registers; kept until the agent is removed.
    AgentId
    /// Chosen by the framework, unique among its live tasks.
    TaskId
    /// Chosen by the framework, unique among its executors on one agent.
    ExecutorId
    /// Of one offer or inverse offer. Void once the offer is used, declined or rescinded.
    OfferId
    /// Chosen by a framework that wants to hear what became of an operation.
    OperationId
    /// Given by the agent when a resource provider first subscribes.
    ResourceProviderId
}

fn encode(value: &str, buf: &mut impl BufMut) {
    encoding::encode_key(VALUE, WireType::LengthDelimited, buf);
    encoding::encode_varint(value.len() as u64, buf);
    buf.put_slice(value.as_bytes());
}

fn encoded_len(value: &str) -> usize {
    encoding::key_len(VALUE) + encoding::encoded_len_varint(value.len() as u64) + value.len()
}

/// Reads a text, copying its bytes once if they lie in one piece.
fn merge(
    wire_type: WireType,
    value: &mut EcoString,
    buf: &mut impl Buf,
    ctx: DecodeContext,
) -> Result<(), DecodeError> {
    if wire_type == WireType::LengthDelimited
        && let Some((text, length)) = whole_text(buf.chunk())
    {
        *value = text;
        buf.advance(length);
        return Ok(());
    }
    // In several pieces, or wrong: prost finds out, and after an error leaves an empty text as here.
    let mut text = String::new();
    let merged = encoding::string::merge(wire_type, &mut text, buf, ctx);
    *value = text.into();
    merged
}

/// The text that `bytes` begin with, after its length, and how many bytes both have. None unless they hold
/// all of it and it is UTF-8.
fn whole_text(bytes: &[u8]) -> Option<(EcoString, usize)> {
    let mut rest = bytes;
    let length = usize::try_from(encoding::decode_varint(&mut rest).ok()?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    let text = std::str::from_utf8(text).ok()?;
    Some((text.into(), bytes.len() - after.len()))
}

#[cfg(test)]
mod tests {
    use super::TaskId;
    use proptest::prelude::*;
    use prost::Message;
    use prost::bytes::Buf;

    /// What prost makes of the same message.
    mod prosts {
        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct TaskId {
            #[prost(string, required, tag = "1")]
            pub(super) value: String,
        }

        #[derive(Clone, PartialEq, prost::Message)]
        pub(super) struct Around {
            #[prost(message, required, tag = "1")]
            pub(super) id: TaskId,
            #[prost(message, repeated, tag = "2")]
            pub(super) ids: Vec<TaskId>,
        }
    }

    #[derive(Clone, PartialEq, prost::Message)]
    struct Around {
        #[prost(message, required, tag = "1")]
        id: TaskId,
        #[prost(message, repeated, tag = "2")]
        ids: Vec<TaskId>,
    }

    /// Both read the same from these bytes, wherever they are split, and stop with the same error.
    fn same(bytes: &[u8]) {
        for split in 0..=bytes.len() {
            let pieces = || Buf::chain(&bytes[..split], &bytes[split..]);
            let mut id = TaskId::from("what was there before");
            let mut theirs = prosts::TaskId { value: id.to_string() };
            assert_eq!(id.merge(pieces()), theirs.merge(pieces()), "{bytes:x?} split at {split}");
            assert_eq!(id.value, theirs.value, "{bytes:x?} split at {split}");
            match (Around::decode(pieces()), prosts::Around::decode(pieces())) {
                (Ok(ours), Ok(theirs)) => {
                    assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
                    assert_eq!(ours.encode_to_vec(), theirs.encode_to_vec());
                }
                (ours, theirs) => assert_eq!(ours.err(), theirs.err(), "{bytes:x?} split at {split}"),
            }
        }
    }

    #[test]
    fn malformed_and_odd_bytes_are_read_as_prost_reads_them() {
        same(&[]);
        same(&[0x0a, 0]);
        same(&[0x0a, 1, b'a', 0x0a, 2, b'b', b'c']); // twice: the last one counts
        same(&[0x0a, 0x81, 0x00, b'a']); // a length in more bytes than it needs
        same(&[0x0a]);
        same(&[0x0a, 5, b'x']); // too short
        same(&[0x0a, 1, 0xff]); // no UTF-8
        same(&[0x0a, 1, 0xc3, 0xa9]); // cut within a character
        same(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]); // longer than memory
        same(&[&[0x0a], &[0xff; 11][..]].concat()); // a length of too many bits
        same(&[0x0a, 1, b'a', 0x0a, 1, 0xff]); // an error after a text
        same(&[0x08, 1]); // wrong wire types
        same(&[0x09, 0, 0, 0, 0, 0, 0, 0, 0]);
        same(&[0x0b, 0x0c]);
        same(&[0x0c]);
        same(&[0x0d, 0, 0, 0, 0]);
        same(&[0x0f]);
        same(&[0x12, 1, b'x', 0x0a, 1, b'a', 0x78, 5, 0x7b, 0x73, 0x08, 1, 0x74, 0x7c]); // unknown fields
        same(&[0x0a, 3, 0x0a, 1, b'a', 0x12, 2, 0x0a, 0, 0x12, 3, 0x0a, 1, b'b']); // inside a message
        same(&[0x0a, 3, 0x0a, 2, b'a', b'b']); // longer than the message it is in
        same(&[0x0a, 3, 0x0a, 9, b'a']);
    }

    #[test]
    fn short_and_shared_texts_take_no_more_than_two_words() {
        assert_eq!(size_of::<TaskId>(), 16);
        assert!(TaskId::from("123456789012345").value.is_inline());
        let long = TaskId::from("1234567890123456");
        assert_eq!(long.as_str().as_ptr(), long.clone().as_str().as_ptr());
        assert_eq!(format!("{long:?}"), "TaskId { value: \"1234567890123456\" }");
    }

    #[test]
    fn cleared_is_empty() {
        let mut id = TaskId::from("a");
        id.clear();
        assert_eq!(id, TaskId::default());
        assert_eq!(id.encode_to_vec(), [0x0a, 0], "a required field is written in any case");
    }

    proptest! {
        #[test]
        fn any_text_comes_back_and_travels_as_prosts(
            text in "\\PC{0,40}",
            others in prop::collection::vec("\\PC{0,20}", 0..3),
        ) {
            let id = TaskId::from(text.as_str());
            let bytes = id.encode_to_vec();
            prop_assert_eq!(id.encoded_len(), bytes.len());
            prop_assert_eq!(&bytes, &prosts::TaskId { value: text }.encode_to_vec());
            prop_assert_eq!(&TaskId::decode(&bytes[..]).unwrap(), &id);
            same(&bytes);
            let around = Around { id, ids: others.iter().map(|it| TaskId::from(it.as_str())).collect() };
            same(&around.encode_to_vec());
        }

        #[test]
        fn any_bytes_are_read_as_prost_reads_them(
            // Keys and lengths that occur, more often than by chance.
            bytes in prop::collection::vec(prop_oneof![Just(0x0a), 0..8u8, any::<u8>()], 0..24),
        ) {
            same(&bytes);
        }
    }
}
