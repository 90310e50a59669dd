//! The program that the kernel runs before each call, to decide whether it stops the traced program.

use std::collections::BTreeSet;

use crate::arch::AUDIT;
use crate::calls::{Descriptor, Rule, numbers, rule};

/// What the filter tells with a stop: the call is one of this processor's own kind.
pub(crate) const OWN: u32 = 1;
/// The same, for a call of another kind: of 32 bits, for one.
pub(crate) const FOREIGN: u32 = 2;

/// Descriptors on which reading and writing stops a program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DescriptorSet(BTreeSet<i32>);

impl DescriptorSet {
    /// The most that a set may have: the distances that the kernel's filters can jump are limited.
    pub const MOST: usize = 32;

    /// Returns a set of these.
    pub fn new(descriptors: impl IntoIterator<Item = Descriptor>) -> Self {
        Self(descriptors.into_iter().map(|one| one.0).collect())
    }

    /// Returns whether one of this number stops a program.
    pub fn contains(&self, descriptor: Descriptor) -> bool {
        self.0.contains(&descriptor.0)
    }

    /// Adds one; returns whether there was room.
    pub fn add(&mut self, descriptor: Descriptor) -> bool {
        self.0.len() < Self::MOST && {
            self.0.insert(descriptor.0);
            true
        }
    }
}

/// Offsets in `struct seccomp_data`.
const NUMBER: u32 = 0;
const ARCHITECTURE: u32 = 4;
const fn argument(index: u32) -> u32 {
    // The half that holds a number of 32 bits, on processors that put it first.
    16 + 8 * index
}

/// Where a jump leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Pass,
    Stop,
    Foreign,
    OnDescriptor,
    OnFirst,
    OnSecond,
    Refuse,
}

/// Instructions, with jumps that do not have their distance yet.
#[derive(Default)]
struct Program {
    instructions: Vec<libc::sock_filter>,
    /// Which instructions jump where if what they compare is equal, or is not.
    jumps: Vec<(usize, bool, Label)>,
    labels: Vec<(Label, usize)>,
}

impl Program {
    fn push(&mut self, code: u32, k: u32) {
        // All codes of classic BPF have 16 bits.
        let code = u16::try_from(code).unwrap_or(u16::MAX);
        self.instructions.push(libc::sock_filter { code, jt: 0, jf: 0, k });
    }

    fn load(&mut self, offset: u32) {
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset);
    }

    fn jump(&mut self, equal: bool, value: u32, to: Label) {
        self.jumps.push((self.instructions.len(), equal, to));
        self.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value);
    }

    fn end(&mut self, label: Label, action: u32) {
        self.labels.push((label, self.instructions.len()));
        self.push(libc::BPF_RET | libc::BPF_K, action);
    }

    fn begin(&mut self, label: Label) {
        self.labels.push((label, self.instructions.len()));
    }

    /// Fills distances in; nothing if one is too long, or leads nowhere.
    fn finish(mut self) -> Option<Vec<libc::sock_filter>> {
        for (at, equal, to) in self.jumps {
            let (_, target) = self.labels.iter().find(|(label, _)| *label == to)?;
            let distance = u8::try_from(target.checked_sub(at + 1)?).ok()?;
            let instruction = self.instructions.get_mut(at)?;
            if equal {
                instruction.jt = distance;
            } else {
                instruction.jf = distance;
            }
        }
        Some(self.instructions)
    }
}

/// Returns the filter that stops a program at all that matters, and at transfers on these descriptors.
pub(crate) fn filter(descriptors: &DescriptorSet) -> Option<Vec<libc::sock_filter>> {
    let mut program = Program::default();
    program.load(ARCHITECTURE);
    program.jump(false, AUDIT, Label::Foreign);
    program.load(NUMBER);
    let (mut second, mut refused): (&[i32], i32) = (&[], 0);
    for number in numbers() {
        let label = match rule(number) {
            Rule::Pass => Label::Pass,
            Rule::Stop => Label::Stop,
            Rule::StopOnDescriptor => Label::OnDescriptor,
            Rule::StopOnFirst => Label::OnFirst,
            Rule::StopOnSecond(values) => {
                second = values;
                Label::OnSecond
            }
            Rule::Refuse(error) => {
                refused = error;
                Label::Refuse
            }
        };
        program.jump(true, u32::try_from(number).ok()?, label);
    }
    program.end(Label::Stop, libc::SECCOMP_RET_TRACE | OWN);
    program.end(Label::Foreign, libc::SECCOMP_RET_TRACE | FOREIGN);
    program.end(Label::Refuse, libc::SECCOMP_RET_ERRNO | refused.cast_unsigned());
    program.begin(Label::OnFirst);
    program.load(argument(0));
    program.jump(true, 0, Label::Pass);
    program.push(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_TRACE | OWN);
    program.begin(Label::OnSecond);
    program.load(argument(1));
    choose(&mut program, second);
    program.begin(Label::OnDescriptor);
    on_descriptor(&mut program, descriptors);
    program.end(Label::Pass, libc::SECCOMP_RET_ALLOW);
    program.finish()
}

/// Returns a filter that stops a program at transfers on more descriptors, and leaves all else to those it has.
pub(crate) fn more(descriptors: &DescriptorSet) -> Option<Vec<libc::sock_filter>> {
    let mut program = Program::default();
    program.load(ARCHITECTURE);
    program.jump(false, AUDIT, Label::Pass);
    program.load(NUMBER);
    for number in numbers().filter(|number| rule(*number) == Rule::StopOnDescriptor) {
        program.jump(true, u32::try_from(number).ok()?, Label::OnDescriptor);
    }
    program.push(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    program.begin(Label::OnDescriptor);
    on_descriptor(&mut program, descriptors);
    program.end(Label::Pass, libc::SECCOMP_RET_ALLOW);
    program.finish()
}

fn on_descriptor(program: &mut Program, descriptors: &DescriptorSet) {
    program.load(argument(0));
    let values: Vec<i32> = descriptors.0.iter().copied().collect();
    choose(program, &values);
}

/// Stops the program if what is loaded is one of these, else lets it pass.
fn choose(program: &mut Program, values: &[i32]) {
    let stop = libc::SECCOMP_RET_TRACE | OWN;
    for value in values {
        // Two instructions for each: over the stop, or into it.
        let at = program.instructions.len();
        program.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, value.cast_unsigned());
        if let Some(instruction) = program.instructions.get_mut(at) {
            instruction.jf = 1;
        }
        program.push(libc::BPF_RET | libc::BPF_K, stop);
    }
    program.push(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASS: u32 = libc::SECCOMP_RET_ALLOW;
    const STOP: u32 = libc::SECCOMP_RET_TRACE | OWN;

    /// Runs a filter as the kernel does.
    fn run(
        filter: &[libc::sock_filter],
        architecture: u32,
        number: i64,
        arguments: [u64; 6],
    ) -> u32 {
        let mut data = Vec::new();
        data.extend(u32::try_from(number).unwrap().to_ne_bytes());
        data.extend(architecture.to_ne_bytes());
        data.extend(0_u64.to_ne_bytes());
        arguments.iter().for_each(|argument| data.extend(argument.to_ne_bytes()));
        let (mut at, mut value) = (0, 0);
        loop {
            let one = filter[at];
            at += 1;
            match u32::from(one.code) & 7 {
                libc::BPF_LD => {
                    let offset = one.k as usize;
                    value = u32::from_ne_bytes(data[offset..offset + 4].try_into().unwrap());
                }
                libc::BPF_JMP => {
                    at += usize::from(if value == one.k { one.jt } else { one.jf });
                }
                libc::BPF_RET => return one.k,
                other => panic!("{other}"),
            }
        }
    }

    #[test]
    fn each_call_has_what_its_rule_says() {
        let set = DescriptorSet::new([Descriptor(0), Descriptor(7)]);
        let filter = filter(&set).unwrap();
        for number in 0..600 {
            let on = |descriptor: u64, second: u64| {
                run(&filter, AUDIT, number, [descriptor, second, 0, 0, 0, 0])
            };
            match rule(number) {
                Rule::Pass => assert_eq!(on(0, 0), PASS, "{number}"),
                Rule::Stop => assert_eq!(on(9, 9), STOP, "{number}"),
                Rule::StopOnDescriptor => {
                    assert_eq!((on(0, 0), on(7, 0)), (STOP, STOP), "{number}");
                    assert_eq!((on(1, 0), on(8, 7)), (PASS, PASS), "{number}");
                }
                Rule::StopOnFirst => {
                    assert_eq!((on(0, 9), on(9, 0)), (PASS, STOP), "{number}");
                }
                Rule::StopOnSecond(values) => {
                    for value in values {
                        assert_eq!(on(3, value.unsigned_abs().into()), STOP, "{number}");
                    }
                    assert_eq!(on(0, 9999), PASS, "{number}");
                }
                Rule::Refuse(error) => {
                    let expected = libc::SECCOMP_RET_ERRNO | error.unsigned_abs();
                    assert_eq!(on(0, 0), expected, "{number}");
                }
            }
        }
    }

    #[test]
    fn calls_of_another_processor_are_told_apart() {
        let filter = filter(&DescriptorSet::default()).unwrap();
        let i386 = 0x4000_0003;
        for number in [libc::SYS_brk, libc::SYS_openat, libc::SYS_read] {
            let found = run(&filter, i386, number, [0; 6]);
            assert_eq!(found, libc::SECCOMP_RET_TRACE | FOREIGN);
        }
        // Of 32-bit pointers on this processor: no number that is known.
        let found = run(&filter, AUDIT, 0x4000_0000 + libc::SYS_brk, [0; 6]);
        assert_eq!(found, STOP);
    }

    #[test]
    fn a_full_set_still_fits() {
        let mut set = DescriptorSet::default();
        for number in 0.. {
            if !set.add(Descriptor(number)) {
                break;
            }
        }
        assert_eq!(set.0.len(), DescriptorSet::MOST);
        assert!(filter(&set).is_some());
        let more = more(&set).unwrap();
        let last = u64::try_from(DescriptorSet::MOST).unwrap() - 1;
        assert_eq!(run(&more, AUDIT, libc::SYS_write, [last, 0, 0, 0, 0, 0]), STOP);
        assert_eq!(run(&more, AUDIT, libc::SYS_write, [last + 1, 0, 0, 0, 0, 0]), PASS);
        assert_eq!(run(&more, AUDIT, libc::SYS_openat, [0; 6]), PASS, "others decide");
    }
}
