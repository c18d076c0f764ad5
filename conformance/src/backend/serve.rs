//! A backend as a program: reads requests from one stream, writes answers to another.

use super::{Backend, Reply, Session, refuse};
use crate::ConformError;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use touchstone_spec::protocol::{Answer, PROTOCOL, Request};

/// Serves until the input ends (`r[protocol.line]`).
///
/// # Errors
/// [`ConformError::Broken`] if a stream fails or the backend breaks.
pub fn serve(backend: &mut dyn Backend, input: impl BufRead, mut output: impl Write) -> Result<(), ConformError> {
    let mut sessions: BTreeMap<String, Box<dyn Session>> = BTreeMap::new();
    for line in input.lines() {
        let line = line.map_err(broken)?;
        let answer = match serde_json::from_str::<Request>(&line) {
            Ok(request) => answer(backend, &mut sessions, &request)?,
            Err(error) => text::<()>(Ok(refuse("malformed", error)))?,
        };
        writeln!(output, "{answer}").and_then(|()| output.flush()).map_err(broken)?;
    }
    Ok(())
}

fn broken(error: impl ToString) -> ConformError {
    ConformError::Broken { what: "serving".to_owned(), message: error.to_string() }
}

fn text<T: Serialize>(reply: Reply<T>) -> Result<String, ConformError> {
    serde_json::to_string(&reply?).map_err(broken)
}

fn answer(
    backend: &mut dyn Backend,
    sessions: &mut BTreeMap<String, Box<dyn Session>>,
    request: &Request,
) -> Result<String, ConformError> {
    let name = match request {
        Request::Hello { protocol } if protocol == PROTOCOL => return text(backend.hello()),
        Request::Hello { protocol } => {
            return text::<()>(Ok(refuse("unsupported", format!("this is {PROTOCOL}, not {protocol}"))));
        }
        Request::Open(open) => {
            let opened = backend.open(open)?;
            return text(Ok(match opened {
                Answer::Ok((mut opened, session)) => {
                    opened.session = format!("s{}", sessions.len());
                    sessions.insert(opened.session.clone(), session);
                    Answer::Ok(opened)
                }
                Answer::Skipped(skip) => Answer::Skipped(skip),
                Answer::Error(failure) => Answer::Error(failure),
            }));
        }
        Request::Put { session, .. }
        | Request::Get { session, .. }
        | Request::Drop { session, .. }
        | Request::Close { session } => session,
        Request::Run(run) => &run.session,
    };
    let Some(session) = sessions.get_mut(name) else {
        return text::<()>(Ok(refuse("session", format!("no session {name:?}"))));
    };
    match request {
        Request::Put { value, .. } => text(session.put(value)),
        Request::Get { handle, form, .. } => text(session.get(handle, *form)),
        Request::Drop { handle, .. } => text(session.discard(handle)),
        Request::Run(run) => text(session.run(run)),
        // Names count the sessions ever opened, so a closed one stays as it is.
        _ => text(session.close()),
    }
}
