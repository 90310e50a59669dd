//! The native stack of an evaluation.
//!
//! Evaluation recurses as deeply as the program does. It happens on a thread with a large stack
//! (reserved, not used up), knows where that stack ends, and reports an error before it does.
//!
//! Freeing a value recurses, too, and cannot report anything. It takes 96 bytes of stack for a list in
//! a list or a set in a set, and 48 for a thunk that waits for a thunk: about what the value itself
//! takes of memory. Half of the stack is kept for that, which is enough for forty million levels.
//! Values cannot leave their thread, so nobody frees them on a smaller stack than they were made on.

/// The sizes that are tried, the largest first; address space may be limited.
const SIZES: [usize; 4] = [8 << 30, 2 << 30, 512 << 20, 64 << 20];
/// The part of the stack, one in so many, that is left for destructors and for code that does not check.
const RESERVE: usize = 2;

/// The stack of the current thread.
#[derive(Debug, Clone, Copy)]
pub struct Stack {
    /// The lowest address that may be used.
    limit: usize,
    /// Values stay on their thread, and so does what is known about its stack.
    _thread: std::marker::PhantomData<*const ()>,
}

impl Stack {
    /// Describes a stack of at least that many bytes, of which the caller has used little.
    fn with_size(size: usize) -> Self {
        let limit = address().saturating_sub(size - size / RESERVE);
        Stack { limit, _thread: std::marker::PhantomData }
    }

    /// Describes the stack of any thread, of which not more than one megabyte will be used.
    ///
    /// Enough for expressions that the program itself made; what others wrote may have values so deep
    /// that to free them takes more.
    pub fn small() -> Self {
        Self::with_size(1 << 20)
    }

    /// Returns whether it is used up.
    #[inline]
    pub(in crate::lang) fn is_exhausted(self) -> bool {
        address() < self.limit
    }
}

/// Returns the address of something on the stack.
#[inline]
fn address() -> usize {
    let here = 0_u8;
    std::ptr::from_ref(std::hint::black_box(&here)).addr()
}

/// Calls a function on a thread with a large stack.
///
/// Values cannot leave the thread: make the evaluator inside, and return what was printed.
pub fn on_large_stack<T: Send>(function: impl FnOnce(Stack) -> T + Send) -> std::io::Result<T> {
    let function = std::sync::Mutex::new(Some(function));
    std::thread::scope(|scope| {
        let mut last = None;
        for size in SIZES {
            let function = &function;
            let started = std::thread::Builder::new()
                .name("evaluator".to_owned())
                .stack_size(size)
                .spawn_scoped(scope, move || {
                    let taken = function.lock().ok().and_then(|mut function| function.take());
                    taken.map(|function| function(Stack::with_size(size)))
                });
            match started {
                Ok(thread) => {
                    return match thread.join() {
                        Ok(Some(result)) => Ok(result),
                        Ok(None) => {
                            Err(std::io::Error::other("the evaluator's thread lost its work"))
                        }
                        // A broken invariant stays one on the thread that asked.
                        Err(panic) => std::panic::resume_unwind(panic),
                    };
                }
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| std::io::Error::other("no thread could be started")))
    })
}
