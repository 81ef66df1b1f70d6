//! Status updates on their way to the frameworks: stored, sent, repeated until acknowledged.

pub mod streams;
#[cfg(test)]
mod tests;
