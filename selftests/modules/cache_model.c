// SPDX-License-Identifier: GPL-2.0
/*
 * The registers of the rig's cache model (patches/qemu-model) as files of debugfs: its
 * counters, all of which a write to one of them resets, and how often a line leaves.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/debugfs.h>
#include <linux/io.h>
#include <linux/module.h>

static unsigned long base;
module_param(base, ulong, 0444);
MODULE_PARM_DESC(base, "Physical address of the registers");

static const char * const names[] = {
	"hits", "fills", "evictions", "write_backs", "discards", "passed_reads",
	"passed_writes", "stale_reads", "lost_lines", "evict",
};

static u64 __iomem *registers;
static struct dentry *dir;

static int cache_model_get(void *data, u64 *val)
{
	*val = readq((u64 __iomem *)data);
	return 0;
}

static int cache_model_set(void *data, u64 val)
{
	writeq(val, (u64 __iomem *)data);
	return 0;
}
DEFINE_DEBUGFS_ATTRIBUTE(cache_model_fops, cache_model_get, cache_model_set, "%llu\n");

static int __init cache_model_init(void)
{
	int i;

	registers = ioremap(base, PAGE_SIZE);
	if (!registers)
		return -ENOMEM;

	dir = debugfs_create_dir("cache_model", NULL);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		debugfs_create_file_unsafe(names[i], 0600, dir, (void __force *)&registers[i],
					   &cache_model_fops);
	return 0;
}

static void __exit cache_model_exit(void)
{
	debugfs_remove(dir);
	iounmap(registers);
}

module_init(cache_model_init);
module_exit(cache_model_exit);

MODULE_DESCRIPTION("Counters of the rig's cache model, for tests");
MODULE_LICENSE("GPL");
