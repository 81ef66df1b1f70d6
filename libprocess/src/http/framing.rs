//! Where one request ends in a stream of bytes, and the next begins.
//!
//! The HTTP parser reads ahead: it decodes the requests behind the one being served, and then answers that
//! one by what the last it has seen wants (HEAD, `Connection: close`). So the bytes are handed to it one
//! request at a time, and this tells how many of them belong to the current one. It judges nothing: whether
//! a request is well-formed stays the parser's business.

/// What the bytes to come are part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// A request's head.
    Head {
        /// Something but empty lines has been seen; those before a request mean nothing.
        begun: bool,
        /// Nothing but carriage returns since the last line feed.
        at_line_start: bool,
    },
    /// A body of which that many bytes are to come.
    Length(u64),
    /// A chunked body.
    Chunked(Chunked),
    /// Nothing: the request is complete.
    Done,
}

/// The part of a chunked body the next byte belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chunked {
    /// A line with a size; behind a `;` it means nothing to us.
    Size { size: u64, extension: bool },
    /// A chunk, of which that many bytes are to come, its line end included.
    Data(u64),
    /// The lines behind the last chunk; an empty one is the end.
    Trailer { at_line_start: bool },
}

impl Framing {
    /// Before a request.
    pub(crate) const START: Framing = Framing::Head { begun: false, at_line_start: true };
    /// Before a chunked body.
    pub(crate) const CHUNKED: Framing = Framing::Chunked(Chunked::Size { size: 0, extension: false });

    /// How many of these bytes belong to the current part; at its end this is `Done`.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> usize {
        match self {
            Framing::Head { begun, at_line_start } => {
                let mut rest = bytes;
                while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
                    let line = &rest[..end];
                    rest = &rest[end + 1..];
                    let empty = *at_line_start && is_empty(line);
                    *at_line_start = true;
                    if !empty {
                        *begun = true;
                    } else if *begun {
                        *self = Framing::Done;
                        return bytes.len() - rest.len();
                    }
                }
                if !is_empty(rest) {
                    *at_line_start = false;
                }
                bytes.len()
            }
            Framing::Length(left) => {
                let taken = bytes.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= taken as u64;
                if *left == 0 {
                    *self = Framing::Done;
                }
                taken
            }
            Framing::Chunked(chunked) => {
                let (taken, done) = chunked.take(bytes);
                if done {
                    *self = Framing::Done;
                }
                taken
            }
            Framing::Done => 0,
        }
    }
}

/// A second carriage return is the parser's to refuse; here it must not matter in which piece it came.
fn is_empty(line: &[u8]) -> bool {
    line.iter().all(|&byte| byte == b'\r')
}

impl Chunked {
    fn take(&mut self, bytes: &[u8]) -> (usize, bool) {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match self {
                Chunked::Size { size, extension } => {
                    at += 1;
                    match byte {
                        b'\n' if *size == 0 => *self = Chunked::Trailer { at_line_start: true },
                        b'\n' => *self = Chunked::Data(size.saturating_add(2)),
                        b';' => *extension = true,
                        _ if *extension => {}
                        _ => {
                            if let Some(digit) = char::from(byte).to_digit(16) {
                                *size = size.saturating_mul(16).saturating_add(u64::from(digit));
                            }
                        }
                    }
                }
                Chunked::Data(left) => {
                    let taken = (bytes.len() - at).min(usize::try_from(*left).unwrap_or(usize::MAX));
                    at += taken;
                    *left -= taken as u64;
                    if *left == 0 {
                        *self = Chunked::Size { size: 0, extension: false };
                    }
                }
                Chunked::Trailer { at_line_start } => {
                    at += 1;
                    match byte {
                        b'\n' if *at_line_start => return (at, true),
                        b'\n' => *at_line_start = true,
                        b'\r' if *at_line_start => {}
                        _ => *at_line_start = false,
                    }
                }
            }
        }
        (at, false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is taken of `bytes` when they come in pieces of that size.
    fn taken(mut framing: Framing, bytes: &[u8], piece: usize) -> (usize, Framing) {
        let mut total = 0;
        for piece in bytes.chunks(piece) {
            let taken = framing.take(piece);
            total += taken;
            if taken < piece.len() {
                break;
            }
        }
        (total, framing)
    }

    #[test]
    fn a_head_ends_with_an_empty_line_whatever_the_line_ends() {
        for head in [
            "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "GET / HTTP/1.1\nHost: x\n\n",
            "\r\n\r\nGET / HTTP/1.1\r\n\r\n",
            "GET / HTTP/1.1\n\r\r\n",
        ] {
            for piece in 1..=head.len() + 3 {
                let bytes = format!("{head}GET");
                assert_eq!(
                    taken(Framing::START, bytes.as_bytes(), piece),
                    (head.len(), Framing::Done),
                    "{head:?}"
                );
            }
        }
    }

    #[test]
    fn a_chunked_body_ends_behind_its_trailer() {
        for body in [
            "0\r\n\r\n",
            "3\r\nabc\r\n0\r\n\r\n",
            "A;name=\"0\"\r\n0\r\n\r\n0\r\n\r\n\r\n0\r\n\r\n",
            "3\r\nabc\r\n0\r\nX: y\r\n\r\n",
        ] {
            for piece in 1..=body.len() + 3 {
                let bytes = format!("{body}GET");
                let (n, framing) = taken(Framing::CHUNKED, bytes.as_bytes(), piece);
                assert_eq!((n, framing), (body.len(), Framing::Done), "{body:?} by {piece}");
            }
        }
    }

    proptest! {
        /// However bytes are cut into pieces, the same of them are taken.
        #[test]
        fn pieces_do_not_matter(
            bytes in prop::collection::vec(prop::sample::select(b"\r\n0a;:fx ".to_vec()), 0..200),
            piece in 1usize..20,
            start in prop::sample::select(vec![Framing::START, Framing::CHUNKED, Framing::Length(50)]),
        ) {
            let whole = taken(start, &bytes, bytes.len().max(1));
            prop_assert_eq!(taken(start, &bytes, piece), whole);
        }
    }
}
