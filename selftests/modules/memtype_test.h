/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Interface of /dev/memtype_test, shared by the module and the tests.
 *
 * Every open file describes one way of mapping a range of physical memory that
 * the kernel itself does not map. Configure the file, then mmap() it.
 */
#ifndef _MEMTYPE_TEST_H
#define _MEMTYPE_TEST_H

#include <linux/const.h>
#include <linux/ioctl.h>
#include <linux/types.h>

/* Memory types of a VMA or of a host page-table entry */
#define MEMTYPE_TEST_WB		0	/* Normal Write-Back */
#define MEMTYPE_TEST_NC		1	/* Normal Non-Cacheable */
#define MEMTYPE_TEST_DEVICE	2	/* Device-nGnRE */

/* The driver's grant: VM_ALLOW_ANY_UNCACHED */
#define MEMTYPE_TEST_GRANT	_BITUL(0)
/* Install PMD-sized entries where the alignment allows; vma and pte agree */
#define MEMTYPE_TEST_PMD	_BITUL(1)
/* remap_pfn_range() in mmap(); the only way to get a private writable mapping */
#define MEMTYPE_TEST_POPULATE	_BITUL(2)
/* Entries start read-only and become writable by a write fault */
#define MEMTYPE_TEST_MKWRITE	_BITUL(3)
/* Use the part that has struct pages and a cacheable linear mapping */
#define MEMTYPE_TEST_ALIAS	_BITUL(4)
/* Use RAM of the kernel's instead, which has a cacheable linear mapping, too */
#define MEMTYPE_TEST_RAM	_BITUL(5)

/*
 * Pages move between the range and RAM of the kernel's, as those of a buffer that is
 * evicted from VRAM to system memory and brought back: see MEMTYPE_TEST_EVICT. The
 * file has MEMTYPE_TEST_RAM_PAGES pages. pte_type is the type of what is in the
 * range; entries of what is in RAM are Write-Back.
 */
#define MEMTYPE_TEST_EVICTABLE	_BITUL(6)

/*
 * The offset is a physical address, of one PMD of anything: for an entry that has
 * memory of two kinds, as a driver should not make one. Whoever maps it must not
 * touch what is not his.
 */
#define MEMTYPE_TEST_ANYWHERE	_BITUL(7)

/*
 * The fault handler waits for MEMTYPE_TEST_RELEASE, as one waits for a buffer that its
 * device uses. A signal interrupts it: it says nothing then, and is to be called again.
 */
#define MEMTYPE_TEST_BUSY	_BITUL(8)

/*
 * With MEMTYPE_TEST_MKWRITE: ->pfn_mkwrite() leaves the entry as it is, and says that
 * all is well, as core mm does where the entry has changed meanwhile; two times of
 * three, or each time.
 */
#define MEMTYPE_TEST_RELUCTANT	_BITUL(9)
#define MEMTYPE_TEST_STUBBORN	_BITUL(10)

#define MEMTYPE_TEST_FLAGS	(MEMTYPE_TEST_GRANT | MEMTYPE_TEST_PMD |	\
				 MEMTYPE_TEST_POPULATE | MEMTYPE_TEST_MKWRITE |	\
				 MEMTYPE_TEST_ALIAS | MEMTYPE_TEST_RAM |	\
				 MEMTYPE_TEST_EVICTABLE | MEMTYPE_TEST_ANYWHERE |	\
				 MEMTYPE_TEST_BUSY | MEMTYPE_TEST_RELUCTANT |	\
				 MEMTYPE_TEST_STUBBORN)

/* Size of the part behind MEMTYPE_TEST_ALIAS, at the end of the range */
#define MEMTYPE_TEST_ALIAS_SIZE	(4 << 20)

/* Pages of what is behind MEMTYPE_TEST_RAM, one to a file */
#define MEMTYPE_TEST_RAM_PAGES	16

/**
 * struct memtype_test_config - how the next mmap() of this file maps
 * @offset: what file offset 0 is, in bytes from the start of the range
 * @vma_type: MEMTYPE_TEST_* for the VMA's page protection
 * @pte_type: MEMTYPE_TEST_* for the entries
 * @flags: MEMTYPE_TEST_GRANT and so on
 * @pad: must be zero
 */
struct memtype_test_config {
	__u64 offset;
	__u32 vma_type;
	__u32 pte_type;
	__u32 flags;
	__u32 pad;
};

/**
 * struct memtype_test_zap - remove the entries of a range, as a driver would
 * @offset: file offset in bytes
 * @size: in bytes
 */
struct memtype_test_zap {
	__u64 offset;
	__u64 size;
};

/**
 * struct memtype_test_evict - move pages of a MEMTYPE_TEST_EVICTABLE file
 * @offset: file offset in bytes
 * @size: in bytes
 * @to_ram: 1 to system memory, 0 back to the range; what is there already stays
 * @pad: must be zero
 *
 * The entries are removed, the content is copied, and the next access finds it
 * where it is then.
 */
struct memtype_test_evict {
	__u64 offset;
	__u64 size;
	__u32 to_ram;
	__u32 pad;
};

/**
 * struct memtype_test_wrprotect - write-protect entries again, as drivers do that
 *	want to see the next write to a page as well
 * @offset: file offset in bytes
 * @size: in bytes
 * @nr: how many entries were writable, or dirty, and are so no more, out
 * @pad: must be zero
 */
struct memtype_test_wrprotect {
	__u64 offset;
	__u64 size;
	__u32 nr;
	__u32 pad;
};

/**
 * struct memtype_test_pte - the host entry at a user address
 * @addr: user address, in; huge pages only in a PFNMAP VMA
 * @phys: physical address, out
 * @size: bytes that the entry maps, out
 * @attr_index: index into MAIR_EL1 as the hardware sees it, out
 * @type: the same as MEMTYPE_TEST_*, out
 * @writable: out
 * @cont: the entry is folded into a contiguous mapping with those beside it, out
 */
struct memtype_test_pte {
	__u64 addr;
	__u64 phys;
	__u64 size;
	__u32 attr_index;
	__u32 type;
	__u32 writable;
	__u32 cont;
};

#define MEMTYPE_TEST_CONFIG	_IOW('M', 0x40, struct memtype_test_config)
#define MEMTYPE_TEST_ZAP	_IOW('M', 0x41, struct memtype_test_zap)
#define MEMTYPE_TEST_GET_PTE	_IOWR('M', 0x42, struct memtype_test_pte)
#define MEMTYPE_TEST_EVICT	_IOW('M', 0x43, struct memtype_test_evict)
#define MEMTYPE_TEST_WRPROTECT	_IOWR('M', 0x44, struct memtype_test_wrprotect)

/* The file is busy no more; returns how often the fault handler was interrupted */
#define MEMTYPE_TEST_RELEASE	_IO('M', 0x45)

#endif /* _MEMTYPE_TEST_H */
