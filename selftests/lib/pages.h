/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the host's page tables have, in bytes. The guests of these tests have pages of
 * the same size at stage 1.
 */
#ifndef SELFTEST_PAGES_H
#define SELFTEST_PAGES_H

#include <unistd.h>
#include <linux/types.h>

/* A page; and what one entry of the level above maps: 2 MiB, 32 MiB or 512 MiB */
#define MT_PAGE		((u64)getpagesize())
#define MT_BLOCK	(MT_PAGE * (MT_PAGE / 8))

/* What entries have of memory that is aligned to its size, where blocks are made */
static inline u64 mt_leaf_of(u64 size)
{
	return size < MT_BLOCK ? MT_PAGE : MT_BLOCK;
}

/* "4K", "2M" and so on, of a power of two; a static buffer */
const char *mt_size_name(u64 size);

#endif /* SELFTEST_PAGES_H */
