/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Memory to put behind a memslot: anonymous, huge pages, and, through the module
 * memtype_test, memory that the host maps with a type of the test's choice.
 */
#ifndef SELFTEST_BACKING_H
#define SELFTEST_BACKING_H

#include <stdbool.h>
#include <linux/types.h>

#include "memtype_test.h"
#include "pages.h"

#define MEMTYPE_TEST_RAM_SIZE	(MEMTYPE_TEST_RAM_PAGES * MT_PAGE)

/* Aligned to MT_BLOCK; NULL if there is none */
void *mt_anon(u64 size);
void *mt_hugetlb(u64 size);

/* Open and configure /dev/memtype_test; skips the test if it is not there */
int mt_test_open(const struct memtype_test_config *config);
/* What a file of that configuration has, up to size */
u64 mt_test_size(const struct memtype_test_config *config, u64 size);
/* Aligned as the file offset is, up to MT_BLOCK */
void *mt_mmap(int fd, u64 size, int prot, int flags, u64 offset);
void mt_zap(int fd, u64 offset, u64 size);
/* Move pages of a MEMTYPE_TEST_EVICTABLE file to system memory, or back */
void mt_evict(int fd, u64 offset, u64 size, bool to_ram);
/* Make entries read-only again; returns how many were not */
unsigned int mt_wrprotect(int fd, u64 offset, u64 size);
/* The host's entry, after reading (or writing) there so that it exists */
struct memtype_test_pte mt_host_pte(int fd, void *hva);
/* The same of a page in any mapping, read there first; opens the module by itself */
struct memtype_test_pte host_pte(void *hva);

#endif /* SELFTEST_BACKING_H */
