// The Linux calls that Swift's Glibc module hides behind _GNU_SOURCE. Same arguments and results as the calls they
// are named after; see their man pages.
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

// Nanoseconds since 1970 at which the file was made, or -1 where the file system does not say; statx(2).
int64_t linux_birth_time(int descriptor);
// The UUID of the file system that holds an open file: ioctl(FS_IOC_GETFSUUID) of Linux 6.9, or XFS_IOC_FSGEOMETRY_V1. 0, or -1
// where the file system has none or the kernel does not tell.
int linux_file_system_uuid(int descriptor, unsigned char uuid[16]);
// f_fsid of fstatfs(2); 0 where there is none.
uint64_t linux_file_system_id(int descriptor);
// The two halves of a device number, makedev(3).
unsigned linux_major(uint64_t device);
unsigned linux_minor(uint64_t device);
// The device and inode of a loop device's backing file, ioctl(LOOP_GET_STATUS64), loop(4). 0, or -1.
int linux_loop_backing(int descriptor, uint64_t *device, uint64_t *inode);
// What offsets and lengths of direct reads and writes must be multiples of; statx(2), STATX_DIOALIGN, open(2).
uint32_t linux_direct_alignment(int descriptor);
// renameat2(2) with RENAME_NOREPLACE; plain rename(2) where the file system has no such thing.
int linux_rename_new(const char *from, const char *to);
int linux_fallocate(int descriptor, int mode, off_t offset, off_t length);
// ioctl(BLKDISCARD); 0, or -1 with errno.
int linux_discard(int descriptor, uint64_t offset, uint64_t length);
ssize_t linux_pread_flags(int descriptor, void *buffer, size_t count, off_t offset, int flags);   // preadv2
ssize_t linux_pwrite(int descriptor, const void *buffer, size_t count, off_t offset);   // pwrite, for the data path
// 1 where the other end of a socket has closed it, or its sending half; poll(2) with POLLRDHUP.
int linux_peer_has_closed(int descriptor);
// 1 where nothing can go either way any more, as far as is known: a peer that has closed TCP may still read.
int linux_connection_is_dead(int descriptor);
// What getsockopt(TCP_INFO) writes, as <linux/tcp.h> has it, which stands in the way of Glibc's header.
struct linux_tcp_info {
    uint64_t words[32];
};
// Of the path, as TCP has measured it: microseconds, microseconds, bytes a second; and bytes in all that the other end has
// acknowledged, and that wait for being sent. tcp(7)
uint32_t linux_round_trip(const struct linux_tcp_info *info);
uint32_t linux_shortest_round_trip(const struct linux_tcp_info *info);
uint64_t linux_delivery_rate(const struct linux_tcp_info *info);
uint64_t linux_acknowledged(const struct linux_tcp_info *info);
uint32_t linux_unsent(const struct linux_tcp_info *info);
// A socket that listens on a port of AF_VSOCK for any context id; -1 with errno on failure. vsock(7)
int linux_listen_vsock(uint32_t port, int backlog);
// fcntl(F_OFD_SETLK) of one byte; 0, or -1 with errno EAGAIN where another open file holds it.
int linux_lock_byte(int descriptor, off_t byte, int exclusive);
// Gives up a lock that linux_lock_byte has taken.
void linux_unlock_byte(int descriptor, off_t byte);
// fcntl(F_OFD_GETLK): 1 where another open file's lock conflicts with an exclusive one, 0 where none, -1 on error.
int linux_byte_is_locked(int descriptor, off_t byte);
// posix_spawn_file_actions_addclosefrom_np(3).
int linux_spawn_close_from(posix_spawn_file_actions_t *actions, int first);

// A copy out of mapped files.
struct linux_piece {
    void *to;
    const void *from;
    size_t count;
};
// Copies pieces out of mapped files, asking the processor for those further on ahead of time. 0, or -1 where a page
// could not be had (the file was cut short, or its file system has lost it): what is in the targets then is undefined.
// The first call takes SIGBUS for the process; a fault anywhere else goes to whoever had it before.
int linux_copy_mapped(const struct linux_piece *pieces, size_t count);
// Whether all of a range of a file is known to be in the page cache, by cachestat(2): 0 also where the kernel can't tell.
int linux_is_cached(int descriptor, off_t offset, size_t length);
// Which pages of a range of a file are in the page cache, one byte each, as mincore(2) says; -1 on error. Nothing is
// read. offset is a multiple of the page size.
int linux_cached_pages(int descriptor, off_t offset, size_t length, unsigned char *pages);
// Has what was written to a file so far begin its way to the disk; nobody waits. sync_file_range(2).
void linux_begin_writing_out(int descriptor);
// The calling thread, and those it starts, give way to others: nice(2), 0 to 19, and ioprio_set(2) best effort 7.
void linux_give_way(int niceness);
// The calling thread asks for little time at once, and gets it the sooner: sched_setattr(2), sched_runtime, of Linux 6.12
// and later; before that it has no effect. Other policies than SCHED_OTHER stay what they are.
void linux_take_short_turns(void);
// The opposite: others get the processor from the calling thread as soon as they want it, and it gets it for longer.
void linux_take_long_turns(void);
