/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of the carve-out module share: the pool under test, its
 * counters, and buffers.
 */
#ifndef SELFTEST_CARVEOUT_H
#define SELFTEST_CARVEOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/compiler.h>
#include <linux/types.h>

#include "pages.h"

struct pool {
	char name[64];		/* without "carveout-" */
	char path[128];		/* of the node */
	__u64 total;
};

struct pool_counters {
	__u64 total;
	__u64 free;
	__u64 scrubbing;
	__u64 largest;
	__u64 buffers;
	__u64 high_water;
};

/*
 * The pool that the environment's CARVEOUT_POOL names, else the first one that
 * is not shared. The tests fill it, so it must be nobody else's.
 */
bool pool_find(struct pool *pool);
/* The same of CARVEOUT_SHARED_POOL, or of CARVEOUT_POOL, or the first that is shared */
bool pool_find_shared(struct pool *pool);
/* Negative errno if there is no such attribute */
long long pool_attr(const struct pool *pool, const char *attr);
struct pool_counters pool_counters(const struct pool *pool);
/* Until nothing is left to scrub; false if that takes more than a minute */
bool pool_settle(const struct pool *pool);

/*
 * What a mapping needs for a huge entry, MT_BLOCK, if three of them and a page fit into the
 * pool; else a part of it of which they do, and entries are pages
 */
size_t pool_unit(const struct pool *pool);

/* The device that has the pool, and its driver's directory in sysfs */
struct binding {
	char device[64];
	char driver[128];
};

/* False if there is no such device */
bool binding_find(const struct pool *pool, struct binding *b);
/* What is "bind" or "unbind"; false and errno if it fails */
bool binding_write(const struct binding *b, const char *what);
/* Repeated for ten seconds: what was a buffer's until now may have to be scrubbed first */
bool binding_bind(const struct binding *b);

int pool_open(const struct pool *pool);
/* DMA_HEAP_IOCTL_ALLOC: a descriptor, or a negative errno */
int heap_alloc_flags(int heap, __u64 len, __u32 fd_flags, __u64 heap_flags);
int heap_alloc(int heap, __u64 len);

/* MAP_SHARED, aligned to MT_BLOCK; NULL and errno if it fails */
void *map_at(int fd, size_t size, int prot, __u64 offset);
void *map_shared(int fd, size_t size);

/* A 64-bit word of the pattern is found again in any byte alignment of 8 */
void fill(void *p, size_t size, __u64 pattern);
/* Index of the first word that differs, or -1 */
long check(const void *p, size_t size, __u64 pattern);
/* Number of words that are the pattern */
size_t count(const void *p, size_t size, __u64 pattern);

/* What the process has mapped there; 0 if nothing, or if no memtype_test tells */
__u64 phys_of(const void *p);
/* Reading there (writing, if write) raises a signal: which one, 0 if none */
int signal_of_access(void *p, bool write);

bool write_file(const char *path, const char *text);
/* The same, and what the file has stays: another one's kprobes */
bool append_file(const char *path, const char *text);

/* A descriptor over a Unix socket: 0, or what was received; or a negative errno */
int send_fd(int sock, int fd);
int receive_fd(int sock);

/*
 * The module's tracepoints: start, do something, stop; then each line of it, oldest
 * first, until there is none, when false comes back. The name has no "carveout_".
 */
struct trace_line {
	char comm[64];
	char event[32];
	char pool[64];
	unsigned long long base;
	unsigned long long size;
};

bool trace_start(void);
bool trace_stop(void);
bool trace_next(struct trace_line *line);

#endif /* SELFTEST_CARVEOUT_H */
