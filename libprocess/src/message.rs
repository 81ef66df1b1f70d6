//! What travels between processes.

use std::any::Any;

/// A message: a wire name and a codec. The codec is used only when a message leaves its node; on the
/// same node the value itself is moved.
///
/// A type of one's own takes one line: `#[derive(Serialize, Deserialize, Message)]`. Its wire name is
/// then its module path and name, or what `#[message(name = "…")]` says.
pub trait Message: Send + Sized + 'static {
    /// The name handlers are found by when the message comes from another node.
    fn name() -> &'static str;

    /// Appends the encoded message to `out`.
    fn encode(&self, out: &mut Vec<u8>);

    /// Reads a message back from exactly `body`.
    fn decode(body: &[u8]) -> Result<Self, DecodeError>;
}

/// A message body that is not what its name promises.
#[derive(Debug, thiserror::Error)]
#[error("could not decode `{message}`: {reason}")]
pub struct DecodeError {
    /// The wire name of the message.
    pub message: String,
    /// What was wrong with the bytes.
    pub reason: String,
}

impl DecodeError {
    /// An error about a body of the message `message`.
    pub fn new(message: impl Into<String>, reason: impl ToString) -> DecodeError {
        DecodeError { message: message.into(), reason: reason.to_string() }
    }
}

/// A message whose type is known only to its handler.
pub(crate) trait AnyMessage: Any + Send {
    fn wire_name(&self) -> &'static str;
    fn encode_into(&self, out: &mut Vec<u8>);
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
}

impl<M: Message> AnyMessage for M {
    fn wire_name(&self) -> &'static str {
        M::name()
    }
    fn encode_into(&self, out: &mut Vec<u8>) {
        self.encode(out);
    }
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }
}

/// The bincode codec behind `#[derive(Message)]` and behind the frames of links.
///
/// bincode is no longer maintained, so it is used here alone, and only between live nodes: nothing that
/// has to be read by a later version is written with it.
pub mod codec {
    use super::DecodeError;
    use serde::Serialize;
    use serde::de::DeserializeOwned;

    /// Bounds what a peer can make us allocate while decoding.
    const LIMIT: usize = 64 << 20;

    fn config() -> impl bincode::config::Config {
        bincode::config::standard().with_limit::<LIMIT>()
    }

    /// Appends `value`; a value that serde refuses (a map of unknown length) leaves `out` as it was.
    pub fn encode<T: Serialize>(value: &T, out: &mut Vec<u8>) {
        let start = out.len();
        let mut writer = VecWriter(out);
        if let Err(error) = bincode::serde::encode_into_writer(value, &mut writer, config()) {
            tracing::error!(%error, kind = std::any::type_name::<T>(), "a message cannot be encoded");
            out.truncate(start);
        }
    }

    /// Reads one value that must fill `body`.
    pub fn decode<T: DeserializeOwned>(name: &str, body: &[u8]) -> Result<T, DecodeError> {
        let (value, read) = bincode::serde::decode_from_slice(body, config())
            .map_err(|error| DecodeError::new(name, error))?;
        if read != body.len() {
            return Err(DecodeError::new(name, format!("{} bytes left over", body.len() - read)));
        }
        Ok(value)
    }

    /// Appends a value of a type of this crate.
    pub(crate) fn append<T: bincode::Encode>(value: &T, out: &mut Vec<u8>) {
        // Our own types and a vector that grows: there is nothing that could fail.
        let _ = bincode::encode_into_writer(value, VecWriter(out), config());
    }

    /// Reads a value that borrows from `bytes`, and how many of them it took.
    pub(crate) fn borrow<'a, T: bincode::BorrowDecode<'a, ()>>(
        bytes: &'a [u8],
    ) -> Result<(T, usize), String> {
        bincode::borrow_decode_from_slice(bytes, config()).map_err(|error| error.to_string())
    }

    struct VecWriter<'a>(&'a mut Vec<u8>);

    impl bincode::enc::write::Writer for VecWriter<'_> {
        fn write(&mut self, bytes: &[u8]) -> Result<(), bincode::error::EncodeError> {
            self.0.extend_from_slice(bytes);
            Ok(())
        }
    }
}
