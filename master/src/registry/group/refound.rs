//! A new group from what one disk of another one holds.

use prost::Message as _;
use raft::eraftpb::{EntryType, HardState};

use super::super::operation::Batch;
use super::disk::{Stored, StoredSnapshot, Write};
use super::machine::{Image, Machine};
use super::members::Members;

impl Stored {
    /// What makes a group of `members` begin, on the disk of its member `own`, where this one ends; and the machine it
    /// begins with. The error says what is wrong with this one.
    ///
    /// All its entries take effect: some may never have been acknowledged, but none that was may be missing. The
    /// places in the log are counted on, for what was done lately is remembered by them.
    pub fn refound(&self, members: &Members, own: u64) -> Result<(Write, Machine), String> {
        let mut machine = Machine::from_image(&self.snapshot.image())?;
        let (mut index, mut term) = (self.snapshot.index, self.snapshot.term.max(self.hard_state.term));
        for entry in &self.entries {
            (index, term) = (entry.index, term.max(entry.term));
            // Those without data begin a term, or say where a member is.
            if entry.get_entry_type() == EntryType::EntryNormal && !entry.data.is_empty() {
                let batch = Batch::decode(entry.data.as_ref())
                    .map_err(|error| format!("entry {index} is not a batch of operations ({error})"))?;
                machine.apply(&batch, index, entry.term);
            }
        }
        let (index, term) = (index + 1, term + 1);
        let image = Image { members: members.encode(), ..machine.to_image() };
        let machine = Machine::from_image(&image)?;
        let voters = members.by_id.keys().copied().collect();
        let snapshot = StoredSnapshot { index, term, voters, own, ..StoredSnapshot::of(image) };
        let hard_state = HardState { term, commit: index, ..Default::default() };
        Ok((Write { install: Some(snapshot), hard_state: Some(hard_state), ..Write::default() }, machine))
    }
}
