//! The messages that travel between nodes by their names, as protobuf.

use crate::schema::Described;
use crate::wire;
use libprocess::{DecodeError, Message};

/// Makes each a [`Message`] whose wire name is its full protobuf name: `mesos.internal.PingSlaveMessage`.
macro_rules! messages {
    ($($message:path;)*) => { $(
        impl Message for $message {
            fn name() -> &'static str {
                Self::schema().name
            }

            fn encode(&self, out: &mut Vec<u8>) {
                // Only a buffer of fixed size can be too small.
                if let Err(error) = prost::Message::encode(self, out) {
                    unreachable!("a vector grows: {error}");
                }
            }

            fn decode(body: &[u8]) -> Result<Self, DecodeError> {
                wire::decode(body).map_err(|error| DecodeError::new(Self::schema().name, error))
            }
        }
    )* };
}

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{internal, v0, v1};

    fn name<M: Message>() -> &'static str {
        M::name()
    }

    #[test]
    fn wire_names_are_those_of_apache() {
        assert_eq!(name::<internal::RegisterSlaveMessage>(), "mesos.internal.RegisterSlaveMessage");
        assert_eq!(name::<internal::AuthenticateMessage>(), "mesos.internal.AuthenticateMessage");
        assert_eq!(name::<v0::scheduler::Call>(), "mesos.scheduler.Call");
    }

    #[test]
    fn bodies_are_protobuf_and_checked() {
        let message = internal::UnregisterSlaveMessage { slave_id: v1::AgentId::from("a") };
        let mut body = vec![1];
        Message::encode(&message, &mut body);
        assert_eq!(body, [1, 0x0a, 3, 0x0a, 1, b'a'], "appended to what was there");
        assert_eq!(<internal::UnregisterSlaveMessage as Message>::decode(&body[1..]).unwrap(), message);
        let error = <internal::UnregisterSlaveMessage as Message>::decode(&[]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "could not decode `mesos.internal.UnregisterSlaveMessage`: Missing required fields: slave_id"
        );
    }
}
