// SPDX-License-Identifier: GPL-2.0
/*
 * cache_duties - What the carve-out module owes to the next owner of its memory
 *
 * An earlier owner, memtype_test, leaves lines of the range dirty in the cache. If the
 * module did not clean and invalidate them when it takes the range over, they would be
 * written back over what the module has zeroed and a user has written since. In a
 * machine with a cache model they are, sooner or later.
 *
 * The same of a buffer that is freed: its owner's mappings are Normal-NC, but type1 lets
 * a device have it that writes Write-Back, as coherent DMA is. The lines that it leaves
 * dirty are the module's duty again.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/pci_regs.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "bars.h"
#include "cache.h"
#include "harness.h"
#include "vfio_dev.h"

#define BASE		"0xC0000000"
#define RANGE		"0x4000000"
#define SIZE		0x800000UL
#define LINES		(SIZE / CACHE_LINE)

/*
 * All of a pool: who gets a buffer of it has what the one before had, once it has been
 * scrubbed.
 */
#define DMA_POOL	"32K"
#define DMA_SIZE	0x8000UL
#define DMA_PAGES	(DMA_SIZE / SZ_4K)
#define DMA_WORDS	(DMA_SIZE / 8)
#define DMA_LINES	(DMA_SIZE / CACHE_LINE)

/* Of 28 bits, as the device has them, and below the SMMU's window for MSIs */
#define IOVA_PATTERN	0x1000000UL
#define IOVA_BUFFER	0x2000000UL

/* Seeds of what is written; each page of the device's has its own, from DEVICE on */
enum { EARLIER_OWNER = 1, DEVICE };

/* edu, docs/specs/edu.rst of QEMU */
#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_DMA_RUN	1
#define EDU_DMA_TO_RAM	2
#define EDU_MEMORY	0x40000	/* one page */

static int earlier_owner(void)
{
	return system("insmod /modules/memtype_test.ko base=" BASE " size=" RANGE);
}

FIXTURE(duties) {
};

FIXTURE_SETUP(duties)
{
	ASSERT_TRUE(cache_evict(0));
}

FIXTURE_TEARDOWN(duties)
{
	if (!access(CACHE_CARVEOUT_NODE, F_OK))
		EXPECT_EQ(system("rmmod carveout_heap"), 0);
	EXPECT_EQ(earlier_owner(), 0);
}

TEST_F(duties, takeover)
{
	void *p;

	p = cache_map(MEMTYPE_TEST_WB, 0, SIZE, PROT_READ | PROT_WRITE);
	ASSERT_NE(NULL, p);
	cache_clean_inval_new(p, SIZE);
	cache_reset();
	cache_fill(p, SIZE, EARLIER_OWNER);
	ASSERT_EQ(cache_count().fills, LINES);
	ASSERT_EQ(cache_count().write_backs, 0);
	munmap(p, SIZE);
	ASSERT_EQ(system("rmmod memtype_test"), 0);

	cache_evict(16);
	cache_reset();
	ASSERT_EQ(system("insmod /modules/carveout_heap.ko pools=vm0:64M@" BASE), 0);
	p = cache_carveout(SIZE);
	ASSERT_NE(NULL, p);
	cache_expect_own(p, SIZE);
	munmap(p, SIZE);
}

static void map_dma(struct mt_dev *dev, void *p, __u64 iova, size_t size)
{
	struct vfio_iommu_type1_dma_map map = {
		.argsz = sizeof(map), .vaddr = (__u64)p, .iova = iova, .size = size,
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
	};

	TEST_ASSERT(!ioctl(dev->container, VFIO_IOMMU_MAP_DMA, &map),
		    "VFIO_IOMMU_MAP_DMA of %#lx: %s", (unsigned long)iova, strerror(errno));
}

static void unmap_dma(struct mt_dev *dev, __u64 iova, size_t size)
{
	struct vfio_iommu_type1_dma_unmap unmap = {
		.argsz = sizeof(unmap), .iova = iova, .size = size,
	};

	TEST_ASSERT(!ioctl(dev->container, VFIO_IOMMU_UNMAP_DMA, &unmap) &&
		    unmap.size == size, "VFIO_IOMMU_UNMAP_DMA of %#lx: %s",
		    (unsigned long)iova, strerror(errno));
}

/* A page from RAM to the device, or from the device to RAM */
static void edu_dma(struct mt_bar *edu, __u64 src, __u64 dst, __u64 direction)
{
	int tries = 1000;

	WRITE_ONCE(*(__u64 *)(edu->hva + EDU_DMA_SRC), src);
	WRITE_ONCE(*(__u64 *)(edu->hva + EDU_DMA_DST), dst);
	WRITE_ONCE(*(__u64 *)(edu->hva + EDU_DMA_COUNT), SZ_4K);
	WRITE_ONCE(*(__u64 *)(edu->hva + EDU_DMA_CMD), EDU_DMA_RUN | direction);
	while (READ_ONCE(*(__u64 *)(edu->hva + EDU_DMA_CMD)) & EDU_DMA_RUN) {
		TEST_ASSERT(tries--, "edu: DMA from %#lx to %#lx does not end",
			    (unsigned long)src, (unsigned long)dst);
		usleep(10000);
	}
}

static void to_device(struct mt_bar *edu, __u64 iova)
{
	edu_dma(edu, iova, EDU_MEMORY, 0);
}

static void from_device(struct mt_bar *edu, __u64 iova)
{
	edu_dma(edu, EDU_MEMORY, iova, EDU_DMA_TO_RAM);
}

TEST_F(duties, type1_dma)
{
	struct cache_counters c;
	struct mt_bar edu;
	void *p, *pattern;

	MT_SKIP_TO_HARNESS();
	/* What is dirty is to be the device's */
	p = cache_map(MEMTYPE_TEST_WB, 0, DMA_SIZE, PROT_READ | PROT_WRITE);
	ASSERT_NE(NULL, p);
	cache_clean_inval_new(p, DMA_SIZE);
	munmap(p, DMA_SIZE);
	ASSERT_EQ(system("rmmod memtype_test"), 0);
	ASSERT_EQ(system("insmod /modules/carveout_heap.ko pools=vm0:" DMA_POOL "@" BASE), 0);

	p = cache_carveout(DMA_SIZE);
	ASSERT_NE(NULL, p);
	pattern = mt_anon(SZ_4K);
	ASSERT_NE(MAP_FAILED, pattern);
	mt_bar_open(&edu, EDU, 0, MT_TYPE1);
	mt_dev_set_command(&edu.dev, mt_dev_command(&edu.dev) | PCI_COMMAND_MASTER);
	map_dma(&edu.dev, pattern, IOVA_PATTERN, SZ_4K);
	map_dma(&edu.dev, p, IOVA_BUFFER, DMA_SIZE);

	cache_reset();
	for (int i = 0; i < DMA_PAGES; i++) {
		cache_fill(pattern, SZ_4K, DEVICE + i);
		to_device(&edu, IOVA_PATTERN);
		from_device(&edu, IOVA_BUFFER + i * SZ_4K);
	}
	c = cache_count();
	EXPECT_EQ(c.fills, DMA_LINES);
	EXPECT_EQ(c.write_backs, 0);
	/* All of it is in the cache, and not in memory */
	EXPECT_EQ(cache_not_zero(p, DMA_SIZE), 0);
	EXPECT_EQ(cache_count().passed_reads, DMA_WORDS);
	/* Of what the device has itself, this is the first page again, not the last */
	to_device(&edu, IOVA_BUFFER);
	from_device(&edu, IOVA_PATTERN);
	EXPECT_EQ(cache_wrong(pattern, SZ_4K, DEVICE), 0);
	c = cache_count();
	EXPECT_EQ(c.fills, DMA_LINES);
	EXPECT_EQ(c.write_backs, 0);

	unmap_dma(&edu.dev, IOVA_BUFFER, DMA_SIZE);
	unmap_dma(&edu.dev, IOVA_PATTERN, SZ_4K);
	mt_bar_close(&edu);
	mt_unbind(EDU);
	munmap(pattern, SZ_4K);
	EXPECT_EQ(cache_count().write_backs, 0);

	cache_reset();
	munmap(p, DMA_SIZE);
	p = cache_carveout(DMA_SIZE);
	ASSERT_NE(NULL, p);
	/* Not while it was scrubbed, or nothing would be left to come later */
	cache_evict(16);
	cache_expect_own(p, DMA_SIZE);
	munmap(p, DMA_SIZE);
}

TEST_HARNESS_MAIN
