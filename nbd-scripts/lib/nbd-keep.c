// nbd-keep [-d] [-t SECONDS] [-w SECONDS] HOST PORT EXPORT DEVICE-NUMBER
// nbd-keep [-d] [-t SECONDS] [-w SECONDS] unix PATH EXPORT DEVICE-NUMBER
//
// Keeps /dev/nbdN, which nbd-client has attached by netlink, attached while its server comes and goes: what "nbd-client
// -persist" is for, and what no released nbd-client does. It gives requests time to wait for a connection, listens for
// the kernel's word that one has died, makes another and hands it over. Ends when it is killed, and when the device is
// detached. A server that shows another size is no server of this device, and is asked again.
//   -d   goes to the background when the device is kept, prints its process id and speaks to syslog from then on
//   -t   a request that has no answer for so long is sent again over another connection (10)
//   -w   requests wait so long for a server; then they fail (600)
//
// Sources: linux/nbd-netlink.h, linux/genetlink.h; the kernel's drivers/block/nbd.c, nbd_genl_reconfigure.

#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/nbd-netlink.h>
#include <linux/netlink.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

struct target {
    const char *host, *port, *export;  // The host is "unix" where the port is a path.
    uint32_t device;
    uint64_t resend, patience;
    long owner;  // Who has attached the device: another one is another attachment.
};

struct message {
    struct nlmsghdr head;
    struct genlmsghdr command;
    char attributes[4096];
};

static int is_in_background;

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list words;
    va_start(words, format);
    if (is_in_background) {
        vsyslog(LOG_NOTICE, format, words);
    } else {
        vprintf(format, words);
        putchar('\n');
        fflush(stdout);
    }
    va_end(words);
}

static void fail(const char *what)
{
    if (is_in_background) syslog(LOG_ERR, "%s: %m", what);
    else fprintf(stderr, "nbd-keep: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void refuse(const char *what)
{
    fprintf(stderr, "nbd-keep: %s\n", what);
    exit(1);
}

// Adds an attribute and returns it.
static struct nlattr *add(struct message *message, int type, const void *data, int count)
{
    struct nlattr *attribute = (void *)((char *)message + NLMSG_ALIGN(message->head.nlmsg_len));
    attribute->nla_type = type;
    attribute->nla_len = NLA_HDRLEN + count;
    if (count > 0) memcpy((char *)attribute + NLA_HDRLEN, data, count);
    message->head.nlmsg_len = (char *)attribute - (char *)message + NLA_ALIGN(attribute->nla_len);
    return attribute;
}

// Closes one that holds those added since.
static void close_nest(struct message *message, struct nlattr *nest)
{
    nest->nla_type |= NLA_F_NESTED;
    nest->nla_len = (char *)message + message->head.nlmsg_len - (char *)nest;
}

static void begin(struct message *message, int family, int command)
{
    memset(message, 0, sizeof *message);
    message->head.nlmsg_len = NLMSG_LENGTH(GENL_HDRLEN);
    message->head.nlmsg_type = family;
    message->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    message->command.cmd = command;
    message->command.version = 1;
}

static const struct nlattr *find(const void *first, int count, int type)
{
    const char *at = first, *end = at + count;
    while (at + NLA_HDRLEN <= end) {
        const struct nlattr *attribute = (const void *)at;
        if (attribute->nla_len < NLA_HDRLEN) break;
        if ((attribute->nla_type & NLA_TYPE_MASK) == type) return attribute;
        at += NLA_ALIGN(attribute->nla_len);
    }
    return NULL;
}

static const void *payload(const struct nlattr *attribute) { return (const char *)attribute + NLA_HDRLEN; }

static const struct nlattr *find_in(const struct message *message, int type)
{
    int count = message->head.nlmsg_len - NLMSG_LENGTH(GENL_HDRLEN);
    return find(message->attributes, count, type);
}

// Sends, and returns what the kernel says of it: 0 or a negated errno. A reply with data is left in ANSWER.
static int ask(int netlink, struct message *message, struct message *answer)
{
    struct message heard;
    if (send(netlink, message, message->head.nlmsg_len, 0) < 0) fail("send to the kernel");
    for (;;) {
        if (recv(netlink, &heard, sizeof heard, 0) < 0) fail("receive from the kernel");
        if (heard.head.nlmsg_type == NLMSG_ERROR) return ((struct nlmsgerr *)&heard.command)->error;
        if (answer) *answer = heard;
    }
}

static int open_netlink(void)
{
    struct sockaddr_nl name = {.nl_family = AF_NETLINK};
    int netlink = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_GENERIC);
    if (netlink < 0 || bind(netlink, (void *)&name, sizeof name) < 0) fail("netlink");
    return netlink;
}

// Finds the driver's family, and the group that is told of dead connections.
static void find_driver(int netlink, int *family, int *group)
{
    struct message message, answer;
    const struct nlattr *found, *groups;
    begin(&message, GENL_ID_CTRL, CTRL_CMD_GETFAMILY);
    add(&message, CTRL_ATTR_FAMILY_NAME, NBD_GENL_FAMILY_NAME, sizeof NBD_GENL_FAMILY_NAME);
    if (ask(netlink, &message, &answer) != 0) refuse("the kernel has no nbd driver");
    found = find_in(&answer, CTRL_ATTR_FAMILY_ID);
    groups = find_in(&answer, CTRL_ATTR_MCAST_GROUPS);
    if (!found || !groups) refuse("the kernel's nbd driver does not tell of dead connections");
    *family = *(const uint16_t *)payload(found);
    // There is one group.
    groups = payload(groups);
    found = find(payload(groups), groups->nla_len - NLA_HDRLEN, CTRL_ATTR_MCAST_GRP_ID);
    if (!found) refuse("the kernel's nbd driver does not tell of dead connections");
    *group = *(const uint32_t *)payload(found);
}

// The number in a file of the device's in /sys; -1 where there is none.
static long device_number(const struct target *target, const char *file)
{
    char path[96];
    long number = -1;
    FILE *stream;
    snprintf(path, sizeof path, "/sys/block/nbd%u/%s", target->device, file);
    if (!(stream = fopen(path, "re"))) return -1;
    if (fscanf(stream, "%ld", &number) != 1) number = -1;
    fclose(stream);
    return number;
}

static void end_unless_attached(const struct target *target)
{
    if (device_number(target, "pid") == target->owner) return;
    say("nbd%u has been detached", target->device);
    exit(0);
}

static int connect_unix(const char *path)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    strncpy(name.sun_path, path, sizeof name.sun_path - 1);
    if (connect(server, (void *)&name, sizeof name) == 0) return server;
    close(server);
    return -1;
}

static int connect_tcp(const char *host, const char *port)
{
    struct addrinfo wanted = {.ai_socktype = SOCK_STREAM}, *found, *each;
    struct timeval limit = {.tv_sec = 5};
    int server = -1, one = 1;
    if (getaddrinfo(host, port, &wanted, &found) != 0) return -1;
    for (each = found; each; each = each->ai_next) {
        server = socket(each->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        // This limits the time to connect.
        setsockopt(server, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
        setsockopt(server, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
        setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (connect(server, each->ai_addr, each->ai_addrlen) == 0) break;
        close(server);
        server = -1;
    }
    freeaddrinfo(found);
    return server;
}

static void set_limits(int server, int seconds)
{
    struct timeval limit = {.tv_sec = seconds};
    setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(server, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
}

static int take(int server, void *bytes, int count) { return recv(server, bytes, count, MSG_WAITALL) == count; }

// Chooses the export; whether it has the device's size.
static int choose_export(int server, const struct target *target)
{
    const char *export = target->export;
    struct { uint32_t flags; uint64_t magic; uint32_t option, length; } __attribute__((packed)) choice = {
        htonl(3), htobe64(0x49484156454f5054), htonl(1), htonl(strlen(export))};
    struct { uint64_t size; uint16_t flags; } __attribute__((packed)) answer;
    char greeting[18];
    uint64_t size;
    long block = device_number(target, "queue/logical_block_size"), sectors = device_number(target, "size");
    if (!take(server, greeting, sizeof greeting) ||
        send(server, &choice, sizeof choice, MSG_NOSIGNAL) < 0 ||
        send(server, export, strlen(export), MSG_NOSIGNAL) < 0 || !take(server, &answer, sizeof answer))
        return 0;
    size = be64toh(answer.size);
    if (block > 0 && size / block * block / 512 == (uint64_t)sectors) return 1;
    say("the server's export '%s' has %llu bytes, nbd%u has %ld sectors", export, (unsigned long long)size,
        target->device, sectors);
    sleep(5);
    return 0;
}

// A connection that has chosen the export; -1 where there is none to be had now.
static int connect_server(const struct target *target)
{
    int is_unix = strcmp(target->host, "unix") == 0;
    int server = is_unix ? connect_unix(target->port) : connect_tcp(target->host, target->port);
    if (server < 0) return -1;
    set_limits(server, 5);
    if (choose_export(server, target)) {
        // The kernel sets its own.
        set_limits(server, 0);
        return server;
    }
    close(server);
    return -1;
}

static void begin_reconfigure(struct message *message, int family, uint32_t device)
{
    begin(message, family, NBD_CMD_RECONFIGURE);
    add(message, NBD_ATTR_INDEX, &device, sizeof device);
}

static void be_patient(int netlink, int family, const struct target *target)
{
    struct message message;
    begin_reconfigure(&message, family, target->device);
    add(&message, NBD_ATTR_TIMEOUT, &target->resend, sizeof target->resend);
    add(&message, NBD_ATTR_DEAD_CONN_TIMEOUT, &target->patience, sizeof target->patience);
    if (ask(netlink, &message, NULL) != 0) refuse("the device is not attached by netlink");
}

static int hand_over(int netlink, int family, uint32_t device, int server)
{
    struct message message;
    struct nlattr *sockets, *item;
    uint32_t descriptor = server;
    begin_reconfigure(&message, family, device);
    sockets = add(&message, NBD_ATTR_SOCKETS, NULL, 0);
    item = add(&message, NBD_SOCK_ITEM, NULL, 0);
    add(&message, NBD_SOCK_FD, &descriptor, sizeof descriptor);
    close_nest(&message, item);
    close_nest(&message, sockets);
    return ask(netlink, &message, NULL);
}

// Whether a socket that is closed here is still open elsewhere, which is in the kernel.
static int is_held(ino_t inode)
{
    static const struct { const char *path, *format; } tables[] = {
        {"/proc/net/unix", "%*s %*s %*s %*s %*s %*s %lu"},
        {"/proc/net/tcp", "%*s %*s %*s %*s %*s %*s %*s %*s %*s %lu"},
        {"/proc/net/tcp6", "%*s %*s %*s %*s %*s %*s %*s %*s %*s %lu"}};
    for (size_t table = 0; table < sizeof tables / sizeof *tables; table++) {
        char line[512];
        unsigned long found;
        int is_found = 0;
        FILE *stream = fopen(tables[table].path, "re");
        if (!stream) continue;
        while (!is_found && fgets(line, sizeof line, stream))
            is_found = sscanf(line, tables[table].format, &found) == 1 && found == inode;
        fclose(stream);
        if (is_found) return 1;
    }
    return 0;
}

// Replaces a dead connection; whether there was one. The kernel says yes where it has no place for a connection, too, and
// drops it; and the word of a death may come before the deed, so that some tries are needed.
static int replace(int netlink, int family, const struct target *target, int tries)
{
    for (; tries > 0; tries--) {
        struct stat identity;
        int server, error;
        while ((server = connect_server(target)) < 0) {
            end_unless_attached(target);
            usleep(200000);
        }
        end_unless_attached(target);
        if (fstat(server, &identity) != 0) fail("a connection");
        error = hand_over(netlink, family, target->device, server);
        close(server);
        if (error != 0 && error != -ENOSPC) {
            say("nbd%u does not take a connection: %s", target->device, strerror(-error));
        } else if (is_held(identity.st_ino)) {
            say("nbd%u connected again", target->device);
            return 1;
        }
        if (tries > 1) usleep(100000);
    }
    return 0;
}

// Whether a connection has died, as far as the kernel has told within a second.
static int has_died(int events, uint32_t device)
{
    struct message event;
    const struct nlattr *which;
    if (recv(events, &event, sizeof event, 0) < 0) {
        // Words that were lost may have been of this device.
        if (errno == ENOBUFS) return 1;
        if (errno != EAGAIN && errno != EINTR) fail("receive from the kernel");
        return 0;
    }
    which = find_in(&event, NBD_ATTR_INDEX);
    return event.command.cmd == NBD_CMD_LINK_DEAD && which && *(const uint32_t *)payload(which) == device;
}

static int listen_to_driver(int group)
{
    int events = open_netlink();
    set_limits(events, 1);
    if (setsockopt(events, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0) fail("membership");
    return events;
}

static void go_to_background(void)
{
    pid_t child = fork();
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (child < 0 || null < 0) fail("going to the background");
    if (child > 0) {
        printf("%d\n", child);
        exit(0);
    }
    setsid();
    if (chdir("/") != 0) fail("/");
    for (int stream = 0; stream < 3; stream++) dup2(null, stream);
    openlog("nbd-keep", LOG_PID, LOG_DAEMON);
    is_in_background = 1;
}

// Memory may be short exactly because what waits to be written waits for this process.
static void be_there_when_needed(void)
{
    int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score >= 0) {
        if (write(score, "-1000", 5) < 0) say("the kernel may end this process where memory is short");
        close(score);
    }
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0) say("this process may be swapped out");
}

static uint64_t seconds(const char *word)
{
    char *end;
    unsigned long number = strtoul(word, &end, 10);
    if (*end || end == word || number == 0 || number > 1000000) refuse("-t and -w need seconds");
    return number;
}

int main(int count, char **arguments)
{
    struct target target = {.resend = 10, .patience = 600};
    int netlink, events, family, group, option, goes_to_background = 0;
    while ((option = getopt(count, arguments, "dt:w:")) != -1) {
        if (option == 'd') goes_to_background = 1;
        else if (option == 't') target.resend = seconds(optarg);
        else if (option == 'w') target.patience = seconds(optarg);
        else return 2;
    }
    arguments += optind;
    if (count - optind != 4) {
        fprintf(stderr, "nbd-keep [-d] [-t SECONDS] [-w SECONDS] HOST PORT EXPORT DEVICE-NUMBER\n");
        return 2;
    }
    target.host = arguments[0], target.port = arguments[1], target.export = arguments[2];
    target.device = atoi(arguments[3]);
    target.owner = device_number(&target, "pid");
    if (target.owner < 0) refuse("the device is not attached");
    netlink = open_netlink();
    find_driver(netlink, &family, &group);
    events = listen_to_driver(group);
    be_patient(netlink, family, &target);
    if (goes_to_background) go_to_background();
    be_there_when_needed();
    say("keeping nbd%u", target.device);
    // What died before has told nobody.
    while (replace(netlink, family, &target, 1)) continue;
    for (;;) {
        int died = has_died(events, target.device);
        end_unless_attached(&target);
        if (died) replace(netlink, family, &target, 10);
    }
}
