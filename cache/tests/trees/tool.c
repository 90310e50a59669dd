/* What programs do that shells cannot: one operation for each name. Prints only what is the same in every build. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef VARIANT
#define VARIANT 0
#endif

extern char **environ;

static int failed(const char *what) {
  printf("%s: %s\n", what, strerror(errno));
  return 1;
}

static int status_of(pid_t child) {
  int status;
  if (waitpid(child, &status, 0) < 0) return failed("wait");
  return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static int run(char **words) {
  pid_t child;
  fflush(stdout);
  int error = posix_spawnp(&child, words[0], NULL, NULL, words, environ);
  if (error) { errno = error; return failed("spawn"); }
  return status_of(child);
}

/* What is copied to itself has no end. */
static int is_same(int from, int to) {
  struct stat one, other;
  return !fstat(from, &one) && !fstat(to, &other) && one.st_dev == other.st_dev && one.st_ino == other.st_ino;
}

static int copy(int from, int to) {
  char buffer[4096];
  ssize_t length = 0;
  if (is_same(from, to)) return puts("the same"), 1;
  while ((length = read(from, buffer, sizeof buffer)) > 0)
    if (write(to, buffer, length) != length) return failed("write");
  return length < 0 ? failed("read") : 0;
}

static void *read_whole(void *path) {
  char *text = calloc(1, 65536);
  int fd = open(path, O_RDONLY);
  if (fd < 0 || read(fd, text, 65535) < 0) strcpy(text, strerror(errno));
  if (fd >= 0) close(fd);
  return text;
}

static char **later;
static void *run_later(void *unused) {
  execvp(later[0], later);
  _exit(98);
  return unused;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

int main(int count, char **words) {
  if (count < 2) return 2;
  const char *what = words[1];
  char *a = count > 2 ? words[2] : "", *b = count > 3 ? words[3] : "", *c = count > 4 ? words[4] : "";
  struct stat info, other;
  struct rlimit most = { 64 << 20, 64 << 20 };
  struct rlimit memory = { 1 << 30, 1 << 30 };
  int fd, to;
#define IS(name) (strcmp(what, name) == 0)
  setvbuf(stdout, NULL, _IOLBF, 0);
  if (IS("variant")) return printf("variant %d\n", VARIANT), VARIANT;
  if (IS("alone")) { close_range(3, ~0U, 0); setrlimit(RLIMIT_FSIZE, &most); setrlimit(RLIMIT_AS, &memory); execvp(words[2], words + 2); return 127; }
  if (IS("search")) {
    char path[PATH_MAX];
    for (int i = 3; i < count; i++) {
      snprintf(path, sizeof path, "%s/%s", words[i], a);
      if ((fd = open(path, O_RDONLY)) >= 0) { printf("in %s:\n", words[i]); fflush(stdout); return copy(fd, 1); }
    }
    return printf("no %s\n", a), 1;
  }
  if (IS("threads")) {
    pthread_t one, two;
    void *first, *second;
    pthread_create(&one, NULL, read_whole, a);
    pthread_create(&two, NULL, read_whole, b);
    pthread_join(one, &first);
    pthread_join(two, &second);
    return printf("%s|%s\n", (char *)first, (char *)second), 0;
  }
  if (IS("spawn")) return run(words + 2);
  if (IS("vfork")) {
    pid_t child = vfork();
    if (child == 0) { execvp(words[2], words + 2); _exit(97); }
    return status_of(child);
  }
  if (IS("exec")) { execvp(words[2], words + 2); return failed("exec"); }
  if (IS("threadexec")) {
    pthread_t one;
    later = words + 2;
    pthread_create(&one, NULL, run_later, NULL);
    for (;;) pause();
  }
  if (IS("pwrite")) {
    if ((fd = open(a, O_RDWR | O_CREAT, 0644)) < 0) return failed(a);
    return pwrite(fd, c, strlen(c), atoi(b)) < 0 ? failed("pwrite") : 0;
  }
  if (IS("mmap")) {
    if ((fd = open(a, O_RDWR)) < 0 || fstat(fd, &info)) return failed(a);
    if (!S_ISREG(info.st_mode) || info.st_size == 0) return 1;
    char *map = mmap(NULL, info.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED) return failed("mmap");
    close(fd);
    map[0] = *b;
    return munmap(map, info.st_size);
  }
  if (IS("truncate")) return truncate(a, atoi(b)) ? failed(a) : 0;
  if (IS("cut")) return (fd = open(a, O_WRONLY)) < 0 || ftruncate(fd, atoi(b)) ? failed(a) : 0;
  if (IS("line")) {
    char one;
    while (read(atoi(a), &one, 1) == 1 && one != '\n') putchar(one);
    return putchar('\n'), 0;
  }
  if (IS("say")) return write(atoi(a), b, strlen(b)) < 0 ? failed("say") : 0;
  if (IS("where")) return printf("at %ld\n", (long)lseek(atoi(a), 0, SEEK_CUR)), 0;
  if (IS("length")) {
    if (fstat(atoi(a), &info)) return failed("fstat");
    return printf("%ld\n", S_ISREG(info.st_mode) ? (long)info.st_size : -1L), 0;
  }
  if (IS("cutopen")) return ftruncate(atoi(a), atoi(b)) ? failed("ftruncate") : 0;
  if (IS("modeopen")) return fchmod(atoi(a), strtol(b, NULL, 8)) ? failed("fchmod") : 0;
  if (IS("exchange")) return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) ? failed(a) : 0;
  if (IS("noreplace")) return renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_NOREPLACE) ? failed(a) : 0;
  if (IS("here")) {
    char path[PATH_MAX];
    if ((fd = open(a, O_RDONLY | O_DIRECTORY)) < 0 || fchdir(fd)) return failed(a);
    if ((to = openat(fd, b, O_RDONLY)) >= 0) copy(to, 1);
    return printf("%s\n", getcwd(path, sizeof path)), 0;
  }
  if (IS("names")) {
    char *names[256];
    int n = 0;
    DIR *directory = opendir(a);
    struct dirent *entry;
    if (!directory) return failed(a);
    while (n < 256 && (entry = readdir(directory)))
      if (asprintf(&names[n], "%s %d", entry->d_name, entry->d_type) > 0) n++;
    qsort(names, n, sizeof *names, by_name);
    for (int i = 0; i < n; i++) puts(names[i]);
    return 0;
  }
  if (IS("stat")) {
    if (lstat(a, &info)) return failed(a);
    int is_file = S_ISREG(info.st_mode);
    printf("%o %ld %ld\n", info.st_mode, is_file ? (long)info.st_size : 0, (long)info.st_nlink);
    return 0;
  }
  if (IS("newer")) {
    if (stat(a, &info) || stat(b, &other)) return failed("stat");
    long s = info.st_mtim.tv_sec - other.st_mtim.tv_sec, n = info.st_mtim.tv_nsec - other.st_mtim.tv_nsec;
    return puts(s > 0 || (s == 0 && n > 0) ? "newer" : s == 0 && n == 0 ? "equal" : "older"), 0;
  }
  if (IS("copyrange")) {
    if ((fd = open(a, O_RDONLY)) < 0) return failed(a);
    if ((to = open(b, O_WRONLY | O_CREAT | O_TRUNC, 0644)) < 0) return failed(b);
    while (!is_same(fd, to) && copy_file_range(fd, NULL, to, NULL, 4096, 0) > 0) {}
    return copy(fd, to);
  }
  if (IS("sendfile")) {
    if ((fd = open(a, O_RDONLY)) < 0) return failed(a);
    while (!is_same(fd, 1) && sendfile(1, fd, NULL, 4096) > 0) {}
    return copy(fd, 1);
  }
  if (IS("temporary")) {
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/tmpXXXXXX", a);
    if ((fd = mkstemp(path)) < 0) return printf("mkstemp: %s\n", strerror(errno)), 1;
    if (write(fd, c, strlen(c)) < 0) return failed("write");
    if (rename(path, b)) { unlink(path); return failed(b); }
    return 0;
  }
  if (IS("unlinked")) {
    if ((fd = open(a, O_RDONLY)) < 0 || unlink(a)) return failed(a);
    return copy(fd, 1);
  }
  if (IS("readafter")) {
    if ((fd = open(a, O_RDONLY)) < 0) return failed(a);
    int code = run(words + 3);
    copy(fd, 1);
    return code;
  }
  if (IS("writeafter")) {
    if ((fd = open(a, O_WRONLY | O_CREAT, 0644)) < 0) return failed(a);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    int code = run(words + 4);
    return write(fd, b, strlen(b)) < 0 ? failed(a) : code;
  }
  if (IS("access")) return puts(access(a, X_OK) ? "no" : "so"), 0;
  if (IS("limit")) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    return printf("%lu\n", (unsigned long)limit.rlim_cur), 0;
  }
  return 2;
}
