//! Each program ends, prints and leaves the same as without the tracer.

use crate::support::{Came, Compiled, Under, run};

#[track_caller]
fn alike(program: &str, arguments: &[&str]) -> Came {
    let without = run(Under::Nothing, program, arguments);
    for under in Under::TRACED {
        assert_eq!(run(under, program, arguments), without, "{under:?}");
    }
    without
}

#[track_caller]
fn script(text: &str) -> Came {
    alike("/bin/sh", &["-c", text])
}

#[track_caller]
fn c(source: &str) -> Came {
    let compiled = Compiled::new(source, &[]);
    alike(&compiled.path(), &[])
}

#[test]
fn codes_and_signals() {
    assert_eq!(script("exit 0").code, Some(0));
    assert_eq!(script("exit 255").code, Some(255));
    for signal in ["KILL", "TERM", "SEGV", "ABRT", "PIPE", "USR1"] {
        assert!(script(&format!("kill -{signal} $$")).signal.is_some(), "{signal}");
    }
    assert_eq!(script("sh -c 'kill -9 $$'; echo $?").stdout, "137\n");
}

#[test]
fn files_of_all_kinds() {
    let came = script(
        "umask 027; mkdir -p a/b; echo one >a/f; ln a/f a/g; ln -s f a/l; cp -p a/f a/h; chmod 711 a/h
         mv a/h a/b/; cat a/l a/b/h; ls a; rm a/g; mkfifo p; touch -d @1 a/f; stat -c %Y a/f; test -e nothing; echo $?
         cd a/b && pwd | sed 's,.*/a,a,'; rmdir nothing; : >>x; truncate -s 3 x; wc -c <x",
    );
    assert!(came.stdout.contains("one\none\n") && came.stdout.contains("a/b"), "{came:?}");
}

#[test]
fn pipes_and_background() {
    let came = script(
        "seq 1 20000 | sort -n | tail -1; (sleep 0.1; echo late) & echo early; wait; x=$(echo in | cat; exit 3); echo $? $x
         for i in 1 2 3; do (exit $i) & done; wait; echo done; yes | head -2",
    );
    assert_eq!(came.stdout, "20000\nearly\nlate\n3 in\ndone\ny\ny\n");
}

/// Whoever reads what the build prints waits for it, too.
#[test]
fn what_outlives_the_first_program_still_prints() {
    let came = script("(sleep 0.3; echo late; echo x >file) & echo early");
    assert_eq!(came.stdout, "early\nlate\n");
    assert!(came.tree.contains_key("file"));
}

/// What says nothing any more is no reason to wait.
#[test]
fn what_outlives_it_in_silence_is_killed() {
    let begun = std::time::Instant::now();
    let came = run(
        Under::Quiet,
        "/bin/sh",
        &["-c", "sleep 600 >/dev/null 2>&1 & echo $! >pid; echo early"],
    );
    assert_eq!((came.code, came.stdout.as_str()), (Some(0), "early\n"));
    let pid = came.tree["pid"].1.trim().to_owned();
    // It ends; a pid that was given to somebody else would be another program.
    let status = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(!status.starts_with("sleep"), "{status} after {:?}", begun.elapsed());
}

#[test]
fn stopped_and_continued() {
    let came = script(
        "exec 2>/dev/null; (while :; do sleep 0.02; done) & p=$!; kill -STOP $p; sleep 0.1
         sed -n 's/^State:.\\([A-Za-z]\\).*/\\1/p' /proc/$p/status | tr Tt tt; kill -CONT $p; sleep 0.1; kill $p; wait $p; echo $?",
    );
    assert_eq!(came.stdout, "t\n143\n");
}

#[test]
fn signals_reach_their_handlers() {
    let came = script(
        "trap 'echo usr1' USR1; trap 'echo end' EXIT; kill -USR1 $$; (sleep 0.1; kill -USR1 $$) & wait; wait; echo after",
    );
    assert!(came.stdout.ends_with("after\nend\n"), "{came:?}");
}

#[test]
fn threads_that_run_programs() {
    // A thread that is not the first runs another program: it gets the number of the first.
    c("#include <pthread.h>
       #include <unistd.h>
       static void *other(void *x) { execl(\"/bin/echo\", \"echo\", \"from a thread\", (char *)0); return x; }
       int main(void) { pthread_t t; pthread_create(&t, 0, other, 0); pause(); return 1; }");
    let came = c("#include <pthread.h>
       #include <stdio.h>
       #include <fcntl.h>
       #include <unistd.h>
       static void *one(void *x) { char n[32]; for (int i = 0; i < 50; i++) { sprintf(n, \"f%ld-%d\", (long)x, i);
         int f = open(n, O_CREAT | O_WRONLY, 0600); if (write(f, n, 3) != 3) return 0; close(f); } return 0; }
       int main(void) { pthread_t t[8]; for (long i = 0; i < 8; i++) pthread_create(&t[i], 0, one, (void *)i);
         for (int i = 0; i < 8; i++) pthread_join(t[i], 0); puts(\"joined\"); return 7; }");
    assert_eq!((came.tree.len(), came.code), (400, Some(7)));
}

#[test]
fn the_first_thread_may_end_before_the_others() {
    let came = c("#include <pthread.h>
       #include <stdio.h>
       #include <stdlib.h>
       #include <unistd.h>
       static void *other(void *x) { usleep(100000); puts(\"still here\"); fflush(stdout); exit(5); return x; }
       int main(void) { pthread_t t; pthread_create(&t, 0, other, 0); pthread_exit(0); }");
    assert_eq!((came.stdout.as_str(), came.code), ("still here\n", Some(5)));
}

#[test]
fn every_way_to_start_a_process() {
    let came = c("#include <stdio.h>
       #include <sched.h>
       #include <spawn.h>
       #include <signal.h>
       #include <stdlib.h>
       #include <sys/syscall.h>
       #include <sys/wait.h>
       #include <linux/sched.h>
       #include <unistd.h>
       extern char **environ;
       static int child(void *x) { return 4; }
       int main(void) {
         setvbuf(stdout, 0, _IONBF, 0);
         int s; pid_t p = vfork(); if (!p) { execl(\"/bin/false\", \"false\", (char *)0); _exit(9); }
         waitpid(p, &s, 0); printf(\"vfork %d\\n\", WEXITSTATUS(s));
         p = vfork(); if (!p) { execl(\"/nothing\", \"x\", (char *)0); _exit(9); }
         waitpid(p, &s, 0); printf(\"vfork without program %d\\n\", WEXITSTATUS(s));
         char *a[] = {\"sh\", \"-c\", \"exit 3\", 0}; posix_spawn(&p, \"/bin/sh\", 0, 0, a, environ);
         waitpid(p, &s, 0); printf(\"spawn %d\\n\", WEXITSTATUS(s));
         char *stack = malloc(65536); p = clone(child, stack + 65536, 0, 0);
         waitpid(p, &s, __WALL); printf(\"clone without signal %d\\n\", WEXITSTATUS(s));
         p = clone(child, stack + 65536, CLONE_VM | CLONE_FILES | SIGCHLD, 0);
         waitpid(p, &s, __WALL); printf(\"clone with memory %d\\n\", WEXITSTATUS(s));
         struct clone_args c = {.exit_signal = SIGCHLD}; p = syscall(SYS_clone3, &c, sizeof c); if (!p) _exit(6);
         waitpid(p, &s, 0); printf(\"clone3 %d\\n\", WEXITSTATUS(s));
         p = fork(); if (!p) { if (!fork()) { usleep(50000); printf(\"orphan\\n\"); fflush(stdout); _exit(0); } _exit(8); }
         waitpid(p, &s, 0); printf(\"fork %d\\n\", WEXITSTATUS(s)); fflush(stdout); usleep(200000); return 0; }");
    assert_eq!(
        came.stdout.replace("orphan\n", ""),
        "vfork 1\nvfork without program 9\nspawn 3\nclone without signal 4\nclone with memory 4\nclone3 6\nfork 8\n"
    );
}

#[test]
fn programs_by_descriptor_and_scripts() {
    let came = c("#include <fcntl.h>
       #include <stdio.h>
       #include <sys/stat.h>
       #include <sys/wait.h>
       #include <unistd.h>
       extern char **environ;
       int main(void) {
         FILE *f = fopen(\"script\", \"w\"); fputs(\"#!/bin/sh\\necho script $1\\n\", f); fclose(f); chmod(\"script\", 0700);
         if (!fork()) { execl(\"./script\", \"script\", \"one\", (char *)0); _exit(9); } wait(0);
         f = fopen(\"deep\", \"w\"); fputs(\"#!./script two\\n\", f); fclose(f); chmod(\"deep\", 0700);
         if (!fork()) { execl(\"./deep\", \"deep\", (char *)0); _exit(9); } wait(0);
         if (!fork()) { int d = open(\"/bin/echo\", O_PATH); char *a[] = {\"echo\", \"by descriptor\", 0};
           fexecve(d, a, environ); _exit(9); } wait(0);
         if (!fork()) { execl(\"/etc\", \"x\", (char *)0); perror(\"a directory\"); _exit(9); } wait(0);
         return 0; }");
    assert!(
        came.stdout.contains("script one") && came.stdout.contains("by descriptor"),
        "{came:?}"
    );
}

#[test]
fn calls_that_are_interrupted_are_made_again() {
    let came = c("#include <errno.h>
       #include <signal.h>
       #include <stdio.h>
       #include <sys/time.h>
       #include <unistd.h>
       static volatile int ticks; static void tick(int x) { ticks++; }
       int main(void) {
         struct sigaction a = {.sa_handler = tick, .sa_flags = SA_RESTART}; sigaction(SIGALRM, &a, 0);
         int p[2]; if (pipe(p)) return 1;
         if (!fork()) { usleep(200000); if (write(p[1], \"x\", 1) != 1) return 2; _exit(0); }
         dup2(p[0], 0);
         struct itimerval t = {{0, 10000}, {0, 10000}}; setitimer(ITIMER_REAL, &t, 0);
         char c; int n = read(0, &c, 1); printf(\"%d %c %d\\n\", n, c, ticks > 3);
         a.sa_flags = 0; sigaction(SIGALRM, &a, 0);
         pipe(p); dup2(p[0], 0); n = read(0, &c, 1); printf(\"%d %d\\n\", n, errno == EINTR); return 0; }");
    assert_eq!(came.stdout, "1 x 1\n-1 1\n");
}

#[test]
fn a_program_that_is_not_there() {
    let came = run(Under::Quiet, "/nothing/here", &[]);
    assert_eq!(came.code, Some(1));
    assert!(came.stderr.contains("/nothing/here"), "{came:?}");
}

#[test]
fn a_ring_is_refused() {
    let compiled = Compiled::new(
        "#include <errno.h>
         #include <stdio.h>
         #include <sys/syscall.h>
         #include <unistd.h>
         int main(void) { char p[512] = {0}; int r = syscall(SYS_io_uring_setup, 4, p); printf(\"%d\\n\", r < 0 ? errno : 0); return 0; }",
        &[],
    );
    assert_eq!(run(Under::Quiet, &compiled.path(), &[]).stdout, "38\n");
}
