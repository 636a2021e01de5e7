// Stands between a program and libc and sees every call that changes a file below one directory: counts them, makes
// the N-th one fail or kill the process, or writes down what was done so that a power cut can be replayed.
//
// Knows nothing of what the files mean. Preloaded by `cargo xtask faults` and `cargo xtask power`; compiled by them.
// Calls made without libc are not seen: `faults` compares with strace and says so. Start at `gate` and `note`.
//
//   KAPELL_SHIM_ROOT    directory whose files count
//   KAPELL_SHIM_STATE   file of 8 bytes, the counter, shared by processes that run one after the other or at once
//   KAPELL_SHIM_POINT   the call that is met, from 1; 0 = none      KAPELL_SHIM_FAULT kill | torn | eio | eio-on | enospc | enospc-on
//   KAPELL_SHIM_HITS    file for "N call path" of every call met    KAPELL_SHIM_LOG   file for the record (see `note`)
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum fault { NONE, KILL, TORN, FAIL, FAIL_ON };
enum verdict { PASS, REFUSE, HALF };

static char root[PATH_MAX];
static size_t root_len;
static int armed, log_fd = -1, hits_fd = -1, failure;
static enum fault fault;
static uint64_t point;
static _Atomic uint64_t *counter;

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = dlsym(RTLD_NEXT, #name)

static int keep(const char *name, int flags) {
    const char *path = getenv(name);
    if (!path || !*path) return -1;
    int fd = syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0600);
    if (fd < 0) abort();
    // Out of the way of programs that count on low numbers.
    int high = fcntl(fd, F_DUPFD_CLOEXEC, 700);
    if (high < 0) return fd;
    syscall(SYS_close, fd);
    return high;
}

__attribute__((constructor)) static void start(void) {
    const char *dir = getenv("KAPELL_SHIM_ROOT"), *kind = getenv("KAPELL_SHIM_FAULT"), *at = getenv("KAPELL_SHIM_POINT");
    if (!dir) return;
    snprintf(root, sizeof root, "%s", dir);
    root_len = strlen(root);
    log_fd = keep("KAPELL_SHIM_LOG", O_WRONLY | O_CREAT | O_APPEND);
    hits_fd = keep("KAPELL_SHIM_HITS", O_WRONLY | O_CREAT | O_APPEND);
    int state = keep("KAPELL_SHIM_STATE", O_RDWR | O_CREAT);
    if (state >= 0) {
        if (ftruncate(state, sizeof *counter)) abort();
        counter = mmap(0, sizeof *counter, PROT_READ | PROT_WRITE, MAP_SHARED, state, 0);
        if (counter == MAP_FAILED) abort();
    }
    point = at ? strtoull(at, 0, 10) : 0;
    if (kind && !strcmp(kind, "kill")) fault = KILL;
    if (kind && !strcmp(kind, "torn")) fault = TORN;
    if (kind && !strncmp(kind, "eio", 3)) fault = FAIL, failure = EIO;
    if (kind && !strncmp(kind, "enospc", 6)) fault = FAIL, failure = ENOSPC;
    if (kind && strstr(kind, "-on")) fault = FAIL_ON;
    armed = 1;
    // Faults are for this process alone, and so are their numbers.
    unsetenv("KAPELL_SHIM_STATE");
    unsetenv("KAPELL_SHIM_POINT");
    unsetenv("KAPELL_SHIM_FAULT");
    unsetenv("KAPELL_SHIM_HITS");
    if (log_fd < 0) {
        // What it starts runs as it is. A record takes in everybody's effects.
        unsetenv("LD_PRELOAD");
        unsetenv("KAPELL_SHIM_ROOT");
    }
}

static int ours(const char *path) {
    return !strncmp(path, root, root_len) && (path[root_len] == '/' || !path[root_len]);
}

// The path of an open file, when it is one that counts.
static int of_fd(int fd, char *path) {
    if (!armed || fd == log_fd || fd == hits_fd) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int saved = errno;
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    errno = saved;
    if (n <= 0) return 0;
    path[n] = 0;
    return ours(path);
}

// The same for a name in a directory; it need not exist.
static int of_name(int dir, const char *name, char *path) {
    if (!armed || !name) return 0;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
        return ours(path);
    }
    char base[PATH_MAX];
    int saved = errno;
    ssize_t n;
    if (dir == AT_FDCWD) {
        n = getcwd(base, sizeof base) ? (ssize_t)strlen(base) : -1;
    } else {
        char link[64];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
        n = readlink(link, base, PATH_MAX - 1);
    }
    errno = saved;
    if (n <= 0 || n + strlen(name) + 2 > PATH_MAX) return 0;
    base[n] = 0;
    size_t have = strlen(base);
    memcpy(path, base, have);
    path[have] = '/';
    strcpy(path + have + 1, name);
    return ours(path);
}

static void die(void) {
    syscall(SYS_kill, getpid(), SIGKILL);
    for (;;) pause();
}

// Counts a call and says what is to become of it.
static enum verdict gate(const char *call, const char *path) {
    if (!counter) return PASS;
    uint64_t n = atomic_fetch_add(counter, 1) + 1;
    if (hits_fd >= 0 && (!point || n == point)) {
        char line[PATH_MAX + 64];
        int len = snprintf(line, sizeof line, "%llu %s %s\n", (unsigned long long)n, call, path + root_len);
        if (syscall(SYS_write, hits_fd, line, len) < 0) abort();
    }
    if (!point || n < point || (fault != FAIL_ON && n > point)) return PASS;
    if (fault == KILL) die();
    if (fault == TORN) return HALF;
    if (fault == FAIL || fault == FAIL_ON) {
        errno = failure;
        return REFUSE;
    }
    return PASS;
}

// One record: kind, inode, a number, length of the bytes, length of the path, path, bytes. Under a lock that all
// processes share, taken before the call itself, so that the order of records is the order of effects.
struct head {
    uint8_t kind;
    uint64_t inode;
    uint64_t number;
    uint32_t bytes;
    uint32_t path;
} __attribute__((packed));

// The file's lock is between processes, the mutex between the threads of one.
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void lock(void) {
    if (log_fd < 0) return;
    int saved = errno;
    pthread_mutex_lock(&mutex);
    flock(log_fd, LOCK_EX);
    errno = saved;
}

static void unlock(void) {
    if (log_fd < 0) return;
    int saved = errno;
    flock(log_fd, LOCK_UN);
    pthread_mutex_unlock(&mutex);
    errno = saved;
}

static uint64_t inode(int fd) {
    struct stat st;
    return fd >= 0 && !fstat(fd, &st) ? st.st_ino : 0;
}

static void note(char kind, uint64_t inode, uint64_t number, const char *path, const void *bytes, size_t len) {
    if (log_fd < 0) return;
    struct head head = {kind, inode, number, (uint32_t)len, (uint32_t)strlen(path)};
    struct iovec parts[3] = {{&head, sizeof head}, {(void *)path, head.path}, {(void *)bytes, len}};
    size_t all = sizeof head + head.path + len;
    // A record that is cut is a record that cannot be read: stop rather than lie.
    if (syscall(SYS_writev, log_fd, parts, 3) != (ssize_t)all) abort();
}

// --- writes ---------------------------------------------------------------------------------------------------

// Where a write without an offset goes.
static off_t position(int fd) {
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && flags & O_APPEND) return fstat(fd, &st) ? 0 : st.st_size;
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at < 0 ? 0 : at;
}

#define WRITE(call_name, offset, whole, half) do { \
    char path[PATH_MAX]; \
    if (!of_fd(fd, path)) return whole; \
    switch (gate(call_name, path)) { \
    case REFUSE: return -1; \
    case HALF: if (count > 1) { if ((half) < 0) abort(); } else if ((whole) < 0) abort(); die(); \
    default: break; \
    } \
    lock(); \
    off_t where = offset; \
    ssize_t done = whole; \
    if (done > 0) note('w', inode(fd), where, path, bytes, done); \
    unlock(); \
    return done; \
} while (0)

ssize_t write(int fd, const void *bytes, size_t count) {
    REAL(ssize_t, write, int, const void *, size_t);
    WRITE("write", position(fd), real(fd, bytes, count), real(fd, bytes, count / 2));
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    WRITE("pwrite", at, real(fd, bytes, count, at), real(fd, bytes, count / 2, at));
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    WRITE("pwrite", at, real(fd, bytes, count, at), real(fd, bytes, count / 2, at));
}

ssize_t writev(int fd, const struct iovec *parts, int many) {
    REAL(ssize_t, writev, int, const struct iovec *, int);
    char path[PATH_MAX];
    if (!of_fd(fd, path)) return real(fd, parts, many);
    // As one write of all parts.
    size_t all = 0;
    for (int i = 0; i < many; i++) all += parts[i].iov_len;
    char *bytes = malloc(all ? all : 1), *at = bytes;
    if (!bytes) abort();
    for (int i = 0; i < many; i++) at = (char *)memcpy(at, parts[i].iov_base, parts[i].iov_len) + parts[i].iov_len;
    ssize_t done = write(fd, bytes, all);
    free(bytes);
    return done;
}

// Nothing of ours may move bytes in ways that the record does not hold.
ssize_t copy_file_range(int from, off64_t *a, int to, off64_t *b, size_t count, unsigned flags) {
    REAL(ssize_t, copy_file_range, int, off64_t *, int, off64_t *, size_t, unsigned);
    char path[PATH_MAX];
    if (of_fd(to, path)) {
        errno = ENOSYS;
        return -1;
    }
    return real(from, a, to, b, count, flags);
}

ssize_t sendfile64(int to, int from, off64_t *at, size_t count) {
    REAL(ssize_t, sendfile64, int, int, off64_t *, size_t);
    char path[PATH_MAX];
    if (of_fd(to, path)) {
        errno = EINVAL;
        return -1;
    }
    return real(to, from, at, count);
}

// --- syncs: what was written down before this record is durable when the call returns --------------------------

static int synced(const char *call, int fd, int (*real)(int)) {
    char path[PATH_MAX];
    if (!of_fd(fd, path)) return real(fd);
    switch (gate(call, path)) {
    case REFUSE: return -1;
    case HALF: if (real(fd)) abort(); die();
    default: break;
    }
    lock();
    note('s', inode(fd), 0, path, 0, 0);
    unlock();
    return real(fd);
}

int fsync(int fd) {
    REAL(int, fsync, int);
    return synced("fsync", fd, real);
}

int fdatasync(int fd) {
    REAL(int, fdatasync, int);
    return synced("fdatasync", fd, real);
}

static int truncated(const char *call, int fd, off64_t size, int (*real)(int, off64_t)) {
    char path[PATH_MAX];
    if (!of_fd(fd, path)) return real(fd, size);
    switch (gate(call, path)) {
    case REFUSE: return -1;
    case HALF: if (real(fd, size)) abort(); die();
    default: break;
    }
    lock();
    int failed = real(fd, size);
    if (!failed) note('t', inode(fd), size, path, 0, 0);
    unlock();
    return failed;
}

int ftruncate(int fd, off_t size) {
    REAL(int, ftruncate, int, off64_t);
    return truncated("ftruncate", fd, size, real);
}

int ftruncate64(int fd, off64_t size) {
    REAL(int, ftruncate64, int, off64_t);
    return truncated("ftruncate", fd, size, real);
}

int fallocate64(int fd, int mode, off64_t at, off64_t size) {
    REAL(int, fallocate64, int, int, off64_t, off64_t);
    char path[PATH_MAX];
    if (!of_fd(fd, path)) return real(fd, mode, at, size);
    errno = EOPNOTSUPP;
    return -1;
}

// --- names ------------------------------------------------------------------------------------------------------

static int opened(int dir, const char *name, int flags, mode_t mode, int (*real)(int, const char *, int, ...)) {
    char path[PATH_MAX];
    int changes = flags & (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC);
    if (!changes || !of_name(dir, name, path)) return real(dir, name, flags, mode);
    int half = 0;
    switch (gate("open", path)) {
    case REFUSE: return -1;
    case HALF: half = 1;
    default: break;
    }
    lock();
    struct stat before;
    int saved = errno, was = !fstatat(dir, name, &before, 0);
    errno = saved;
    int fd = real(dir, name, flags, mode);
    if (half) die();
    if (fd >= 0 && !was && flags & O_CREAT) note('c', inode(fd), 0, path, 0, 0);
    if (fd >= 0 && was && flags & O_TRUNC && before.st_size) note('t', inode(fd), 0, path, 0, 0);
    unlock();
    return fd;
}

#define MODE mode_t mode = 0; if (flags & (O_CREAT | __O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, int); va_end(list); }

int open(const char *name, int flags, ...) {
    MODE REAL(int, openat, int, const char *, int, ...);
    return opened(AT_FDCWD, name, flags, mode, real);
}

int open64(const char *name, int flags, ...) {
    MODE REAL(int, openat64, int, const char *, int, ...);
    return opened(AT_FDCWD, name, flags, mode, real);
}

int openat(int dir, const char *name, int flags, ...) {
    MODE REAL(int, openat, int, const char *, int, ...);
    return opened(dir, name, flags, mode, real);
}

int openat64(int dir, const char *name, int flags, ...) {
    MODE REAL(int, openat64, int, const char *, int, ...);
    return opened(dir, name, flags, mode, real);
}

// A call on one name: made, taken away. The number says whether it is a directory.
#define NAME(call, dir, kind, is_dir, doing) do { \
    char path[PATH_MAX]; \
    if (!of_name(dir, name, path)) return doing; \
    int half = 0; \
    switch (gate(call, path)) { \
    case REFUSE: return -1; \
    case HALF: half = 1; \
    default: break; \
    } \
    lock(); \
    int failed = doing; \
    if (half) die(); \
    if (!failed) note(kind, 0, is_dir, path, 0, 0); \
    unlock(); \
    return failed; \
} while (0)

int mkdirat(int dir, const char *name, mode_t mode) {
    REAL(int, mkdirat, int, const char *, mode_t);
    NAME("mkdir", dir, 'm', 1, real(dir, name, mode));
}

int mkdir(const char *name, mode_t mode) { return mkdirat(AT_FDCWD, name, mode); }

int unlinkat(int dir, const char *name, int flags) {
    REAL(int, unlinkat, int, const char *, int);
    NAME(flags & AT_REMOVEDIR ? "rmdir" : "unlink", dir, 'u', !!(flags & AT_REMOVEDIR), real(dir, name, flags));
}

int unlink(const char *name) { return unlinkat(AT_FDCWD, name, 0); }

int rmdir(const char *name) { return unlinkat(AT_FDCWD, name, AT_REMOVEDIR); }

int renameat2(int from_dir, const char *from, int dir, const char *name, unsigned flags) {
    REAL(int, renameat2, int, const char *, int, const char *, unsigned);
    char path[PATH_MAX], source[PATH_MAX];
    if (!of_name(dir, name, path)) return real(from_dir, from, dir, name, flags);
    of_name(from_dir, from, source);
    int half = 0;
    switch (gate("rename", path)) {
    case REFUSE: return -1;
    case HALF: half = 1;
    default: break;
    }
    lock();
    int failed = real(from_dir, from, dir, name, flags);
    if (half) die();
    // The path it had is the bytes of the record.
    if (!failed) note('r', 0, 0, path, source, strlen(source));
    unlock();
    return failed;
}

int renameat(int from_dir, const char *from, int dir, const char *name) {
    return renameat2(from_dir, from, dir, name, 0);
}

int rename(const char *from, const char *name) { return renameat2(AT_FDCWD, from, AT_FDCWD, name, 0); }

int linkat(int from_dir, const char *from, int dir, const char *name, int flags) {
    REAL(int, linkat, int, const char *, int, const char *, int);
    char path[PATH_MAX];
    if (!of_name(dir, name, path)) return real(from_dir, from, dir, name, flags);
    // Not recorded, so not allowed where a record is made.
    if (log_fd >= 0) {
        errno = EPERM;
        return -1;
    }
    if (gate("link", path) == REFUSE) return -1;
    return real(from_dir, from, dir, name, flags);
}

int link(const char *from, const char *name) { return linkat(AT_FDCWD, from, AT_FDCWD, name, 0); }
