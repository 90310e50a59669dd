//! The calls of the kernel, by what they mean: which ones stop a program, and what their arguments are.
//!
//! Three kinds do not stop it: those that compute, wait, or ask about the process itself; those on descriptors that a
//! program opened by a call that did stop it; and transfers on descriptors that nobody asked about (see
//! [`crate::DescriptorSet`]). Everything else does, and what is not known here is [`Call::Unknown`].

mod table;

pub(crate) use table::{Rule, numbers, rule};

/// An address in the memory of the process that makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Address(pub u64);

/// A number of a descriptor, as a process gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Descriptor(pub i32);

/// A path, and where it begins unless it is absolute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The directory; nothing for the process's own.
    pub directory: Option<Descriptor>,
    /// The text, which ends with a zero byte.
    pub path: Address,
}

/// A file that a call is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The one at a place.
    At {
        /// Where.
        place: Place,
        /// Whether a link at its end is followed.
        follow: bool,
    },
    /// One that is open.
    Open(Descriptor),
}

/// What comes to be at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Made {
    /// A directory with a mode.
    Directory {
        /// Its mode, before the process's mask.
        mode: u32,
    },
    /// A file, pipe, socket or device.
    Node {
        /// Its kind and mode.
        mode: u32,
    },
    /// A symbolic link.
    Link {
        /// The text that it holds.
        target: Address,
    },
    /// Another name of a file.
    Name {
        /// The file.
        of: Subject,
    },
}

/// What of a file is changed, other than its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// Its mode.
    Mode,
    /// Whose it is.
    Owner,
    /// When it was read and written.
    Times,
    /// Its length, of a file that need not be open.
    Length,
}

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// To the process.
    In,
    /// From the process.
    Out,
}

/// Where the bytes of a transfer are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bytes {
    /// In one piece.
    One {
        /// Where it begins.
        address: Address,
        /// How many there are.
        length: u64,
    },
    /// In several, as an array of `struct iovec` says.
    Several {
        /// Where the array begins.
        address: Address,
        /// How many pieces there are.
        count: u64,
    },
}

/// A call that a process is about to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// `open` and its kin.
    Open {
        /// What.
        place: Place,
        /// As of `open`; nothing if they are in memory of the process (`openat2`).
        flags: Option<i32>,
    },
    /// `stat` and its kin, `access`, extended attributes: whether something is there, and what.
    Look {
        /// At what.
        subject: Subject,
    },
    /// `readlink`.
    ReadLink {
        /// Of what.
        place: Place,
    },
    /// `getdents64`: what is in a directory.
    List {
        /// The directory.
        descriptor: Descriptor,
    },
    /// `chdir`, `fchdir`.
    Enter {
        /// The directory.
        subject: Subject,
    },
    /// `mkdir`, `mknod`, `symlink`, `link`.
    Make {
        /// Where.
        place: Place,
        /// What.
        made: Made,
    },
    /// `unlink`, `rmdir`.
    Remove {
        /// What.
        place: Place,
    },
    /// `rename`.
    Rename {
        /// From where.
        from: Place,
        /// To where.
        to: Place,
        /// As of `renameat2`.
        flags: u32,
    },
    /// `chmod`, `chown`, `utimensat`, `truncate` and their kin.
    Change {
        /// Of what.
        subject: Subject,
        /// What of it.
        changed: Changed,
    },
    /// `execve`, `execveat`.
    Execute {
        /// The program.
        place: Place,
        /// Its arguments: an array of addresses that ends with 0.
        arguments: Address,
        /// Its environment, in the same form.
        environment: Address,
        /// As of `execveat`.
        flags: i32,
    },
    /// `dup` and its kin.
    Duplicate {
        /// What gets another number.
        descriptor: Descriptor,
    },
    /// `pipe`, `pipe2`.
    Pipe {
        /// Where the two numbers are put.
        numbers: Address,
    },
    /// `socketpair`.
    SocketPair {
        /// Where the two numbers are put.
        numbers: Address,
    },
    /// `socket`.
    Socket {
        /// Its family, as `AF_UNIX`.
        family: i32,
    },
    /// `connect`.
    Connect {
        /// The socket.
        descriptor: Descriptor,
        /// Whereto.
        address: Address,
        /// How many bytes of the address there are.
        length: u64,
    },
    /// `read`, `write` and their kin, on a descriptor that somebody asked about.
    Transfer {
        /// The descriptor.
        descriptor: Descriptor,
        /// Which way.
        way: Way,
        /// Where the bytes are.
        bytes: Bytes,
    },
    /// `sendfile`, `splice`, `tee`, `copy_file_range`: from one descriptor to another.
    Move {
        /// From which.
        from: Descriptor,
        /// To which.
        to: Descriptor,
    },
    /// `fcntl` with `F_SETFL`.
    SetFlags {
        /// The descriptor.
        descriptor: Descriptor,
        /// As of `open`.
        flags: i32,
    },
    /// `flock`, and what `fcntl` and `ioctl` do to an open file or learn of what others did to it: locks, signals.
    Share {
        /// The descriptor.
        descriptor: Descriptor,
    },
    /// `lseek`, on a descriptor that somebody asked about.
    Seek {
        /// The descriptor.
        descriptor: Descriptor,
    },
    /// `prlimit`, `sched_setaffinity`, `setpriority`, `setpgid`, `tgkill` and their kin.
    Alter {
        /// Which process, or which thread; 0 for itself.
        process: i32,
    },
    /// `umask`.
    SetMask,
    /// `kill`.
    Signal {
        /// Which process, or processes, as of `kill`.
        process: i32,
    },
    /// `getrandom`.
    Random {
        /// Where the bytes are put.
        address: Address,
        /// How many.
        length: u64,
    },
    /// What nobody here knows: of another kind of processor, new, or rare.
    Unknown {
        /// Its number.
        number: i64,
    },
}

/// An argument that is a number of 32 bits, whatever is in the rest of its register.
fn int(argument: u64) -> i32 {
    let [a, b, c, d, ..] = argument.to_le_bytes();
    i32::from_le_bytes([a, b, c, d])
}

fn descriptor(argument: u64) -> Descriptor {
    Descriptor(int(argument))
}

fn at(directory: u64, path: u64) -> Place {
    let directory = Some(descriptor(directory)).filter(|one| one.0 != libc::AT_FDCWD);
    Place { directory, path: Address(path) }
}

fn here(path: u64) -> Place {
    Place { directory: None, path: Address(path) }
}

impl Call {
    /// Reads a call of this processor's own kind.
    pub(crate) fn read(number: i64, arguments: [u64; 6]) -> Self {
        table::read(number, arguments)
    }
}
