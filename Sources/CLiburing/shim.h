// Swift's Glibc module was built without the GNU names; its view of these types has to come first.
#include <sys/types.h>
#include <sys/select.h>
#include <sched.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <liburing.h>

// A ring of buffers ends in an array without a length, which Swift does not import: here its address is a plain pointer.
static inline int uring_register_buffers(struct io_uring *ring, void *buffers, unsigned count, int group) {
    struct io_uring_buf_reg registration = {
        .ring_addr = (unsigned long)buffers, .ring_entries = count, .bgid = (unsigned short)group};
    io_uring_buf_ring_init((struct io_uring_buf_ring *)buffers);
    return io_uring_register_buf_ring(ring, &registration, 0);
}

static inline void uring_give_buffer(void *buffers, void *memory, unsigned length, int id, unsigned count) {
    io_uring_buf_ring_add((struct io_uring_buf_ring *)buffers, memory, length, (unsigned short)id, (int)count - 1, 0);
    io_uring_buf_ring_advance((struct io_uring_buf_ring *)buffers, 1);
}
