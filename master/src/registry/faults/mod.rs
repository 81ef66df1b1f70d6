//! A real log on files that stop being written, refuse, or are not what they were.
//!
//! | file | shows |
//! | --- | --- |
//! | `recorder` | files that keep a journal of what is done to them, from which a crash at any point can be made |
//! | `history` | what is written: appends, conflicts, hard states, snapshots of one's own and of a leader |
//! | `crashes` | the log after a crash at every point |
//! | `refusals` | the log when the disk refuses, at every point |
//! | `damage` | the log after bytes were flipped, and files shortened or lost |

mod crashes;
mod damage;
mod history;
mod recorder;
mod refusals;
