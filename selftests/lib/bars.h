/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The BARs of the rig's machine that the tests use; see selftests/rig/boot.sh. On any
 * other machine those addresses are somebody else's devices, and the one BAR that may
 * be used is named by BAR=<address of the device>:<index> in the environment.
 */
#ifndef SELFTEST_BARS_H
#define SELFTEST_BARS_H

#include <stdbool.h>
#include <linux/kvm_memtype.h>
#include <linux/types.h>

#include "vfio_dev.h"

/* Its BAR 2 has 64 MiB, that of LARGE 4 GiB, and is memory */
#define IVSHMEM		"0000:00:02.0"
#define BOCHS		"0000:00:03.0"
#define TESTDEV		"0000:00:04.0"
#define EDU		"0000:00:05.0"
#define NVME		"0000:00:06.0"
#define IGB		"0000:00:07.0"
#define LARGE		"0000:00:08.0"
/* Two root ports, a device each; what is behind the second one can be unplugged */
#define PORT		"0000:00:09.0"
#define BEHIND_PORT	"0000:01:00.0"
#define IN_SLOT		"0000:02:00.0"
#define PORT_SLOT	"1"
/* The first virtual function of IGB, when it has some */
#define IGB_VF		"0000:00:17.0"

#define DEFAULT		VFIO_REGION_MEMTYPE_DEFAULT
#define WRITE_COMBINE	VFIO_REGION_MEMTYPE_WC
#define STRICT		VFIO_REGION_MEMTYPE_STRICT
#define NR_TYPES	3
#define ALL_TYPES	(1 << DEFAULT | 1 << WRITE_COMBINE | 1 << STRICT)

struct bar {
	const char *name;
	const char *bdf;
	int index;
	bool prefetchable;
	bool memory;		/* what is written there can be read */
	u32 offset;		/* 256 bytes that do nothing else */
	/*
	 * How far from its natural alignment an access may be. QEMU splits one
	 * that the memory type allows, and not every register takes bytes.
	 */
	u32 misalign;
	const char *pf;		/* of a virtual function */
};

enum {
	BAR_IVSHMEM, BAR_BOCHS, BAR_BOCHS_REGS, BAR_TESTDEV, BAR_TESTDEV_REGS,
	BAR_EDU, BAR_NVME, BAR_CMB, BAR_IGB, BAR_IGB_FLASH, BAR_IGB_MSIX,
	BAR_LARGE, BAR_BEHIND_PORT, BAR_VF, BAR_VF_MSIX, NR_BARS,
	BAR_BOARD = NR_BARS	/* BAR=, known when it has been opened */
};

extern struct bar bars[NR_BARS + 1];
extern const char * const type_names[NR_TYPES];
/* That of the host's entry, as the test module has it, if mapped with the type */
extern const u32 host_types[NR_TYPES];

/* Where a BAR is mapped with a type, made up by hand, not asked for */
#define OFFSET_OF(_index, _type)	((u64)(_type) << 56 | (u64)(_index) << 40)

/*
 * mt_dev_open() of the BAR's device; a virtual function is made, and stays until
 * bars_end(); false if there is none to be had, see mt_vf_create(). BAR= must be memory, or
 * the test is skipped: nobody writes to registers without knowing what they do.
 */
bool bar_open(struct mt_dev *dev, const struct bar *bar, enum mt_iommu iommu);
void bars_end(void);
/* BAR=, NULL if it is not set; the test is skipped if it names no BAR with memory */
const struct bar *board_bar(u64 *size);
/*
 * A BAR that is memory: one of ivshmem in the rig, BAR= elsewhere; the test is skipped
 * where it has less than @size bytes. Or where there is none, a BAR of no device.
 */
const struct bar *memory_bar(u64 size);
const struct bar *memory_bar_or_none(u64 size);

/*
 * Whether vfio-pci lets it be mapped, from where the BARs are: it has whole pages, or what
 * is left of its page is nobody else's
 */
bool bar_has_pages(const char *bdf, int index);
/* It is there for read(), and cannot be mapped, with whatever type */
void bar_expect_no_mmap(struct mt_dev *dev, int index);
/*
 * The same if it has no pages of its own. Large pages have several of the rig's BARs: which
 * ones, the kernel chooses.
 */
bool bar_shares_page(struct mt_dev *dev, int index);

/* How much of it a test maps: 4 MiB, or all, whole pages */
u64 bar_part(struct mt_dev *dev, int index);

/* As mt_dev_map(), with a memory type; by the offset that the feature returns */
void *mt_dev_map_as(struct mt_dev *dev, int index, u32 type, u64 offset, u64 size);
u64 mt_dev_offset(struct mt_dev *dev, int index, u32 type);

/* A fixture with .bar and .iommu: through the group and through the cdev */
#define BAR_VARIANTS_OF(_fixture, _name, _bar)				\
FIXTURE_VARIANT_ADD(_fixture, _name ## _type1) {			\
	.bar = _bar, .iommu = MT_TYPE1					\
};									\
FIXTURE_VARIANT_ADD(_fixture, _name ## _cdev) {				\
	.bar = _bar, .iommu = MT_CDEV					\
}

/* Of each BAR that is there all the time but the large one, which is not for every test */
#define BAR_VARIANTS(_fixture)						\
BAR_VARIANTS_OF(_fixture, ivshmem, BAR_IVSHMEM);			\
BAR_VARIANTS_OF(_fixture, bochs, BAR_BOCHS);				\
BAR_VARIANTS_OF(_fixture, bochs_regs, BAR_BOCHS_REGS);			\
BAR_VARIANTS_OF(_fixture, testdev, BAR_TESTDEV);			\
BAR_VARIANTS_OF(_fixture, testdev_regs, BAR_TESTDEV_REGS);		\
BAR_VARIANTS_OF(_fixture, edu, BAR_EDU);				\
BAR_VARIANTS_OF(_fixture, nvme, BAR_NVME);				\
BAR_VARIANTS_OF(_fixture, cmb, BAR_CMB);				\
BAR_VARIANTS_OF(_fixture, igb, BAR_IGB);				\
BAR_VARIANTS_OF(_fixture, igb_flash, BAR_IGB_FLASH);			\
BAR_VARIANTS_OF(_fixture, igb_msix, BAR_IGB_MSIX);			\
BAR_VARIANTS_OF(_fixture, behind_port, BAR_BEHIND_PORT);		\
BAR_VARIANTS_OF(_fixture, board, BAR_BOARD)

#endif /* SELFTEST_BARS_H */
