//! A snapshot on its way from one member to another: in pieces, each asked for by the receipt of the one before,
//! so that neither end nor the connection ever holds more than one of them on top.

use serde::{Deserialize, Serialize};

/// The size of a piece, in bytes.
const PIECE: usize = 256 << 10;

/// No snapshot is larger; a member that announces more is not believed.
const LARGEST: u64 = 1 << 30;

/// Without a receipt for so many ticks, the piece is sent again ...
const PATIENCE: u32 = 10;

/// ... and after so many times in vain the snapshot is given up, for Raft to try anew.
const ATTEMPTS: u32 = 6;

/// A part of a snapshot message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, libprocess::Message)]
pub(in crate::registry) struct Piece {
    /// Of which group, from which member, to which.
    pub(in crate::registry) group: u64,
    pub(in crate::registry) from: u64,
    pub(in crate::registry) to: u64,
    transfer: u64,
    offset: u64,
    total: u64,
    bytes: Vec<u8>,
}

/// So much of a snapshot message has arrived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, libprocess::Message)]
pub(in crate::registry) struct PieceReceived {
    /// The member that has it.
    pub(in crate::registry) by: u64,
    transfer: u64,
    length: u64,
}

/// A snapshot message being sent.
pub(in crate::registry) struct Outgoing {
    transfer: u64,
    /// Of which group, from which member, to which.
    way: (u64, u64, u64),
    bytes: Vec<u8>,
    received: usize,
    waited: u32,
    attempts: u32,
}

impl Outgoing {
    /// From the member `from` of `group` to the member `to`.
    pub(in crate::registry) fn new(
        transfer: u64,
        group: u64,
        from: u64,
        to: u64,
        bytes: Vec<u8>,
    ) -> Outgoing {
        Outgoing { transfer, way: (group, from, to), bytes, received: 0, waited: 0, attempts: 1 }
    }

    /// What to send now.
    pub(in crate::registry) fn piece(&self) -> Piece {
        let end = self.bytes.len().min(self.received + PIECE);
        let (group, from, to) = self.way;
        Piece {
            group,
            from,
            to,
            transfer: self.transfer,
            offset: self.received as u64,
            total: self.bytes.len() as u64,
            bytes: self.bytes[self.received..end].to_vec(),
        }
    }

    /// Whether the receipt brings the transfer on; `None` when it says nothing new.
    pub(in crate::registry) fn receipt(&mut self, receipt: &PieceReceived) -> Option<Arrival> {
        let length = usize::try_from(receipt.length).ok()?;
        if receipt.transfer != self.transfer || length <= self.received || length > self.bytes.len() {
            return None;
        }
        self.received = length;
        self.waited = 0;
        self.attempts = 1;
        Some(if length == self.bytes.len() { Arrival::Whole } else { Arrival::Partly })
    }

    /// A tick has passed: the piece to send again, if it is time; an error when it has been in vain.
    pub(in crate::registry) fn tick(&mut self) -> Result<Option<Piece>, ()> {
        self.waited += 1;
        if self.waited < PATIENCE {
            return Ok(None);
        }
        self.waited = 0;
        self.attempts += 1;
        if self.attempts > ATTEMPTS { Err(()) } else { Ok(Some(self.piece())) }
    }
}

/// How far a transfer has got.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::registry) enum Arrival {
    Partly,
    Whole,
}

/// A snapshot message being received.
#[derive(Default)]
pub(in crate::registry) struct Incoming {
    transfer: u64,
    total: u64,
    received: u64,
    /// Empty again when the message is whole.
    bytes: Vec<u8>,
}

impl Incoming {
    /// Takes a piece. Gives the receipt to send, and the message if it is whole now.
    pub(in crate::registry) fn take(&mut self, piece: Piece) -> Option<(PieceReceived, Option<Vec<u8>>)> {
        if piece.total > LARGEST || piece.bytes.len() > PIECE {
            return None;
        }
        if piece.transfer != self.transfer {
            if piece.offset != 0 {
                return None;
            }
            *self = Incoming { transfer: piece.transfer, total: piece.total, ..Incoming::default() };
        }
        let (mut whole, by) = (None, piece.to);
        let length = piece.bytes.len() as u64;
        if piece.offset == self.received && self.total - self.received >= length && length > 0 {
            self.bytes.extend(piece.bytes);
            self.received += length;
            if self.received == self.total {
                whole = Some(std::mem::take(&mut self.bytes));
            }
        }
        Some((PieceReceived { by, transfer: self.transfer, length: self.received }, whole))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_lost_and_doubled_make_the_same_message_once() {
        let bytes: Vec<u8> = (0..PIECE * 3 + 7).map(|n| n as u8).collect();
        let mut outgoing = Outgoing::new(5, 1, 2, 3, bytes.clone());
        let mut incoming = Incoming::default();
        let mut messages = Vec::new();
        let mut n = 0;
        loop {
            n += 1;
            let piece = outgoing.piece();
            let (receipt, whole) = incoming.take(piece.clone()).unwrap();
            messages.extend(whole);
            let (again, whole) = incoming.take(piece).unwrap();
            assert_eq!((&again, whole), (&receipt, None));
            if n % 2 == 0 {
                continue; // The receipt is lost, the piece is sent again.
            }
            if outgoing.receipt(&receipt) == Some(Arrival::Whole) {
                break;
            }
        }
        assert_eq!(messages, [bytes]);
    }

    #[test]
    fn a_peer_that_says_nothing_is_given_up_and_one_that_says_too_much_refused() {
        let mut outgoing = Outgoing::new(5, 1, 2, 3, vec![1]);
        let mut sent = 1;
        while let Ok(piece) = outgoing.tick() {
            sent += u32::from(piece.is_some());
        }
        assert_eq!(sent, ATTEMPTS);
        let huge =
            Piece { group: 1, from: 2, to: 3, transfer: 1, offset: 0, total: LARGEST + 1, bytes: vec![0] };
        assert!(Incoming::default().take(huge).is_none());
    }
}
