// SPDX-License-Identifier: GPL-2.0
/* Calls whose allocations fail; see fail_nth.h */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fail_nth.h"
#include "harness.h"
#include "kselftest.h"

#define DEBUGFS	"/sys/kernel/debug/"

static void set(const char *file, const char *val)
{
	int fd = open(file, O_WRONLY);

	if (fd < 0)
		mt_skip("%s: %s", file, strerror(errno));
	TEST_ASSERT(write(fd, val, strlen(val)) == (ssize_t)strlen(val), "%s: %s", file,
		    strerror(errno));
	close(fd);
}

/* Allocations that may sleep, of single pages and of user memory, too; and no words */
static void setup(void)
{
	set(DEBUGFS "failslab/ignore-gfp-wait", "N");
	set(DEBUGFS "failslab/verbose", "0");
	set(DEBUGFS "fail_page_alloc/ignore-gfp-wait", "N");
	set(DEBUGFS "fail_page_alloc/ignore-gfp-highmem", "N");
	set(DEBUGFS "fail_page_alloc/min-order", "0");
	set(DEBUGFS "fail_page_alloc/verbose", "0");
}

static void write_nth(int fd, unsigned int n)
{
	char buf[16];
	int len = snprintf(buf, sizeof(buf), "%u", n);

	TEST_ASSERT(pwrite(fd, buf, len, 0) == len, "fail-nth: %s", strerror(errno));
}

/* How many more it would have taken; 0 if one has failed */
static unsigned int read_nth(int fd)
{
	char buf[16] = "";

	TEST_ASSERT(pread(fd, buf, sizeof(buf) - 1, 0) > 0, "fail-nth: %s", strerror(errno));
	return strtoul(buf, NULL, 10);
}

void fail_each(const struct failing *f)
{
	unsigned int n = 1, errors = 0, left, unreached = 0;
	bool again = false;
	int fd, ret, second;

	setup();
	fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	TEST_ASSERT(fd >= 0, "/proc/thread-self/fail-nth: %s", strerror(errno));
	/* Caches differ from one try to the next: what is not reached is tried twice */
	while (unreached < 2) {
		if (f->before)
			f->before();
		write_nth(fd, n);
		ret = f->call();
		left = read_nth(fd);
		write_nth(fd, 0);

		if (left)
			TEST_ASSERT(!ret, "%s: %s", f->name, strerror(ret));
		else
			TEST_ASSERT(!ret || ret == ENOMEM || ret == f->other,
				    "%s: %s when allocation %u fails", f->name, strerror(ret), n);
		if (ret) {
			errors++;
			second = f->call();
			TEST_ASSERT(!second, "%s: %s, after allocation %u had failed", f->name,
				    strerror(second), n);
		}
		if (f->after)
			f->after();

		unreached = left ? unreached + 1 : 0;
		/*
		 * If it has worked all the same, that may have been a new slab, which
		 * the next try has: it may have another allocation there.
		 */
		again = !left && !ret && !again;
		n += !left && !again;
	}
	close(fd);
	ksft_print_msg("%s: %u allocations, %u of them are an error\n", f->name, n - 1, errors);
	TEST_ASSERT(errors, "%s: no allocation of it makes it fail", f->name);
}
