/* SPDX-License-Identifier: GPL-2.0 */
/*
 * System calls each of whose allocations fails once, by the kernel's
 * /proc/thread-self/fail-nth; see Documentation/fault-injection.
 */
#ifndef SELFTEST_FAIL_NTH_H
#define SELFTEST_FAIL_NTH_H

struct failing {
	const char *name;
	/* Before each try, and what was made of it after it; each may be NULL */
	void (*before)(void);
	void (*after)(void);
	/* Returns an errno, or 0. It must work when it is called again. */
	int (*call)(void);
	/* What it may fail with beside ENOMEM, or 0 */
	int other;
};

/*
 * Have the first allocation fail, then the second, until the call makes fewer: it works
 * all the same, or returns ENOMEM (or @other). Says how many there are, and fails if none
 * is an error. Skips where the kernel has no such thing.
 */
void fail_each(const struct failing *failing);

#endif /* SELFTEST_FAIL_NTH_H */
