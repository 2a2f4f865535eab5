// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_show - A table of BARs, the memory types they are mapped with, and the effect
 *
 * For each BAR that is passed through and each type: does it have it, which type
 * has the host's entry and which the one at stage 2, and what did the guest's
 * unaligned store do. Prints; vfio_types is the test.
 */
#include <sys/mman.h>

#include <linux/kvm_memtype.h>

#include "kselftest.h"

#include "backing.h"
#include "bar_memtype.h"
#include "bars.h"
#include "guest.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"
#include "vfio_dev.h"

#define FORMAT	"%-16s %d  %-4s %-14s %-10s %-14s %s\n"

static const char * const host_names[] = {
	[MEMTYPE_TEST_WB] = "Normal-WB",
	[MEMTYPE_TEST_NC] = "Normal-NC",
	[MEMTYPE_TEST_DEVICE] = "Device",
};

static void show(const struct bar *bar, u32 type)
{
	const char *host = "-", *stage2 = "-", *access = "-", *pref = "?";
	struct vfio_device_feature_region_memtype memtype;
	struct s2_range range;
	struct kvm_vcpu *vcpu;
	struct mt_result r;
	char refused[32];
	struct mt_dev dev;
	struct kvm_vm *vm;
	void *hva;
	u64 size;
	int ret;

	if (!bar_open(&dev, bar, MT_CDEV))
		return;
	ret = bar_get_memtype(dev.fd, bar->index, DEFAULT, &memtype);
	if (!ret) {
		pref = memtype.info & VFIO_REGION_MEMTYPE_INFO_PREFETCHABLE ? "yes" : "no";
		ret = bar_get_memtype(dev.fd, bar->index, type, &memtype);
	}
	if (ret) {
		snprintf(refused, sizeof(refused), "refused (%d)", -ret);
		printf(FORMAT, bar->name, bar->index, pref, type_names[type], refused,
		       stage2, access);
		mt_dev_close(&dev);
		return;
	}

	size = bar_part(&dev, bar->index);
	hva = mt_dev_map_as(&dev, bar->index, type, 0, size);
	vm = mt_vm_create(&vcpu, size);
	if (!mt_set_slot(vm, 0, MT_GPA, size, hva)) {
		r = mt_access(vcpu, MT_STR, MT_GPA + bar->offset + bar->misalign, 1);
		access = mt_outcome(&r);
		host = host_names[host_pte(hva + align_down(bar->offset, MT_PAGE)).type];
		if (s2_find(vm, MT_GPA + bar->offset, &range))
			stage2 = *range.type ? range.type : "(not printed)";
	}
	printf(FORMAT, bar->name, bar->index, pref, type_names[type], host, stage2, access);
	kvm_vm_free(vm);
	munmap(hva, size);
	mt_dev_close(&dev);
}

int main(void)
{
	int i, type;

	setbuf(stdout, NULL);
	printf("%-14s BAR  %-4s %-14s %-10s %-14s %s\n", "device", "pref", "mapped as",
	       "host PTE", "stage 2", "the guest's unaligned store");
	for (i = 0; i < NR_BARS; i++)
		for (type = 0; type < NR_TYPES; type++)
			show(&bars[i], type);
	bars_end();
	return 0;
}
