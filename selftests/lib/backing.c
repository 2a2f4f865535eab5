// SPDX-License-Identifier: GPL-2.0
/* Memory for the tests to put behind a memslot; see backing.h */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <linux/sizes.h>

#include "backing.h"
#include "harness.h"
#include "kvm_util.h"
#include "pages.h"

#define HUGETLB	"/sys/kernel/mm/hugepages/hugepages-%lukB/%s"

int mt_test_open(const struct memtype_test_config *config)
{
	int fd = open("/dev/memtype_test", O_RDWR | O_CLOEXEC);
	int ret;

	if (fd < 0)
		mt_skip("/dev/memtype_test: %s", strerror(errno));

	ret = ioctl(fd, MEMTYPE_TEST_CONFIG, config);
	TEST_ASSERT(!ret, "MEMTYPE_TEST_CONFIG: %s", strerror(errno));
	return fd;
}

u64 mt_test_size(const struct memtype_test_config *config, u64 size)
{
	if (config->flags & MEMTYPE_TEST_RAM)
		return min_t(u64, size, MEMTYPE_TEST_RAM_SIZE);
	if (config->flags & MEMTYPE_TEST_ALIAS)
		return min_t(u64, size, MEMTYPE_TEST_ALIAS_SIZE);
	return size;
}

/* Reserve too much, then map at an address of the wanted alignment */
static void *mt_mmap_aligned(u64 size, int prot, int flags, int fd, u64 offset)
{
	u64 align = MT_BLOCK, len = size + align;
	void *hva;
	u64 addr;

	hva = mmap(NULL, len, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	TEST_ASSERT(hva != MAP_FAILED, "Address space of %#lx bytes: %s",
		    (unsigned long)len, strerror(errno));

	addr = align_up((u64)hva, align) + (offset & (align - 1));
	if (addr + size > (u64)hva + len)
		addr -= align;
	munmap(hva, len);
	return mmap((void *)addr, size, prot, flags | MAP_FIXED, fd, offset);
}

void *mt_mmap(int fd, u64 size, int prot, int flags, u64 offset)
{
	void *hva = mt_mmap_aligned(size, prot, flags, fd, offset);

	TEST_ASSERT(hva != MAP_FAILED, "mmap of %#lx bytes: %s",
		    (unsigned long)size, strerror(errno));
	return hva;
}

void mt_zap(int fd, u64 offset, u64 size)
{
	struct memtype_test_zap zap = { .offset = offset, .size = size };

	TEST_ASSERT(!ioctl(fd, MEMTYPE_TEST_ZAP, &zap), "MEMTYPE_TEST_ZAP: %s",
		    strerror(errno));
}

void mt_evict(int fd, u64 offset, u64 size, bool to_ram)
{
	struct memtype_test_evict evict = {
		.offset = offset, .size = size, .to_ram = to_ram,
	};

	TEST_ASSERT(!ioctl(fd, MEMTYPE_TEST_EVICT, &evict), "MEMTYPE_TEST_EVICT: %s",
		    strerror(errno));
}

unsigned int mt_wrprotect(int fd, u64 offset, u64 size)
{
	struct memtype_test_wrprotect wp = { .offset = offset, .size = size };

	TEST_ASSERT(!ioctl(fd, MEMTYPE_TEST_WRPROTECT, &wp), "MEMTYPE_TEST_WRPROTECT: %s",
		    strerror(errno));
	return wp.nr;
}

struct memtype_test_pte mt_host_pte(int fd, void *hva)
{
	struct memtype_test_pte pte = { .addr = (u64)hva };

	(void)READ_ONCE(*(u64 *)hva);
	TEST_ASSERT(!ioctl(fd, MEMTYPE_TEST_GET_PTE, &pte),
		    "MEMTYPE_TEST_GET_PTE: %s", strerror(errno));
	return pte;
}

void *mt_anon(u64 size)
{
	return mt_mmap_aligned(size, PROT_READ | PROT_WRITE,
			       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static unsigned long hugetlb_number(const char *name)
{
	unsigned long n = 0;
	char path[96];
	FILE *f;

	snprintf(path, sizeof(path), HUGETLB, (unsigned long)(MT_BLOCK / SZ_1K), name);
	f = fopen(path, "r");
	if (f && fscanf(f, "%lu", &n) != 1)
		n = 0;
	if (f)
		fclose(f);
	return n;
}

/* There are more then, never less: others may have reserved theirs */
static void hugetlb_want(unsigned long nr)
{
	unsigned long available = hugetlb_number("free_hugepages");
	char path[96];
	FILE *f;

	if (available >= nr)
		return;
	snprintf(path, sizeof(path), HUGETLB, (unsigned long)(MT_BLOCK / SZ_1K), "nr_hugepages");
	f = fopen(path, "w");
	if (!f)
		return;
	fprintf(f, "%lu\n", hugetlb_number("nr_hugepages") + nr - available);
	fclose(f);
}

void *mt_hugetlb(u64 size)
{
	void *hva;

	hugetlb_want(size / MT_BLOCK);
	hva = mmap(NULL, size, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB |
		   __builtin_ctzl(MT_BLOCK) << MAP_HUGE_SHIFT, -1, 0);
	return hva == MAP_FAILED ? NULL : hva;
}

struct memtype_test_pte host_pte(void *hva)
{
	static const struct memtype_test_config config;
	static int fd = -1;

	if (fd < 0)
		fd = mt_test_open(&config);
	return mt_host_pte(fd, hva);
}
