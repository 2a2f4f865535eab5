// SPDX-License-Identifier: GPL-2.0
/*
 * Hands out memory that firmware or the command line has kept out of the linear
 * map: uncached, without a cacheable alias, to back the BARs of virtual machines.
 *
 * Here is where pools come from: devices of the device tree, and pools=, which is
 * held against the firmware's memory map.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/crash_dump.h>
#include <linux/efi.h>
#include <linux/ioport.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/of.h>
#include <linux/of_address.h>
#include <linux/of_reserved_mem.h>
#include <linux/platform_device.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/suspend.h>

#include "carveout.h"
#include "carveout_arch.h"
#include "compat.h"

/* One message is all that a refused pool gets */
#define CARVEOUT_WHY_LEN	160

/*
 * A string, as an array's values could not be told from what is in them by a comma. The
 * mark of a hardware parameter is all that there is to module_param_hw(): in lockdown
 * the kernel does not let it be set, and the module is not loaded with it.
 */
static char *pools;
module_param_hw(pools, charp, iomem, 0444);
MODULE_PARM_DESC(pools, "NAME:SIZE@BASE[:shared][,...]: pools in RAM that the kernel was told to leave alone");

/* Names that are taken. Pools of @pools are in the list, those of devices too. */
static LIST_HEAD(carveout_names);
static DEFINE_MUTEX(carveout_names_lock);
/* All pools are ready for an image of the system: no other one until it is written */
static bool carveout_hibernates;

/* A pool of this module's own: of its device, or of the parameter */
struct carveout_claim {
	struct list_head node;		/* in carveout_names */
	struct carveout_pool *pool;	/* a reference */
	struct list_head param;		/* those of @pools, until they have a node */
	bool has_node;
};

/* A kdump kernel has the memory map, and the device tree, of the one that crashed */
static bool carveout_is_to_be_dumped(char *why, size_t len)
{
	if (!is_kdump_kernel())
		return false;

	snprintf(why, len, "this is a kdump kernel, and it may be what is to be dumped");
	return true;
}

/* Make a pool without a node: the claim, or an error and why */
static struct carveout_claim *carveout_claim(const char *name, phys_addr_t base, u64 size,
					     bool shared, char *why, size_t len)
{
	struct carveout_claim *claim, *other;
	struct carveout_pool *pool;

	guard(mutex)(&carveout_names_lock);

	if (carveout_hibernates) {
		snprintf(why, len, "the system hibernates");
		return ERR_PTR(-EBUSY);
	}

	/* The name is free only when the node has gone */
	list_for_each_entry(other, &carveout_names, node) {
		if (!strcmp(other->pool->name, name)) {
			snprintf(why, len, "there is a pool of that name");
			return ERR_PTR(-EEXIST);
		}
	}

	claim = kzalloc_obj(*claim);
	if (!claim) {
		snprintf(why, len, "no memory");
		return ERR_PTR(-ENOMEM);
	}

	pool = carveout_pool_new(name, base, size, shared, why, len);
	if (IS_ERR(pool)) {
		kfree(claim);
		return ERR_CAST(pool);
	}

	claim->pool = pool;
	INIT_LIST_HEAD(&claim->param);
	list_add_tail(&claim->node, &carveout_names);

	return claim;
}

static void carveout_unclaim(struct carveout_claim *claim)
{
	guard(mutex)(&carveout_names_lock);

	if (claim->has_node)
		carveout_node_remove(claim->pool);
	carveout_pool_give_up(claim->pool);
	list_del(&claim->node);
	kfree(claim);
}

/* Give the pool its node: from here on it is in use. On error the claim is gone. */
static int carveout_publish(struct carveout_claim *claim, struct device *parent,
			    char *why, size_t len)
{
	struct carveout_pool *pool = claim->pool;
	int ret = carveout_node_add(pool, parent);

	if (ret) {
		snprintf(why, len, "no device node: error %d", ret);
		carveout_unclaim(claim);
		return ret;
	}

	claim->has_node = true;
	pr_info("%s: 0x%zx bytes at %pa%s, no other mapping of them found\n",
		pool->node_name, pool->size, &pool->base, pool->shared ? ", shared" : "");

	return 0;
}

/*
 * Is there RAM at base for the firmware, where does it end, and is it nobody's? By what
 * firmware calls what it has reserved for its own, it may know that of a pool as well.
 */
static bool carveout_firmware_ram(phys_addr_t base, bool reserved, phys_addr_t *ram_end)
{
	struct device_node *np = NULL;
	struct resource res;
	int i;

#ifdef CONFIG_EFI
	if (efi_enabled(EFI_MEMMAP)) {
		efi_memory_desc_t *md;

		for_each_efi_memory_desc(md) {
			phys_addr_t last = md->phys_addr + (md->num_pages << EFI_PAGE_SHIFT) - 1;

			if (base < md->phys_addr || base > last)
				continue;
			*ram_end = last;
			/* The kernel still uses some of what loaders have left */
			return md->attribute & EFI_MEMORY_WB &&
			       (reserved || md->type == EFI_CONVENTIONAL_MEMORY);
		}
		return false;
	}
#endif

	for_each_node_by_type(np, "memory") {
		/* Of secure RAM, for one, a disabled node tells */
		if (!of_device_is_available(np))
			continue;
		for (i = 0; !of_address_to_resource(np, i, &res); i++) {
			if (base >= res.start && base <= res.end) {
				*ram_end = res.end;
				of_node_put(np);
				return true;
			}
		}
	}

	return false;
}

/*
 * The device tree's reserved memory belongs to those who reserved it, secure firmware
 * among them; what is for pools has a device that says so, and a node: @own. The kernel
 * lets another one overlap it.
 */
static int carveout_not_reserved(phys_addr_t base, phys_addr_t end, struct device_node *own,
				 char *why, size_t len)
{
	struct device_node *parent __free(device_node) =
		of_find_node_by_path("/reserved-memory");
	struct reserved_mem *rmem;
	phys_addr_t start, last;
	struct resource res;
	int i;

	/* What has no node, as in device trees of old */
	for (i = 0; carveout_arch_fdt_reserved(i, &start, &last); i++) {
		if (base <= last && end >= start) {
			snprintf(why, len, "it overlaps a /memreserve/, %pa to %pa", &start, &last);
			return -EBUSY;
		}
	}

	if (!parent)
		return 0;

	for_each_available_child_of_node_scoped(parent, np) {
		bool taken = false;

		if (np == own)
			continue;
		for (i = 0; !taken && !of_address_to_resource(np, i, &res); i++)
			taken = base <= res.end && end >= res.start;

		/* One without an address of its own has been given one */
		rmem = taken ? NULL : of_reserved_mem_lookup(np);
		if (rmem && rmem->size) {
			res = DEFINE_RES_MEM(rmem->base, rmem->size);
			taken = base <= res.end && end >= res.start;
		}

		if (taken) {
			snprintf(why, len, "it overlaps the reserved memory %pOFn, %pr",
				 np, &res);
			return -EBUSY;
		}
	}

	return 0;
}

/* Nobody's RAM, for firmware and device tree, but for the node that it is the pool of */
static int carveout_check_range(phys_addr_t base, u64 size, struct device_node *own,
				char *why, size_t len)
{
	phys_addr_t start = base, end = base + size - 1, ram_end;
	int ret;

	ret = carveout_not_reserved(base, end, own, why, len);
	if (ret)
		return ret;

	for (; start <= end; start = ram_end + 1) {
		if (!carveout_firmware_ram(start, own, &ram_end)) {
			snprintf(why, len, "%pa is not %sRAM for the firmware", &start,
				 own ? "" : "free ");
			return -EINVAL;
		}
		if (ram_end >= end)
			break;
	}

	return 0;
}

/*
 * The range of the device's memory-region, which has to be a static reservation
 * without a mapping that opts in: what else carries no-map is somebody's, and its
 * owner has not been asked.
 */
static int carveout_dt_range(struct device *dev, struct reserved_mem *range,
			     const char **name, char *why, size_t len)
{
	struct device_node *np __free(device_node) =
		of_parse_phandle(dev->of_node, "memory-region", 0);
	struct reserved_mem *rmem;
	struct resource res;

	if (carveout_is_to_be_dumped(why, len))
		return -EBUSY;
	if (!np) {
		snprintf(why, len, "no memory-region");
		return -EINVAL;
	}
	if (!of_device_is_compatible(np, "linux,carveout-heap-pool")) {
		snprintf(why, len, "%pOFn is not compatible with linux,carveout-heap-pool", np);
		return -EINVAL;
	}
	if (!of_property_read_bool(np, "no-map")) {
		snprintf(why, len, "%pOFn is not no-map", np);
		return -EINVAL;
	}
	if (of_address_to_resource(np, 0, &res)) {
		snprintf(why, len, "%pOFn has no reg with an address and a size", np);
		return -EINVAL;
	}
	/*
	 * By name, and only what was reserved at boot: an overlay, or a node of the
	 * same name elsewhere, is not.
	 */
	rmem = of_reserved_mem_lookup(np);
	if (!rmem || rmem->base != res.start || rmem->size != resource_size(&res)) {
		snprintf(why, len, "%pOFn was not reserved as it says, %pr, at boot", np, &res);
		return -EINVAL;
	}
	if (carveout_check_range(rmem->base, rmem->size, np, why, len))
		return -EINVAL;

	*range = *rmem;
	if (of_property_read_string(dev->of_node, "label", name))
		*name = kbasename(rmem->name);

	return 0;
}

static int carveout_probe(struct platform_device *pdev)
{
	char why[CARVEOUT_WHY_LEN], name[CARVEOUT_NAME_LEN];
	struct device *dev = &pdev->dev;
	struct carveout_claim *claim;
	struct reserved_mem range;
	const char *label;

	if (carveout_dt_range(dev, &range, &label, why, sizeof(why)))
		goto refused;

	/* Without the unit address of a node's name */
	if (strscpy(name, label, sizeof(name)) < 0)
		name[0] = '\0';
	name[strcspn(name, "@")] = '\0';

	claim = carveout_claim(name, range.base, range.size,
			       of_property_read_bool(dev->of_node, "linux,shared"),
			       why, sizeof(why));
	if (IS_ERR(claim))
		goto refused;
	if (carveout_publish(claim, dev, why, sizeof(why)))
		goto refused;

	platform_set_drvdata(pdev, claim);
	return 0;

refused:
	dev_err(dev, "no pool: %s\n", why);
	/* The only error that the driver core has nothing to add to */
	return -ENODEV;
}

static void carveout_remove(struct platform_device *pdev)
{
	carveout_unclaim(platform_get_drvdata(pdev));
}

static const struct of_device_id carveout_of_match[] = {
	{ .compatible = "linux,carveout-heap" },
	{}
};
MODULE_DEVICE_TABLE(of, carveout_of_match);

static struct platform_driver carveout_driver = {
	.probe	= carveout_probe,
	.remove	= carveout_remove,
	.driver	= {
		.name		= "carveout-heap",
		.of_match_table	= carveout_of_match,
	},
};

/*
 * What somebody types can be anything: a device's registers, the firmware's own
 * memory. Only what firmware calls RAM can have been left out by mem=.
 */
static int __init carveout_param_check(phys_addr_t base, u64 size, char *why, size_t len)
{
	phys_addr_t end = base + size - 1;
	int ret;

	if (carveout_is_to_be_dumped(why, len))
		return -EBUSY;

	ret = carveout_check_range(base, size, NULL, why, len);
	if (ret)
		return ret;

	/*
	 * What mem= has cut off is not in the resource tree. What is there is known
	 * to the kernel as something else, and is not always marked as busy; a page
	 * that is mapped is the better reason.
	 */
	if (region_intersects(base, size, IORESOURCE_MEM, IORES_DESC_NONE) == REGION_DISJOINT)
		return 0;
	ret = carveout_prove(base, size, why, len);
	if (!ret) {
		snprintf(why, len, "%pa to %pa is something else in /proc/iomem", &base, &end);
		ret = -EBUSY;
	}
	return ret;
}

/* One NAME:SIZE@BASE[:shared], which is taken apart */
static int __init carveout_param_pool(char *spec, struct list_head *params)
{
	char why[CARVEOUT_WHY_LEN] = "it has to be NAME:SIZE@BASE or NAME:SIZE@BASE:shared";
	char *name = spec, *number, *end;
	struct carveout_claim *claim;
	int ret = -EINVAL;
	u64 size, base;
	bool shared;

	number = strchr(spec, ':');
	if (!number)
		goto refused;
	*number++ = '\0';

	size = memparse(number, &end);
	if (end == number || *end != '@')
		goto refused;
	number = end + 1;
	base = memparse(number, &end);
	shared = !strcmp(end, ":shared");
	if (end == number || (*end && !shared))
		goto refused;

	/* What is not even a range is for carveout_pool_new() to say */
	if (size && base <= PHYS_MASK && size - 1 <= PHYS_MASK - base) {
		ret = carveout_param_check(base, size, why, sizeof(why));
		if (ret)
			goto refused;
	}

	claim = carveout_claim(name, base, size, shared, why, sizeof(why));
	if (!IS_ERR(claim)) {
		list_add_tail(&claim->param, params);
		return 0;
	}
	ret = PTR_ERR(claim);

refused:
	pr_err("no pool \"%s\" of pools=: %s\n", name, why);
	return ret;
}

/* Those without a device */
static void carveout_param_exit(void)
{
	struct carveout_claim *claim, *next;

	list_for_each_entry_safe(claim, next, &carveout_names, node)
		carveout_unclaim(claim);
}

static int __init carveout_param_init(struct list_head *params)
{
	char *copy __free(kfree) = NULL, *rest, *spec;
	int ret;

	if (!pools || !*pools)
		return 0;

	copy = kstrdup(pools, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;

	rest = copy;
	while ((spec = strsep(&rest, ","))) {
		ret = carveout_param_pool(spec, params);
		if (ret) {
			carveout_param_exit();
			return ret;
		}
	}

	return 0;
}

/*
 * No image of a hibernated system has what is in a pool. Buffers that are in use would
 * come back with whatever the memory holds by then: refuse. What is free would not be
 * zero: scrub it, and let nobody have any of it until then.
 */
static int carveout_pm(struct notifier_block *nb, unsigned long action, void *data)
{
	struct carveout_claim *claim;
	int ret = 0;

	if (action != PM_HIBERNATION_PREPARE && action != PM_POST_HIBERNATION)
		return NOTIFY_DONE;

	guard(mutex)(&carveout_names_lock);

	if (action == PM_POST_HIBERNATION) {
		list_for_each_entry(claim, &carveout_names, node)
			carveout_pool_thaw(claim->pool, true);
		carveout_hibernates = false;
		return NOTIFY_OK;
	}

	list_for_each_entry(claim, &carveout_names, node) {
		ret = carveout_pool_freeze(claim->pool);
		if (ret)
			break;
	}
	if (!ret) {
		carveout_hibernates = true;
		return NOTIFY_OK;
	}

	pr_err("carveout-%s: no hibernation while it has buffers, which an image does not have\n",
	       claim->pool->name);
	list_for_each_entry_continue_reverse(claim, &carveout_names, node)
		carveout_pool_thaw(claim->pool, false);
	return notifier_from_errno(ret);
}

static struct notifier_block carveout_pm_notifier = {
	.notifier_call = carveout_pm,
};

/*
 * Pools first, nodes last: a node can be opened as soon as it is there, and
 * nothing keeps a module whose init fails. So it does not fail after the first,
 * unless platform_driver_register() fails once it has probed, for want of memory.
 */
static int __init carveout_init(void)
{
	struct carveout_claim *claim, *next;
	char why[CARVEOUT_WHY_LEN];
	unsigned int sleep_flags;
	LIST_HEAD(params);
	int ret;

	ret = carveout_try_proof();
	if (ret)
		return ret;

	ret = carveout_pool_init();
	if (ret)
		return ret;

	/* A hibernation that has begun would not have asked carveout_pm() */
	sleep_flags = lock_system_sleep();

	ret = carveout_param_init(&params);
	if (ret)
		goto err_pool;

	ret = register_pm_notifier(&carveout_pm_notifier);
	if (ret)
		goto err_param;

	ret = platform_driver_register(&carveout_driver);
	if (ret)
		goto err_pm;

	list_for_each_entry_safe(claim, next, &params, param) {
		char name[CARVEOUT_NAME_LEN];

		list_del_init(&claim->param);
		strscpy(name, claim->pool->name);
		if (carveout_publish(claim, NULL, why, sizeof(why)))
			pr_err("no pool \"%s\" of pools=: %s\n", name, why);
	}
	unlock_system_sleep(sleep_flags);

	return 0;

err_pm:
	unregister_pm_notifier(&carveout_pm_notifier);
err_param:
	carveout_param_exit();
err_pool:
	unlock_system_sleep(sleep_flags);
	carveout_pool_exit();
	return ret;
}
module_init(carveout_init);

static void __exit carveout_exit(void)
{
	/* Devices first: what is left then is the parameter's */
	platform_driver_unregister(&carveout_driver);
	unregister_pm_notifier(&carveout_pm_notifier);
	carveout_param_exit();
	carveout_pool_exit();
}
module_exit(carveout_exit);

MODULE_DESCRIPTION("Uncached memory without a cacheable alias, in the dma-heap ABI");
MODULE_LICENSE("GPL");
carveout_import_ns("DMA_BUF");
