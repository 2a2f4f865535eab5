// SPDX-License-Identifier: GPL-2.0
/*
 * Shared parts of the carve-out module's tests; see carveout.h.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <linux/dma-heap.h>

#include "carveout.h"
#include "memtype_test.h"

#define HEAPS	"/dev/dma_heap"
#define PREFIX	"carveout-"

static bool find(struct pool *pool, const char *wanted, bool shared)
{
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	dir = opendir(HEAPS);
	while (dir && !found && (entry = readdir(dir))) {
		if (strncmp(entry->d_name, PREFIX, strlen(PREFIX)))
			continue;
		snprintf(pool->name, sizeof(pool->name), "%.60s",
			 entry->d_name + strlen(PREFIX));
		found = wanted ? !strcmp(wanted, pool->name) :
				 (pool_attr(pool, "shared") == 1) == shared;
	}
	if (dir)
		closedir(dir);
	if (!found)
		return false;

	snprintf(pool->path, sizeof(pool->path), HEAPS "/" PREFIX "%s", pool->name);
	pool->total = pool_attr(pool, "total_bytes");
	return true;
}

bool pool_find(struct pool *pool)
{
	return find(pool, getenv("CARVEOUT_POOL"), false);
}

bool pool_find_shared(struct pool *pool)
{
	const char *wanted = getenv("CARVEOUT_SHARED_POOL");

	return find(pool, wanted ? wanted : getenv("CARVEOUT_POOL"), true);
}

long long pool_attr(const struct pool *pool, const char *attr)
{
	char path[192], buf[32] = "";
	int fd, len;

	snprintf(path, sizeof(path), "/sys/class/misc/" PREFIX "%s/%s", pool->name, attr);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -errno;
	len = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	return len > 0 ? strtoll(buf, NULL, 10) : -EIO;
}

struct pool_counters pool_counters(const struct pool *pool)
{
	return (struct pool_counters) {
		.total = pool_attr(pool, "total_bytes"),
		.free = pool_attr(pool, "free_bytes"),
		.scrubbing = pool_attr(pool, "scrubbing_bytes"),
		.largest = pool_attr(pool, "largest_free_bytes"),
		.buffers = pool_attr(pool, "buffers"),
		.high_water = pool_attr(pool, "high_water_bytes"),
	};
}

bool pool_settle(const struct pool *pool)
{
	time_t end = time(NULL) + 60;

	while (pool_attr(pool, "scrubbing_bytes") > 0) {
		if (time(NULL) > end)
			return false;
		usleep(1000);
	}
	return true;
}

size_t pool_unit(const struct pool *pool)
{
	size_t unit = MT_BLOCK;

	while (3 * unit >= pool->total && unit > 2 * MT_PAGE)
		unit /= 2;
	return unit;
}

bool binding_find(const struct pool *pool, struct binding *b)
{
	char path[256], real[PATH_MAX];

	snprintf(path, sizeof(path), "/sys/class/misc/carveout-%s/device", pool->name);
	if (!realpath(path, real))
		return false;
	snprintf(b->device, sizeof(b->device), "%s", basename(real));
	snprintf(path, sizeof(path), "/sys/class/misc/carveout-%s/device/driver", pool->name);
	if (!realpath(path, real))
		return false;
	snprintf(b->driver, sizeof(b->driver), "%.120s", real);
	return true;
}

bool binding_write(const struct binding *b, const char *what)
{
	char path[192];

	snprintf(path, sizeof(path), "%s/%s", b->driver, what);
	return write_file(path, b->device);
}

bool binding_bind(const struct binding *b)
{
	int i;

	for (i = 0; i < 100; i++) {
		if (binding_write(b, "bind"))
			return true;
		usleep(100000);
	}
	return false;
}

int pool_open(const struct pool *pool)
{
	return open(pool->path, O_RDWR | O_CLOEXEC);
}

int heap_alloc_flags(int heap, __u64 len, __u32 fd_flags, __u64 heap_flags)
{
	struct dma_heap_allocation_data data = {
		.len = len, .fd_flags = fd_flags, .heap_flags = heap_flags,
	};

	return ioctl(heap, DMA_HEAP_IOCTL_ALLOC, &data) ? -errno : (int)data.fd;
}

int heap_alloc(int heap, __u64 len)
{
	return heap_alloc_flags(heap, len, O_RDWR | O_CLOEXEC, 0);
}

void *map_at(int fd, size_t size, int prot, __u64 offset)
{
	size_t len = size + MT_BLOCK;
	unsigned long addr;
	void *p;

	p = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	addr = ((unsigned long)p + MT_BLOCK - 1) & ~(MT_BLOCK - 1);
	munmap(p, len);
	p = mmap((void *)addr, size, prot, MAP_SHARED, fd, offset);
	return p == MAP_FAILED ? NULL : p;
}

void *map_shared(int fd, size_t size)
{
	return map_at(fd, size, PROT_READ | PROT_WRITE, 0);
}

void fill(void *p, size_t size, __u64 pattern)
{
	__u64 *word = p;
	size_t i;

	for (i = 0; i < size / sizeof(*word); i++)
		WRITE_ONCE(word[i], pattern);
}

long check(const void *p, size_t size, __u64 pattern)
{
	const __u64 *word = p;
	size_t i;

	for (i = 0; i < size / sizeof(*word); i++)
		if (READ_ONCE(word[i]) != pattern)
			return i;
	return -1;
}

size_t count(const void *p, size_t size, __u64 pattern)
{
	const __u64 *word = p;
	size_t i, n = 0;

	for (i = 0; i < size / sizeof(*word); i++)
		n += READ_ONCE(word[i]) == pattern;
	return n;
}

/* /proc/self/pagemap leaves out memory without struct pages */
__u64 phys_of(const void *p)
{
	struct memtype_test_pte pte = { .addr = (unsigned long)p };
	int fd = open("/dev/memtype_test", O_RDWR);

	if (fd < 0)
		return 0;
	if (ioctl(fd, MEMTYPE_TEST_GET_PTE, &pte))
		pte.phys = 0;
	close(fd);
	return pte.phys;
}

static sigjmp_buf access_jmp;

static void access_signal(int sig)
{
	siglongjmp(access_jmp, sig);
}

int signal_of_access(void *p, bool write)
{
	struct sigaction act = { .sa_handler = access_signal }, segv, bus;
	int sig;

	sigaction(SIGSEGV, &act, &segv);
	sigaction(SIGBUS, &act, &bus);
	sig = sigsetjmp(access_jmp, 1);
	if (!sig) {
		if (write)
			WRITE_ONCE(*(__u64 *)p, 1);
		else
			(void)READ_ONCE(*(__u64 *)p);
	}
	sigaction(SIGSEGV, &segv, NULL);
	sigaction(SIGBUS, &bus, NULL);
	return sig;
}

static bool write_with(const char *path, const char *text, int flags)
{
	int fd = open(path, O_WRONLY | flags);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

bool write_file(const char *path, const char *text)
{
	return write_with(path, text, O_TRUNC);
}

bool append_file(const char *path, const char *text)
{
	return write_with(path, text, O_APPEND);
}

int send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = {}, byte = 0;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

int receive_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))] = {}, byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg;
	int fd;

	if (recvmsg(sock, &msg, 0) != 1)
		return -errno;
	cmsg = CMSG_FIRSTHDR(&msg);
	if (!cmsg || cmsg->cmsg_type != SCM_RIGHTS)
		return -EBADMSG;
	memcpy(&fd, CMSG_DATA(cmsg), sizeof(int));
	return fd;
}

#define TRACING		"/sys/kernel/tracing"
#define EVENTS		TRACING "/events/carveout_heap/enable"

static FILE *trace;

bool trace_start(void)
{
	if (access(TRACING "/trace", F_OK))
		mount("tracefs", TRACING, "tracefs", 0, NULL);
	return write_file(EVENTS, "0") && write_file(TRACING "/trace", "\n") &&
	       write_file(EVENTS, "1");
}

bool trace_stop(void)
{
	if (!write_file(EVENTS, "0"))
		return false;
	if (trace)
		fclose(trace);
	trace = fopen(TRACING "/trace", "r");
	return trace;
}

/* "   comm-pid  [cpu] flags  time: event: fields", of which comm may have anything */
bool trace_next(struct trace_line *line)
{
	char text[512], *event;
	int n;

	while (trace && fgets(text, sizeof(text), trace)) {
		event = strstr(text, ": carveout_");
		if (*text == '#' || !event)
			continue;
		event += strlen(": carveout_");
		n = sscanf(event, "%31[^:]: pool=%63s base=0x%llx size=0x%llx", line->event,
			   line->pool, &line->base, &line->size);
		if (n != 4 || sscanf(text, " %63[^-]", line->comm) != 1)
			return false;
		return true;
	}
	if (trace)
		fclose(trace);
	trace = NULL;
	return false;
}
