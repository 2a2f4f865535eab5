// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_ranges - Memslots over parts of BARs, and BARs that have none
 *
 * A BAR is not one thing: a slot over a part of it, two slots over two parts at
 * guest addresses that have nothing to do with each other, parts of different
 * memory types, the pages of the MSI-X table left out, BARs smaller than a page
 * that share it, and BARs so large that the size of the mappings matters, which is
 * that of pages or blocks.
 */
#include <sys/mman.h>

#include <linux/kvm_memtype.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "bar_memtype.h"
#include "bars.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"
#include "vfio_dev.h"

static void bar_write(struct mt_dev *dev, int index, u64 offset, u64 val)
{
	struct vfio_region_info info;

	mt_dev_region(dev, index, &info);
	TEST_ASSERT(pwrite(dev->fd, &val, 8, info.offset + offset) == 8,
		    "%s: write to BAR %d: %s", dev->bdf, index, strerror(errno));
}

static void expect_mmio_exit(struct kvm_vcpu *vcpu, u64 gpa)
{
	struct mt_result r = mt_access(vcpu, MT_LDR, gpa, 0);

	TEST_ASSERT(!r.run_errno && r.exit_reason == KVM_EXIT_MMIO,
		    "%#lx: %s, expected an exit for MMIO", (unsigned long)gpa, mt_outcome(&r));
}

FIXTURE(ranges)
{
	struct mt_dev dev;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
};

FIXTURE_VARIANT(ranges)
{
	enum mt_iommu iommu;
};

FIXTURE_VARIANT_ADD(ranges, type1) { .iommu = MT_TYPE1 };
FIXTURE_VARIANT_ADD(ranges, cdev) { .iommu = MT_CDEV };

#define WINDOW	(8 * MT_BLOCK)

FIXTURE_SETUP(ranges)
{
	MT_SKIP_TO_HARNESS();
	mt_require_pfnmap();
	mt_dev_open(&self->dev, memory_bar(SZ_64M)->bdf, variant->iommu);
	self->vm = mt_vm_create(&self->vcpu, WINDOW);
}

FIXTURE_TEARDOWN(ranges)
{
	kvm_vm_free(self->vm);
	mt_dev_close(&self->dev);
}

#define BAR	(memory_bar(SZ_64M)->index)

static void check_part(FIXTURE_DATA(ranges) *self, u64 offset, u64 gpa, u64 size, u64 seed)
{
	u64 at;

	/* First and last word and one in each page: the right ones of the BAR */
	for (at = 0; at < size; at += MT_PAGE - 8) {
		mt_access_ok(self->vcpu, MT_STR, gpa + at, seed + at);
		TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, BAR, offset + at), seed + at);
	}
	bar_write(&self->dev, BAR, offset + size - 8, ~seed);
	TEST_ASSERT_EQ(mt_access_ok(self->vcpu, MT_LDR, gpa + size - 8, 0), ~seed);
	mt_access_ok(self->vcpu, MT_STP, gpa + 20, seed);
	TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, BAR, offset + 20), seed);
	mt_expect_type(self->vm, gpa, S2_NC, NULL);
}

/* The slot ends where it ends, and what is around it in the BAR is left alone */
TEST_F(ranges, part)
{
	const u64 offset = SZ_2M + 5 * MT_PAGE, size = 3 * MT_PAGE;
	const u64 gpa = MT_GPA + 0x123 * MT_PAGE;
	void *hva = mt_dev_map(&self->dev, BAR, offset, size);

	bar_write(&self->dev, BAR, offset - 8, 0x1111);
	bar_write(&self->dev, BAR, offset + size, 0x2222);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, gpa, size, hva), 0);
	check_part(self, offset, gpa, size, 0xabc000);
	expect_mmio_exit(self->vcpu, gpa - 8);
	expect_mmio_exit(self->vcpu, gpa + size);
	TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA, WINDOW, 0), 3);
	TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, BAR, offset - 8), 0x1111);
	TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, BAR, offset + size), 0x2222);
	munmap(hva, size);
}

/* A part of the VMM's mapping, which is of the whole BAR */
TEST_F(ranges, part_of_mapping)
{
	const u64 offset = SZ_4M + 7 * MT_PAGE, size = 4 * MT_PAGE;
	const u64 gpa = MT_GPA + 0x44 * MT_PAGE;
	void *hva = mt_dev_map(&self->dev, BAR, 0, SZ_64M);

	bar_write(&self->dev, BAR, offset + size, 0x2222);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, gpa, size, hva + offset), 0);
	check_part(self, offset, gpa, size, 0xdef000);
	expect_mmio_exit(self->vcpu, gpa + size);
	TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA, WINDOW, MT_PAGE), 4);
	TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, BAR, offset + size), 0x2222);
	munmap(hva, SZ_64M);
}

/*
 * Two parts whose guest addresses agree with neither the host's nor each other
 * beyond the page, the later part of the BAR at the lower address.
 */
TEST_F(ranges, two_slots)
{
	const u64 size = 16 * MT_PAGE;
	const u64 offset[] = { 3 * MT_PAGE, SZ_16M + 9 * MT_PAGE };
	const u64 gpa[] = { MT_GPA + SZ_8M + 5 * MT_PAGE, MT_GPA + 3 * MT_PAGE };
	void *hva[2];
	int i;

	for (i = 0; i < 2; i++) {
		hva[i] = mt_dev_map(&self->dev, BAR, offset[i], size);
		MT_EXPECT_ERRNO(mt_set_slot_nr(self->vm, MT_SLOT + i, 0, gpa[i], size, hva[i]), 0);
	}
	for (i = 0; i < 2; i++)
		check_part(self, offset[i], gpa[i], size, (i + 1) << 20);
	/* Each still has its own */
	for (i = 0; i < 2; i++)
		TEST_ASSERT_EQ(mt_access_ok(self->vcpu, MT_LDR, gpa[i] + MT_PAGE - 8, 0),
			       ((i + 1) << 20) + MT_PAGE - 8);

	MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, gpa[0], 0, NULL), 0);
	expect_mmio_exit(self->vcpu, gpa[0]);
	check_part(self, offset[1], gpa[1], size, 3 << 20);
	munmap(hva[0], size);
	munmap(hva[1], size);
}

/* Each of three parts with a memory type of its own */
TEST_F(ranges, parts_of_different_types)
{
	static const char * const stage2[NR_TYPES] = {
		[DEFAULT] = S2_NC, [STRICT] = S2_DEVICE, [WRITE_COMBINE] = S2_NC,
	};
	const u64 size = 4 * MT_PAGE;
	void *hva[NR_TYPES];
	struct mt_result r;
	u64 gpa;
	u32 type;

	require_memtype(&self->dev);
	for (type = DEFAULT; type < NR_TYPES; type++) {
		gpa = MT_GPA + type * SZ_1M;
		hva[type] = mt_dev_map_as(&self->dev, BAR, type, type * size, size);
		MT_EXPECT_ERRNO(mt_set_slot_nr(self->vm, MT_SLOT + type, 0, gpa, size,
					       hva[type]), 0);
	}
	for (type = DEFAULT; type < NR_TYPES; type++) {
		gpa = MT_GPA + type * SZ_1M;
		mt_access_ok(self->vcpu, MT_STR, gpa, type + 1);
		TEST_ASSERT_EQ(mt_dev_read_word(&self->dev, BAR, type * size), type + 1);
		mt_expect_type(self->vm, gpa, stage2[type], NULL);
		r = mt_access(self->vcpu, MT_LDR, gpa + 1, 0);
		TEST_ASSERT(!strcmp(mt_outcome(&r), type == STRICT ? "alignment fault" : "ok"),
			    "%s: %s", type_names[type], mt_outcome(&r));
	}
	for (type = DEFAULT; type < NR_TYPES; type++)
		munmap(hva[type], size);
}

/*
 * One slot over one address range whose halves are mapped with different types, of
 * the same part of the BAR: each page is what its own mapping says. Then the halves
 * change places under the slot.
 */
TEST_F(ranges, one_slot_of_two_types)
{
	const u64 half = MT_BLOCK;
	struct mt_result r;
	u64 reserved;
	void *hva, *at;
	int i, turn;
	u32 type;

	mt_dev_close(&self->dev);
	mt_dev_open(&self->dev, memory_bar(half)->bdf, variant->iommu);
	require_memtype(&self->dev);
	reserved = (u64)mmap(NULL, 3 * half, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	hva = (void *)align_up(reserved, half);
	for (turn = 0; turn < 4; turn++) {
		for (i = 0; i < 2; i++) {
			type = (i ^ turn) & 1 ? STRICT : WRITE_COMBINE;
			at = mmap(hva + i * half, half, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, self->dev.fd,
				  mt_dev_offset(&self->dev, BAR, type));
			TEST_ASSERT(at == hva + i * half, "mmap: %s", strerror(errno));
		}
		if (!turn)
			MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, MT_GPA, 2 * half, hva), 0);
		for (i = 0; i < 2; i++) {
			type = (i ^ turn) & 1 ? STRICT : WRITE_COMBINE;
			mt_access_ok(self->vcpu, MT_STR, MT_GPA + i * half, turn * 2 + i);
			TEST_ASSERT_EQ(mt_access_ok(self->vcpu, MT_LDR, MT_GPA + !i * half, 0),
				       turn * 2 + i);
			mt_expect_type(self->vm, MT_GPA + i * half,
				       type == STRICT ? S2_DEVICE : S2_NC, NULL);
			r = mt_access(self->vcpu, MT_LDR, MT_GPA + i * half + 1, 0);
			TEST_ASSERT(!strcmp(mt_outcome(&r),
					    type == STRICT ? "alignment fault" : "ok"),
				    "%s: %s", type_names[type], mt_outcome(&r));
		}
	}
	munmap((void *)reserved, 3 * half);
}

/* Table and pending bits of MSI-X, from config space: the whole pages of a BAR */
static u64 msix_pages(struct mt_dev *dev, int index, u64 size)
{
	u8 pos, id, bytes[PCI_MSIX_PBA + 4];
	u64 start, end, pages = 0, at;
	u32 where, entries, i;

	mt_dev_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, PCI_CAPABILITY_LIST, &pos, 1);
	while (pos) {
		mt_dev_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, pos, &id, 1);
		if (id == PCI_CAP_ID_MSIX)
			break;
		mt_dev_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, pos + 1, &pos, 1);
	}
	TEST_ASSERT(pos, "%s has no MSI-X", dev->bdf);
	mt_dev_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, pos, bytes, sizeof(bytes));
	entries = (*(u16 *)(bytes + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1;

	for (i = 0; i < 2; i++) {
		where = *(u32 *)(bytes + (i ? PCI_MSIX_PBA : PCI_MSIX_TABLE));
		if ((where & PCI_MSIX_TABLE_BIR) != index)
			continue;
		start = where & PCI_MSIX_TABLE_OFFSET;
		end = start + (i ? DIV_ROUND_UP(entries, 64) * 8 : entries * PCI_MSIX_ENTRY_SIZE);
		for (at = align_down(start, MT_PAGE); at < end; at += MT_PAGE)
			pages |= BIT(at / MT_PAGE);
	}
	TEST_ASSERT(size / MT_PAGE <= 64, "BAR %d has %#lx bytes", index, (unsigned long)size);
	return pages;
}

/* Wanted are two parts of 4 KiB, the table's and that of the pending bits */
static void check_msix(FIXTURE_DATA(ranges) *self, const struct bar *bar, u64 table, u64 pba)
{
	u64 pages, size, i;
	void *hva;

	size = bar_part(&self->dev, bar->index);
	pages = msix_pages(&self->dev, bar->index, size);
	TEST_ASSERT_EQ(pages, BIT(table * SZ_4K / MT_PAGE) | BIT(pba * SZ_4K / MT_PAGE));
	if (bar_shares_page(&self->dev, bar->index))
		return;

	/* Slots over the rest only, a page each: the VMM emulates the table */
	hva = mt_dev_map(&self->dev, bar->index, 0, size);
	for (i = 0; i < size / MT_PAGE; i++)
		if (!(pages & BIT(i)))
			MT_EXPECT_ERRNO(mt_set_slot_nr(self->vm, MT_SLOT + i, 0,
						       MT_GPA + i * MT_PAGE, MT_PAGE,
						       hva + i * MT_PAGE), 0);
	for (i = 0; i < size / MT_PAGE; i++) {
		if (pages & BIT(i)) {
			expect_mmio_exit(self->vcpu, MT_GPA + i * MT_PAGE);
			TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA + i * MT_PAGE, MT_PAGE, 0), 0);
		} else {
			mt_access_ok(self->vcpu, MT_LDR, MT_GPA + i * MT_PAGE, 0);
			mt_expect_type(self->vm, MT_GPA + i * MT_PAGE, S2_NC, NULL);
		}
	}
	munmap(hva, size);
}

TEST_F(ranges, msix_nvme)
{
	mt_dev_close(&self->dev);
	mt_dev_open(&self->dev, NVME, variant->iommu);
	check_msix(self, &bars[BAR_NVME], 2, 3);
}

TEST_F(ranges, msix_igb)
{
	mt_dev_close(&self->dev);
	mt_dev_open(&self->dev, IGB, variant->iommu);
	check_msix(self, &bars[BAR_IGB_MSIX], 0, 2);
}

/* The registers of two ivshmem devices are in one page: nobody may map it */
TEST_F(ranges, shared_page)
{
	static const char * const bdfs[] = { IVSHMEM, LARGE };
	struct vfio_region_info info;
	int i;

	for (i = 0; i < ARRAY_SIZE(bdfs); i++) {
		mt_dev_close(&self->dev);
		mt_dev_open(&self->dev, bdfs[i], variant->iommu);
		TEST_ASSERT(!bar_has_pages(bdfs[i], 0), "%s: BAR 0 has a page", bdfs[i]);
		mt_dev_region(&self->dev, 0, &info);
		TEST_ASSERT_EQ(info.size, 256);
		bar_expect_no_mmap(&self->dev, 0);
	}
}

#define PAGES_GVA	0x40000000UL

static void check_large(FIXTURE_DATA(ranges) *self, u32 type, u32 flags)
{
	const char *stage2 = type == STRICT ? S2_DEVICE : S2_NC;
	const u64 size = SZ_4G, blocks = SZ_4G / MT_BLOCK;
	struct vfio_region_info info;
	void *hva;
	u64 i;

	mt_dev_close(&self->dev);
	mt_dev_open(&self->dev, LARGE, MT_CDEV);
	if (type != DEFAULT)
		require_memtype(&self->dev);
	TEST_ASSERT(mt_dev_region(&self->dev, BAR, &info) && info.size == size,
		    "BAR of %#llx bytes", info.size);
	hva = type == DEFAULT ? mt_dev_map(&self->dev, BAR, 0, size) :
				mt_dev_map_as(&self->dev, BAR, type, 0, size);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, flags, MT_GPA, size, hva), 0);

	/*
	 * The guest writes the first word of every block, and it is the right
	 * block. It has a page of each, one after the other: page tables for all
	 * of the BAR would be larger than all else it has.
	 */
	for (i = 0; i < blocks; i++)
		virt_pg_map(self->vm, PAGES_GVA + i * MT_PAGE, MT_GPA + i * MT_BLOCK);
	mt_access_ok(self->vcpu, MT_FILL, PAGES_GVA, blocks);
	for (i = 0; i < blocks; i++)
		TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(hva + i * MT_BLOCK)), i);

	TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA, size, MT_BLOCK), blocks);
	TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA, size, 0), blocks);
	TEST_ASSERT_EQ(host_pte(hva).size, MT_BLOCK);
	mt_expect_type(self->vm, MT_GPA, stage2, NULL);
	mt_expect_type(self->vm, MT_GPA + size - MT_BLOCK, stage2, NULL);
	munmap(hva, size);
	TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA, size, 0), 0);
}

FIXTURE(large)
{
	FIXTURE_DATA(ranges) r;
};

FIXTURE_SETUP(large)
{
	MT_SKIP_TO_HARNESS();
	mt_require_pfnmap();
	mt_dev_open(&self->r.dev, LARGE, MT_CDEV);
	self->r.vm = mt_vm_create(&self->r.vcpu, WINDOW);
}

FIXTURE_TEARDOWN(large)
{
	kvm_vm_free(self->r.vm);
	mt_dev_close(&self->r.dev);
}

TEST_F(large, blocks)
{
	check_large(&self->r, DEFAULT, 0);
}

TEST_F(large, blocks_strict)
{
	check_large(&self->r, STRICT, 0);
}

TEST_F(large, blocks_write_combine)
{
	check_large(&self->r, WRITE_COMBINE, 0);
}

TEST_F(large, blocks_write_combine_flag)
{
	mt_require_noncacheable();
	check_large(&self->r, WRITE_COMBINE, KVM_MEM_NONCACHEABLE);
}

/* Host and guest address do not agree within a block: pages, and of those all */
TEST_F(large, pages_where_addresses_disagree)
{
	struct kvm_vm *vm = self->r.vm;
	const u64 pages = 2 * MT_BLOCK / MT_PAGE, gpa = MT_GPA + MT_PAGE;
	void *hva = mt_dev_map(&self->r.dev, BAR, 0, 2 * MT_BLOCK);
	u64 i;

	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, gpa, 2 * MT_BLOCK, hva), 0);
	mt_access_ok(self->r.vcpu, MT_FILL, gpa, pages);
	for (i = 0; i < pages; i++)
		TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(hva + i * MT_PAGE)), i);
	TEST_ASSERT_EQ(s2_count(vm, gpa, 2 * MT_BLOCK, MT_PAGE), pages);
	TEST_ASSERT_EQ(s2_count(vm, gpa, 2 * MT_BLOCK, 0), pages);
	munmap(hva, 2 * MT_BLOCK);
}

/* A slot that starts and ends within blocks has one block and pages around it */
TEST_F(large, blocks_inside)
{
	struct kvm_vm *vm = self->r.vm;
	const u64 offset = MT_BLOCK - 16 * MT_PAGE, size = MT_BLOCK + 32 * MT_PAGE;
	void *hva = mt_dev_map(&self->r.dev, BAR, 0, 4 * MT_BLOCK);

	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA + offset, size, hva + offset), 0);
	mt_access_ok(self->r.vcpu, MT_FILL, MT_GPA + offset, size / MT_PAGE);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, 4 * MT_BLOCK, MT_BLOCK), 1);
	TEST_ASSERT_EQ(s2_count(vm, MT_GPA, 4 * MT_BLOCK, MT_PAGE), 32);
	munmap(hva, 4 * MT_BLOCK);
}

MT_NEEDS(MT_VFIO)

TEST_HARNESS_MAIN
