//! A backend in a child process (`r[protocol.line]`, `r[protocol.broken]`).

use super::{Backend, Reply, Session};
use crate::ConformError;
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::rc::Rc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use touchstone_spec::protocol::{
    Answer, Closed, Dropped, ERROR_KINDS, Fetched, Form, Greeting, Open, Opened, PROTOCOL, Ran, Request, Run, Stored,
};
use touchstone_spec::vector::Value;

/// How a child is started and how long an answer may take.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Longest silence.
    pub limit: Duration,
    /// Whether every line is checked against the protocol's types (`r[protocol.validate]`).
    pub validate: bool,
}

/// A program that speaks the protocol.
pub struct Child {
    launch: Launch,
    pipe: Rc<RefCell<Pipe>>,
}

/// A running process and its lines.
struct Pipe {
    process: std::process::Child,
    answers: Receiver<String>,
    limit: Duration,
    validate: bool,
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // It may have exited already; there is nobody to tell.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn broken(what: &str, message: impl ToString) -> ConformError {
    ConformError::Broken { what: what.to_owned(), message: message.to_string() }
}

impl Pipe {
    fn start(launch: &Launch) -> Result<Self, ConformError> {
        let (program, arguments) = launch.command.split_first().ok_or_else(|| broken("start", "no program given"))?;
        let mut process = Command::new(program)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| broken("start", format!("{program}: {error}")))?;
        let output = process.stdout.take().ok_or_else(|| broken("start", "no standard output"))?;
        let (sender, answers) = channel();
        // The thread ends with the child's output or when nobody listens.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
        Ok(Self { process, answers, limit: launch.limit, validate: launch.validate })
    }

    fn ask<T: DeserializeOwned>(&mut self, request: &Request) -> Reply<T> {
        let line = serde_json::to_string(request).map_err(|error| broken("request", error))?;
        let input = self.process.stdin.as_mut().ok_or_else(|| broken("request", "no standard input"))?;
        writeln!(input, "{line}").and_then(|()| input.flush()).map_err(|error| broken("request", error))?;
        let answer = self.answers.recv_timeout(self.limit).map_err(|error| match error {
            std::sync::mpsc::RecvTimeoutError::Timeout => {
                broken("answer", format!("silent for {:.1} s", self.limit.as_secs_f64()))
            }
            std::sync::mpsc::RecvTimeoutError::Disconnected => broken("answer", "the child exited"),
        })?;
        let parsed: Answer<T> = serde_json::from_str(&answer).map_err(|error| {
            broken("answer", format!("not an answer: {error}: {}", answer.chars().take(120).collect::<String>()))
        })?;
        if self.validate {
            check(&parsed)?;
        }
        Ok(parsed)
    }
}

/// What the types leave open (`r[protocol.error]`, `r[protocol.skip]`).
fn check<T>(answer: &Answer<T>) -> Result<(), ConformError> {
    match answer {
        Answer::Error(failure) if !ERROR_KINDS.contains(&failure.kind.as_str()) => {
            Err(broken("protocol", format!("unknown kind of error {:?}", failure.kind)))
        }
        Answer::Skipped(skip) if skip.reason.is_empty() || skip.issue.is_empty() => {
            Err(broken("protocol", "a skip without reason or issue"))
        }
        _ => Ok(()),
    }
}

impl Child {
    /// Starts the program.
    ///
    /// # Errors
    /// [`ConformError::Broken`] if it cannot be started.
    pub fn start(launch: Launch) -> Result<Self, ConformError> {
        let pipe = Rc::new(RefCell::new(Pipe::start(&launch)?));
        Ok(Self { launch, pipe })
    }
}

impl Backend for Child {
    fn hello(&mut self) -> Reply<Greeting> {
        self.pipe.borrow_mut().ask(&Request::Hello { protocol: PROTOCOL.to_owned() })
    }

    fn open(&mut self, request: &Open) -> Reply<(Opened, Box<dyn Session>)> {
        let answer: Answer<Opened> = self.pipe.borrow_mut().ask(&Request::Open(Box::new(request.clone())))?;
        Ok(match answer {
            Answer::Ok(opened) => {
                let name = opened.session.clone();
                let session: Box<dyn Session> = Box::new(Remote { pipe: Rc::clone(&self.pipe), name });
                Answer::Ok((opened, session))
            }
            Answer::Skipped(skip) => Answer::Skipped(skip),
            Answer::Error(failure) => Answer::Error(failure),
        })
    }

    fn restart(&mut self) -> Result<(), ConformError> {
        self.pipe = Rc::new(RefCell::new(Pipe::start(&self.launch)?));
        Ok(())
    }
}

/// A session of a child.
struct Remote {
    pipe: Rc<RefCell<Pipe>>,
    name: String,
}

impl Session for Remote {
    fn put(&mut self, value: &Value) -> Reply<Stored> {
        self.pipe.borrow_mut().ask(&Request::Put { session: self.name.clone(), value: value.clone() })
    }

    fn get(&mut self, handle: &str, form: Form) -> Reply<Fetched> {
        let request = Request::Get { session: self.name.clone(), handle: handle.to_owned(), form };
        self.pipe.borrow_mut().ask(&request)
    }

    fn discard(&mut self, handle: &str) -> Reply<Dropped> {
        let request = Request::Drop { session: self.name.clone(), handle: handle.to_owned() };
        self.pipe.borrow_mut().ask(&request)
    }

    fn run(&mut self, request: &Run) -> Reply<Ran> {
        let request = Run { session: self.name.clone(), ..request.clone() };
        self.pipe.borrow_mut().ask(&Request::Run(request))
    }

    fn close(&mut self) -> Reply<Closed> {
        self.pipe.borrow_mut().ask(&Request::Close { session: self.name.clone() })
    }
}
