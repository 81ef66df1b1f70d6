//! Write a scheduler or an executor; and the examples pi and particles.
//!
//! - [`driver`]: the traits, and the actors that speak Apache's messages for them. Begin there.
//! - [`pi`] and [`particles`]: two frameworks that compute, on what they share: [`work`] that can be cut
//!   anywhere, and a [`ledger`] that counts it once.
//! - [`execute`]: one command as a task.

pub mod driver;
pub mod execute;
pub mod ledger;
pub mod particles;
pub mod pi;
pub mod work;

/// The name of the user who runs this program, for whom tasks run.
fn user() -> String {
    let uid = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        // Not in the table of users: agents cannot switch to it either, and say so.
        _ => uid.to_string(),
    }
}
