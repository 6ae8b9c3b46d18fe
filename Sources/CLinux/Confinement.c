#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/fs.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define THIS_ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define THIS_ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

static int limit(int resource, uint64_t value) {
    const struct rlimit both = {.rlim_cur = value, .rlim_max = value};
    return setrlimit(resource, &both);
}

#ifdef THIS_ARCHITECTURE

#define CALL offsetof(struct seccomp_data, nr)
#define ARCHITECTURE offsetof(struct seccomp_data, arch)
// The low half of an argument; both architectures are little-endian.
#define ARGUMENT(number) (offsetof(struct seccomp_data, args) + (number) * sizeof(uint64_t))

#define LOAD(what) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (what))
#define PASS BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)
#define REFUSE BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM)
#define ALLOW(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##call, 0, 1), PASS
#define ALLOW_REQUEST(request) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(request), 0, 1), PASS

// Memory, threads' locks, time, the end; and files that are open, or are opened for reading.
static struct sock_filter filter[] = {
    LOAD(ARCHITECTURE),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, THIS_ARCHITECTURE, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
    LOAD(CALL),
    ALLOW(read), ALLOW(pread64), ALLOW(write), ALLOW(close), ALLOW(lseek), ALLOW(fstat), ALLOW(newfstatat),
    ALLOW(fadvise64), ALLOW(readlinkat), ALLOW(mmap), ALLOW(mprotect), ALLOW(munmap), ALLOW(mremap), ALLOW(brk),
    ALLOW(madvise), ALLOW(futex), ALLOW(sched_yield), ALLOW(clock_gettime), ALLOW(gettimeofday), ALLOW(getrandom),
    ALLOW(getpid), ALLOW(gettid), ALLOW(getuid), ALLOW(geteuid), ALLOW(getgid), ALLOW(getegid), ALLOW(uname),
    ALLOW(rt_sigreturn), ALLOW(rt_sigaction), ALLOW(rt_sigprocmask), ALLOW(exit), ALLOW(exit_group),
#ifdef __NR_readlink
    ALLOW(readlink), ALLOW(stat),
#endif
    // openat: no flag but these, so for reading only, and nothing is made.
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_openat, 0, 4),
    LOAD(ARGUMENT(2)),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (uint32_t)~(O_CLOEXEC | O_NONBLOCK | O_LARGEFILE | O_NOFOLLOW), 0, 1),
    REFUSE,
    PASS,
    // ioctl: sizes of block devices.
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_ioctl, 0, 9),
    LOAD(ARGUMENT(1)),
    ALLOW_REQUEST(BLKGETSIZE64), ALLOW_REQUEST(BLKSSZGET), ALLOW_REQUEST(BLKPBSZGET), ALLOW_REQUEST(BLKROGET),
    REFUSE,
};

static int refuse_calls(void) {
    const struct sock_fprog program = {.len = sizeof filter / sizeof *filter, .filter = filter};
    // All threads at once, the runtime's own as well.
    return (int)syscall(__NR_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
}
#else
static int refuse_calls(void) {
    errno = ENOSYS;
    return -1;
}
#endif

int linux_confine(uint64_t memory, uint64_t seconds) {
    // A reader that outlived the process it works for would keep its files open.
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0) return -1;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return -1;
    if (limit(RLIMIT_AS, memory) != 0 || limit(RLIMIT_CPU, seconds) != 0 || limit(RLIMIT_CORE, 0) != 0) return -1;
    if (limit(RLIMIT_FSIZE, 0) != 0 || limit(RLIMIT_NOFILE, 64) != 0) return -1;
    return refuse_calls();
}
