// SPDX-License-Identifier: GPL-2.0
/* The BARs of the rig's machine; see bars.h */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <linux/sizes.h>

#include "backing.h"
#include "bar_memtype.h"
#include "bars.h"
#include "harness.h"
#include "kvm_util.h"
#include "pages.h"

const struct bar bars[NR_BARS] = {
	[BAR_IVSHMEM] = { "ivshmem", IVSHMEM, 2, true, true, SZ_8K, 1 },
	[BAR_BOCHS] = { "bochs-display", BOCHS, 0, true, true, SZ_8K, 1 },
	[BAR_BOCHS_REGS] = { "bochs-display", BOCHS, 2, false, false, 0x800, 1 },
	[BAR_TESTDEV] = { "pci-testdev", TESTDEV, 2, true, false, SZ_8K, 1 },
	[BAR_TESTDEV_REGS] = { "pci-testdev", TESTDEV, 0, false, false, 0x800, 1 },
	[BAR_EDU] = { "edu", EDU, 0, false, false, SZ_8K, 4 },
	[BAR_NVME] = { "nvme", NVME, 0, false, false, 0x800, 4 },
	[BAR_CMB] = { "nvme CMB", NVME, 2, true, true, SZ_8K, 1 },
	[BAR_IGB] = { "igb", IGB, 0, false, false, 0x1ff00, 4 },
	[BAR_IGB_FLASH] = { "igb flash", IGB, 1, false, false, SZ_8K, 1 },
	[BAR_IGB_MSIX] = { "igb MSI-X", IGB, 3, false, false, 0x3000, 1 },
	[BAR_LARGE] = { "ivshmem, 4 GiB", LARGE, 2, true, true, SZ_8K, 1 },
	[BAR_BEHIND_PORT] = { "bochs at a port", BEHIND_PORT, 0, true, true, SZ_8K, 1 },
	[BAR_VF] = { "igb VF", IGB_VF, 0, true, false, SZ_8K, 4, IGB },
	[BAR_VF_MSIX] = { "igb VF MSI-X", IGB_VF, 3, true, false, 0x3000, 1, IGB },
};

const char * const type_names[NR_TYPES] = {
	[DEFAULT] = "default", [STRICT] = "strict", [WRITE_COMBINE] = "write-combine",
};

const u32 host_types[NR_TYPES] = {
	[DEFAULT] = MEMTYPE_TEST_DEVICE,
	[STRICT] = MEMTYPE_TEST_DEVICE,
	[WRITE_COMBINE] = MEMTYPE_TEST_NC,
};

bool bar_open(struct mt_dev *dev, const struct bar *bar, enum mt_iommu iommu)
{
	if (bar->pf && !mt_vf_create(bar->pf))
		return false;
	mt_dev_open(dev, bar->bdf, iommu);
	return true;
}

void bars_end(void)
{
	mt_vf_remove(IGB);
}

#define DEVICES		"/sys/bus/pci/devices"
#define IORESOURCE_MEM	0x200

/* Line by line of a device's file: BARs first, and later those of its virtual functions */
static FILE *resources_open(const char *bdf)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), DEVICES "/%s/resource", bdf);
	f = fopen(path, "r");
	TEST_ASSERT(f, "%s: %s", path, strerror(errno));
	return f;
}

static bool resources_next(FILE *f, u64 *start, u64 *end, u64 *flags)
{
	return fscanf(f, "%lli %lli %lli", (long long *)start, (long long *)end,
		      (long long *)flags) == 3;
}

/* Does any device have a part of the range? */
static bool range_is_used(u64 first, u64 last)
{
	u64 start, end, flags;
	struct dirent *entry;
	bool used = false;
	DIR *dir;
	FILE *f;

	dir = opendir(DEVICES);
	TEST_ASSERT(dir, DEVICES ": %s", strerror(errno));
	while ((entry = readdir(dir))) {
		if (*entry->d_name == '.')
			continue;
		f = resources_open(entry->d_name);
		while (resources_next(f, &start, &end, &flags))
			used |= flags & IORESOURCE_MEM && start <= last && end >= first;
		fclose(f);
	}
	closedir(dir);
	return used;
}

bool bar_has_pages(const char *bdf, int index)
{
	FILE *f = resources_open(bdf);
	u64 start, end, flags;
	int i;

	for (i = 0; i <= index; i++)
		TEST_ASSERT(resources_next(f, &start, &end, &flags), "%s has no BAR %d", bdf,
			    index);
	fclose(f);
	if (end - start + 1 >= MT_PAGE)
		return true;
	/* As vfio_pci_probe_mmaps() has it */
	return !(start % MT_PAGE) && !range_is_used(end + 1, start + MT_PAGE - 1);
}

void bar_expect_no_mmap(struct mt_dev *dev, int index)
{
	struct vfio_device_feature_region_memtype memtype;
	struct vfio_region_info info;
	void *hva;
	u32 type;
	int ret;

	TEST_ASSERT(!mt_dev_region(dev, index, &info), "%s: BAR %d can be mapped", dev->bdf,
		    index);
	hva = mmap(NULL, MT_PAGE, PROT_READ, MAP_SHARED, dev->fd, info.offset);
	MT_EXPECT_ERRNO(hva == MAP_FAILED ? errno : 0, EINVAL);
	mt_dev_read_word(dev, index, 0);

	for (type = DEFAULT; type < NR_TYPES; type++) {
		ret = bar_get_memtype(dev->fd, index, type, &memtype);
		MT_EXPECT_ERRNO(ret == -ENOTTY ? -EINVAL : ret, -EINVAL);
		hva = mmap(NULL, MT_PAGE, PROT_READ, MAP_SHARED, dev->fd,
			   OFFSET_OF(index, type));
		MT_EXPECT_ERRNO(hva == MAP_FAILED ? errno : 0, EINVAL);
	}
}

bool bar_shares_page(struct mt_dev *dev, int index)
{
	if (bar_has_pages(dev->bdf, index))
		return false;
	printf("# %s: BAR %d shares its page\n", dev->bdf, index);
	bar_expect_no_mmap(dev, index);
	return true;
}

u64 bar_part(struct mt_dev *dev, int index)
{
	struct vfio_region_info info;

	mt_dev_region(dev, index, &info);
	return align_up(min_t(u64, info.size, SZ_4M), MT_PAGE);
}

const char *bar_with_room(u64 size)
{
	return size > SZ_64M ? LARGE : IVSHMEM;
}

u64 mt_dev_offset(struct mt_dev *dev, int index, u32 type)
{
	struct vfio_device_feature_region_memtype memtype;

	MT_EXPECT_ERRNO(bar_get_memtype(dev->fd, index, type, &memtype), 0);
	return memtype.offset;
}

void *mt_dev_map_as(struct mt_dev *dev, int index, u32 type, u64 offset, u64 size)
{
	return mt_mmap(dev->fd, size, PROT_READ | PROT_WRITE, MAP_SHARED,
		       mt_dev_offset(dev, index, type) + offset);
}
