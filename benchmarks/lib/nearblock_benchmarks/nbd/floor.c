// The floor of serving NBD: what one C loop for all connections reaches that does nothing but its system calls. One recv takes
// every request that has come, each is answered by one pread or pwrite, and one send takes all the answers. It checks
// nothing and serves clients of its own benchmark only.
//
//   floor [OPTION ...] ADDRESS IMAGE
//
// ADDRESS is the path of a Unix socket or HOST:PORT. Options, for experiments on what a single cause costs:
//   --threads       one thread for each connection, and not one for all
//   --structured    structured replies to clients that can take them
//   --nowait        preadv2 with RWF_NOWAIT, and not pread
//   --ring          receive through io_uring into provided buffers, and not by recv
//   --shift BYTES   the first reply of a batch begins so many bytes behind the start of a page
//   --regions N     replies of consecutive batches go to N regions in turn, so that they are not in the caches any more
//   --split         receive each request's header and payload by themselves, as nearblock does large payloads
//   --huge          huge pages for replies
//   --short-turns   slices of 100 us of the processor, as nearblock's loops ask for: sched_setattr(2)
//   --apart         data begins at the start of a page, and headers have memory of their own: an iovec for each

#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <liburing.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

enum { INPUT = 2 << 20, OUTPUT = 34 << 20, HEADERS = 1 << 20, CONNECTIONS = 64, PARTS = 1024, PAGE = 4096 };
enum { PROVIDED = 16, PROVIDED_BYTES = 64 << 10 };

static int byThreads, isStructured, isNoWait, byRing, isSplit, isHuge, isApart, takesShortTurns;
static size_t shift, regions = 1;

struct connection {
    int socket;
    // 0 before the handshake, 1 after it, 2 from the first request on.
    int stage;
    int givesChunks;
    size_t filled;
    char *input;
    char *outputs;
    size_t region;
    char *headers;
    struct iovec parts[PARTS];
    struct io_uring ring;
    struct io_uring_buf_ring *provided;
    char *providedBytes;
};

static int image;
static uint64_t size;

static void store(char *to, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--, value >>= 8) to[i] = (char)value;
}

static uint64_t load(const char *from, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | (uint8_t)from[i];
    return value;
}

static int sendAll(int socket, const char *bytes, size_t count) {
    while (count > 0) {
        ssize_t sent = send(socket, bytes, count, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        bytes += sent;
        count -= (size_t)sent;
    }
    return 0;
}

static int sendParts(int socket, struct iovec *parts, size_t count) {
    while (count > 0) {
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = count};
        ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
        if (sent <= 0) return -1;
        while (count > 0 && (size_t)sent >= parts->iov_len) sent -= (ssize_t)parts->iov_len, parts++, count--;
        if (count > 0) parts->iov_base = (char *)parts->iov_base + sent, parts->iov_len -= (size_t)sent;
    }
    return 0;
}

// As much of the handshake as libnbd and load need: other options than EXPORT_NAME, GO and STRUCTURED_REPLY are unknown.
static int shakeHands(struct connection *c) {
    char greeting[18] = "NBDMAGICIHAVEOPT\0\3", head[16], data[4096], answer[64];
    if (sendAll(c->socket, greeting, 18) || recv(c->socket, head, 4, MSG_WAITALL) != 4) return -1;
    for (;;) {
        if (recv(c->socket, head, 16, MSG_WAITALL) != 16) return -1;
        uint32_t option = (uint32_t)load(head + 8, 4), length = (uint32_t)load(head + 12, 4);
        if (length > sizeof data) return -1;
        if (length > 0 && recv(c->socket, data, length, MSG_WAITALL) != (ssize_t)length) return -1;
        if (option == 1) {
            store(answer, size, 8);
            store(answer + 8, 1 | 4 | 256, 2);
            return sendAll(c->socket, answer, 10);
        }
        store(answer, 0x3e889045565a9, 8);
        store(answer + 8, option, 4);
        if (option != 7) {
            c->givesChunks |= option == 8 && isStructured;
            store(answer + 12, option == 8 && isStructured ? 1 : 0x80000001, 4);
            store(answer + 16, 0, 4);
            if (sendAll(c->socket, answer, 20)) return -1;
            continue;
        }
        store(answer + 12, 3, 4);
        store(answer + 16, 12, 4);
        store(answer + 20, 0, 2);
        store(answer + 22, size, 8);
        store(answer + 30, 1 | 4 | 256, 2);
        memcpy(answer + 32, answer, 12);
        store(answer + 44, 1, 4);
        store(answer + 48, 0, 4);
        return sendAll(c->socket, answer, 52);
    }
}

static ssize_t readImage(char *to, size_t length, uint64_t offset) {
    if (!isNoWait) return pread(image, to, length, (off_t)offset);
    struct iovec part = {to, length};
    // Now and then a page that is cached counts as one that is not.
    ssize_t got = preadv2(image, &part, 1, (off_t)offset, RWF_NOWAIT);
    return got == (ssize_t)length ? got : pread(image, to, length, (off_t)offset);
}

// Returns the length of the header.
static size_t storeHeader(struct connection *c, char *to, const char *request, int isRead, size_t length) {
    memcpy(to + 8, request + 8, 8);
    if (!c->givesChunks) {
        store(to, 0x67446698, 4);
        store(to + 4, 0, 4);
        return 16;
    }
    store(to, 0x668e33ef, 4);
    store(to + 4, 1, 2);
    store(to + 6, isRead ? 1 : 0, 2);
    store(to + 16, isRead ? 8 + length : 0, 4);
    if (isRead) memcpy(to + 20, request + 16, 8);
    return isRead ? 28 : 20;
}

// Answers what stands in the input; returns -1 at the end of the conversation.
static int answer(struct connection *c) {
    char *output = c->outputs + c->region * OUTPUT;
    size_t at = 0, made = isApart ? 0 : shift, headed = 0, parts = 0;
    c->region = (c->region + 1) % regions;
    while (c->filled - at >= 28) {
        const char *request = c->input + at;
        uint16_t command = (uint16_t)load(request + 6, 2);
        uint64_t offset = load(request + 16, 8), length = load(request + 24, 4);
        if (command == 2) return -1;
        if (command == 1) {
            if (c->filled - at < 28 + length) break;
            if (pwrite(image, request + 28, length, (off_t)offset) != (ssize_t)length) return -1;
            at += length;
        }
        if (command == 0 && made + 32 + length > OUTPUT) break;
        if (isApart && (parts + 2 > PARTS || headed + 32 > HEADERS)) break;
        char *header = isApart ? c->headers + headed : output + made;
        size_t count = storeHeader(c, header, request, command == 0, length);
        if (isApart) {
            c->parts[parts++] = (struct iovec){header, count};
            headed += count;
        } else {
            made += count;
        }
        if (command == 0) {
            if (readImage(output + made, length, offset) != (ssize_t)length) return -1;
            if (isApart) c->parts[parts++] = (struct iovec){output + made, length};
            made += isApart ? (length + PAGE - 1) / PAGE * PAGE : length;
        }
        at += 28;
    }
    memmove(c->input, c->input + at, c->filled - at);
    c->filled -= at;
    return isApart ? sendParts(c->socket, c->parts, parts) : sendAll(c->socket, output + shift, made - shift);
}

static void openRing(struct connection *c) {
    io_uring_queue_init(64, &c->ring, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
    c->provided = aligned_alloc(PAGE, PAGE);
    struct io_uring_buf_reg registration = {.ring_addr = (uintptr_t)c->provided, .ring_entries = PROVIDED};
    io_uring_buf_ring_init(c->provided);
    io_uring_register_buf_ring(&c->ring, &registration, 0);
    c->providedBytes = aligned_alloc(PAGE, PROVIDED * PROVIDED_BYTES);
    for (int i = 0; i < PROVIDED; i++)
        io_uring_buf_ring_add(c->provided, c->providedBytes + i * PROVIDED_BYTES, PROVIDED_BYTES, (unsigned short)i,
                              PROVIDED - 1, i);
    io_uring_buf_ring_advance(c->provided, PROVIDED);
}

// Receives into a buffer that the kernel chooses, and answers from there if nothing was left over.
static int serveByRing(struct connection *c) {
    struct io_uring_sqe *entry = io_uring_get_sqe(&c->ring);
    struct io_uring_cqe *end;
    io_uring_prep_recv(entry, c->socket, NULL, PROVIDED_BYTES, 0);
    entry->flags |= IOSQE_BUFFER_SELECT;
    entry->ioprio |= IORING_RECVSEND_POLL_FIRST;
    if (io_uring_submit_and_wait(&c->ring, 1) < 0 || io_uring_peek_cqe(&c->ring, &end)) return -1;
    int got = end->res, number = (int)(end->flags >> IORING_CQE_BUFFER_SHIFT);
    io_uring_cqe_seen(&c->ring, end);
    if (got <= 0) return -1;
    char *own = c->input, *bytes = c->providedBytes + number * PROVIDED_BYTES;
    if (c->filled == 0) c->input = bytes;
    else memcpy(own + c->filled, bytes, (size_t)got);
    c->filled += (size_t)got;
    int result = answer(c);
    if (c->input != own) memcpy(own, c->input, c->filled);
    c->input = own;
    io_uring_buf_ring_add(c->provided, bytes, PROVIDED_BYTES, (unsigned short)number, PROVIDED - 1, 0);
    io_uring_buf_ring_advance(c->provided, 1);
    return result;
}

// Receives one request.
static int serveSplit(struct connection *c) {
    if (recv(c->socket, c->input, 28, MSG_WAITALL) != 28) return -1;
    size_t payload = load(c->input + 6, 2) == 1 ? load(c->input + 24, 4) : 0;
    if (payload > INPUT - 28) return -1;
    if (payload > 0 && recv(c->socket, c->input + 28, payload, MSG_WAITALL) != (ssize_t)payload) return -1;
    c->filled = 28 + payload;
    return answer(c);
}

static int serve(struct connection *c) {
    if (c->stage == 0) {
        c->stage = 1;
        return shakeHands(c);
    }
    c->stage = 2;
    if (byRing) return serveByRing(c);
    if (isSplit) return serveSplit(c);
    ssize_t got = recv(c->socket, c->input + c->filled, INPUT - c->filled, 0);
    if (got <= 0) return -1;
    c->filled += (size_t)got;
    return answer(c);
}

static struct connection *open_connection(int socket) {
    struct connection *c = calloc(1, sizeof *c);
    int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->socket = socket;
    c->input = malloc(INPUT);
    c->outputs = mmap(NULL, regions * OUTPUT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (isHuge) madvise(c->outputs, regions * OUTPUT, MADV_HUGEPAGE);
    c->headers = malloc(HEADERS);
    return c;
}

static void end(struct connection *c) {
    close(c->socket);
    free(c->input);
    munmap(c->outputs, regions * OUTPUT);
    free(c->headers);
    free(c);
}

static void *thread(void *context) {
    if (byRing) openRing(context);
    while (serve(context) == 0) {}
    end(context);
    return NULL;
}

static void serveByThreads(int listener) {
    for (;;) {
        pthread_t id;
        int client = accept(listener, NULL, NULL);
        if (client < 0) continue;
        pthread_create(&id, NULL, thread, open_connection(client));
        pthread_detach(id);
    }
}

// A lone connection is waited for in recv itself, once it has begun to ask.
static void serveByOne(int listener) {
    struct pollfd fds[CONNECTIONS + 1] = {{.fd = listener, .events = POLLIN}};
    struct connection *open[CONNECTIONS + 1];
    int count = 1;
    for (;;) {
        if (count != 2 || open[1]->stage < 2) poll(fds, (nfds_t)count, -1);
        else fds[0].revents = 0, fds[1].revents = POLLIN;
        for (int i = count - 1; i > 0; i--) {
            if (!fds[i].revents || serve(open[i]) == 0) continue;
            end(open[i]);
            count--;
            open[i] = open[count];
            fds[i] = fds[count];
        }
        if (!(fds[0].revents & POLLIN) || count > CONNECTIONS) continue;
        open[count] = open_connection(accept(listener, NULL, NULL));
        fds[count] = (struct pollfd){.fd = open[count]->socket, .events = POLLIN};
        fds[count].revents = 0;
        serve(open[count++]);
    }
}

static int listenAt(const char *where) {
    const char *colon = strrchr(where, ':');
    if (where[0] == '/' || !colon) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, where, sizeof address.sun_path - 1);
        int listener = socket(AF_UNIX, SOCK_STREAM, 0);
        return bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64) ? -1 : listener;
    }
    char host[256] = {0};
    memcpy(host, where, (size_t)(colon - where) < 255 ? (size_t)(colon - where) : 255);
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    if (getaddrinfo(host, colon + 1, &hints, &found)) return -1;
    int listener = socket(found->ai_family, SOCK_STREAM, 0), on = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    return bind(listener, found->ai_addr, found->ai_addrlen) || listen(listener, 64) ? -1 : listener;
}

static int readOptions(int argc, char **argv) {
    static const struct option options[] = {
        {"threads", 0, &byThreads, 1}, {"structured", 0, &isStructured, 1}, {"nowait", 0, &isNoWait, 1},
        {"ring", 0, &byRing, 1}, {"split", 0, &isSplit, 1}, {"huge", 0, &isHuge, 1}, {"apart", 0, &isApart, 1}, {"short-turns", 0, &takesShortTurns, 1},
        {"shift", 1, 0, 's'},
        {"regions", 1, 0, 'r'}, {0, 0, 0, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's') shift = (size_t)atoi(optarg);
        else if (option == 'r') regions = (size_t)atoi(optarg);
        else if (option != 0) return -1;
    }
    return argc - optind == 2 && regions > 0 ? 0 : -1;
}

static void takeShortTurns(void) {
    struct {
        uint32_t size, policy;
        uint64_t flags;
        int32_t nice;
        uint32_t priority;
        uint64_t runtime, deadline, period;
    } attributes;
    if (syscall(SYS_sched_getattr, 0, &attributes, sizeof attributes, 0)) return;
    attributes.size = sizeof attributes;
    attributes.runtime = 100000;
    syscall(SYS_sched_setattr, 0, &attributes, 0);
}

int main(int argc, char **argv) {
    if (readOptions(argc, argv)) return fprintf(stderr, "usage: see the top of floor.c\n"), 2;
    char **names = argv + optind;
    image = open(names[1], O_RDWR);
    if (image < 0) return perror(names[1]), 1;
    size = (uint64_t)lseek(image, 0, SEEK_END);
    int listener = listenAt(names[0]);
    if (listener < 0) return perror(names[0]), 1;
    if (takesShortTurns) takeShortTurns();
    // A ring has one thread.
    if (byThreads || byRing) serveByThreads(listener);
    serveByOne(listener);
}
