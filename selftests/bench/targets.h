/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What may be written over: a BAR, which BAR=<bdf>:<index> names, and a pool of the
 * carve-out module, CARVEOUT_POOL=. Each is a sentence and a skip where it is not there.
 */
#ifndef SELFTEST_TARGETS_H
#define SELFTEST_TARGETS_H

#include <stdbool.h>
#include <linux/types.h>

#include "vfio_dev.h"

struct bar_target {
	const char *bdf;
	int index;
	u64 size;		/* that is mapped, whole pages */
	bool vfio;
	struct mt_dev dev;
	void *wc;
	void *device;
};

/*
 * At most max bytes of it, mapped through vfio-pci where that has memory types, else
 * through sysfs. Nobody may drive the device.
 */
void bar_target_open(struct bar_target *bar, u64 max);
void bar_target_close(struct bar_target *bar);

/*
 * For main(): a process that goes on with the tests; the one that it was waits for it, by
 * whatever it ends, and gives the device back the driver that it had, or none.
 */
void bar_target_keep(void);

/* A new buffer of the pool */
void *pool_target_map(u64 size);

#endif /* SELFTEST_TARGETS_H */
