// Linux calls that Swift's Glibc module hides behind _GNU_SOURCE. Arguments and results are those of the calls that
// they are named after; see their man pages.
#pragma once

#include <spawn.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

extern const int linux_seek_data;
extern const int linux_seek_hole;
extern const int linux_punch_hole;  // FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
extern const int linux_zero_range;  // FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE
extern const int linux_rwf_nowait;
extern const int linux_rwf_dsync;
extern const int linux_o_direct;

// Returns when the file was created, in nanoseconds since 1970; -1 if the file system does not say. statx(2)
int64_t linux_birth_time(int descriptor);
// Stores the UUID of the file system that holds an open file: ioctl(FS_IOC_GETFSUUID) of Linux 6.9, or
// XFS_IOC_FSGEOMETRY_V1. Returns 0; -1 if the file system has none or the kernel does not tell.
int linux_file_system_uuid(int descriptor, unsigned char uuid[16]);
// Returns f_fsid of fstatfs(2); 0 if there is none.
uint64_t linux_file_system_id(int descriptor);
// Return the two halves of a device number, makedev(3).
unsigned linux_major(uint64_t device);
unsigned linux_minor(uint64_t device);
// Stores device and inode of a loop device's backing file: ioctl(LOOP_GET_STATUS64), loop(4). Returns 0, or -1.
int linux_loop_backing(int descriptor, uint64_t *device, uint64_t *inode);
// Returns the bytes that offsets and lengths of direct reads and writes must be multiples of: statx(2),
// STATX_DIOALIGN, open(2).
uint32_t linux_direct_alignment(int descriptor);
// renameat2(2) with RENAME_NOREPLACE; plain rename(2) if the file system does not support it.
int linux_rename_new(const char *from, const char *to);
int linux_fallocate(int descriptor, int mode, off_t offset, off_t length);
// ioctl(BLKDISCARD) of a block device's bytes; returns 0, or -1 with errno.
int linux_discard(int descriptor, uint64_t offset, uint64_t length);
ssize_t linux_pread_flags(int descriptor, void *buffer, size_t count, off_t offset, int flags);   // preadv2
ssize_t linux_pwrite(int descriptor, const void *buffer, size_t count, off_t offset);   // pwrite, for the data path
// Returns 1 if the other end of a socket has closed it, or its sending half: poll(2) with POLLRDHUP.
int linux_peer_has_closed(int descriptor);
// Returns 1 if the kernel knows that no byte can go either way any more. A peer that has closed TCP may still read.
int linux_connection_is_dead(int descriptor);
// Returns 1 if the process that listened at the other end of a Unix socket is gone: unix(7), SO_PEERCRED. 0 if nobody can tell.
int linux_listener_has_ended(int descriptor);
// Stores the process and the user at the other end of a Unix socket: unix(7), SO_PEERCRED. Returns 0; -1 if nobody can tell.
int linux_peer_process(int descriptor, int32_t *process, uint32_t *user);
// The bytes that getsockopt(TCP_INFO) writes. <linux/tcp.h> describes them, but conflicts with Glibc's header.
struct linux_tcp_info {
    uint64_t words[32];
};
// Values that TCP has measured, tcp(7): round trips in microseconds and the delivery rate in bytes a second; then the
// bytes that the other end has acknowledged in all, and the bytes that are not sent yet.
uint32_t linux_round_trip(const struct linux_tcp_info *info);
uint32_t linux_shortest_round_trip(const struct linux_tcp_info *info);
uint64_t linux_delivery_rate(const struct linux_tcp_info *info);
uint64_t linux_acknowledged(const struct linux_tcp_info *info);
uint32_t linux_unsent(const struct linux_tcp_info *info);
// Opens a socket that listens on a port of AF_VSOCK for any context id; returns -1 with errno on failure. vsock(7)
int linux_listen_vsock(uint32_t port, int backlog);
// fcntl(F_OFD_SETLK) of one byte; returns 0, or -1 with errno EAGAIN if another open file holds a conflicting lock.
int linux_lock_byte(int descriptor, off_t byte, int exclusive);
// Releases a lock that linux_lock_byte has taken.
void linux_unlock_byte(int descriptor, off_t byte);
// fcntl(F_OFD_GETLK): returns 1 if another open file's lock conflicts with an exclusive one, 0 if none does, -1 on
// error.
int linux_byte_is_locked(int descriptor, off_t byte);
// pidfd_open(2): can be polled for the end of a child. Closed when another program is executed. Returns -1 with errno.
int linux_pidfd_open(pid_t process);
// posix_spawn_file_actions_addclosefrom_np(3).
int linux_spawn_close_from(posix_spawn_file_actions_t *actions, int first);
// Gives a new program the signals that a shell would: none is blocked, and SIGTERM, SIGINT, SIGHUP and SIGPIPE, which this
// process handles or ignores, have their defaults. With `own_group` it leads a process group. posix_spawnattr_setflags(3).
void linux_spawn_reset_signals(posix_spawnattr_t *attributes, int own_group);

// One piece of a copy out of mapped files.
struct linux_piece {
    void *to;
    const void *from;
    size_t count;
};
// Copies pieces out of mapped files and prefetches later pieces while it copies earlier ones. Returns 0; -1 if a page
// was unavailable, because the file was truncated or its file system has lost the page. The targets are then
// undefined. The first call installs the process's SIGBUS handler; faults elsewhere go to the handler that was there
// before.
int linux_copy_mapped(const struct linux_piece *pieces, size_t count);
// Returns 1 if cachestat(2) says that the page cache holds all of the range; 0 also if the kernel can't tell.
int linux_is_cached(int descriptor, off_t offset, size_t length);
// Stores one byte for each page of the range as mincore(2) does, and reads no page. `offset` is a multiple of the page
// size. Returns 0, or -1 on error.
int linux_cached_pages(int descriptor, off_t offset, size_t length, unsigned char *pages);
// Starts writing a file's dirty pages to the disk, and does not wait for it. sync_file_range(2)
void linux_begin_writing_out(int descriptor);
// Lowers the priority of the calling thread and of those it starts: nice(2), 0 to 19, and ioprio_set(2) best effort 7.
void linux_give_way(int niceness);
// Returns how often the calling thread has waited for something other than the processor: getrusage(2), ru_nvcsw.
long linux_thread_waits(void);
// Stores 1 for each core that the first thread of this process may run on, by its number, and 0 for the others:
// sched_getaffinity(2). The calling thread may be bound to one core of them. Stores 1 for all if the system does not tell.
void linux_allowed_cores(unsigned char *cores, int count);
// Asks for short EEVDF slices for the calling thread, so that it waits less for the processor: sched_setattr(2),
// sched_runtime. Has no effect before Linux 6.12, nor on threads of another policy than SCHED_OTHER.
void linux_take_short_turns(void);
// Takes back what the calling thread has asked for: its slices are the system's again.
void linux_take_usual_turns(void);
// Asks for long slices: threads with shorter slices preempt the calling thread, and it runs longer at a time.
void linux_take_long_turns(void);
// pipe2(2) with O_CLOEXEC.
int linux_pipe(int ends[2]);
// Takes from this process, for good, what a reader of hostile files has no need of: seccomp(2). What is left is memory, files
// that are open, files opened for reading, and sizes of block devices; everything else fails with EPERM. It may use `memory`
// bytes of addresses and `seconds` of the processor, and write to no file. It ends with the thread that started it: prctl(2),
// PR_SET_PDEATHSIG. Returns 0, or -1 with errno.
int linux_confine(uint64_t memory, uint64_t seconds);
