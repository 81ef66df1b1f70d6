//! What travels over a native link: frames of a length and a bincode value.
//!
//! Ids and message names are few and long beside a small body, so each is spelled out once per connection
//! and direction and is a number from then on.

use std::collections::HashMap;
use std::net::SocketAddr;

use bincode::{BorrowDecode, Encode};

use crate::message::codec;

/// The largest frame accepted or sent, in bytes, without its length field.
pub(crate) const MAX_FRAME: usize = 64 << 20;
/// What of a frame may be envelope: ids and the message's name.
const MAX_ENVELOPE: usize = 64 << 10;
/// Names numbered per connection and direction; beyond it both sides start over.
const MAX_NAMES: usize = 4096;
/// A longer name is spelled out each time, so that the tables stay small.
const MAX_NUMBERED: usize = 256;

/// One frame.
#[derive(Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) enum Frame<'a> {
    /// Nothing to say, but alive.
    Keepalive,
    /// A message.
    Message(Envelope<'a>),
    /// Tell me when the process of that id ends.
    Link(&'a str),
    /// The process of that id has ended, or there is none.
    Exited(&'a str),
    /// The names numbered so far are forgotten; numbering starts over.
    Forget,
}

/// A message with what is needed to deliver it.
#[derive(Debug, PartialEq, Encode, BorrowDecode)]
pub(crate) struct Envelope<'a> {
    pub(crate) to: Name<'a>,
    pub(crate) from: Name<'a>,
    /// Absent when it is the address of the node that sends the frame.
    pub(crate) from_address: Option<SocketAddr>,
    pub(crate) name: Name<'a>,
    pub(crate) body: &'a [u8],
}

/// An id or a message's name.
#[derive(Debug, Clone, Copy, PartialEq, Encode, BorrowDecode)]
pub(crate) enum Name<'a> {
    /// One that has been numbered.
    Known(u32),
    /// The one that gets the next number.
    New(&'a str),
    /// One that gets no number.
    Once(&'a str),
}

/// Bytes that are not a link's.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("a frame of {0} bytes; at most {MAX_FRAME} are accepted")]
    TooLong(usize),
    #[error("an undecodable frame: {0}")]
    Undecodable(String),
    #[error("{0} bytes are left over behind a frame's content")]
    LeftOver(usize),
    #[error("the name number {0} was never given")]
    UnknownName(u32),
    #[error("more than {MAX_NAMES} names")]
    TooManyNames,
}

/// A message that does not fit into a frame.
#[derive(Debug, PartialEq, thiserror::Error)]
#[error("a message of {0} bytes does not fit into a frame of at most {MAX_FRAME}")]
pub(crate) struct TooLarge(pub(crate) usize);

/// Appends one frame.
pub(crate) fn append(frame: &Frame<'_>, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    codec::append(frame, out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// How many bytes at the beginning of `bytes` are whole frames. What is wrong behind them is said once they are
/// taken off.
pub(crate) fn whole(bytes: &[u8]) -> Result<usize, FrameError> {
    let mut end = 0;
    while let Some(length) = bytes[end..].first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_FRAME && end > 0 {
            break;
        }
        if length > MAX_FRAME {
            return Err(FrameError::TooLong(length));
        }
        if bytes.len() - end < 4 + length {
            break;
        }
        end += 4 + length;
    }
    Ok(end)
}

/// Takes the next frame off `bytes`, which holds whole ones.
pub(crate) fn next<'a>(bytes: &mut &'a [u8]) -> Result<Option<Frame<'a>>, FrameError> {
    let Some((length, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    let Some((content, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    *bytes = rest;
    let (frame, read) = codec::borrow(content).map_err(FrameError::Undecodable)?;
    if read != content.len() {
        return Err(FrameError::LeftOver(content.len() - read));
    }
    Ok(Some(frame))
}

/// The sending side's numbers.
pub(crate) struct Numbering {
    numbers: HashMap<Box<str>, u32>,
    texts: Vec<Box<str>>,
    /// The numbers met last, by where their texts were in memory: the same few processes and message types
    /// come again and again. What is found here is compared, as memory may be used anew.
    recent: Box<[u32; RECENT]>,
}

const RECENT: usize = 256;

impl Default for Numbering {
    fn default() -> Self {
        Numbering { numbers: HashMap::new(), texts: Vec::new(), recent: Box::new([u32::MAX; RECENT]) }
    }
}

impl Numbering {
    /// The frame that starts over, when there is no room for the names of one more message.
    fn make_room(&mut self, out: &mut Vec<u8>) {
        if self.texts.len() + 3 > MAX_NAMES {
            self.numbers.clear();
            self.texts.clear();
            append(&Frame::Forget, out);
        }
    }

    fn number<'a>(&mut self, text: &'a str) -> Name<'a> {
        let pointer = text.as_ptr() as usize;
        let slot = (pointer >> 3 ^ pointer >> 11) % RECENT;
        let recent = self.recent[slot];
        if self.texts.get(recent as usize).is_some_and(|known| **known == *text) {
            return Name::Known(recent);
        }
        if text.len() > MAX_NUMBERED {
            return Name::Once(text);
        }
        if let Some(&number) = self.numbers.get(text) {
            self.recent[slot] = number;
            return Name::Known(number);
        }
        let number = self.texts.len() as u32;
        self.numbers.insert(text.into(), number);
        self.texts.push(text.into());
        self.recent[slot] = number;
        Name::New(text)
    }

    /// Appends a message's frame; on an error `out` is as it was.
    pub(crate) fn append_message(
        &mut self,
        out: &mut Vec<u8>,
        to: &str,
        from: (&str, Option<SocketAddr>),
        name: &str,
        body: &[u8],
    ) -> Result<(), TooLarge> {
        let envelope = to.len() + from.0.len() + name.len() + 64;
        if envelope > MAX_ENVELOPE || body.len() > MAX_FRAME - MAX_ENVELOPE {
            return Err(TooLarge(envelope + body.len()));
        }
        self.make_room(out);
        // In the order in which the receiver meets them.
        let (to, sender, name) = (self.number(to), self.number(from.0), self.number(name));
        append(&Frame::Message(Envelope { to, from: sender, from_address: from.1, name, body }), out);
        Ok(())
    }
}

/// The receiving side's numbers, each with what the receiver made of the name.
pub(crate) struct Numbered<T>(Vec<T>);

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Numbered(Vec::new())
    }
}

impl<T> Numbered<T> {
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// The number of that name, a new one if it has none yet; `None` for a name that gets none.
    pub(crate) fn learn(
        &mut self,
        name: Name<'_>,
        new: impl FnOnce(&str) -> T,
    ) -> Result<Option<usize>, FrameError> {
        match name {
            Name::Known(number) if (number as usize) < self.0.len() => Ok(Some(number as usize)),
            Name::Known(number) => Err(FrameError::UnknownName(number)),
            Name::New(_) if self.0.len() >= MAX_NAMES => Err(FrameError::TooManyNames),
            Name::New(text) => {
                self.0.push(new(text));
                Ok(Some(self.0.len() - 1))
            }
            Name::Once(_) => Ok(None),
        }
    }

    pub(crate) fn get_mut(&mut self, number: usize) -> &mut T {
        &mut self.0[number]
    }
}

/// Reads `stream` as a peer's frames, in pieces of `size` bytes: what a connection does with them, but for the
/// delivery. The number of frames before the stream ended or made no more sense.
pub(crate) fn read_all(stream: &[u8], size: usize) -> usize {
    let mut numbered: Numbered<()> = Numbered::default();
    let mut bytes = Vec::new();
    let mut n_frames = 0;
    for piece in stream.chunks(size.max(1)) {
        bytes.extend_from_slice(piece);
        loop {
            let end = match whole(&bytes) {
                Ok(0) => break,
                Ok(end) => end,
                Err(_) => return n_frames,
            };
            let mut rest = &bytes[..end];
            while !rest.is_empty() {
                let Ok(Some(frame)) = next(&mut rest) else { return n_frames };
                match frame {
                    Frame::Message(envelope) => {
                        for name in [envelope.to, envelope.from, envelope.name] {
                            if numbered.learn(name, |_| ()).is_err() {
                                return n_frames;
                            }
                        }
                    }
                    Frame::Forget => numbered.forget(),
                    Frame::Keepalive | Frame::Link(_) | Frame::Exited(_) => {}
                }
                n_frames += 1;
            }
            bytes.drain(..end);
        }
    }
    n_frames
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frames(bytes: &[u8]) -> Result<Vec<Frame<'_>>, FrameError> {
        let mut bytes = &bytes[..whole(bytes)?];
        std::iter::from_fn(|| next(&mut bytes).transpose()).collect()
    }

    #[test]
    fn names_are_spelled_out_once() {
        let mut numbering = Numbering::default();
        let mut out = Vec::new();
        for _ in 0..2 {
            numbering.append_message(&mut out, "b", ("a", None), "Ping", b"xyz").unwrap();
        }
        let read = frames(&out).unwrap();
        let envelope =
            |to, from, name| Frame::Message(Envelope { to, from, from_address: None, name, body: b"xyz" });
        assert_eq!(read[0], envelope(Name::New("b"), Name::New("a"), Name::New("Ping")));
        assert_eq!(read[1], envelope(Name::Known(0), Name::Known(1), Name::Known(2)));
    }

    #[test]
    fn a_message_too_large_for_a_frame_leaves_nothing_behind() {
        let mut out = Vec::new();
        let body = vec![0; MAX_FRAME];
        assert!(Numbering::default().append_message(&mut out, "b", ("a", None), "Ping", &body).is_err());
        assert!(out.is_empty());
    }

    #[test]
    fn an_announced_giant_is_refused_before_it_arrives() {
        let length = (MAX_FRAME as u32 + 1).to_le_bytes();
        assert_eq!(whole(&length), Err(FrameError::TooLong(MAX_FRAME + 1)));
    }

    #[test]
    fn what_came_before_bad_bytes_counts() {
        let mut bytes = Vec::new();
        append(&Frame::Keepalive, &mut bytes);
        bytes.extend([0xff; 8]);
        for size in 1..=bytes.len() {
            assert_eq!(read_all(&bytes, size), 1, "in pieces of {size}");
        }
    }

    #[test]
    fn numbering_starts_over_when_it_is_full() {
        let mut numbering = Numbering::default();
        let mut numbered: Numbered<String> = Numbered::default();
        for n in 0..3 * MAX_NAMES {
            let mut out = Vec::new();
            let to = format!("to({n})");
            numbering.append_message(&mut out, &to, ("from", None), "Ping", b"").unwrap();
            for frame in frames(&out).unwrap() {
                match frame {
                    Frame::Forget => numbered.forget(),
                    Frame::Message(envelope) => {
                        let number = numbered.learn(envelope.to, str::to_owned).unwrap().unwrap();
                        assert_eq!(*numbered.get_mut(number), to);
                        numbered.learn(envelope.from, str::to_owned).unwrap().unwrap();
                        let number = numbered.learn(envelope.name, str::to_owned).unwrap().unwrap();
                        assert_eq!(numbered.get_mut(number), "Ping");
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            messages in prop::collection::vec(
                (".{0,300}", "[a-z]{0,4}", any::<Option<(std::net::IpAddr, u16)>>(), "[a-c]", any::<Vec<u8>>()),
                0..20,
            )
        ) {
            let mut numbering = Numbering::default();
            let mut out = Vec::new();
            for (to, from, address, name, body) in &messages {
                let address = address.map(SocketAddr::from);
                numbering.append_message(&mut out, to, (from, address), name, body).unwrap();
            }
            prop_assert_eq!(whole(&out), Ok(out.len()));
            let mut numbered: Numbered<String> = Numbered::default();
            let mut text = |name: Name<'_>| match name {
                Name::Once(text) => text.to_owned(),
                _ => {
                    let number = numbered.learn(name, str::to_owned).unwrap().unwrap();
                    numbered.get_mut(number).clone()
                }
            };
            let mut read = Vec::new();
            for frame in frames(&out).unwrap() {
                let Frame::Message(envelope) = frame else { panic!("{frame:?}") };
                let to = text(envelope.to);
                let from = text(envelope.from);
                let address = envelope.from_address.map(|address| (address.ip(), address.port()));
                read.push((to, from, address, text(envelope.name), envelope.body.to_vec()));
            }
            prop_assert_eq!(read, messages);
        }

        #[test]
        fn no_bytes_make_the_decoder_fall_over(bytes: Vec<u8>, cut in 0usize..64) {
            prop_assert_eq!(read_all(&bytes, bytes.len()), read_all(&bytes, cut));
            let _ = frames(&bytes);
            // The same as the content of a frame whose length is right.
            let mut framed = (bytes.len() as u32).to_le_bytes().to_vec();
            framed.extend(&bytes);
            let _ = frames(&framed);
            framed.truncate(framed.len().saturating_sub(cut + 1));
            prop_assert_eq!(frames(&framed), Ok(vec![]));
        }
    }
}
