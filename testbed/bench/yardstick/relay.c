/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The yardstick: what a relay costs in C when it is written straightforwardly, one thread, level-triggered epoll.
 *
 *	relay convert rw|splice|nap PORT ADDRESS PORT   transparent listener; MPTCP to an RFC 8803 converter, request in the SYN
 *	relay forward rw|splice PORT ADDRESS PORT       MPTCP listener; plain TCP to one fixed place (the far end of peers)
 *
 * rw copies through one buffer of 128 KiB; splice through a pipe of 1 MiB that a direction has only while octets are in it.
 * nap is rw that sleeps 20 ms before each look at all sockets: nothing wakes it, so this is what the octets alone cost. It is no relay to
 * have, since everybody waits for it, but the floor under all that copy.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif
#ifndef TCP_FASTOPEN_NO_COOKIE
#define TCP_FASTOPEN_NO_COOKIE 34
#endif

enum { FILES = 1 << 17, BUFFER = 128 << 10, PIPE = 1 << 20, SPARE = 64 };

/* way is one direction: what was read and not yet written is in buf (rw) or in the pipe (splice). */
struct way { char *buf; int off, len, pipe[2], eof; };
struct greeting { unsigned char hello[24], reply[1020]; int sent, got; };
struct conn { int fd[2]; struct way way[2]; struct greeting *greeting; /* 0: over */ };

static struct conn *conns[FILES];
static char scratch[BUFFER];
static int epfd, convert, splicing, spare[SPARE][2], spares;
static struct sockaddr_in target;

static void watch(struct conn *c, int side, int op) {
	struct epoll_event e = { .data.fd = c->fd[side] };
	if (c->greeting) {
		if (side == 1) e.events = EPOLLIN | (c->greeting->sent < 24 ? EPOLLOUT : 0);
	} else {
		if (!c->way[side].len && !c->way[side].eof) e.events |= EPOLLIN;
		if (c->way[1 - side].len) e.events |= EPOLLOUT;
	}
	epoll_ctl(epfd, op, c->fd[side], &e);
}

static void watch_both(struct conn *c) { watch(c, 0, EPOLL_CTL_MOD); watch(c, 1, EPOLL_CTL_MOD); }

static int take_pipe(struct way *w) {
	if (w->pipe[1]) return 0;
	if (spares) { memcpy(w->pipe, spare[--spares], sizeof w->pipe); return 0; }
	if (pipe2(w->pipe, O_NONBLOCK | O_CLOEXEC)) return -1;
	fcntl(w->pipe[0], F_SETPIPE_SZ, PIPE);
	return 0;
}

static void give_pipe(struct way *w) {
	if (!w->pipe[1]) return;
	if (!w->len && spares < SPARE) memcpy(spare[spares++], w->pipe, sizeof w->pipe);
	else { close(w->pipe[0]); close(w->pipe[1]); }
	w->pipe[0] = w->pipe[1] = 0;
}

static void end(struct conn *c, int reset) {
	for (int i = 0; i < 2; i++) {
		struct linger l = { 1, 0 };
		if (reset) setsockopt(c->fd[i], SOL_SOCKET, SO_LINGER, &l, sizeof l);
		conns[c->fd[i]] = 0;
		close(c->fd[i]);
		free(c->way[i].buf);
		give_pipe(&c->way[i]);
	}
	free(c->greeting);
	free(c);
}

/* push writes what waits; <0: the connection is over. */
static int push(struct conn *c, int side) {
	struct way *w = &c->way[side];
	int to = c->fd[1 - side];
	ssize_t n = splicing ? splice(w->pipe[0], 0, to, 0, w->len, SPLICE_F_NONBLOCK | SPLICE_F_MOVE)
			     : write(to, w->buf + w->off, w->len);
	if (n < 0) return errno == EAGAIN ? 0 : -1;
	w->off += n;
	w->len -= n;
	if (w->len) return 0;
	free(w->buf);
	w->buf = 0;
	give_pipe(w);
	return 0;
}

/* pull reads once and passes on; <0: the connection is over (errno 0: politely). */
static int pull(struct conn *c, int side) {
	struct way *w = &c->way[side];
	int from = c->fd[side], to = c->fd[1 - side];
	if (splicing && take_pipe(w)) return -1;
	ssize_t n = splicing ? splice(from, 0, w->pipe[1], 0, PIPE, SPLICE_F_NONBLOCK | SPLICE_F_MOVE) : read(from, scratch, BUFFER);
	if (n <= 0) give_pipe(w);
	if (n < 0) return errno == EAGAIN ? 0 : -1;
	if (n == 0) {
		w->eof = 1;
		shutdown(to, SHUT_WR);
		errno = 0;
		return c->way[1 - side].eof ? -1 : 0;
	}
	w->len = n;
	w->off = 0;
	if (splicing) return push(c, side);
	ssize_t out = write(to, scratch, n);
	if (out < 0 && errno != EAGAIN) return -1;
	if (out < 0) out = 0;
	if ((w->len = n - out)) memcpy(w->buf = malloc(w->len), scratch + out, w->len);
	return 0;
}

/* greet sends the request (or sees the handshake end) and reads exactly the converter's reply; 1: done. */
static int greet(struct conn *c, unsigned events) {
	struct greeting *g = c->greeting;
	int e = 0;
	socklen_t len = sizeof e;
	if (getsockopt(c->fd[1], SOL_SOCKET, SO_ERROR, &e, &len) || e) return -1;
	if (!convert) return !!(events & EPOLLOUT);
	if (g->sent < 24 && events & EPOLLOUT) {
		ssize_t n = write(c->fd[1], g->hello + g->sent, 24 - g->sent);
		if (n > 0) g->sent += n;
		else if (errno != EAGAIN) return -1;
	}
	if (!(events & (EPOLLIN | EPOLLHUP))) return 0;
	int want = g->got < 4 ? 4 : g->reply[1] * 4;
	ssize_t n = read(c->fd[1], g->reply + g->got, want - g->got);
	if (n <= 0) return n < 0 && errno == EAGAIN ? 0 : -1;
	g->got += n;
	if (g->got > 4 && g->reply[4] == 30) return -1; /* Error TLV */
	return g->got >= 4 && g->got == g->reply[1] * 4;
}

static void admit(int fd) {
	int one = 1, up = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, convert ? IPPROTO_MPTCP : 0);
	struct sockaddr_in dst;
	socklen_t len = sizeof dst;
	struct conn *c = calloc(1, sizeof *c);
	struct greeting *g = calloc(1, sizeof *g);
	if (up < 0 || !c || !g || fd >= FILES || up >= FILES) { close(fd); close(up); free(c); free(g); return; }
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(up, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	c->greeting = g;
	c->fd[0] = fd;
	c->fd[1] = up;
	conns[fd] = conns[up] = c;
	if (convert) { /* RFC 8803 sections 4.1 and 4.2.2: header, Connect TLV with an IPv4-mapped address */
		getsockname(fd, (void *)&dst, &len);
		memcpy(g->hello, "\1\6\x22\x63\x0a\5", 6);
		memcpy(g->hello + 6, &dst.sin_port, 2);
		g->hello[18] = g->hello[19] = 0xff;
		memcpy(g->hello + 20, &dst.sin_addr, 4);
		setsockopt(up, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &one, sizeof one);
		ssize_t n = sendto(up, g->hello, 24, MSG_FASTOPEN, (void *)&target, sizeof target);
		if (n > 0) g->sent = n;
	} else connect(up, (void *)&target, sizeof target);
	watch(c, 0, EPOLL_CTL_ADD);
	watch(c, 1, EPOLL_CTL_ADD);
}

static void handle(struct conn *c, int fd, unsigned events) {
	int side = fd == c->fd[1], bad = 0;
	errno = 0;
	if (c->greeting) {
		int done = side ? greet(c, events) : events & (EPOLLERR | EPOLLHUP) ? -1 : 0;
		if (done > 0) { free(c->greeting); c->greeting = 0; }
		if (done >= 0) { watch_both(c); return; }
		errno = ECONNRESET;
		bad = 1;
	} else {
		int held = c->way[0].len + c->way[1].len, ends = c->way[0].eof + c->way[1].eof;
		if (events & EPOLLOUT && c->way[1 - side].len) bad = push(c, 1 - side);
		if (!bad && events & (EPOLLIN | EPOLLHUP | EPOLLERR) && !c->way[side].len && !c->way[side].eof) bad = pull(c, side);
		else if (!bad && events & EPOLLERR) bad = -1;
		if (!bad && (held != c->way[0].len + c->way[1].len || ends != c->way[0].eof + c->way[1].eof)) watch_both(c);
	}
	if (bad) end(c, errno);
}

int main(int argc, char **argv) {
	if (argc != 6) { fputs("usage: relay convert|forward rw|splice|nap PORT ADDRESS PORT\n", stderr); return 2; }
	convert = !strcmp(argv[1], "convert");
	splicing = !strcmp(argv[2], "splice");
	int nap = !strcmp(argv[2], "nap");
	target.sin_family = AF_INET;
	target.sin_port = htons(atoi(argv[5]));
	inet_aton(argv[4], &target.sin_addr);
	struct rlimit files = { FILES, FILES };
	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	int one = 1, l = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, convert ? 0 : IPPROTO_MPTCP);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (convert) setsockopt(l, SOL_IP, IP_TRANSPARENT, &one, sizeof one);
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(atoi(argv[3])) };
	if (bind(l, (void *)&a, sizeof a) || listen(l, 4096)) { perror("listen"); return 1; }
	epfd = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = { .events = EPOLLIN, .data.fd = l }, events[128];
	epoll_ctl(epfd, EPOLL_CTL_ADD, l, &e);
	for (;;) {
		if (nap) usleep(20000);
		int n = epoll_wait(epfd, events, 128, nap ? 0 : -1), knock = 0;
		for (int i = 0; i < n; i++) {
			struct conn *c = events[i].data.fd == l ? 0 : conns[events[i].data.fd];
			if (events[i].data.fd == l) knock = 1; /* after the others: no descriptor is used anew in this round */
			if (c) handle(c, events[i].data.fd, events[i].events);
		}
		for (int fd; knock && (fd = accept4(l, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) admit(fd);
	}
}
