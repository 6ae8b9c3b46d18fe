// Loads an NBD server over its raw protocol, with less work of its own than fio's engine does, so that it is the server
// that is measured. One thread a connection; requests leave together and answers are taken together.
//
//   load [--connections N] [--depth N] [--block BYTES] [--reads PERCENT] [--sequential] [--seconds S]
//        [--requests N] [--structured] [--idle]
//        ADDRESS EXPORT
//
// --requests ends each connection after so many, however long they take. --structured asks for structured replies. --idle
// only keeps the connections open. ADDRESS is the path of a Unix socket or HOST:PORT. Prints JSON: requests, seconds, and
// latencies in nanoseconds.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 20, SAMPLES = 1 << 23 };

static struct settings {
    int connections, depth, reads, isSequential, isStructured, isIdle;
    uint32_t block;
    uint64_t most;
    double seconds;
    const char *address, *export;
} set = {.connections = 1, .depth = 1, .reads = 100, .block = 4096, .most = UINT64_MAX, .seconds = 3};

struct slot {
    uint64_t start;
    int isRead;
};

struct client {
    pthread_t thread;
    int socket;
    uint64_t size, seed, position, asked, requests;
    uint32_t *samples;
    struct slot *slots;
    int *idle, idleCount;
    char *output;
    size_t made, sent;
    char *input;
    size_t filled;
    // Bytes of a read's data that are still to come.
    size_t skip;
    int answered;
};

static uint64_t end_time;

static void die(const char *what) {
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void store(char *to, uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; i--, value >>= 8) to[i] = (char)value;
}

static uint64_t load(const char *from, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) value = value << 8 | (uint8_t)from[i];
    return value;
}

static uint64_t draw(struct client *c) {
    c->seed ^= c->seed << 13;
    c->seed ^= c->seed >> 7;
    c->seed ^= c->seed << 17;
    return c->seed;
}

static int open_socket(void) {
    const char *colon = strrchr(set.address, ':');
    if (set.address[0] == '/' || !colon) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, set.address, sizeof address.sun_path - 1);
        int s = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(s, (struct sockaddr *)&address, sizeof address)) die(set.address);
        return s;
    }
    char host[256] = {0};
    memcpy(host, set.address, (size_t)(colon - set.address));
    struct addrinfo *found, hints = {.ai_socktype = SOCK_STREAM};
    if (getaddrinfo(host, colon + 1, &hints, &found)) die(set.address);
    int s = socket(found->ai_family, SOCK_STREAM, 0), on = 1;
    if (connect(s, found->ai_addr, found->ai_addrlen)) die(set.address);
    setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    freeaddrinfo(found);
    return s;
}

static void take(int socket, char *to, size_t count) {
    if (recv(socket, to, count, MSG_WAITALL) != (ssize_t)count) die("handshake");
}

static void ask_for_structure(int socket) {
    char option[16] = "IHAVEOPT", answer[20];
    store(option + 8, 8, 4);
    store(option + 12, 0, 4);
    if (send(socket, option, 16, 0) != 16) die("handshake");
    take(socket, answer, 20);
    if (load(answer + 12, 4) != 1) die("structured replies");
}

// EXPORT_NAME without zeroes behind it: the one way in that every server has.
static void shake_hands(struct client *c) {
    char greeting[18], hello[16 + 256], answer[10];
    size_t name = strlen(set.export);
    if (name > 256) die("export name");
    take(c->socket, greeting, 18);
    store(hello, 3, 4);
    if (send(c->socket, hello, 4, 0) != 4) die("handshake");
    if (set.isStructured) ask_for_structure(c->socket);
    memcpy(hello, "IHAVEOPT", 8);
    store(hello + 8, 1, 4);
    store(hello + 12, name, 4);
    memcpy(hello + 16, set.export, name);
    if (send(c->socket, hello, 16 + name, 0) != (ssize_t)(16 + name)) die("handshake");
    take(c->socket, answer, 10);
    c->size = load(answer, 8);
    if (c->size < set.block) die("the export is smaller than a block");
}

static void ask(struct client *c, uint64_t time) {
    int number = c->idle[--c->idleCount];
    c->asked++;
    struct slot *slot = c->slots + number;
    slot->start = time;
    slot->isRead = (int)(draw(c) % 100) < set.reads;
    uint64_t blocks = c->size / set.block;
    uint64_t block = set.isSequential ? c->position++ % blocks : draw(c) % blocks;
    char *request = c->output + c->made;
    store(request, 0x25609513, 4);
    store(request + 4, 0, 2);
    store(request + 6, slot->isRead ? 0 : 1, 2);
    store(request + 8, (uint64_t)number, 8);
    store(request + 16, block * set.block, 8);
    store(request + 24, set.block, 4);
    // What is written is whatever the room held before: nobody reads it.
    c->made += 28 + (slot->isRead ? 0 : set.block);
}

static void finish(struct client *c, int number, uint64_t time) {
    struct slot *slot = c->slots + number;
    uint64_t took = time - slot->start;
    if (c->requests < SAMPLES) c->samples[c->requests] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
    c->requests++;
    c->idle[c->idleCount++] = number;
}

// A read has one chunk of data, and a write one of none: so does every server here.
static int isSuccess(const char *header) {
    if (!set.isStructured) return load(header, 4) == 0x67446698 && load(header + 4, 4) == 0;
    return load(header, 4) == 0x668e33ef && load(header + 4, 2) == 1 && load(header + 6, 2) <= 1;
}

static void parse(struct client *c) {
    uint64_t time = now();
    size_t at = 0;
    while (at < c->filled) {
        if (c->skip > 0) {
            size_t part = c->skip < c->filled - at ? c->skip : c->filled - at;
            at += part;
            c->skip -= part;
            if (c->skip == 0) finish(c, c->answered, time);
            continue;
        }
        size_t header = set.isStructured ? 20 : 16;
        if (c->filled - at < header) break;
        if (!isSuccess(c->input + at)) die("a request failed");
        int number = (int)load(c->input + at + 8, 8);
        at += header;
        if (c->slots[number].isRead) {
            // A chunk of data begins with its offset.
            c->skip = set.block + (set.isStructured ? 8 : 0);
            c->answered = number;
        } else {
            finish(c, number, time);
        }
    }
    memmove(c->input, c->input + at, c->filled - at);
    c->filled -= at;
}

static void push(struct client *c) {
    while (c->sent < c->made) {
        ssize_t sent = send(c->socket, c->output + c->sent, c->made - c->sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) return;
        if (sent < 0) die("send");
        c->sent += (size_t)sent;
    }
    c->made = c->sent = 0;
}

static void pull(struct client *c) {
    if (c->made > 0) {
        struct pollfd fd = {.fd = c->socket, .events = POLLIN | POLLOUT};
        poll(&fd, 1, -1);
        if (!(fd.revents & POLLIN)) return;
    }
    ssize_t got = recv(c->socket, c->input + c->filled, ROOM - c->filled, 0);
    if (got <= 0) die("recv");
    c->filled += (size_t)got;
    parse(c);
}

static void *run(void *context) {
    struct client *c = context;
    for (;;) {
        uint64_t time = now();
        int isOver = time >= end_time || c->asked == set.most;
        if (!isOver && c->made == 0) {
            while (c->idleCount > 0 && c->asked < set.most) ask(c, time);
        } else if (isOver && c->made == 0 && c->idleCount == set.depth) {
            return NULL;
        }
        push(c);
        pull(c);
    }
}

static struct client *open_client(int index) {
    struct client *c = calloc(1, sizeof *c);
    c->seed = 0x9e3779b97f4a7c15ull * (uint64_t)(index + 1);
    c->samples = malloc(SAMPLES * sizeof *c->samples);
    c->slots = calloc((size_t)set.depth, sizeof *c->slots);
    c->idle = calloc((size_t)set.depth, sizeof *c->idle);
    for (int i = 0; i < set.depth; i++) c->idle[c->idleCount++] = i;
    c->output = calloc((size_t)set.depth, 28 + set.block);
    c->input = malloc(ROOM);
    c->socket = open_socket();
    shake_hands(c);
    c->position = c->size / set.block / (uint64_t)set.connections * (uint64_t)index;
    return c;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void report(struct client **clients, double seconds) {
    uint64_t requests = 0, count = 0;
    for (int i = 0; i < set.connections; i++) requests += clients[i]->requests;
    uint32_t *all = malloc((requests + 1) * sizeof *all);
    for (int i = 0; i < set.connections; i++) {
        uint64_t kept = clients[i]->requests < SAMPLES ? clients[i]->requests : SAMPLES;
        memcpy(all + count, clients[i]->samples, kept * sizeof *all);
        count += kept;
    }
    qsort(all, count, sizeof *all, compare);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec)
        + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"requests\": %llu, \"seconds\": %.6f, \"client_cpu\": %.6f, \"p50\": %u, \"p99\": %u, \"p999\": %u}\n",
        (unsigned long long)requests, seconds, cpu, count ? all[count / 2] : 0, count ? all[count * 99 / 100] : 0,
        count ? all[count * 999 / 1000] : 0);
}

static void read_arguments(int argc, char **argv) {
    static const struct option options[] = {
        {"connections", 1, 0, 'c'}, {"depth", 1, 0, 'd'}, {"block", 1, 0, 'b'}, {"reads", 1, 0, 'r'},
        {"sequential", 0, 0, 's'}, {"seconds", 1, 0, 't'}, {"requests", 1, 0, 'n'},
        {"structured", 0, 0, 'x'}, {"idle", 0, 0, 'i'}, {0, 0, 0, 0}};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'c': set.connections = atoi(optarg); break;
        case 'd': set.depth = atoi(optarg); break;
        case 'b': set.block = (uint32_t)atoi(optarg); break;
        case 'r': set.reads = atoi(optarg); break;
        case 's': set.isSequential = 1; break;
        case 'x': set.isStructured = 1; break;
        case 'i': set.isIdle = 1; break;
        case 'n': set.most = (uint64_t)atoll(optarg); break;
        case 't': set.seconds = atof(optarg); break;
        default: exit(2);
        }
    }
    if (argc - optind != 2 || set.connections < 1 || set.depth < 1 || set.block < 1) {
        fprintf(stderr, "usage: see the top of load.c\n");
        exit(2);
    }
    set.address = argv[optind];
    set.export = argv[optind + 1];
}

int main(int argc, char **argv) {
    read_arguments(argc, argv);
    struct client **clients = calloc((size_t)set.connections, sizeof *clients);
    for (int i = 0; i < set.connections; i++) clients[i] = open_client(i);
    if (set.isIdle) return sleep((unsigned)set.seconds), 0;
    uint64_t start = now();
    end_time = start + (uint64_t)(set.seconds * 1e9);
    for (int i = 0; i < set.connections; i++) pthread_create(&clients[i]->thread, NULL, run, clients[i]);
    for (int i = 0; i < set.connections; i++) pthread_join(clients[i]->thread, NULL);
    report(clients, (double)(now() - start) / 1e9);
}
