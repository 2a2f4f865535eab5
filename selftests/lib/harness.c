// SPDX-License-Identifier: GPL-2.0
/* Skipping, from helpers, too; see harness.h */
#include <stdarg.h>
#include <stdio.h>
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
