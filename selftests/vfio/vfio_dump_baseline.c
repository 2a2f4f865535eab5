// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_dump_baseline - Host and stage-2 entries of every BAR, nothing asked for
 *
 * Writes to a file (/results/vfio_dump_baseline, or the first argument) what
 * mmap() of each BAR that is passed through gives, and what a memslot over it
 * has at stage 2: the host's entry, the stage-2 entry, and how the guest's
 * accesses end, which tells the memory type to a kernel that does not print it.
 * The file of a kernel with VFIO_DEVICE_FEATURE_REGION_MEMTYPE has to be that of
 * one without, byte by byte.
 */
#include <libgen.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <linux/vfio.h>

#include "kselftest.h"

#include "backing.h"
#include "bars.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"
#include "vfio_dev.h"

static FILE *out;

static void print_access(struct kvm_vcpu *vcpu, enum mt_op op, u64 offset, u64 val)
{
	struct mt_result r = mt_access(vcpu, op, MT_GPA + offset, val);

	fprintf(out, "    %s at %#lx: %s\n", mt_op_names[op], (unsigned long)offset,
		mt_outcome(&r));
}

static void dump_bar(const struct bar *bar, struct mt_dev *dev, enum mt_iommu iommu)
{
	struct memtype_test_pte pte;
	struct vfio_region_info info;
	struct s2_range *ranges;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	u64 size, page;
	size_t i, nr;
	void *hva;

	fprintf(out, "%s BAR %d (%s), %s\n", bar->bdf, bar->index, bar->name,
		mt_iommu_names[iommu]);
	mt_dev_region(dev, bar->index, &info);
	fprintf(out, "  region: %#llx bytes, flags %#x\n", info.size, info.flags);
	if (bar_shares_page(dev, bar->index))
		return;
	size = bar_part(dev, bar->index);
	page = align_down(bar->offset, MT_PAGE);
	hva = mt_dev_map(dev, bar->index, 0, size);

	vm = mt_vm_create(&vcpu, size);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, size, hva), 0);
	fprintf(out, "  guest\n");
	print_access(vcpu, MT_LDR, bar->offset, 0);
	print_access(vcpu, MT_STR, bar->offset + 8, 1);
	print_access(vcpu, MT_LDR, bar->offset + bar->misalign, 0);
	print_access(vcpu, MT_STR, bar->offset + 8 + bar->misalign, 1);
	print_access(vcpu, MT_LDP, bar->offset + 4, 0);
	print_access(vcpu, MT_STP, bar->offset + 36, 1);

	pte = host_pte(hva + page);
	fprintf(out, "  host: attribute %u, %#llx bytes, %s\n", pte.attr_index, pte.size,
		pte.writable ? "writable" : "read-only");
	nr = s2_dump(vm, MT_GPA, size, &ranges);
	for (i = 0; i < nr; i++)
		fprintf(out, "  stage 2: %#lx-%#lx by %#lx: %s\n",
			(unsigned long)(ranges[i].start - MT_GPA),
			(unsigned long)(ranges[i].end - MT_GPA),
			(unsigned long)ranges[i].leaf_size, ranges[i].perms);
	free(ranges);
	kvm_vm_free(vm);
	munmap(hva, size);
}

int main(int argc, char *argv[])
{
	char *path = argc > 1 ? argv[1] : "/results/vfio_dump_baseline";
	enum mt_iommu iommu;
	struct mt_dev dev;
	int i;

	mt_require_pfnmap();
	mkdir(dirname(strdupa(path)), 0755);
	out = fopen(path, "w");
	TEST_ASSERT(out, "%s: %s", path, strerror(errno));
	for (i = 0; i < NR_BARS; i++) {
		for (iommu = MT_TYPE1; iommu < MT_NR_IOMMUS; iommu++) {
			if (!bar_open(&dev, &bars[i], iommu))
				continue;
			dump_bar(&bars[i], &dev, iommu);
			mt_dev_close(&dev);
		}
	}
	bars_end();
	TEST_ASSERT(!fclose(out), "%s: %s", path, strerror(errno));
	printf("wrote %s\n", path);
	return 0;
}
