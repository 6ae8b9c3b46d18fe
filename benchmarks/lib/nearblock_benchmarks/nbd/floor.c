// The floor of serving NBD: what one C loop a connection reaches that does nothing but its system calls. One recv takes
// every request that has come, each is answered by one pread or pwrite, and one send takes all the answers. It checks
// nothing and serves clients of its own benchmark only.
//
//   floor SOCKET IMAGE [--threads]      one thread for all connections, or one each

#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { INPUT = 2 << 20, OUTPUT = 34 << 20, CONNECTIONS = 64 };

struct connection {
    int socket;
    // 0 before the handshake, 1 after it, 2 from the first request on.
    int stage;
    size_t filled;
    size_t owed;
    char *input;
    char *output;
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

// As much of the handshake as libnbd and load need: every option but EXPORT_NAME and GO is unknown here.
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
            store(answer + 12, 0x80000001, 4);
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

// Answers what stands in the input; returns -1 at the end of the conversation.
static int answer(struct connection *c) {
    size_t at = 0, made = 0;
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
        if (command == 0 && made + 16 + length > OUTPUT) break;
        store(c->output + made, 0x67446698, 4);
        store(c->output + made + 4, 0, 4);
        memcpy(c->output + made + 8, request + 8, 8);
        made += 16;
        if (command == 0) {
            if (pread(image, c->output + made, length, (off_t)offset) != (ssize_t)length) return -1;
            made += length;
        }
        at += 28;
    }
    memmove(c->input, c->input + at, c->filled - at);
    c->filled -= at;
    return sendAll(c->socket, c->output, made);
}

static int serve(struct connection *c) {
    if (c->stage == 0) {
        c->stage = 1;
        return shakeHands(c);
    }
    c->stage = 2;
    ssize_t got = recv(c->socket, c->input + c->filled, INPUT - c->filled, 0);
    if (got <= 0) return -1;
    c->filled += (size_t)got;
    return answer(c);
}

static struct connection *open_connection(int socket) {
    struct connection *c = calloc(1, sizeof *c);
    c->socket = socket;
    c->input = malloc(INPUT);
    c->output = malloc(OUTPUT);
    return c;
}

static void end(struct connection *c) {
    close(c->socket);
    free(c->input);
    free(c->output);
    free(c);
}

static void *thread(void *context) {
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

int main(int argc, char **argv) {
    if (argc < 3) return fprintf(stderr, "usage: floor SOCKET IMAGE [--threads]\n"), 2;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strncpy(address.sun_path, argv[1], sizeof address.sun_path - 1);
    image = open(argv[2], O_RDWR);
    if (image < 0) return perror(argv[2]), 1;
    size = (uint64_t)lseek(image, 0, SEEK_END);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (bind(listener, (struct sockaddr *)&address, sizeof address) || listen(listener, 64)) return perror(argv[1]), 1;
    if (argc > 3) serveByThreads(listener);
    serveByOne(listener);
}
