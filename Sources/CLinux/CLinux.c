#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <linux/magic.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/tcp.h>
#include <linux/vm_sockets.h>

const int linux_seek_data = SEEK_DATA;
const int linux_seek_hole = SEEK_HOLE;
const int linux_punch_hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
const int linux_zero_range = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
const int linux_rwf_nowait = RWF_NOWAIT;
const int linux_rwf_dsync = RWF_DSYNC;
const int linux_o_direct = O_DIRECT;

int64_t linux_birth_time(int descriptor) {
    struct statx info;
    if (statx(descriptor, "", AT_EMPTY_PATH, STATX_BTIME, &info) != 0 || !(info.stx_mask & STATX_BTIME)) return -1;
    return (int64_t)info.stx_btime.tv_sec * 1000000000 + info.stx_btime.tv_nsec;
}

// Debian 12's headers lack these two structures; their numbers and layouts are part of the kernel's interface.
struct file_system_uuid {
    uint8_t length;
    uint8_t bytes[16];
};
struct xfs_geometry {
    uint32_t counts[8];
    uint64_t places[4];
    uint8_t uuid[16];
    uint32_t rest[8];
};
static const unsigned long get_file_system_uuid = _IOR(0x15, 0, struct file_system_uuid);
static const unsigned long get_xfs_geometry = _IOR('X', 100, struct xfs_geometry);
_Static_assert(sizeof(struct xfs_geometry) == 112, "struct xfs_fsop_geom_v1");

static int is_zero(const unsigned char *bytes, size_t count) {
    for (size_t place = 0; place < count; place++)
        if (bytes[place] != 0) return 0;
    return 1;
}

int linux_file_system_uuid(int descriptor, unsigned char uuid[16]) {
    struct file_system_uuid found = {0};
    struct xfs_geometry geometry = {0};
    struct statfs info;
    if (ioctl(descriptor, get_file_system_uuid, &found) == 0 && found.length == 16) {
        memcpy(uuid, found.bytes, 16);
    } else if (fstatfs(descriptor, &info) == 0 && info.f_type == XFS_SUPER_MAGIC &&
               ioctl(descriptor, get_xfs_geometry, &geometry) == 0) {
        memcpy(uuid, geometry.uuid, 16);
    } else {
        return -1;
    }
    return is_zero(uuid, 16) ? -1 : 0;
}

uint64_t linux_file_system_id(int descriptor) {
    struct statfs info;
    uint64_t id = 0;
    if (fstatfs(descriptor, &info) == 0) memcpy(&id, &info.f_fsid, sizeof id);
    return id;
}

unsigned linux_major(uint64_t device) { return major(device); }

unsigned linux_minor(uint64_t device) { return minor(device); }

int linux_loop_backing(int descriptor, uint64_t *device, uint64_t *inode) {
    struct loop_info64 info;
    if (ioctl(descriptor, LOOP_GET_STATUS64, &info) != 0) return -1;
    *device = info.lo_device;
    *inode = info.lo_inode;
    return 0;
}

uint32_t linux_direct_alignment(int descriptor) {
    struct stat info;
    int sector;
    if (fstat(descriptor, &info) == 0 && S_ISBLK(info.st_mode) && ioctl(descriptor, BLKSSZGET, &sector) == 0) return sector;
    // Debian 12's headers lack stx_dio_offset_align; the kernel puts it behind stx_dio_mem_align, at byte 156.
    union {
        struct statx known;
        uint32_t words[sizeof(struct statx) / 4];
    } found;
    memset(&found, 0, sizeof found);
    const unsigned direct = 0x2000;
    if (statx(descriptor, "", AT_EMPTY_PATH, direct, &found.known) == 0 && (found.known.stx_mask & direct) &&
        found.words[156 / 4] != 0)
        return found.words[156 / 4];
    return 4096;
}

// Newer headers extend the structure at its end; every field that is read here ends within linux_tcp_info.
_Static_assert(offsetof(struct tcp_info, tcpi_delivery_rate) + 8 <= sizeof(struct linux_tcp_info), "TCP_INFO");

static struct tcp_info read_tcp_info(const struct linux_tcp_info *info) {
    struct tcp_info found = {0};
    memcpy(&found, info, sizeof found < sizeof *info ? sizeof found : sizeof *info);
    return found;
}

uint32_t linux_round_trip(const struct linux_tcp_info *info) { return read_tcp_info(info).tcpi_rtt; }

uint32_t linux_shortest_round_trip(const struct linux_tcp_info *info) { return read_tcp_info(info).tcpi_min_rtt; }

uint64_t linux_delivery_rate(const struct linux_tcp_info *info) { return read_tcp_info(info).tcpi_delivery_rate; }

uint64_t linux_acknowledged(const struct linux_tcp_info *info) { return read_tcp_info(info).tcpi_bytes_acked; }

uint32_t linux_unsent(const struct linux_tcp_info *info) { return read_tcp_info(info).tcpi_notsent_bytes; }

int linux_rename_new(const char *from, const char *to) {
    int result = renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE);
    return result != 0 && errno == EINVAL ? rename(from, to) : result;
}

int linux_fallocate(int descriptor, int mode, off_t offset, off_t length) {
    return fallocate(descriptor, mode, offset, length);
}

int linux_discard(int descriptor, uint64_t offset, uint64_t length) {
    uint64_t range[2] = {offset, length};
    return ioctl(descriptor, BLKDISCARD, range);
}

ssize_t linux_pread_flags(int descriptor, void *buffer, size_t count, off_t offset, int flags) {
    struct iovec part = {buffer, count};
    // glibc's preadv2 and pwrite are cancellation points, which costs a threaded program time on every call.
    return syscall(SYS_preadv2, descriptor, &part, 1, offset, 0, flags);
}

ssize_t linux_pwrite(int descriptor, const void *buffer, size_t count, off_t offset) {
    return syscall(SYS_pwrite64, descriptor, buffer, count, offset);
}

int linux_peer_has_closed(int descriptor) {
    struct pollfd watched = {.fd = descriptor, .events = POLLRDHUP};
    return poll(&watched, 1, 0) == 1 && (watched.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

int linux_connection_is_dead(int descriptor) {
    struct pollfd watched = {.fd = descriptor};
    return poll(&watched, 1, 0) == 1 && (watched.revents & (POLLHUP | POLLERR)) != 0;
}

int linux_listener_has_ended(int descriptor) {
    struct ucred listener = {0};
    socklen_t length = sizeof listener;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &listener, &length) != 0 || listener.pid <= 0) return 0;
    return kill(listener.pid, 0) != 0 && errno == ESRCH;
}

int linux_peer_process(int descriptor, int32_t *process, uint32_t *user) {
    struct ucred peer = {0};
    socklen_t length = sizeof peer;
    if (getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0 || peer.pid <= 0) return -1;
    *process = peer.pid;
    *user = peer.uid;
    return 0;
}

int linux_listen_vsock(uint32_t port, int backlog) {
    struct sockaddr_vm name = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
    int descriptor = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (descriptor < 0) return -1;
    if (bind(descriptor, (struct sockaddr *)&name, sizeof name) == 0 && listen(descriptor, backlog) == 0)
        return descriptor;
    int code = errno;
    close(descriptor);
    errno = code;
    return -1;
}

int linux_lock_byte(int descriptor, off_t byte, int exclusive) {
    struct flock lock = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(descriptor, F_OFD_SETLK, &lock);
}

void linux_unlock_byte(int descriptor, off_t byte) {
    struct flock lock = {.l_type = F_UNLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    fcntl(descriptor, F_OFD_SETLK, &lock);
}

int linux_byte_is_locked(int descriptor, off_t byte) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    if (fcntl(descriptor, F_OFD_GETLK, &lock) != 0) return -1;
    return lock.l_type != F_UNLCK;
}

int linux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

int linux_pidfd_open(pid_t process) { return (int)syscall(SYS_pidfd_open, process, 0); }

int linux_spawn_close_from(posix_spawn_file_actions_t *actions, int first) {
    return posix_spawn_file_actions_addclosefrom_np(actions, first);
}

void linux_spawn_reset_signals(posix_spawnattr_t *attributes, int own_group) {
    sigset_t signals;
    sigemptyset(&signals);
    posix_spawnattr_setsigmask(attributes, &signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGPIPE);
    posix_spawnattr_setsigdefault(attributes, &signals);
    if (own_group) posix_spawnattr_setpgroup(attributes, 0);
    posix_spawnattr_setflags(
        attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK | (own_group ? POSIX_SPAWN_SETPGROUP : 0));
}

// The handler jumps here when a page of a mapped file is unavailable; null while the thread copies nothing.
static _Thread_local sigjmp_buf *volatile copying;
static struct sigaction earlier;

static void page_is_lost(int number, siginfo_t *info, void *context) {
    if (copying) siglongjmp(*copying, 1);
    if (earlier.sa_flags & SA_SIGINFO) {
        earlier.sa_sigaction(number, info, context);
    } else if (earlier.sa_handler != SIG_DFL && earlier.sa_handler != SIG_IGN) {
        earlier.sa_handler(number);
    } else {
        // The instruction faults again at once, and the default action ends the process.
        signal(number, SIG_DFL);
    }
}

static void watch_for_lost_pages(void) {
    struct sigaction action = {.sa_sigaction = page_is_lost, .sa_flags = SA_SIGINFO | SA_NODEFER | SA_ONSTACK};
    sigaction(SIGBUS, &action, &earlier);
}

static pthread_once_t watching = PTHREAD_ONCE_INIT;

int linux_copy_mapped(const struct linux_piece *pieces, size_t count) {
    pthread_once(&watching, watch_for_lost_pages);
    sigjmp_buf here;
    if (sigsetjmp(here, 0) != 0) {
        copying = NULL;
        return -1;
    }
    copying = &here;
    // The fences keep the compiler from moving the copies to where `copying` is not set.
    atomic_signal_fence(memory_order_seq_cst);
    enum { ahead = 8 };
    for (size_t index = 0; index < count; index++) {
        if (index + ahead < count) __builtin_prefetch(pieces[index + ahead].from);
        memcpy(pieces[index].to, pieces[index].from, pieces[index].count);
    }
    atomic_signal_fence(memory_order_seq_cst);
    copying = NULL;
    return 0;
}

int linux_is_cached(int descriptor, off_t offset, size_t length) {
    const long cachestat = 451;  // since Linux 6.5; Debian 12's headers lack it
    const struct {
        uint64_t offset, length;
    } range = {offset, length};
    struct {
        uint64_t cached, dirty, writeback, evicted, recently_evicted;
    } pages = {0};
    if (syscall(cachestat, descriptor, &range, &pages, 0) != 0) return 0;
    const uint64_t page = sysconf(_SC_PAGESIZE);
    return pages.cached == (range.offset + range.length + page - 1) / page - range.offset / page;
}

int linux_cached_pages(int descriptor, off_t offset, size_t length, unsigned char *pages) {
    void *map = mmap(NULL, length, PROT_READ, MAP_SHARED, descriptor, offset);
    if (map == MAP_FAILED) return -1;
    int result = mincore(map, length, pages);
    munmap(map, length);
    return result;
}

void linux_begin_writing_out(int descriptor) { sync_file_range(descriptor, 0, 0, SYNC_FILE_RANGE_WRITE); }

void linux_allowed_cores(unsigned char *cores, int count) {
    // 8192 is the most that Linux supports; cpu_set_t has only 1024, and the call fails where there are more.
    unsigned char set[8192 / 8] = {0};
    const int isKnown = syscall(SYS_sched_getaffinity, getpid(), sizeof set, set) > 0;
    for (int core = 0; core < count; core++)
        cores[core] = !isKnown || (core < 8192 && (set[core / 8] >> (core % 8) & 1));
}

static void take_turns_of(uint64_t nanoseconds) {
    // The layout is that of <linux/sched/types.h>, which conflicts with glibc's <sched.h> on some systems.
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes;
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0) != 0 || attributes.policy != SCHED_OTHER) return;
    attributes.size = sizeof attributes;
    attributes.runtime = nanoseconds;
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}

void linux_take_short_turns(void) { take_turns_of(100 * 1000); }

void linux_take_usual_turns(void) { take_turns_of(0); }

void linux_take_long_turns(void) { take_turns_of(20 * 1000 * 1000); }

long linux_thread_waits(void) {
    struct rusage usage = {0};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
}

void linux_give_way(int niceness) {
    setpriority(PRIO_PROCESS, 0, niceness);
    const int best_effort = 2, lowest = 7, one_process = 1;
    syscall(SYS_ioprio_set, one_process, 0, best_effort << 13 | lowest);
}
