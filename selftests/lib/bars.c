// SPDX-License-Identifier: GPL-2.0
/* The BARs of the rig's machine; see bars.h */
#include <linux/sizes.h>

#include "bars.h"

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
};

const char * const type_names[NR_TYPES] = {
	[DEFAULT] = "default", [STRICT] = "strict", [WRITE_COMBINE] = "write-combine",
};
