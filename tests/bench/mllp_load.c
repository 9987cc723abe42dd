/* tests/bench/mllp_load.c -- a load of MLLP messages: many connections, one message
 * in flight on each, every acknowledgement timed.
 *
 *   bench_mllp_load [--connections N] [--messages N] [--patients N] [--id PREFIX]
 *                   [--follow] [--idle] [ADDRESS:]PORT…
 *
 * Connections are shared out among the ports in turn (of 127.0.0.1 where no IPv4 address is given). Each message is the same
 * ADT^A01 of about 1 kB with a control id of its own, for one of N patients.
 * It prints one JSON line: messages, seconds, positive and negative
 * acknowledgements, and latencies in microseconds.
 *
 * --follow: standard input tells how many messages may be sent in all, one number a
 * line, each replacing the last: whoever watches the receiver so keeps its backlog
 * flat. --idle: connects, says "connected", sends nothing until standard input ends.
 *
 * One epoll loop that allocates nothing while it measures, so that it takes as little
 * as it can of the cores it shares with what it measures. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum { ID_LEN = 16, MRN_LEN = 8, REPLY_MAX = 4096, PORTS_MAX = 1024, EVENTS = 256 };

static const char template[] =
    "\x0b"
    "MSH|^~\\&|ADTWEST|NORTHHOSP|INTEROP|NORTH|20260301081530+0000||ADT^A01^ADT_A01|@id@@@@@@@@@@@@@|P|2.5.1|||AL|NE\r"
    "EVN|A01|20260301081500|||2002^CHEN^WEI^^^^RN|20260301081500\r"
    "PID|1||@mrn@@@@^^^NORTHHOSP^MR~999123456^^^SSA^SS||EVERYMAN^ADAM^A^III^MR||19610615|M|ADAM^EVERYMAN|2106-3|"
    "2222 HOME STREET^^GREENSBORO^NC^27401-1020^USA^H||^PRN^PH^^1^555^5552004~^NET^INTERNET^adam@example.org|"
    "^WPN^PH^^1^955^5551009|eng|M|CHR|ACCT0001^^^NORTHHOSP^AN|444333333|987654^NC|||GREENSBORO|N||USA||||N\r"
    "NK1|1|EVERYMAN^BETTERHALF^M|SPO^Spouse^HL70063|2222 HOME STREET^^GREENSBORO^NC^27401-1020|^PRN^PH^^1^555^5552005\r"
    "PV1|1|I|2000^2012^01^NORTHHOSP^^^^3RD FLOOR|E|||004777^ATTEND^AARON^A^^^DR|0148^ADDISON^JAMES^^^^DR|"
    "1092^KILDARE^RICHARD^^^^DR|SUR|||R|7|A0||0148^ANDERSON^CARL^^^^DR|S|V100200300^^^NORTHHOSP^VN|A||||||||||||||||||||"
    "NORTHHOSP||||20260301080000\r"
    "AL1|1|DA|00000741^OXYCODONE HYDROCHLORIDE^L|SV|HIVES AND SWELLING\r"
    "DG1|1||I21.9^ACUTE MYOCARDIAL INFARCTION, UNSPECIFIED^I10|||A\r"
    "\x1c\r";

typedef struct connection {
    int      fd;
    bool     busy;
    uint64_t sent_ns;
    size_t   reply_len;
    char     reply[REPLY_MAX];
} connection;

static struct {
    unsigned    connections, patients;
    uint64_t    messages;
    const char *prefix;
    bool        follow, idle;
    struct sockaddr_in ports[PORTS_MAX];
    unsigned    port_count;
} wanted = { .connections = 64, .patients = 1000, .messages = 10000, .prefix = "L" };

static connection *all;
static uint32_t *latency_us;
static uint64_t sent, answered, positive, allowed;
static char *id_at, *mrn_at;                             /* the holes in the message */
static char message[sizeof template];

static void fail(const char *what)
{
    fprintf(stderr, "mllp_load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fill_number(char *hole, size_t len, uint64_t n)
{
    for (size_t i = len; i-- > 0; n /= 10) hole[i] = (char)('0' + n % 10);
}

static void send_next(connection *c)
{
    size_t prefix = strlen(wanted.prefix), len = sizeof message - 1;

    if (sent >= allowed || sent >= wanted.messages) { c->busy = false; return; }
    fill_number(id_at + prefix, ID_LEN - prefix, sent);
    fill_number(mrn_at, MRN_LEN, sent % wanted.patients);
    sent++;
    c->busy = true;
    c->sent_ns = now_ns();
    if (write(c->fd, message, len) != (ssize_t)len) fail("write");   /* 1 kB always fits an empty socket buffer */
}

static void take_reply(connection *c)
{
    ssize_t n = read(c->fd, c->reply + c->reply_len, REPLY_MAX - c->reply_len);

    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) return;
        fprintf(stderr, "mllp_load: a connection was closed after %llu answers\n", (unsigned long long)answered);
        exit(1);
    }
    c->reply_len += (size_t)n;
    if (c->reply_len < 2 || memcmp(c->reply + c->reply_len - 2, "\x1c\r", 2) != 0) {
        if (c->reply_len == REPLY_MAX) { errno = EMSGSIZE; fail("an acknowledgement"); }
        return;
    }
    const char *msa = memmem(c->reply, c->reply_len, "\rMSA|", 5);
    if (msa != NULL && (memcmp(msa + 5, "AA", 2) == 0 || memcmp(msa + 5, "CA", 2) == 0)) positive++;
    else if (answered == positive) fprintf(stderr, "mllp_load: first refusal: %.*s\n", (int)c->reply_len, c->reply);
    c->reply_len = 0;
    latency_us[answered++] = (uint32_t)((now_ns() - c->sent_ns) / 1000);
    send_next(c);
}

/* The last whole number on standard input; the end of input stops waiting for more. */
static void take_allowance(int ep)
{
    static char text[4096];
    static size_t len;
    ssize_t n = read(STDIN_FILENO, text + len, sizeof text - len);

    if (n <= 0) {
        if (n < 0 && errno == EAGAIN) return;
        epoll_ctl(ep, EPOLL_CTL_DEL, STDIN_FILENO, NULL);
        allowed = wanted.messages;
    } else {
        len += (size_t)n;
        char *end = memrchr(text, '\n', len);
        if (end == NULL) return;
        *end = '\0';
        const char *before = strrchr(text, '\n');
        allowed = strtoull(before != NULL ? before + 1 : text, NULL, 10);
        len -= (size_t)(end + 1 - text);
        memmove(text, end + 1, len);
    }
    for (unsigned i = 0; i < wanted.connections && sent < allowed; i++)
        if (!all[i].busy) send_next(&all[i]);
}

static void open_all(int ep)
{
    struct rlimit files;
    int one = 1;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    for (unsigned i = 0; i < wanted.connections; i++) {
        struct sockaddr_in to = wanted.ports[i % wanted.port_count];
        all[i].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (all[i].fd < 0) fail("socket");
        if (connect(all[i].fd, (struct sockaddr *)&to, sizeof to) != 0) fail("connect");
        setsockopt(all[i].fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = &all[i] };
        if (epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &e) != 0) fail("epoll");
    }
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static void print_account(double seconds)
{
    double sum = 0;

    qsort(latency_us, answered, sizeof *latency_us, by_value);
    for (uint64_t i = 0; i < answered; i++) sum += latency_us[i];
    uint64_t n = answered > 0 ? answered : 1;
    printf("{\"messages\":%llu,\"seconds\":%.4f,\"per_s\":%.1f,\"positive\":%llu,\"negative\":%llu,"
           "\"mean_us\":%.1f,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u,\"bytes\":%zu}\n",
           (unsigned long long)answered, seconds, (double)answered / seconds, (unsigned long long)positive,
           (unsigned long long)(answered - positive), sum / (double)n, latency_us[n / 2], latency_us[n * 99 / 100],
           latency_us[n - 1], sizeof message - 1 - 3);
}

static struct sockaddr_in read_address(const char *text)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    const char *colon = strchr(text, ':');
    char address[INET_ADDRSTRLEN];

    if (colon != NULL) {
        snprintf(address, sizeof address, "%.*s", (int)(colon - text), text);
        if (inet_pton(AF_INET, address, &to.sin_addr) != 1) fail(text);
    }
    to.sin_port = htons((uint16_t)strtoul(colon != NULL ? colon + 1 : text, NULL, 10));
    return to;
}

static void read_options(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value = i + 1 < argc ? argv[i + 1] : "0";
        if (strcmp(name, "--connections") == 0) wanted.connections = (unsigned)strtoul(value, NULL, 10), i++;
        else if (strcmp(name, "--messages") == 0) wanted.messages = strtoull(value, NULL, 10), i++;
        else if (strcmp(name, "--patients") == 0) wanted.patients = (unsigned)strtoul(value, NULL, 10), i++;
        else if (strcmp(name, "--id") == 0) wanted.prefix = value, i++;
        else if (strcmp(name, "--follow") == 0) wanted.follow = true;
        else if (strcmp(name, "--idle") == 0) wanted.idle = true;
        else if (wanted.port_count < PORTS_MAX) wanted.ports[wanted.port_count++] = read_address(name);
    }
    if (wanted.port_count == 0 || wanted.connections == 0 || wanted.patients == 0 || strlen(wanted.prefix) > 6) {
        fprintf(stderr, "usage: bench_mllp_load [--connections N] [--messages N] [--patients N] [--id PREFIX] "
                        "[--follow] [--idle] [ADDRESS:]PORT…\n");
        exit(2);
    }
}

int main(int argc, char **argv)
{
    struct epoll_event events[EVENTS];
    int ep = epoll_create1(EPOLL_CLOEXEC);

    read_options(argc, argv);
    all = calloc(wanted.connections, sizeof *all);
    latency_us = calloc(wanted.messages + 1, sizeof *latency_us);
    if (all == NULL || latency_us == NULL) fail("memory");
    memset(latency_us, 1, (wanted.messages + 1) * sizeof *latency_us);   /* touched now, not while measuring */
    memcpy(message, template, sizeof message);
    id_at = strstr(message, "@id@");
    mrn_at = strstr(message, "@mrn@");
    memcpy(id_at, wanted.prefix, strlen(wanted.prefix));
    open_all(ep);
    if (wanted.idle) {
        puts("connected");
        fflush(stdout);
        while (getchar() != EOF) {}
        return 0;
    }

    allowed = wanted.follow ? 0 : wanted.messages;
    if (wanted.follow) {
        struct epoll_event e = { .events = EPOLLIN, .data.ptr = NULL };
        fcntl(STDIN_FILENO, F_SETFL, O_NONBLOCK);
        if (epoll_ctl(ep, EPOLL_CTL_ADD, STDIN_FILENO, &e) != 0) fail("standard input");
    }
    uint64_t start = now_ns();
    for (unsigned i = 0; i < wanted.connections; i++) send_next(&all[i]);
    while (answered < wanted.messages) {
        int n = epoll_wait(ep, events, EVENTS, 30000);
        if (n < 0 && errno != EINTR) fail("epoll");
        if (n == 0 && answered < sent) {
            fprintf(stderr, "mllp_load: no answer for 30 s, %llu outstanding\n", (unsigned long long)(sent - answered));
            return 1;
        }
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL) take_allowance(ep);
            else take_reply(events[i].data.ptr);
        }
    }
    print_account((double)(now_ns() - start) / 1e9);
    return 0;
}
