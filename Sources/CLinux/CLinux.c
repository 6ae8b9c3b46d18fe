#define _GNU_SOURCE
#include "CLinux.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

const int linux_seek_data = SEEK_DATA;
const int linux_seek_hole = SEEK_HOLE;
const int linux_punch_hole = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
const int linux_zero_range = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
const int linux_rwf_nowait = RWF_NOWAIT;
const int linux_rwf_dsync = RWF_DSYNC;
const int linux_sock_nonblock_cloexec = SOCK_NONBLOCK | SOCK_CLOEXEC;

int linux_fallocate(int descriptor, int mode, off_t offset, off_t length) {
    return fallocate(descriptor, mode, offset, length);
}

ssize_t linux_pread_flags(int descriptor, void *buffer, size_t count, off_t offset, int flags) {
    struct iovec part = {buffer, count};
    return preadv2(descriptor, &part, 1, offset, flags);
}

ssize_t linux_pwrite_flags(int descriptor, const void *buffer, size_t count, off_t offset, int flags) {
    struct iovec part = {(void *)buffer, count};
    return pwritev2(descriptor, &part, 1, offset, flags);
}

int linux_lock_byte(int descriptor, off_t byte, int exclusive) {
    struct flock lock = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    return fcntl(descriptor, F_OFD_SETLK, &lock);
}

int linux_byte_is_locked(int descriptor, off_t byte) {
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = byte, .l_len = 1};
    if (fcntl(descriptor, F_OFD_GETLK, &lock) != 0) return -1;
    return lock.l_type != F_UNLCK;
}
