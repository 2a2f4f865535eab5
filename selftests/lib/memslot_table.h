/* SPDX-License-Identifier: GPL-2.0 */
/* For people to read: a table of memslots and of what a guest has of them */
#ifndef SELFTEST_MEMSLOT_TABLE_H
#define SELFTEST_MEMSLOT_TABLE_H

#include <linux/types.h>

/*
 * A table of what becomes of slots over that memory: two rows, without and with
 * KVM_MEM_NONCACHEABLE
 */
void mt_show_header(void);
void mt_show_slot(const char *name, void *hva, u64 size);

#endif /* SELFTEST_MEMSLOT_TABLE_H */
