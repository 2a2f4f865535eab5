// SPDX-License-Identifier: GPL-2.0
/* The BARs of the rig's machine, and that of a board; see bars.h */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/sizes.h>

#include "backing.h"
#include "bar_memtype.h"
#include "bars.h"
#include "harness.h"
#include "host.h"
#include "kvm_util.h"
#include "pages.h"

struct bar bars[NR_BARS + 1] = {
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
	[BAR_BOARD] = { "BAR=", mt_board_bdf, .misalign = 1 },
};

const char * const type_names[NR_TYPES] = {
	[DEFAULT] = "default", [STRICT] = "strict", [WRITE_COMBINE] = "write-combine",
};

const u32 host_types[NR_TYPES] = {
	[DEFAULT] = MEMTYPE_TEST_DEVICE,
	[STRICT] = MEMTYPE_TEST_DEVICE,
	[WRITE_COMBINE] = MEMTYPE_TEST_NC,
};

/* <linux/ioport.h> */
#define IORESOURCE_MEM		0x200
#define IORESOURCE_PREFETCH	0x2000

#define DEVICES		"/sys/bus/pci/devices"

/*
 * Line by line of a device's file: BARs first, and later those of its virtual functions.
 * NULL if there is no such device.
 */
static FILE *resources_open(const char *bdf)
{
	char path[128];

	snprintf(path, sizeof(path), DEVICES "/%s/resource", bdf);
	return fopen(path, "r");
}

static bool resources_next(FILE *f, u64 *start, u64 *end, u64 *flags)
{
	return fscanf(f, "%lli %lli %lli", (long long *)start, (long long *)end,
		      (long long *)flags) == 3;
}

static u64 board_size;

const struct bar *board_bar(u64 *size)
{
	struct bar *bar = &bars[BAR_BOARD];
	const char *text = getenv("BAR");
	u64 start, end, flags = 0;
	FILE *f;
	int i, n;

	if (!text)
		return NULL;
	if (board_size)
		goto out;
	n = strlen(text) - 2;
	if (n < 1 || n >= MT_BDF_SIZE || text[n] != ':' || text[n + 1] < '0' || text[n + 1] > '5')
		mt_skip("BAR=%s: it has to be like 0000:01:00.0:2", text);
	bar->index = text[n + 1] - '0';
	snprintf(mt_board_bdf, MT_BDF_SIZE, "%.*s", n, text);
	f = resources_open(mt_board_bdf);
	if (!f)
		mt_skip("BAR=%s: there is no such device", text);
	for (i = 0; i <= bar->index; i++)
		if (!resources_next(f, &start, &end, &flags))
			flags = 0;
	fclose(f);
	if (!(flags & IORESOURCE_MEM) || !start)
		mt_skip("BAR=%s: this BAR has no memory", text);
	bar->prefetchable = flags & IORESOURCE_PREFETCH;
	board_size = end - start + 1;
	/* Not at the start, where a display may have a picture or a NIC its doorbells */
	bar->offset = min_t(u64, board_size, SZ_4M) / 2;
out:
	if (size)
		*size = board_size;
	return bar;
}

/* MEMORY= says whether what is written there can be read; or, if it is prefetchable, try */
static void require_memory(struct mt_dev *dev)
{
	struct bar *bar = &bars[BAR_BOARD];
	const u64 pattern = 0x6d656d6f72792121;
	u64 page = MT_PAGE, *word, was;
	struct vfio_region_info info;
	void *hva;

	if (!mt_dev_region(dev, bar->index, &info))
		mt_skip("BAR=%s: vfio-pci does not let it be mapped", getenv("BAR"));
	bar->memory = mt_number("MEMORY", 0);
	if (!getenv("MEMORY") && bar->prefetchable) {
		hva = mt_dev_map(dev, bar->index, align_down(bar->offset, page), page);
		word = hva + bar->offset % page;
		was = READ_ONCE(*word);
		WRITE_ONCE(*word, ~was ^ pattern);
		bar->memory = READ_ONCE(*word) == (~was ^ pattern);
		WRITE_ONCE(*word, was);
		munmap(hva, page);
	}
	if (!bar->memory)
		mt_skip("BAR=%s is not memory; MEMORY=1 says that it is", getenv("BAR"));
}

const struct bar *memory_bar(u64 size)
{
	struct bar *bar = &bars[BAR_BOARD];
	struct mt_dev dev;

	if (mt_in_rig())
		return &bars[size > SZ_64M ? BAR_LARGE : BAR_IVSHMEM];
	if (!board_bar(NULL))
		mt_skip("BAR= is not set");
	/* Whether it is memory has nothing to do with that */
	if (size)
		require_free_choice();
	if (!bar->memory) {
		mt_dev_open(&dev, bar->bdf, mt_any_iommu());
		require_memory(&dev);
		mt_dev_close(&dev);
	}
	if (board_size < size)
		mt_skip("BAR=%s has less than %lu bytes", getenv("BAR"), (unsigned long)size);
	return bar;
}

const struct bar *memory_bar_or_none(u64 size)
{
	static const struct bar none = { "none", "none" };

	return mt_in_rig() || getenv("BAR") ? memory_bar(size) : &none;
}

bool bar_open(struct mt_dev *dev, const struct bar *bar, enum mt_iommu iommu)
{
	bool board = bar == &bars[BAR_BOARD];

	if (board && !board_bar(NULL))
		mt_skip("BAR= is not set");
	if (bar->pf && !mt_vf_create(bar->pf))
		return false;
	mt_dev_open(dev, bar->bdf, iommu);
	if (board)
		require_memory(dev);
	return true;
}

void bars_end(void)
{
	mt_vf_remove(IGB);
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
		TEST_ASSERT(f, "%s: %s", entry->d_name, strerror(errno));
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

	TEST_ASSERT(f, "%s: %s", bdf, strerror(errno));
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
