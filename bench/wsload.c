/*
 * wsload - a WebSocket (RFC 6455) load generator for loopback.
 *
 * One thread, one epoll, nothing but libc.  It
 *   1. opens N connections to ws://HOST:PORT/PATH, a bounded number of
 *      handshakes in flight, and runs on each a short script of steps
 *      (--send TEXT, --wait K, --wait-for TEXT), after which it is "ready";
 *   2. prints READY on stdout when every connection is ready (or failed):
 *      a publisher waits for that line;
 *   3. counts what the server pushes, and computes the delivery latency from
 *      a marker "t":<CLOCK_MONOTONIC ns> that the publisher (on the same
 *      machine: time.monotonic_ns() in Python) put into the payload;
 *   4. stops after --expect events, --seconds, --idle-stop or SIGINT/SIGTERM,
 *      and prints one line of JSON.  It exits 0 only when all N became ready
 *      and none was closed.
 *
 * With --stream it asks for server-sent events in place of a WebSocket: what
 * is said of frames holds for the blocks of the stream then, and no step can
 * send.
 *
 * An event is a marker found: several in one frame count each.  --seq n
 * checks that "n":<int> grows by one on every connection, so that loss,
 * duplicates and disorder show up in the result.  With --progress FILE the
 * counters are in shared memory, and a publisher can keep W events
 * outstanding: publish while published * N - events < W * N.
 *
 * It is built to cost little per frame: one recv() into one shared buffer,
 * frames parsed in place, no allocation, one clock read per recv().  A recv()
 * per frame and socket is the kernel's price, 4.6 us; --coalesce-us lets
 * frames gather (1.6 us at 20000): for throughput, never for latency.
 *
 * Limits: 127.0.0.0/8 only; no TLS, no permessage-deflate; a fragmented
 * message counts a frame per fragment; one process has as many connections as
 * RLIMIT_NOFILE allows, and above --per-source it binds 127.0.0.2, .3 ...
 * because one address runs out of ports.
 *
 * Build: cc -O2 -Wall -Wextra -o wsload wsload.c
 * Usage: wsload --help
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

/* The key of the example in RFC 6455 and the answer that it must get, so that
 * the handshake can be checked without a SHA-1 in here. */
#define WS_KEY    "dGhlIHNhbXBsZSBub25jZQ=="
#define WS_ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="

#define SHARED_BUF   (1 << 20)   /* receive buffer, shared by all connections */
#define READ_SIZE    (1 << 16)   /* most bytes taken from a socket at once */
#define MAX_STEPS    32
#define MAX_HEADERS  32

/* ------------------------------------------------------------- options -- */

enum step_kind { STEP_SEND, STEP_WAIT, STEP_WAIT_FOR };
struct step { enum step_kind kind; char *text; size_t len; unsigned count; };

static const char *opt_host = "127.0.0.1";
static int         opt_port = 0;
static const char *opt_path = "/";
static int         opt_n = 1;
static const char *opt_headers[MAX_HEADERS];
static int         opt_nheaders;
static char      **opt_hlines;           /* --header-file: one line per connection */
static int         opt_nhlines;
static const char *opt_protocol;
static struct step opt_steps[MAX_STEPS];
static int         opt_nsteps;
static int         opt_inflight = 32;
static int         opt_per_source = 10000;   /* connections per source address */
static uint64_t    opt_expect;
static double      opt_seconds = 10;
static double      opt_idle_stop;
static double      opt_warmup;
static double      opt_connect_timeout = 60;
static int         opt_binary, opt_eio, opt_only_marked, opt_spin, opt_abort, opt_stream;
static int         opt_coalesce_us;
static int         opt_stall;
static int         opt_rcvbuf;
static const char *opt_marker = "\"t", *opt_seq;   /* with a quote before the name */
static size_t      marker_len = 2, seq_len;
static const char *opt_progress;
static const char *opt_label;

/* --------------------------------------------------------- connections -- */

enum state { S_NONE, S_CONNECTING, S_HTTP, S_STEPS, S_READY, S_CLOSED };

struct conn {
    int      fd;
    uint8_t  state, step;
    uint32_t waited;         /* frames seen by the current --wait step */
    uint32_t have;           /* bytes of an incomplete frame kept in rest */
    char    *rest;
    uint64_t t0;             /* when connect() was called */
    uint64_t seq;            /* last sequence number seen, with --seq */
};

static struct conn *conns;
static int          epfd, inflight, started, n_ready, n_failed, n_closed;
static char        *shared;
static volatile sig_atomic_t stop_signal;

/* What went wrong, by kind, with an example of the last one. */
static struct { uint64_t connect, http, timeout, early_close, reset, protocol; } err;
static char err_example[200];

/* ------------------------------------------------------------ counters -- */

static int      measuring;
static uint64_t events, frames, unmarked, early, bytes, pings, eio_pings;
static uint64_t seq_gaps, seq_missing, seq_dups;
static uint64_t t_first, t_last, t_measure;   /* ns */

/* Shared with the publisher through --progress FILE (mmap), so that it can run
 * a closed loop: publish while published * N - events < window * N. */
struct progress { volatile uint64_t ready, events, frames, closed, done; };
static struct progress  progress_none;
static struct progress *progress = &progress_none;

/* A log-linear histogram: 128 buckets per power of two, so a value is kept to
 * better than 1 %.  Values are nanoseconds. */
#define SUB_BITS 7
#define SUB (1 << SUB_BITS)
struct hist { uint64_t b[64 * SUB]; uint64_t n, max; double sum; };
static struct hist lat, hs;

static unsigned bucket_of(uint64_t v)
{
    if (v < SUB) return (unsigned)v;
    unsigned shift = 63 - __builtin_clzll(v) - SUB_BITS;
    return ((shift + 1) << SUB_BITS) + (unsigned)((v >> shift) - SUB);
}

static uint64_t bucket_mid(unsigned i)
{
    if (i < SUB) return i;
    unsigned shift = (i >> SUB_BITS) - 1;
    uint64_t lo = ((uint64_t)((i & (SUB - 1)) + SUB)) << shift;
    return lo + ((1ULL << shift) >> 1);
}

static void hist_add(struct hist *h, uint64_t v)
{
    h->b[bucket_of(v)]++;
    h->n++;
    h->sum += (double)v;
    if (v > h->max) h->max = v;
}

/* The p-quantile in microseconds. */
static double hist_us(const struct hist *h, double p)
{
    uint64_t want = (uint64_t)(p * (double)h->n), seen = 0;
    if (!h->n) return 0;
    if (want >= h->n) want = h->n - 1;
    for (unsigned i = 0; i < 64 * SUB; i++) {
        seen += h->b[i];
        if (seen > want) {
            uint64_t v = bucket_mid(i);
            return (double)(v > h->max ? h->max : v) / 1e3;
        }
    }
    return (double)h->max / 1e3;
}

static uint64_t now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static double cpu_seconds(void)
{
    struct rusage ru;
    getrusage(RUSAGE_SELF, &ru);
    return (double)ru.ru_utime.tv_sec + (double)ru.ru_stime.tv_sec
         + (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec) / 1e6;
}

static void die(const char *what)
{
    perror(what);
    exit(2);
}

static void on_signal(int sig) { stop_signal = sig; }

/* ------------------------------------------------- text of the requests -- */

/* Copies text with %n replaced by the connection's number and, when escapes
 * is true, \n \r \t \0 \\ turned into the bytes.  Returns the length. */
static size_t expand(char *out, size_t cap, const char *text, size_t len,
                     int number, int escapes)
{
    size_t o = 0;
    for (size_t i = 0; i < len && o + 24 < cap; i++) {
        if (text[i] == '%' && i + 1 < len && text[i + 1] == 'n') {
            o += (size_t)sprintf(out + o, "%d", number);
            i++;
        } else if (escapes && text[i] == '\\' && i + 1 < len) {
            char c = text[++i];
            out[o++] = c == 'n' ? '\n' : c == 'r' ? '\r' : c == 't' ? '\t'
                     : c == '0' ? '\0' : c;
        } else {
            out[o++] = text[i];
        }
    }
    out[o] = 0;
    return o;
}

/* ------------------------------------------------------------ closing -- */

static void conn_close(struct conn *c, uint64_t *kind, const char *why)
{
    if (c->state == S_CLOSED) return;
    if (c->state == S_READY) {
        n_closed++;
        progress->closed = (uint64_t)n_closed;
    } else {
        n_failed++;
        inflight--;
    }
    if (kind) (*kind)++;
    if (why) snprintf(err_example, sizeof err_example, "conn %d: %s",
                      (int)(c - conns), why);
    close(c->fd);
    free(c->rest);
    c->rest = NULL;
    c->have = 0;
    c->fd = -1;
    c->state = S_CLOSED;
}

/* Sends one masked client frame.  The messages are short and the socket's
 * buffer is empty or nearly so: a short write is taken as a failure. */
static int send_frame(struct conn *c, int opcode, const char *data, size_t len)
{
    static unsigned char buf[1 << 16];
    static const unsigned char mask[4] = { 0x37, 0xfa, 0x21, 0x3d };
    size_t o = 0;
    if (len > sizeof buf - 16) return -1;
    buf[o++] = (unsigned char)(0x80 | opcode);
    if (len < 126) {
        buf[o++] = (unsigned char)(0x80 | len);
    } else {
        buf[o++] = 0x80 | 126;
        buf[o++] = (unsigned char)(len >> 8);
        buf[o++] = (unsigned char)len;
    }
    memcpy(buf + o, mask, 4);
    o += 4;
    for (size_t i = 0; i < len; i++) buf[o++] = (unsigned char)data[i] ^ mask[i & 3];
    return send(c->fd, buf, o, MSG_NOSIGNAL) == (ssize_t)o ? 0 : -1;
}

/* ------------------------------------------------------ opening, script -- */

static void conn_ready(struct conn *c)
{
    c->state = S_READY;
    n_ready++;
    inflight--;
    progress->ready = (uint64_t)n_ready;
    hist_add(&hs, now_ns() - c->t0);
    if (c - conns < opt_stall)            /* a reader that never reads */
        epoll_ctl(epfd, EPOLL_CTL_DEL, c->fd, NULL);
}

/* Runs the script as far as it goes without waiting. */
static void run_steps(struct conn *c)
{
    static char text[1 << 15];
    while (c->state == S_STEPS && c->step < opt_nsteps) {
        const struct step *s = &opt_steps[c->step];
        if (s->kind != STEP_SEND) {
            if (s->kind == STEP_WAIT && s->count == 0) { c->step++; continue; }
            return;
        }
        size_t len = expand(text, sizeof text, s->text, s->len, (int)(c - conns), 1);
        if (send_frame(c, opt_binary ? 2 : 1, text, len) < 0) {
            conn_close(c, &err.reset, "could not send a step");
            return;
        }
        c->step++;
    }
    if (c->state == S_STEPS) conn_ready(c);
}

static void conn_start(int i)
{
    struct conn *c = &conns[i];
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)opt_port) };
    int one = 1;

    c->state = S_CONNECTING;
    c->t0 = now_ns();
    inflight++;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0) die("socket");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (opt_rcvbuf) setsockopt(c->fd, SOL_SOCKET, SO_RCVBUF, &opt_rcvbuf, sizeof opt_rcvbuf);
    if (opt_n > opt_per_source) {             /* one address has too few ports */
        struct sockaddr_in from = { .sin_family = AF_INET };
        from.sin_addr.s_addr = htonl(0x7f000002u + (uint32_t)(i / opt_per_source));
        setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
        if (bind(c->fd, (struct sockaddr *)&from, sizeof from) < 0) die("bind");
    }
    inet_pton(AF_INET, opt_host, &to.sin_addr);
    if (connect(c->fd, (struct sockaddr *)&to, sizeof to) < 0 && errno != EINPROGRESS) {
        conn_close(c, &err.connect, strerror(errno));
        return;
    }
    struct epoll_event ev = { .events = EPOLLOUT, .data.u32 = (uint32_t)i };
    if (epoll_ctl(epfd, EPOLL_CTL_ADD, c->fd, &ev) < 0) die("epoll_ctl");
}

/* The TCP connection is there: send the upgrade request. */
static void conn_connected(struct conn *c)
{
    static char req[1 << 15], tmp[8192];
    int i = (int)(c - conns), e = 0;
    socklen_t el = sizeof e;
    size_t o;

    getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &e, &el);
    if (e) { conn_close(c, &err.connect, strerror(e)); return; }

    expand(tmp, sizeof tmp, opt_path, strlen(opt_path), i, 0);
    o = (size_t)snprintf(req, sizeof req,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\n%s", tmp, opt_host, opt_port,
        opt_stream ? "Accept: text/event-stream\r\n"
                   : "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: " WS_KEY "\r\n"
                     "Sec-WebSocket-Version: 13\r\n");
    if (opt_protocol)
        o += (size_t)snprintf(req + o, sizeof req - o, "Sec-WebSocket-Protocol: %s\r\n", opt_protocol);
    for (int h = 0; h < opt_nheaders; h++) {
        expand(tmp, sizeof tmp, opt_headers[h], strlen(opt_headers[h]), i, 0);
        o += (size_t)snprintf(req + o, sizeof req - o, "%s\r\n", tmp);
    }
    if (opt_nhlines)
        o += (size_t)snprintf(req + o, sizeof req - o, "%s\r\n", opt_hlines[i % opt_nhlines]);
    o += (size_t)snprintf(req + o, sizeof req - o, "\r\n");
    if (send(c->fd, req, o, MSG_NOSIGNAL) != (ssize_t)o) {
        conn_close(c, &err.reset, "could not send the request");
        return;
    }
    c->state = S_HTTP;
    /* Edge-triggered: a level-triggered set is polled again after each read. */
    struct epoll_event ev = { .events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u32 = (uint32_t)i };
    epoll_ctl(epfd, EPOLL_CTL_MOD, c->fd, &ev);
}

/* -------------------------------------------------------------- frames -- */

/* Finds "NAME":<digits> from *p on (also \"NAME\":, as in JSON inside a JSON
 * string, and with spaces or a quote before the digits), gives the number and
 * moves *p behind it.  The needle is the quote and the name. */
static int find_number(const char **p, const char *end, const char *needle,
                       size_t nlen, uint64_t *value)
{
    const char *s = *p, *q;
    while ((s = memmem(s, (size_t)(end - s), needle, nlen)) != NULL) {
        q = s + nlen;
        while (q < end && *q == '\\') q++;
        if (q + 1 < end && q[0] == '"' && q[1] == ':') {
            uint64_t v = 0;
            for (q += 2; q < end && (*q == ' ' || *q == '"' || *q == '\\'); q++) ;
            const char *digits = q;
            while (q < end && *q >= '0' && *q <= '9') v = v * 10 + (uint64_t)(*q++ - '0');
            if (q > digits) { *value = v; *p = q; return 1; }
        }
        s += nlen;
    }
    return 0;
}

static void check_seq(struct conn *c, const char *p, const char *end)
{
    uint64_t v;
    while (find_number(&p, end, opt_seq, seq_len, &v)) {
        if (c->seq && v != c->seq + 1) {
            if (v > c->seq) { seq_gaps++; seq_missing += v - c->seq - 1; }
            else { seq_dups++; continue; }
        }
        c->seq = v;
    }
}

/* One data frame of a connection. */
static void on_data(struct conn *c, const char *p, size_t len, size_t wire, uint64_t now)
{
    if (opt_eio && len == 1 && *p == '2') {          /* an engine.io ping */
        eio_pings++;
        if (send_frame(c, 1, "3", 1) < 0) conn_close(c, &err.reset, "could not send 3");
        return;
    }
    if (c->state == S_STEPS) {
        const struct step *s = &opt_steps[c->step];
        if (s->kind == STEP_WAIT ? ++c->waited >= s->count
                                 : memmem(p, len, s->text, s->len) != NULL) {
            c->waited = 0;
            c->step++;
            run_steps(c);
        }
        return;
    }
    if (!measuring) { early++; return; }

    const char *end = p + len, *q = p;
    uint64_t t, found = 0;
    int counted = !opt_warmup || now - t_measure >= (uint64_t)(opt_warmup * 1e9);
    while (find_number(&q, end, opt_marker, marker_len, &t)) {
        found++;
        if (counted) hist_add(&lat, now > t ? now - t : 0);
    }
    if (opt_seq) check_seq(c, p, end);
    if (!found) {
        unmarked++;
        if (opt_only_marked) return;
        found = 1;
    }
    progress->events += found;
    progress->frames++;
    if (!counted) return;
    frames++;
    events += found;
    bytes += wire;
    if (!t_first) t_first = now;
    t_last = now;
}

/* Takes whole frames from p; returns how many bytes it used. */
static size_t on_frames(struct conn *c, const char *p, size_t n, uint64_t now)
{
    size_t used = 0;
    while (c->state != S_CLOSED && n - used >= 2) {
        const unsigned char *f = (const unsigned char *)p + used;
        size_t len = f[1] & 0x7f, head = 2;
        if (f[1] & 0x80) { conn_close(c, &err.protocol, "masked frame from the server"); break; }
        if (len == 126) {
            if (n - used < 4) break;
            len = (size_t)f[2] << 8 | f[3];
            head = 4;
        } else if (len == 127) {
            if (n - used < 10) break;
            len = 0;
            for (int i = 2; i < 10; i++) len = len << 8 | f[i];
            head = 10;
        }
        if (len > SHARED_BUF - READ_SIZE - 16) {
            conn_close(c, &err.protocol, "frame too large for wsload");
            break;
        }
        if (n - used < head + len) break;
        const char *data = p + used + head;
        used += head + len;
        switch (f[0] & 0x0f) {
        case 0: case 1: case 2:
            on_data(c, data, len, head + len, now);
            break;
        case 8: {
            char why[64];
            snprintf(why, sizeof why, "closed by the server with code %d",
                     len >= 2 ? (unsigned char)data[0] << 8 | (unsigned char)data[1] : 1005);
            send_frame(c, 8, data, len < 2 ? 0 : 2);
            conn_close(c, c->state == S_READY ? NULL : &err.early_close, why);
            break;
        }
        case 9:
            pings++;
            if (send_frame(c, 10, data, len) < 0) conn_close(c, &err.reset, "could not send a pong");
            break;
        case 10:
            break;
        default:
            conn_close(c, &err.protocol, "unknown opcode");
        }
    }
    return used;
}

/* Takes whole blocks of a stream from p; returns how many bytes it used. */
static size_t on_blocks(struct conn *c, const char *p, size_t n, uint64_t now)
{
    size_t used = 0;
    const char *end;
    while (c->state != S_CLOSED && (end = memmem(p + used, n - used, "\n\n", 2)) != NULL) {
        size_t len = (size_t)(end + 2 - (p + used));
        on_data(c, p + used, len, len, now);
        used += len;
    }
    if (n - used > SHARED_BUF - READ_SIZE - 16) conn_close(c, &err.protocol, "block too large for wsload");
    return used;
}

/* The answer to the upgrade request.  Returns the bytes used, 0 for "more". */
static size_t on_http(struct conn *c, char *p, size_t n)
{
    char *end = memmem(p, n, "\r\n\r\n", 4);
    if (!end) return 0;
    if (n < 12 || memcmp(p, opt_stream ? "HTTP/1.1 200" : "HTTP/1.1 101", 12) != 0) {
        char why[120];
        snprintf(why, sizeof why, "%.*s", (int)strcspn(p, "\r\n") < 100 ? (int)strcspn(p, "\r\n") : 100, p);
        conn_close(c, &err.http, why);
        return n;
    }
    if (!opt_stream && !memmem(p, (size_t)(end - p), WS_ACCEPT, strlen(WS_ACCEPT))) {
        conn_close(c, &err.http, "wrong Sec-WebSocket-Accept");
        return n;
    }
    c->state = S_STEPS;
    run_steps(c);
    return (size_t)(end + 4 - p);
}

/* Reads once.  True: there may be more (edge-triggered, so ask again); a read
 * that got less than it asked for has emptied the socket. */
static int conn_read(struct conn *c)
{
    size_t n, used = 0;
    ssize_t got;

    if (c->have) memcpy(shared, c->rest, c->have);
    got = recv(c->fd, shared + c->have, READ_SIZE, 0);
    if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return errno == EINTR;
        conn_close(c, got < 0 ? &err.reset : c->state == S_READY ? NULL : &err.early_close,
                   got < 0 ? strerror(errno) : "end of file");
        return 0;
    }
    n = c->have + (size_t)got;
    shared[n] = 0;
    if (c->state == S_HTTP) {
        used = on_http(c, shared, n);
        if (c->state == S_CLOSED) return 0;
    }
    if (c->state >= S_STEPS) {
        used += (opt_stream ? on_blocks : on_frames)(c, shared + used, n - used, now_ns());
        if (c->state == S_CLOSED) return 0;
    }
    size_t left = n - used;              /* keep what is not a whole frame */
    if (left > c->have) {
        char *r = realloc(c->rest, left);
        if (!r) die("realloc");
        c->rest = r;
    } else if (!left) {
        free(c->rest);
        c->rest = NULL;
    }
    if (left) memcpy(c->rest, shared + used, left);
    c->have = (uint32_t)left;
    return got == READ_SIZE;
}

/* ------------------------------------------------------------- running -- */

/* One round of epoll; with a timeout in milliseconds. */
static void poll_once(int timeout_ms)
{
    static struct epoll_event ev[1024];
    int n = epoll_wait(epfd, ev, 1024, opt_spin && measuring ? 0 : timeout_ms);
    if (n < 0 && errno != EINTR) die("epoll_wait");
    for (int i = 0; i < n; i++) {
        struct conn *c = &conns[ev[i].data.u32];
        if (c->state == S_CONNECTING) conn_connected(c);
        else {
            int closing = (ev[i].events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
            while (c->state != S_CLOSED && (conn_read(c) || closing)) ;
        }
    }
}

static void open_all(void)
{
    uint64_t limit = now_ns() + (uint64_t)(opt_connect_timeout * 1e9);
    while (n_ready + n_failed < opt_n && !stop_signal) {
        while (started < opt_n && inflight < opt_inflight) conn_start(started++);
        poll_once(100);
        if (now_ns() > limit) {
            for (int i = 0; i < started; i++)
                if (conns[i].state != S_READY && conns[i].state != S_CLOSED) {
                    static const char *const where[] = { "", "connecting", "no HTTP answer",
                                                         "waiting in the script" };
                    conn_close(&conns[i], &err.timeout, where[conns[i].state]);
                }
            n_failed += opt_n - started;
            err.timeout += (uint64_t)(opt_n - started);
            break;
        }
    }
}

static void measure(void)
{
    uint64_t end = t_measure + (uint64_t)(opt_seconds * 1e9);
    uint64_t idle = (uint64_t)(opt_idle_stop * 1e9);
    while (!stop_signal) {
        uint64_t now = now_ns();
        if (opt_expect && events >= opt_expect) break;
        if (now >= end) break;
        if (idle && t_last && now > t_last && now - t_last > idle) break;
        if (n_closed >= n_ready) break;
        poll_once(50);
        if (opt_coalesce_us) {
            struct timespec ts = { 0, opt_coalesce_us * 1000L };
            nanosleep(&ts, NULL);
        }
    }
}

static void close_all(void)
{
    for (int i = 0; i < opt_n; i++) {
        struct conn *c = &conns[i];
        if (c->fd < 0 || c->state == S_NONE || c->state == S_CLOSED) continue;
        if (opt_abort) {
            struct linger l = { 1, 0 };
            setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &l, sizeof l);
        } else if (c->state == S_READY && !opt_stream) {
            send_frame(c, 8, "\x03\xe8", 2);
        }
        close(c->fd);
    }
}

static void json_string(const char *s)
{
    putchar('"');
    for (; *s; s++) {
        if (*s == '"' || *s == '\\') putchar('\\');
        if ((unsigned char)*s >= 32) putchar(*s);
    }
    putchar('"');
}

static const char *help =
"usage: wsload --port P [--host 127.0.0.1] [--path /] -n N [options]\n"
" opening\n"
"  --header 'K: V'      extra request header (repeatable); %n = connection number\n"
"  --header-file F      one extra header line per connection, in turn (cookies)\n"
"  --protocol P         Sec-WebSocket-Protocol\n"
"  --stream             server-sent events, no WebSocket\n"
"  --inflight K         handshakes in flight (32)\n"
"  --per-source K       connections per source address 127.0.0.2, .3 ... (10000)\n"
"  --connect-timeout S  give up on what is not ready after S seconds (60)\n"
" script, run in the order given on each connection, before it is ready\n"
"  --send TEXT          send a message; %n = connection number; \\n \\r \\t \\0 \\\\\n"
"  --wait K             wait for K data frames\n"
"  --wait-for TEXT      wait for a data frame that holds TEXT\n"
"  --binary             send binary frames\n"
"  --eio                answer engine.io pings (a text frame 2) with 3\n"
" measuring\n"
"  --expect M           stop after M events\n"
"  --seconds S          stop S seconds after READY (10)\n"
"  --idle-stop S        stop S seconds after the last event\n"
"  --warmup S           do not count the first S seconds\n"
"  --marker NAME        the publisher's time is in \"NAME\":<ns> (t)\n"
"  --seq NAME           check that \"NAME\":<int> grows by 1 on each connection\n"
"  --only-marked        a frame without the marker is not an event\n"
"  --progress FILE      mmap: ready, events, frames, closed, done as uint64\n"
"  --coalesce-us U      sleep U us between rounds: cheaper, but adds latency\n"
"  --spin               poll without sleeping\n"
"  --stall K            the first K connections never read once ready\n"
"  --rcvbuf B           SO_RCVBUF of the connections\n"
"  --abort              end with RST, no Close frame\n"
"  --label TEXT         copied into the result\n";

static char *unescaped_copy(const char *s, size_t *len)
{
    char *out = malloc(strlen(s) + 32);
    if (!out) die("malloc");
    *len = expand(out, strlen(s) + 32, s, strlen(s), 0, 1);
    return out;
}

static const char *quoted(const char *name, size_t *len)
{
    char *out = malloc(strlen(name) + 2);
    if (!out) die("malloc");
    *len = (size_t)sprintf(out, "\"%s", name);
    return out;
}

static void add_step(enum step_kind kind, const char *arg)
{
    if (opt_nsteps == MAX_STEPS) { fprintf(stderr, "wsload: too many steps\n"); exit(2); }
    struct step *s = &opt_steps[opt_nsteps++];
    s->kind = kind;
    if (kind == STEP_WAIT) s->count = (unsigned)atoi(arg);
    else if (kind == STEP_WAIT_FOR) s->text = unescaped_copy(arg, &s->len);
    else { s->text = (char *)arg; s->len = strlen(arg); }
}

static void read_header_file(const char *name)
{
    FILE *f = fopen(name, "r");
    char line[8192];
    if (!f) die(name);
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\r\n")] = 0;
        if (!*line) continue;
        opt_hlines = realloc(opt_hlines, sizeof *opt_hlines * (size_t)(opt_nhlines + 1));
        if (!opt_hlines) die("realloc");
        opt_hlines[opt_nhlines++] = strdup(line);
    }
    fclose(f);
}

static void parse_options(int argc, char **argv)
{
    enum { OPT_HOST = 256, OPT_PORT, OPT_PATH, OPT_HEADER, OPT_HFILE, OPT_PROTO, OPT_SEND, OPT_WAIT, OPT_WAITFOR,
           OPT_INFL, OPT_PERSRC, OPT_CTO, OPT_EXPECT, OPT_SECONDS, OPT_IDLE, OPT_WARMUP, OPT_MARKER, OPT_SEQ, OPT_PROGRESS,
           OPT_COAL, OPT_STALL, OPT_RCVBUF, OPT_LABEL };
    static const struct option lo[] = {
        { "host", 1, 0, OPT_HOST }, { "port", 1, 0, OPT_PORT }, { "path", 1, 0, OPT_PATH },
        { "connections", 1, 0, 'n' }, { "header", 1, 0, OPT_HEADER }, { "header-file", 1, 0, OPT_HFILE },
        { "protocol", 1, 0, OPT_PROTO }, { "send", 1, 0, OPT_SEND }, { "wait", 1, 0, OPT_WAIT },
        { "wait-for", 1, 0, OPT_WAITFOR }, { "inflight", 1, 0, OPT_INFL },
        { "per-source", 1, 0, OPT_PERSRC },
        { "connect-timeout", 1, 0, OPT_CTO }, { "expect", 1, 0, OPT_EXPECT },
        { "seconds", 1, 0, OPT_SECONDS }, { "idle-stop", 1, 0, OPT_IDLE }, { "warmup", 1, 0, OPT_WARMUP },
        { "marker", 1, 0, OPT_MARKER }, { "seq", 1, 0, OPT_SEQ }, { "progress", 1, 0, OPT_PROGRESS },
        { "coalesce-us", 1, 0, OPT_COAL }, { "stall", 1, 0, OPT_STALL }, { "rcvbuf", 1, 0, OPT_RCVBUF },
        { "label", 1, 0, OPT_LABEL }, { "binary", 0, &opt_binary, 1 }, { "eio", 0, &opt_eio, 1 },
        { "stream", 0, &opt_stream, 1 },
        { "only-marked", 0, &opt_only_marked, 1 }, { "spin", 0, &opt_spin, 1 },
        { "abort", 0, &opt_abort, 1 }, { "help", 0, 0, 'h' }, { 0, 0, 0, 0 } };
    int o;
    while ((o = getopt_long(argc, argv, "n:h", lo, NULL)) != -1)
        switch (o) {
        case 0: break;
        case 'n': opt_n = atoi(optarg); break;
        case OPT_HOST: opt_host = optarg; break;
        case OPT_PORT: opt_port = atoi(optarg); break;
        case OPT_PATH: opt_path = optarg; break;
        case OPT_HEADER:
            if (opt_nheaders < MAX_HEADERS) opt_headers[opt_nheaders++] = optarg;
            break;
        case OPT_HFILE: read_header_file(optarg); break;
        case OPT_PROTO: opt_protocol = optarg; break;
        case OPT_SEND: add_step(STEP_SEND, optarg); break;
        case OPT_WAIT: add_step(STEP_WAIT, optarg); break;
        case OPT_WAITFOR: add_step(STEP_WAIT_FOR, optarg); break;
        case OPT_INFL: opt_inflight = atoi(optarg); break;
        case OPT_PERSRC: opt_per_source = atoi(optarg); break;
        case OPT_CTO: opt_connect_timeout = atof(optarg); break;
        case OPT_EXPECT: opt_expect = strtoull(optarg, NULL, 10); break;
        case OPT_SECONDS: opt_seconds = atof(optarg); break;
        case OPT_IDLE: opt_idle_stop = atof(optarg); break;
        case OPT_WARMUP: opt_warmup = atof(optarg); break;
        case OPT_MARKER: opt_marker = quoted(optarg, &marker_len); break;
        case OPT_SEQ: opt_seq = quoted(optarg, &seq_len); break;
        case OPT_PROGRESS: opt_progress = optarg; break;
        case OPT_COAL: opt_coalesce_us = atoi(optarg); break;
        case OPT_STALL: opt_stall = atoi(optarg); break;
        case OPT_RCVBUF: opt_rcvbuf = atoi(optarg); break;
        case OPT_LABEL: opt_label = optarg; break;
        case 'h': fputs(help, stdout); exit(0);
        default: fputs(help, stderr); exit(2);
        }
    if (opt_port < 1 || opt_port > 65535 || opt_n < 1 || opt_inflight < 1 || opt_per_source < 1 || optind != argc) {
        fputs(help, stderr);
        exit(2);
    }
    if ((ntohl(inet_addr(opt_host)) >> 24) != 127) {
        fprintf(stderr, "wsload: only loopback addresses (127.0.0.0/8)\n");
        exit(2);
    }
}

static void report(double t_open, double cpu_open, double cpu_measure)
{
    double window = t_last > t_first ? (double)(t_last - t_first) / 1e9 : 0;
    printf("{");
    if (opt_label) { printf("\"label\": "); json_string(opt_label); printf(", "); }
    printf("\"connections\": %d, \"ready\": %d, \"failed\": %d, \"closed\": %d, "
           "\"open_s\": %.4f, \"handshakes_per_s\": %.1f, "
           "\"handshake_us\": {\"p50\": %.0f, \"p99\": %.0f, \"max\": %.0f}, ",
           opt_n, n_ready, n_failed, n_closed, t_open, t_open > 0 ? n_ready / t_open : 0,
           hist_us(&hs, .5), hist_us(&hs, .99), (double)hs.max / 1e3);
    printf("\"events\": %llu, \"frames\": %llu, \"unmarked\": %llu, \"early\": %llu, \"bytes\": %llu, "
           "\"window_s\": %.4f, \"events_per_s\": %.1f, \"frames_per_s\": %.1f, ",
           (unsigned long long)events, (unsigned long long)frames, (unsigned long long)unmarked,
           (unsigned long long)early, (unsigned long long)bytes, window,
           window > 0 ? (double)events / window : 0, window > 0 ? (double)frames / window : 0);
    printf("\"latency_us\": {\"n\": %llu, \"mean\": %.1f, \"p50\": %.1f, \"p90\": %.1f, \"p99\": %.1f, "
           "\"p99.9\": %.1f, \"max\": %.1f}, ",
           (unsigned long long)lat.n, lat.n ? lat.sum / (double)lat.n / 1e3 : 0, hist_us(&lat, .5),
           hist_us(&lat, .9), hist_us(&lat, .99), hist_us(&lat, .999), (double)lat.max / 1e3);
    if (opt_seq)
        printf("\"seq\": {\"gaps\": %llu, \"missing\": %llu, \"dups\": %llu}, ",
               (unsigned long long)seq_gaps, (unsigned long long)seq_missing,
               (unsigned long long)seq_dups);
    printf("\"cpu_s\": {\"open\": %.3f, \"measure\": %.3f}, \"cpu_us_per_frame\": %.3f, "
           "\"pings\": %llu, \"errors\": {\"connect\": %llu, \"http\": %llu, \"timeout\": %llu, "
           "\"early_close\": %llu, \"reset\": %llu, \"protocol\": %llu, \"last\": ",
           cpu_open, cpu_measure, frames ? cpu_measure * 1e6 / (double)frames : 0,
           (unsigned long long)(pings + eio_pings), (unsigned long long)err.connect,
           (unsigned long long)err.http, (unsigned long long)err.timeout,
           (unsigned long long)err.early_close, (unsigned long long)err.reset,
           (unsigned long long)err.protocol);
    json_string(err_example);
    printf("}}\n");
    fflush(stdout);
}

int main(int argc, char **argv)
{
    parse_options(argc, argv);

    struct rlimit rl;
    rlim_t need = (rlim_t)opt_n + 64;
    getrlimit(RLIMIT_NOFILE, &rl);
    if (rl.rlim_cur < need) {
        rl.rlim_cur = need;
        if (rl.rlim_max < need) rl.rlim_max = need;      /* needs CAP_SYS_RESOURCE */
        if (setrlimit(RLIMIT_NOFILE, &rl) < 0) {
            getrlimit(RLIMIT_NOFILE, &rl);
            fprintf(stderr, "wsload: %d connections need %d open files, the hard limit is %d: "
                    "use fewer, or several wsload\n", opt_n, opt_n + 64, (int)rl.rlim_max);
            exit(2);
        }
    }
    struct sigaction sa = { .sa_handler = on_signal };
    sigaction(SIGINT, &sa, NULL);
    sigaction(SIGTERM, &sa, NULL);

    conns = calloc((size_t)opt_n, sizeof *conns);
    shared = malloc(SHARED_BUF + 1);
    epfd = epoll_create1(EPOLL_CLOEXEC);
    if (!conns || !shared || epfd < 0) die("wsload");
    for (int i = 0; i < opt_n; i++) conns[i].fd = -1;
    if (opt_progress) {
        int fd = open(opt_progress, O_RDWR | O_CREAT, 0644);
        if (fd < 0 || ftruncate(fd, sizeof *progress) < 0) die(opt_progress);
        progress = mmap(NULL, sizeof *progress, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (progress == MAP_FAILED) die("mmap");
        memset((void *)progress, 0, sizeof *progress);
        close(fd);
    }

    uint64_t t0 = now_ns();
    open_all();
    double t_open = (double)(now_ns() - t0) / 1e9, cpu_open = cpu_seconds();

    if (n_ready && !stop_signal) {
        t_measure = now_ns();
        measuring = 1;
        puts("READY");
        fflush(stdout);
        measure();
    }
    double cpu_measure = cpu_seconds() - cpu_open;
    progress->done = 1;
    report(t_open, cpu_open, cpu_measure);
    close_all();
    return n_ready == opt_n && n_closed == 0 ? 0 : 1;
}
