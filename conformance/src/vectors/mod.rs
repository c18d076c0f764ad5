//! Test vectors against a backend (`spec/book/vectors.md`).
//!
//! Every case of the vectors becomes a [`Case`] of the suite. All of them drive the backend through the verbs of
//! [`crate::backend`], whether it is the engine of this process or a child.

pub mod compare;
mod draw;
pub mod load;
mod run;

use crate::backend::Backend;
use crate::case::{Case, Cost};
use crate::{ConformError, Options};
use run::Driver;
use std::cell::RefCell;
use std::path::Path;
use std::rc::Rc;
use touchstone_spec::rules;

/// Where the vectors of this repository are.
pub const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");

/// The cases of all vectors in `directory`, to be run by `backend`.
///
/// # Errors
/// [`ConformError::Vector`] for unreadable vectors, [`ConformError::Broken`] if the backend does not greet.
pub fn cases(directory: &Path, backend: Box<dyn Backend>) -> Result<Vec<Case>, ConformError> {
    let files = load::load(directory)?;
    let driver = Rc::new(RefCell::new(Driver::new(directory, backend)?));
    let mut cases = Vec::new();
    for file in files {
        let file = Rc::new(file);
        for (g, group) in file.groups.iter().enumerate() {
            for (c, case) in group.cases.iter().enumerate() {
                let rule = rules::find(&case.rule).map_or("vector.case", |rule| rule.id);
                let about = format!("{} Accepted by: {}.", case.about, case.accept.name());
                let (driver, file) = (Rc::clone(&driver), Rc::clone(&file));
                let run = move |_: &Options| {
                    let group = &file.groups[g];
                    driver.borrow_mut().run(&file, group, &group.cases[c])
                };
                cases.push(Case::new(format!("vectors/{}", case.id), rule, about, Cost::Quick, run));
            }
        }
    }
    Ok(cases)
}

/// The name that the backend gives itself.
///
/// # Errors
/// [`ConformError::Broken`] if it does not greet.
pub fn greet(backend: &mut dyn Backend) -> Result<String, ConformError> {
    run::greeting(backend).map(|greeting| format!("{} {}", greeting.name, greeting.version))
}
