// SPDX-License-Identifier: GPL-2.0
/*
 * carveout_show - A pool in use by a guest: what it looks like from all sides
 *
 * Prints; carveout_kvm is the test.
 */
#include <fcntl.h>
#include <sys/mman.h>

#include "kselftest.h"
#include "memtype.h"

#include "carveout.h"

#define SIZE	SZ_4M

static void show_pool(const struct pool *pool, const char *when)
{
	struct pool_counters c = pool_counters(pool);

	printf("%-21s %10llu %10llu %10llu %8llu %10llu\n", when, c.total >> 10, c.free >> 10,
	       c.largest >> 10, c.buffers, c.high_water >> 10);
}

static void show_slot(void *hva, bool flag)
{
	const char *type = "-", *leaf = "-", *access = "-";
	char slot[32] = "accepted";
	struct s2_range range;
	struct kvm_vcpu *vcpu;
	struct mt_result r;
	struct kvm_vm *vm;
	int ret;

	vm = mt_vm_create(&vcpu, SIZE);
	ret = mt_set_slot(vm, flag ? KVM_MEM_NONCACHEABLE : 0, MT_GPA, SIZE, hva);
	if (ret) {
		snprintf(slot, sizeof(slot), "refused (%d)", ret);
	} else {
		r = mt_access(vcpu, MT_STR, MT_GPA + 1, 0x1234);
		access = mt_outcome(&r);
		if (!s2_dump_exists(vm)) {
			type = "(no dump)";
		} else if (s2_find(vm, MT_GPA, &range)) {
			type = *range.type ? range.type : "(not printed)";
			leaf = range.leaf_size == SZ_2M ? "2M" : "4K";
		} else {
			type = "not mapped";
		}
	}
	printf("%-33s %-4s %-16s %-14s %-4s %s\n", "a buffer of the pool", flag ? "yes" : "no",
	       slot, type, leaf, access);
	kvm_vm_free(vm);
}

int main(void)
{
	struct pool pool;
	int heap, buf;
	void *hva;

	setbuf(stdout, NULL);
	if (!pool_find(&pool))
		ksft_exit_skip("no pool: is carveout_heap loaded?\n");
	heap = pool_open(&pool);
	TEST_ASSERT(heap >= 0, "%s: %s", pool.path, strerror(errno));

	printf("%-21s %10s %10s %10s %8s %10s\n", pool.path + strlen("/dev/dma_heap/"),
	       "total KiB", "free", "largest", "buffers", "high water");
	show_pool(&pool, "before");
	buf = heap_alloc(heap, SIZE);
	TEST_ASSERT(buf >= 0, "Buffer: %s", strerror(-buf));
	hva = map_shared(buf, SIZE);
	TEST_ASSERT(hva, "mmap: %s", strerror(errno));
	WRITE_ONCE(*(u64 *)hva, 0);
	show_pool(&pool, "a buffer for a guest");
	printf("\nbuffer of %lu KiB at physical %#llx\n\n", (unsigned long)SIZE >> 10,
	       (unsigned long long)phys_of(hva));
	printf("%-33s %-4s %-16s %-14s %-4s %s\n", "memory behind the slot", "flag", "slot",
	       "stage 2", "leaf", "the guest's unaligned store");
	show_slot(hva, false);
	show_slot(hva, true);
	munmap(hva, SIZE);
	close(buf);
	printf("\n");
	show_pool(&pool, "after");
	return 0;
}
