// SPDX-License-Identifier: GPL-2.0
/* The BARs of the rig's machine; see bars.h */
#include <sys/mman.h>
#include <linux/sizes.h>

#include "backing.h"
#include "bar_memtype.h"
#include "bars.h"
#include "harness.h"

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

void bar_open(struct mt_dev *dev, const struct bar *bar, enum mt_iommu iommu)
{
	if (bar->pf)
		mt_vf_create(bar->pf);
	mt_dev_open(dev, bar->bdf, iommu);
}

void bars_end(void)
{
	mt_vf_remove(IGB);
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
