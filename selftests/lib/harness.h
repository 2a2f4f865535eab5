/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests have beyond kselftest_harness.h and libkvm's assertions: helpers
 * that may skip the test, error numbers, and numbers that whoever runs them chooses.
 */
#ifndef SELFTEST_HARNESS_H
#define SELFTEST_HARNESS_H

#include <errno.h>
#include <string.h>
#include <linux/compiler.h>

#include "test_util.h"

/* Not the 30 s of kselftest_harness.h: the machine may be emulated, the kernel a debugging one */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	120

/*
 * Compare error numbers. A libkvm assertion that fails while errno is EACCES
 * exits as a skip, hence errno is cleared.
 */
#define MT_EXPECT_ERRNO(expr, want)					\
do {									\
	int __got = (expr), __want = (want);				\
									\
	errno = 0;							\
	TEST_ASSERT(__got == __want, "%s: got %d (%s), expected %d (%s)",\
		    #expr, __got, strerror(__got), __want,		\
		    strerror(__want));					\
} while (0)

/*
 * Ends the test as skipped. In the harness the reason goes where its SKIP() puts
 * it, which only the test itself knows: MT_TEST() and fixtures tell.
 */
void __noreturn __printf(1, 2) mt_skip(const char *fmt, ...);
extern char *mt_skip_reason;

#define MT_SKIP_TO_HARNESS()	(mt_skip_reason = _metadata->results->reason)

/* TEST() of the harness whose helpers may skip */
#define MT_TEST(name)							\
	static void do_##name(void);					\
	TEST(name)							\
	{								\
		MT_SKIP_TO_HARNESS();					\
		do_##name();						\
	}								\
	static void do_##name(void)

/* What the environment says of @name, a number in C's notation, or @otherwise */
unsigned int mt_number(const char *name, unsigned int otherwise);
/* For srandom(): MT_SEED=, or any; the test prints it */
unsigned int mt_seed(void);

#endif /* SELFTEST_HARNESS_H */
