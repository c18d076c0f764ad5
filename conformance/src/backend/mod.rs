//! Backends: whatever computes what vectors ask for, in this process or in a child (`spec/book/protocol.md`).
//!
//! [`Backend`] and [`Session`] have the verbs of the protocol. [`engine::Engine`] is the project's own engine, [`child::Child`] any
//! program that speaks the protocol, and [`serve`] turns a backend into such a program, so that one code path serves all.

pub mod child;
pub mod engine;
pub mod serve;

use crate::ConformError;
use touchstone_spec::protocol::{
    Answer, Closed, Dropped, Failure, Fetched, Form, Greeting, Open, Opened, Ran, Run, Stored,
};
use touchstone_spec::vector::Value;

/// An answer, or the news that the backend broke (`r[protocol.broken]`).
pub type Reply<T> = Result<Answer<T>, ConformError>;

/// A backend.
pub trait Backend {
    /// Who it is and what it can do.
    ///
    /// # Errors
    /// [`ConformError::Broken`], as for every verb.
    fn hello(&mut self) -> Reply<Greeting>;

    /// Makes the keys of a session.
    ///
    /// # Errors
    /// [`ConformError::Broken`].
    fn open(&mut self, request: &Open) -> Reply<(Opened, Box<dyn Session>)>;

    /// Starts again after it broke; sessions are lost.
    ///
    /// # Errors
    /// [`ConformError::Broken`] if that fails.
    fn restart(&mut self) -> Result<(), ConformError>;
}

/// A parameter set with keys and stored values.
pub trait Session {
    /// Stores an input.
    ///
    /// # Errors
    /// [`ConformError::Broken`], as for every verb.
    fn put(&mut self, value: &Value) -> Reply<Stored>;

    /// Reads a stored value.
    ///
    /// # Errors
    /// [`ConformError::Broken`].
    fn get(&mut self, handle: &str, form: Form) -> Reply<Fetched>;

    /// Forgets a stored value.
    ///
    /// # Errors
    /// [`ConformError::Broken`].
    fn discard(&mut self, handle: &str) -> Reply<Dropped>;

    /// Runs an operation; the session's own name in the request is filled in by the session.
    ///
    /// # Errors
    /// [`ConformError::Broken`].
    fn run(&mut self, request: &Run) -> Reply<Ran>;

    /// Ends the session.
    ///
    /// # Errors
    /// [`ConformError::Broken`].
    fn close(&mut self) -> Reply<Closed>;
}

/// An error answer.
pub fn refuse<T>(kind: &str, message: impl ToString) -> Answer<T> {
    Answer::Error(Failure { kind: kind.to_owned(), message: message.to_string() })
}
