// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_policy - The administrator's policy vfio_pci_core.strict_bars=1
 *
 * With it every BAR is Device in the guest whatever the VMM does, prefetchable or
 * not, and the VMM can see so. A BAR that has no page of its own cannot be mapped.
 */
#include <sys/mman.h>

#include <linux/kvm_memtype.h>

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

FIXTURE(policy)
{
	const struct bar *bar;
	struct mt_dev dev;
};

FIXTURE_VARIANT(policy)
{
	int bar;
	enum mt_iommu iommu;
};

/* In the rig it fails, and does not skip: this is the configuration that has the policy */
FIXTURE_SETUP(policy)
{
	MT_SKIP_TO_HARNESS();
	if (read_policy() != 'Y')
		mt_rig_only("strict_bars is %c", read_policy());
	TEST_ASSERT(read_policy() == 'Y', POLICY " is %c", read_policy());
	self->bar = &bars[variant->bar];
	bar_open(&self->dev, self->bar, variant->iommu);
}

FIXTURE_TEARDOWN(policy)
{
	mt_dev_close(&self->dev);
}

BAR_VARIANTS(policy);

static void expect_device(struct mt_dev *dev, const struct bar *bar, void *hva, u64 size)
{
	struct kvm_vcpu *vcpu;
	struct mt_result r;
	struct kvm_vm *vm;

	TEST_ASSERT_EQ(host_pte(hva + align_down(bar->offset, MT_PAGE)).type,
		       MEMTYPE_TEST_DEVICE);
	vm = mt_vm_create(&vcpu, size);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, size, hva), 0);
	mt_access_ok(vcpu, MT_LDR, MT_GPA + bar->offset, 0);
	mt_expect_type(vm, MT_GPA + bar->offset, S2_DEVICE, NULL);
	mt_expect_outcome(vcpu, MT_LDP, MT_GPA + bar->offset + 4, 0, "alignment fault");

	/* No way round it through the memslot */
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, 0, NULL), 0);
	MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, size, hva), 0);
	r = mt_access(vcpu, MT_LDR, MT_GPA + bar->offset, 0);
	TEST_ASSERT(r.run_errno == EFAULT, "Flagged slot: %s", mt_outcome(&r));
	kvm_vm_free(vm);
}

static bool cannot_be_mapped(FIXTURE_DATA(policy) *self)
{
	return bar_shares_page(&self->dev, self->bar->index);
}

TEST_F(policy, get)
{
	struct vfio_device_feature_region_memtype memtype;
	int fd = self->dev.fd, index = self->bar->index;
	static const u32 types[] = { DEFAULT, STRICT };
	u32 info = VFIO_REGION_MEMTYPE_INFO_STRICT_ONLY;
	int i;

	if (cannot_be_mapped(self))
		return;
	if (self->bar->prefetchable)
		info |= VFIO_REGION_MEMTYPE_INFO_PREFETCHABLE;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		MT_EXPECT_ERRNO(bar_get_memtype(fd, index, types[i], &memtype), 0);
		TEST_ASSERT_EQ(memtype.info, info);
		TEST_ASSERT_EQ(memtype.supported, 1 << DEFAULT | 1 << STRICT);
		TEST_ASSERT_EQ(memtype.offset, OFFSET_OF(index, types[i]));
	}
	MT_EXPECT_ERRNO(bar_get_memtype(fd, index, WRITE_COMBINE, &memtype), -EPERM);
	MT_EXPECT_ERRNO(bar_get_memtype(fd, index, NR_TYPES, &memtype), -EINVAL);
}

/* Nor by an offset that was not asked for */
TEST_F(policy, write_combine)
{
	void *hva;

	if (cannot_be_mapped(self))
		return;
	hva = mmap(NULL, MT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, self->dev.fd,
		   OFFSET_OF(self->bar->index, WRITE_COMBINE));
	MT_EXPECT_ERRNO(hva == MAP_FAILED ? errno : 0, EPERM);
}

/* A VMM that has never heard of any of this */
TEST_F(policy, untouched)
{
	u64 size = bar_part(&self->dev, self->bar->index);
	void *hva;

	if (cannot_be_mapped(self))
		return;
	hva = mt_dev_map(&self->dev, self->bar->index, 0, size);
	expect_device(&self->dev, self->bar, hva, size);
	munmap(hva, size);
}

TEST_F(policy, strict)
{
	u64 size = bar_part(&self->dev, self->bar->index);
	void *hva;

	if (cannot_be_mapped(self))
		return;
	hva = mt_dev_map_as(&self->dev, self->bar->index, STRICT, 0, size);
	expect_device(&self->dev, self->bar, hva, size);
	munmap(hva, size);
}

/* What the administrator sees, who has debugfs */
TEST_F(policy, debugfs)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/kernel/debug/vfio/%s/pci/strict_bars",
		 self->bar->bdf);
	f = fopen(path, "r");
	TEST_ASSERT(f, "%s: %s", path, strerror(errno));
	TEST_ASSERT_EQ(fgetc(f), 'Y');
	fclose(f);
}

MT_NEEDS(MT_VFIO)

TEST_HARNESS_MAIN
