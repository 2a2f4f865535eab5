// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_policy - The administrator's policy vfio_pci_core.nc_prefetchable_only=1
 *
 * With it a BAR that is not prefetchable is Device in the guest whatever the VMM
 * does, and the VMM can see so; a prefetchable one is as it is without.
 */
#include <sys/mman.h>

#include <linux/kvm_memtype.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "bar_memtype.h"
#include "bars.h"
#include "guest.h"
#include "harness.h"
#include "memslot.h"
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

/* Fails, and does not skip: this is the configuration that has the policy */
FIXTURE_SETUP(policy)
{
	MT_SKIP_TO_HARNESS();
	TEST_ASSERT(read_policy() == 'Y', POLICY " is %c", read_policy());
	self->bar = &bars[variant->bar];
	mt_dev_open(&self->dev, self->bar->bdf, variant->iommu);
}

FIXTURE_TEARDOWN(policy)
{
	mt_dev_close(&self->dev);
}

BAR_VARIANTS(policy);

static void expect_stage2(struct mt_dev *dev, const struct bar *bar, const char *type)
{
	const char *unaligned = strcmp(type, S2_DEVICE) ? "ok" : "alignment fault";
	struct vfio_region_info info;
	struct kvm_vcpu *vcpu;
	struct mt_result r;
	struct kvm_vm *vm;
	void *hva;
	u64 size;

	mt_dev_region(dev, bar->index, &info);
	size = min_t(u64, info.size, SZ_4M);
	hva = mt_dev_map(dev, bar->index, 0, size);
	vm = mt_vm_create(&vcpu, size);
	MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, size, hva), 0);
	mt_access_ok(vcpu, MT_LDR, MT_GPA + bar->offset, 0);
	mt_expect_type(vm, MT_GPA + bar->offset, type, NULL);
	mt_expect_outcome(vcpu, MT_LDP, MT_GPA + bar->offset + 4, 0, unaligned);

	/* No way round it through the memslot */
	if (!bar->prefetchable) {
		MT_EXPECT_ERRNO(mt_set_slot(vm, 0, MT_GPA, 0, NULL), 0);
		MT_EXPECT_ERRNO(mt_set_slot(vm, KVM_MEM_NONCACHEABLE, MT_GPA, size, hva), 0);
		r = mt_access(vcpu, MT_LDR, MT_GPA + bar->offset, 0);
		TEST_ASSERT(r.run_errno == EFAULT, "Flagged slot: %s", mt_outcome(&r));
	}
	kvm_vm_free(vm);
	munmap(hva, size);
}

TEST_F(policy, get)
{
	struct vfio_device_feature_region_memtype memtype;
	bool pref = self->bar->prefetchable;

	MT_EXPECT_ERRNO(bar_get_memtype(self->dev.fd, self->bar->index, &memtype), 0);
	TEST_ASSERT_EQ(memtype.flags, pref ? VFIO_REGION_MEMTYPE_PREFETCHABLE : 0);
	TEST_ASSERT_EQ(memtype.supported, pref ?
		       1 << DEFAULT | 1 << STRICT | 1 << WRITE_COMBINE : 1 << STRICT);
	TEST_ASSERT_EQ(memtype.type, pref ? DEFAULT : STRICT);
}

TEST_F(policy, set)
{
	struct vfio_device_feature_region_memtype memtype;
	bool pref = self->bar->prefetchable;
	int fd = self->dev.fd, index = self->bar->index;

	MT_EXPECT_ERRNO(bar_set_memtype(fd, index, STRICT), 0);
	MT_EXPECT_ERRNO(bar_set_memtype(fd, index, DEFAULT), pref ? 0 : -EPERM);
	MT_EXPECT_ERRNO(bar_get_memtype(fd, index, &memtype), 0);
	TEST_ASSERT_EQ(memtype.type, pref ? DEFAULT : STRICT);
	MT_EXPECT_ERRNO(bar_set_memtype(fd, index, WRITE_COMBINE), pref ? 0 : -EINVAL);
	MT_EXPECT_ERRNO(bar_get_memtype(fd, index, &memtype), 0);
	TEST_ASSERT_EQ(memtype.type, pref ? WRITE_COMBINE : STRICT);
	expect_stage2(&self->dev, self->bar, pref ? S2_NC : S2_DEVICE);
}

/* A VMM that has never heard of any of this */
TEST_F(policy, untouched)
{
	expect_stage2(&self->dev, self->bar, self->bar->prefetchable ? S2_NC : S2_DEVICE);
}

/* And after one that had */
TEST_F(policy, next_open)
{
	int index = self->bar->index;
	struct vfio_device_feature_region_memtype memtype;

	MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, index, STRICT), 0);
	mt_dev_close(&self->dev);
	mt_dev_open(&self->dev, self->bar->bdf, variant->iommu);
	MT_EXPECT_ERRNO(bar_get_memtype(self->dev.fd, index, &memtype), 0);
	TEST_ASSERT_EQ(memtype.type, self->bar->prefetchable ? DEFAULT : STRICT);
	expect_stage2(&self->dev, self->bar, self->bar->prefetchable ? S2_NC : S2_DEVICE);
}

TEST_HARNESS_MAIN
