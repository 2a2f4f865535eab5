// SPDX-License-Identifier: GPL-2.0
/* Sizes of pages and blocks; see pages.h */
#include <stdio.h>
#include <linux/sizes.h>

#include "pages.h"

const char *mt_size_name(u64 size)
{
	static char name[16];

	if (size >= SZ_1G)
		snprintf(name, sizeof(name), "%luG", (unsigned long)(size / SZ_1G));
	else if (size >= SZ_1M)
		snprintf(name, sizeof(name), "%luM", (unsigned long)(size / SZ_1M));
	else
		snprintf(name, sizeof(name), "%luK", (unsigned long)(size / SZ_1K));
	return name;
}
