//! Starts the program that is traced.

use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::filter::{self, DescriptorSet};
use crate::status::Thread;
use crate::sys::{self, Starting};
use crate::tracer::TraceError;

/// A program to be run, in this process's directory and with its descriptors.
#[derive(Clone, Debug)]
pub struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    descriptors: DescriptorSet,
}

fn text(text: &OsStr) -> Result<CString, TraceError> {
    CString::new(text.as_bytes()).map_err(|source| TraceError::Text { source })
}

impl Program {
    /// Names a file to run, and what it is told as its own name and arguments. There is no search for it.
    pub fn new<A: AsRef<OsStr>>(
        path: &Path,
        arguments: impl IntoIterator<Item = A>,
    ) -> Result<Self, TraceError> {
        let arguments: Result<_, _> = arguments.into_iter().map(|one| text(one.as_ref())).collect();
        Ok(Self {
            path: text(path.as_os_str())?,
            arguments: arguments?,
            environment: Vec::new(),
            descriptors: DescriptorSet::default(),
        })
    }

    /// Gives it variables; it has none otherwise.
    pub fn environment<K: AsRef<OsStr>, V: AsRef<OsStr>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Result<Self, TraceError> {
        for (name, value) in variables {
            let pair = [name.as_ref().as_bytes(), b"=", value.as_ref().as_bytes()].concat();
            self.environment.push(text(OsStr::from_bytes(&pair))?);
        }
        Ok(self)
    }

    /// Has transfers on these descriptors stop it, and all that it starts.
    #[must_use]
    pub fn watch(mut self, descriptors: DescriptorSet) -> Self {
        self.descriptors = descriptors;
        self
    }

    /// Starts it, seized and about to run its first instruction.
    pub(crate) fn start(&self) -> Result<Thread, TraceError> {
        let filter = filter::filter(&self.descriptors).ok_or(TraceError::Filter)?;
        let pointers = |texts: &[CString]| {
            let ends = std::iter::once(std::ptr::null());
            texts.iter().map(|text| text.as_ptr()).chain(ends).collect::<Vec<_>>()
        };
        let (arguments, environment) = (pointers(&self.arguments), pointers(&self.environment));
        let failing = |source| TraceError::Start { source };
        let (gate, mut opening) = pipe().map_err(failing)?;
        let (mut failed, failure) = pipe().map_err(failing)?;
        let starting = Starting {
            program: self.path.as_ptr(),
            arguments: &arguments,
            environment: &environment,
            filter: &filter,
            gate: gate.as_raw_fd(),
            failure: failure.as_raw_fd(),
        };
        let child = starting.start().map_err(failing)?;
        drop((gate, failure));
        let seized = sys::seize(child).and_then(|()| opening.write_all(&[0]));
        if let Err(source) = seized {
            sys::kill(child.number());
            return Err(TraceError::Attach { source });
        }
        drop(opening);
        self.wait_until_begun(child, &mut failed)?;
        Ok(child)
    }

    /// Lets the process come as far as its program's beginning, where the kernel tells that it runs it.
    fn wait_until_begun(&self, child: Thread, failed: &mut File) -> Result<(), TraceError> {
        use crate::status::{Change, Event};
        let failing = |source| TraceError::Start { source };
        while let Some((thread, status)) = sys::wait().map_err(failing)? {
            match Change::read(status) {
                Some(Change::Event(Event::Executed)) if thread == child => return Ok(()),
                Some(Change::Ended(_)) if thread == child => break,
                Some(Change::Signal(signal)) => {
                    sys::go_on(thread, sys::GoOn::Freely, signal).map_err(failing)?;
                }
                Some(_) | None => {
                    sys::go_on(thread, sys::GoOn::Freely, 0).map_err(failing)?;
                }
            }
        }
        let mut said = Vec::new();
        failed.read_to_end(&mut said).map_err(failing)?;
        let source = match said.as_slice() {
            [_, low, high] => {
                io::Error::from_raw_os_error(i32::from(u16::from_le_bytes([*low, *high])))
            }
            _ => io::Error::other("the new process ended"),
        };
        let path = Path::new(OsStr::from_bytes(self.path.to_bytes())).to_owned();
        Err(match said.first() {
            Some(2 | 3) => TraceError::Attach { source },
            Some(4) => TraceError::Program { path, source },
            Some(_) | None => TraceError::Start { source },
        })
    }
}

/// Returns both ends of a pipe that no program inherits.
fn pipe() -> io::Result<(File, File)> {
    let (read, write) = io::pipe()?;
    let file = |fd: std::os::fd::OwnedFd| File::from(fd);
    Ok((file(read.into()), file(write.into())))
}
