// SPDX-License-Identifier: GPL-2.0
/* Skipping, from helpers, too, and numbers that are asked for; see harness.h */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "harness.h"
#include "kselftest.h"

char *mt_skip_reason;

void mt_skip(const char *fmt, ...)
{
	char reason[256];
	va_list args;

	va_start(args, fmt);
	vsnprintf(reason, sizeof(reason), fmt, args);
	va_end(args);
	if (!mt_skip_reason)
		ksft_exit_skip("%s\n", reason);
	snprintf(mt_skip_reason, sizeof(reason), "%s", reason);
	fflush(stdout);
	_exit(KSFT_SKIP);
}

unsigned int mt_number(const char *name, unsigned int otherwise)
{
	const char *val = getenv(name);

	return val ? strtoul(val, NULL, 0) : otherwise;
}

unsigned int mt_seed(void)
{
	unsigned int seed = 1;

	(void)!getrandom(&seed, sizeof(seed), GRND_NONBLOCK);
	return mt_number("MT_SEED", seed);
}
