//! Which numbers are which calls, and which of them stop a program.

use super::{Address, Bytes, Call, Changed, Made, Place, Subject, Way, at, descriptor, here, int};

/// What the filter does about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    /// It happens, and nobody is told.
    Pass,
    /// It stops the program.
    Stop,
    /// It stops the program if the first argument is a descriptor that somebody asked about.
    StopOnDescriptor,
    /// It stops the program unless the first argument is 0: what it does to the process itself is nobody else's.
    StopOnFirst,
    /// It stops the program if the second argument is one of these.
    StopOnSecond(&'static [i32]),
    /// It fails with an error, as if the kernel did not know it.
    Refuse(i32),
}

/// Calls that compute, wait, ask about the process, or are about what was opened before.
#[rustfmt::skip]
const PASSING: &[i64] = &[
    // Memory.
    libc::SYS_brk, libc::SYS_madvise, libc::SYS_membarrier, libc::SYS_mincore, libc::SYS_mlock, libc::SYS_mlock2,
    libc::SYS_mlockall, libc::SYS_mmap, libc::SYS_mprotect, libc::SYS_mremap, libc::SYS_msync, libc::SYS_munlock,
    libc::SYS_munlockall, libc::SYS_munmap, libc::SYS_memfd_create, libc::SYS_get_mempolicy, libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    // Signals to oneself, and time.
    libc::SYS_rt_sigaction, libc::SYS_rt_sigpending, libc::SYS_rt_sigprocmask, libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigsuspend, libc::SYS_rt_sigtimedwait, libc::SYS_sigaltstack, libc::SYS_signalfd4,
    libc::SYS_restart_syscall, libc::SYS_clock_getres, libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep, libc::SYS_getitimer, libc::SYS_gettimeofday, libc::SYS_nanosleep, libc::SYS_setitimer,
    libc::SYS_timer_create, libc::SYS_timer_delete, libc::SYS_timer_getoverrun, libc::SYS_timer_gettime,
    libc::SYS_timer_settime, libc::SYS_timerfd_create, libc::SYS_timerfd_gettime, libc::SYS_timerfd_settime,
    libc::SYS_times,
    // Processes: what is started is told as an event.
    libc::SYS_clone, libc::SYS_clone3, libc::SYS_exit, libc::SYS_exit_group, libc::SYS_wait4, libc::SYS_waitid,
    libc::SYS_futex, libc::SYS_get_robust_list, libc::SYS_set_robust_list, libc::SYS_set_tid_address, libc::SYS_rseq,
    libc::SYS_prctl, libc::SYS_seccomp, libc::SYS_getpid, libc::SYS_gettid, libc::SYS_getppid, libc::SYS_getpgid,
    libc::SYS_getsid, libc::SYS_setsid, libc::SYS_getuid, libc::SYS_geteuid, libc::SYS_getgid,
    libc::SYS_getegid, libc::SYS_getresuid, libc::SYS_getresgid, libc::SYS_getgroups, libc::SYS_capget,
    libc::SYS_getcpu, libc::SYS_getpriority, libc::SYS_getrusage, libc::SYS_getrlimit,
    libc::SYS_setrlimit, libc::SYS_sched_getaffinity, libc::SYS_sched_getattr,
    libc::SYS_sched_getparam, libc::SYS_sched_getscheduler, libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min, libc::SYS_sched_rr_get_interval, libc::SYS_sched_yield,
    libc::SYS_sysinfo, libc::SYS_uname, libc::SYS_getcwd, libc::SYS_pidfd_open, libc::SYS_ioprio_get,
    // What they make differently is seen: whose it is.
    libc::SYS_setuid, libc::SYS_setgid, libc::SYS_setreuid, libc::SYS_setregid, libc::SYS_setresuid,
    libc::SYS_setresgid, libc::SYS_setfsuid, libc::SYS_setfsgid,
    // Descriptors that are open.
    libc::SYS_close, libc::SYS_close_range, libc::SYS_epoll_create1, libc::SYS_epoll_ctl, libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2, libc::SYS_eventfd2, libc::SYS_fadvise64, libc::SYS_fdatasync,
    libc::SYS_fstatfs, libc::SYS_fsync, libc::SYS_ppoll, libc::SYS_pselect6, libc::SYS_readahead, libc::SYS_sync, libc::SYS_syncfs,
    libc::SYS_sync_file_range, libc::SYS_statfs,
    // Sockets, whose making and connecting stopped the program.
    libc::SYS_getpeername, libc::SYS_getsockname, libc::SYS_getsockopt, libc::SYS_recvfrom, libc::SYS_recvmmsg,
    libc::SYS_recvmsg, libc::SYS_sendmmsg, libc::SYS_sendmsg, libc::SYS_sendto, libc::SYS_setsockopt,
    libc::SYS_shutdown,
];

/// The same, of the calls that newer kinds of processors do without.
#[cfg(target_arch = "x86_64")]
#[rustfmt::skip]
const OLDER_PASSING: &[i64] = &[
    libc::SYS_alarm, libc::SYS_arch_prctl, libc::SYS_epoll_create, libc::SYS_epoll_wait, libc::SYS_eventfd,
    libc::SYS_fork, libc::SYS_getpgrp, libc::SYS_pause, libc::SYS_poll, libc::SYS_select, libc::SYS_signalfd,
    libc::SYS_time, libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER_PASSING: &[i64] = &[];

/// Calls that move bytes between a process and a descriptor.
#[rustfmt::skip]
const TRANSFERS: &[i64] = &[
    libc::SYS_read, libc::SYS_write, libc::SYS_readv, libc::SYS_writev, libc::SYS_pread64, libc::SYS_pwrite64,
    libc::SYS_preadv, libc::SYS_pwritev, libc::SYS_preadv2, libc::SYS_pwritev2, libc::SYS_vmsplice,
];

/// Calls that ask what a descriptor leads to, and where it is.
const ASKING: &[i64] = &[libc::SYS_fstat, libc::SYS_lseek];

/// Calls that change a process that the first argument names.
#[rustfmt::skip]
const ALTERING: &[i64] = &[
    libc::SYS_prlimit64, libc::SYS_sched_setaffinity, libc::SYS_sched_setattr, libc::SYS_sched_setparam,
    libc::SYS_sched_setscheduler, libc::SYS_setpgid,
];

/// What `fcntl` and `ioctl` do to an open file, which others may have as well, or ask about what they do to it: another number,
/// flags, locks, a lease; not to wait, signals, how much there is to read.
const ON_OPEN_FILES: &[i32] = &[
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_SETFL,
    libc::F_SETLK,
    libc::F_SETLKW,
    libc::F_OFD_SETLK,
    libc::F_OFD_SETLKW,
    libc::F_SETLEASE,
    FIONBIO,
    FIOASYNC,
    FIONREAD,
];
/// The kernel's numbers, of which C libraries differ in the type.
const FIONBIO: i32 = 0x5421;
const FIOASYNC: i32 = 0x5452;
const FIONREAD: i32 = 0x541b;

/// `fchmodat2`, which has this number everywhere and not every C library names.
const FCHMODAT2: i64 = 452;

/// Returns what the filter does about a call.
pub(crate) fn rule(number: i64) -> Rule {
    if PASSING.contains(&number) || OLDER_PASSING.contains(&number) {
        return Rule::Pass;
    }
    if TRANSFERS.contains(&number) || ASKING.contains(&number) {
        return Rule::StopOnDescriptor;
    }
    if ALTERING.contains(&number) {
        return Rule::StopOnFirst;
    }
    match number {
        libc::SYS_fcntl | libc::SYS_ioctl => Rule::StopOnSecond(ON_OPEN_FILES),
        // What goes through a ring stops nobody; programs that find none use the calls above.
        libc::SYS_io_uring_setup => Rule::Refuse(libc::ENOSYS),
        _ => Rule::Stop,
    }
}

/// Returns all numbers whose rule is not to stop the program in any case.
pub(crate) fn numbers() -> impl Iterator<Item = i64> {
    let own = [libc::SYS_fcntl, libc::SYS_ioctl, libc::SYS_io_uring_setup];
    TRANSFERS
        .iter()
        .chain(ASKING)
        .chain(ALTERING)
        .chain(PASSING)
        .chain(OLDER_PASSING)
        .copied()
        .chain(own)
}

/// Whether a link at the end of a place is followed, as the flags of the `…at` calls say.
fn follows(flags: u64) -> bool {
    int(flags) & libc::AT_SYMLINK_NOFOLLOW == 0
}

fn bits(argument: u64) -> u32 {
    int(argument).cast_unsigned()
}

fn several(address: u64, count: u64) -> Bytes {
    Bytes::Several { address: Address(address), count }
}

fn look(place: Place, follow: bool) -> Call {
    Call::Look { subject: Subject::At { place, follow } }
}

fn change(place: Place, follow: bool, changed: Changed) -> Call {
    Call::Change { subject: Subject::At { place, follow }, changed }
}

fn change_open(argument: u64, changed: Changed) -> Call {
    Call::Change { subject: Subject::Open(descriptor(argument)), changed }
}

fn execute(place: Place, arguments: u64, environment: u64, flags: i32) -> Call {
    let (arguments, environment) = (Address(arguments), Address(environment));
    Call::Execute { place, arguments, environment, flags }
}

fn directory(place: Place, mode: u64) -> Call {
    Call::Make { place, made: Made::Directory { mode: bits(mode) } }
}

fn node(place: Place, mode: u64) -> Call {
    Call::Make { place, made: Made::Node { mode: bits(mode) } }
}

fn link(place: Place, target: u64) -> Call {
    Call::Make { place, made: Made::Link { target: Address(target) } }
}

fn name(place: Place, of: Place, follow: bool) -> Call {
    Call::Make { place, made: Made::Name { of: Subject::At { place: of, follow } } }
}

pub(super) fn read(number: i64, arguments: [u64; 6]) -> Call {
    if let Some(call) = older(number, arguments) {
        return call;
    }
    let [a, b, c, d, e, _] = arguments;
    let transfer = |way, bytes| Call::Transfer { descriptor: descriptor(a), way, bytes };
    let one = |way| transfer(way, Bytes::One { address: Address(b), length: c });
    match number {
        libc::SYS_openat => Call::Open { place: at(a, b), flags: Some(int(c)) },
        libc::SYS_openat2 => Call::Open { place: at(a, b), flags: None },
        libc::SYS_newfstatat => look(at(a, b), follows(d)),
        libc::SYS_statx => look(at(a, b), follows(c)),
        // The kernel looks at no fourth argument here.
        libc::SYS_faccessat => look(at(a, b), true),
        libc::SYS_faccessat2 => look(at(a, b), follows(d)),
        libc::SYS_getxattr | libc::SYS_listxattr => look(here(a), true),
        libc::SYS_lgetxattr | libc::SYS_llistxattr => look(here(a), false),
        libc::SYS_fgetxattr | libc::SYS_flistxattr => {
            Call::Look { subject: Subject::Open(descriptor(a)) }
        }
        libc::SYS_readlinkat => Call::ReadLink { place: at(a, b) },
        libc::SYS_getdents64 => Call::List { descriptor: descriptor(a) },
        libc::SYS_chdir => Call::Enter { subject: Subject::At { place: here(a), follow: true } },
        libc::SYS_fchdir => Call::Enter { subject: Subject::Open(descriptor(a)) },
        libc::SYS_mkdirat => directory(at(a, b), c),
        libc::SYS_mknodat => node(at(a, b), c),
        libc::SYS_symlinkat => link(at(b, c), a),
        libc::SYS_linkat => name(at(c, d), at(a, b), int(e) & libc::AT_SYMLINK_FOLLOW != 0),
        libc::SYS_unlinkat => Call::Remove { place: at(a, b) },
        libc::SYS_renameat => Call::Rename { from: at(a, b), to: at(c, d), flags: 0 },
        libc::SYS_renameat2 => Call::Rename { from: at(a, b), to: at(c, d), flags: bits(e) },
        libc::SYS_fchmod => change_open(a, Changed::Mode),
        libc::SYS_fchmodat => change(at(a, b), true, Changed::Mode),
        FCHMODAT2 => change(at(a, b), follows(d), Changed::Mode),
        libc::SYS_fchown => change_open(a, Changed::Owner),
        libc::SYS_fchownat => change(at(a, b), follows(e), Changed::Owner),
        // Without a path it is about the descriptor.
        libc::SYS_utimensat if b == 0 => change_open(a, Changed::Times),
        libc::SYS_utimensat => change(at(a, b), follows(d), Changed::Times),
        libc::SYS_ftruncate | libc::SYS_fallocate => change_open(a, Changed::Length),
        libc::SYS_truncate => change(here(a), true, Changed::Length),
        libc::SYS_execve => execute(here(a), b, c, 0),
        libc::SYS_execveat => execute(at(a, b), c, d, int(e)),
        libc::SYS_fcntl if int(b) == libc::F_SETFL => {
            Call::SetFlags { descriptor: descriptor(a), flags: int(c) }
        }
        libc::SYS_fcntl if ![libc::F_DUPFD, libc::F_DUPFD_CLOEXEC].contains(&int(b)) => {
            Call::Share { descriptor: descriptor(a) }
        }
        libc::SYS_dup | libc::SYS_dup3 | libc::SYS_fcntl => {
            Call::Duplicate { descriptor: descriptor(a) }
        }
        libc::SYS_ioctl | libc::SYS_flock => Call::Share { descriptor: descriptor(a) },
        libc::SYS_lseek => Call::Seek { descriptor: descriptor(a) },
        libc::SYS_fstat => Call::Look { subject: Subject::Open(descriptor(a)) },
        libc::SYS_pipe2 => Call::Pipe { numbers: Address(a) },
        libc::SYS_socketpair => Call::SocketPair { numbers: Address(d) },
        libc::SYS_socket => Call::Socket { family: int(a) },
        libc::SYS_connect => {
            Call::Connect { descriptor: descriptor(a), address: Address(b), length: c }
        }
        libc::SYS_read | libc::SYS_pread64 => one(Way::In),
        libc::SYS_write | libc::SYS_pwrite64 => one(Way::Out),
        libc::SYS_readv | libc::SYS_preadv | libc::SYS_preadv2 => transfer(Way::In, several(b, c)),
        libc::SYS_writev | libc::SYS_pwritev | libc::SYS_pwritev2 | libc::SYS_vmsplice => {
            transfer(Way::Out, several(b, c))
        }
        libc::SYS_sendfile => Call::Move { from: descriptor(b), to: descriptor(a) },
        libc::SYS_splice | libc::SYS_copy_file_range => {
            Call::Move { from: descriptor(a), to: descriptor(c) }
        }
        libc::SYS_tee => Call::Move { from: descriptor(a), to: descriptor(b) },
        libc::SYS_umask => Call::SetMask,
        libc::SYS_kill => Call::Signal { process: int(a) },
        number if ALTERING.contains(&number) => Call::Alter { process: int(a) },
        libc::SYS_tgkill | libc::SYS_tkill => Call::Alter { process: int(a) },
        // Of a process, and not of many.
        libc::SYS_setpriority if int(a) == 0 => Call::Alter { process: int(b) },
        libc::SYS_ioprio_set if int(a) == 1 => Call::Alter { process: int(b) },
        libc::SYS_setpriority | libc::SYS_ioprio_set => Call::Signal { process: -1 },
        libc::SYS_getrandom => Call::Random { address: Address(a), length: b },
        _ => Call::Unknown { number },
    }
}

/// Reads the calls that newer kinds of processors do without.
#[cfg(target_arch = "x86_64")]
fn older(number: i64, arguments: [u64; 6]) -> Option<Call> {
    let [a, b, ..] = arguments;
    Some(match number {
        libc::SYS_open => Call::Open { place: here(a), flags: Some(int(b)) },
        libc::SYS_creat => {
            let flags = libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC;
            Call::Open { place: here(a), flags: Some(flags) }
        }
        libc::SYS_stat | libc::SYS_access => look(here(a), true),
        libc::SYS_lstat => look(here(a), false),
        libc::SYS_readlink => Call::ReadLink { place: here(a) },
        libc::SYS_getdents => Call::List { descriptor: descriptor(a) },
        libc::SYS_mkdir => directory(here(a), b),
        libc::SYS_mknod => node(here(a), b),
        libc::SYS_symlink => link(here(b), a),
        libc::SYS_link => name(here(b), here(a), false),
        libc::SYS_unlink | libc::SYS_rmdir => Call::Remove { place: here(a) },
        libc::SYS_rename => Call::Rename { from: here(a), to: here(b), flags: 0 },
        libc::SYS_chmod => change(here(a), true, Changed::Mode),
        libc::SYS_chown => change(here(a), true, Changed::Owner),
        libc::SYS_lchown => change(here(a), false, Changed::Owner),
        libc::SYS_utime | libc::SYS_utimes => change(here(a), true, Changed::Times),
        libc::SYS_futimesat if b == 0 => change_open(a, Changed::Times),
        libc::SYS_futimesat => change(at(a, b), true, Changed::Times),
        libc::SYS_dup2 => Call::Duplicate { descriptor: descriptor(a) },
        libc::SYS_pipe => Call::Pipe { numbers: Address(a) },
        _ => return None,
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn older(_: i64, _: [u64; 6]) -> Option<Call> {
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::calls::Descriptor;

    #[test]
    fn no_number_has_two_rules() {
        let mut seen = BTreeSet::new();
        for number in numbers() {
            assert!(seen.insert(number), "{number}");
        }
    }

    #[test]
    fn what_stops_a_program_is_known_or_said_to_be_unknown() {
        for number in 0..500 {
            let call = read(number, [0; 6]);
            match rule(number) {
                Rule::Pass | Rule::Refuse(_) => {
                    assert_eq!(call, Call::Unknown { number }, "it never stops a program");
                }
                Rule::StopOnDescriptor => {
                    let is_known = matches!(
                        call,
                        Call::Transfer { .. } | Call::Seek { .. } | Call::Look { .. }
                    );
                    assert!(is_known, "{number}");
                }
                Rule::StopOnFirst => assert!(matches!(call, Call::Alter { .. }), "{number}"),
                Rule::StopOnSecond(_) => {
                    assert!(
                        matches!(call, Call::Duplicate { .. } | Call::Share { .. }),
                        "{number}"
                    );
                }
                Rule::Stop => {}
            }
        }
    }

    #[test]
    fn the_upper_half_of_a_register_is_no_part_of_a_number() {
        let dirty = 0xffff_ffff_0000_0000 | u64::from(libc::AT_FDCWD.cast_unsigned());
        for directory in [dirty, u64::from(libc::AT_FDCWD.cast_unsigned())] {
            let call = read(libc::SYS_openat, [directory, 7, 0, 0, 0, 0]);
            let place = Place { directory: None, path: Address(7) };
            assert_eq!(call, Call::Open { place, flags: Some(0) });
        }
    }

    #[test]
    fn links_are_followed_unless_a_flag_says_otherwise() {
        let no = u64::from(libc::AT_SYMLINK_NOFOLLOW.cast_unsigned());
        let place = Place { directory: Some(Descriptor(3)), path: Address(7) };
        assert_eq!(read(libc::SYS_newfstatat, [3, 7, 0, no, 0, 0]), look(place, false));
        assert_eq!(read(libc::SYS_newfstatat, [3, 7, 0, 0, 0, 0]), look(place, true));
        assert_eq!(read(libc::SYS_statx, [3, 7, no, 0, 0, 0]), look(place, false));
        // What is in a register that the kernel does not look at means nothing.
        assert_eq!(read(libc::SYS_faccessat, [3, 7, 0, no, 0, 0]), look(place, true));
    }
}
