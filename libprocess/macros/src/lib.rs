//! `#[derive(Message)]`: a user's own message in one line.
