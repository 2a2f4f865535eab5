// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_types - The memory type of a BAR: host, stage 2 and what the guest sees
 *
 * Every BAR of every device that is passed through, mapped with every type, one at a
 * time and with others beside it: the type of the host's page-table entry, the type at
 * stage 2 without and with KVM_MEM_NONCACHEABLE, and the accesses that tell Device from
 * Normal. What the guest writes is read by the VMM, through its mapping and through
 * read() of the device, and the other way round. A BAR that has no page of its own cannot
 * be mapped at all.
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

static const char * const stage2_types[NR_TYPES] = {
	[DEFAULT] = S2_NC, [STRICT] = S2_DEVICE, [WRITE_COMBINE] = S2_NC,
};

FIXTURE(bar)
{
	const struct bar *bar;
	struct mt_dev dev;
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	u64 offset;		/* of the memslot in the BAR */
	u64 size;
	u64 gpa;		/* of what may be accessed */
	bool absent;		/* the kernel makes no such function */
};

FIXTURE_VARIANT(bar)
{
	int bar;
	enum mt_iommu iommu;
};

FIXTURE_SETUP(bar)
{
	MT_SKIP_TO_HARNESS();
	mt_require_pfnmap();
	/* That is vfio_policy's, who knows what to expect then */
	require_free_choice();
	self->bar = &bars[variant->bar];
	self->absent = !bar_open(&self->dev, self->bar, variant->iommu);
	if (self->absent)
		return;
	self->size = bar_part(&self->dev, self->bar->index);
	self->gpa = MT_GPA + self->bar->offset;
	self->vm = mt_vm_create(&self->vcpu, self->size);
}

FIXTURE_TEARDOWN(bar)
{
	if (self->absent)
		return;
	kvm_vm_free(self->vm);
	mt_dev_close(&self->dev);
}

BAR_VARIANTS(bar);
BAR_VARIANTS_OF(bar, large, BAR_LARGE);
BAR_VARIANTS_OF(bar, vf, BAR_VF);
BAR_VARIANTS_OF(bar, vf_msix, BAR_VF_MSIX);

/* Through the device's descriptor: another mapping, made by the kernel */
static u8 read_byte(struct mt_dev *dev, int index, u64 offset)
{
	u8 byte;

	mt_dev_read(dev, index, offset, &byte, 1);
	return byte;
}

static void expect_copy(struct mt_dev *dev, const struct bar *bar, const u8 *hva,
			u64 offset, u64 len)
{
	u64 i;

	for (i = 0; i < len; i++) {
		TEST_ASSERT(READ_ONCE(hva[offset + i]) == mt_copy_byte(i),
			    "Byte %lu of the guest's copy is %#x in the VMM's mapping",
			    (unsigned long)i, READ_ONCE(hva[offset + i]));
		TEST_ASSERT_EQ(read_byte(dev, bar->index, offset + i), mt_copy_byte(i));
	}
}

/*
 * 256 bytes from bar->offset on. The registers of some devices take no access
 * smaller than 4 bytes, hence every offset and length is a multiple of misalign.
 */
static void check_accesses(struct mt_dev *dev, const struct bar *bar,
			   struct kvm_vcpu *vcpu, u8 *hva, const char *type)
{
	const char *unaligned = strcmp(type, S2_DEVICE) ? "ok" : "alignment fault";
	u64 gpa = MT_GPA + bar->offset, m = bar->misalign;
	u64 len = 64 - m;

	mt_expect_outcome(vcpu, MT_STR, gpa + 8, 0x1122334455667788, "ok");
	mt_expect_outcome(vcpu, MT_LDR, gpa + 8, 0, "ok");
	mt_expect_outcome(vcpu, MT_STP, gpa + 16, 0x55, "ok");
	mt_expect_outcome(vcpu, MT_LDP, gpa + 16, 0, "ok");
	if (bar->memory) {
		TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(hva + bar->offset + 8)), 0x1122334455667788);
		TEST_ASSERT_EQ(read_byte(dev, bar->index, bar->offset + 9), 0x77);
		WRITE_ONCE(*(u64 *)(hva + bar->offset + 8), 0x8877665544332211);
		TEST_ASSERT_EQ(mt_access_ok(vcpu, MT_LDR, gpa + 8, 0), 0x8877665544332211);
	}

	mt_expect_outcome(vcpu, MT_LDR, gpa + 8 + m, 0, unaligned);
	mt_expect_outcome(vcpu, MT_STR, gpa + 32 + m, 0x1234, unaligned);
	mt_expect_outcome(vcpu, MT_LDP, gpa + 4, 0, unaligned);
	mt_expect_outcome(vcpu, MT_STP, gpa + 64 + 4, 0x5678, unaligned);
	mt_expect_outcome(vcpu, MT_COPY, gpa + 128 + m, len, unaligned);
	if (bar->memory && strcmp(type, S2_DEVICE)) {
		TEST_ASSERT_EQ(READ_ONCE(*(u16 *)(hva + bar->offset + 64 + 4)), 0x5678);
		TEST_ASSERT_EQ(mt_access_ok(vcpu, MT_LDR, gpa + 64 + 4, 0), 0x5678);
		expect_copy(dev, bar, hva, bar->offset + 128 + m, len);
	}

	/* An aligned copy is right with every type */
	mt_expect_outcome(vcpu, MT_COPY, gpa + 192, 64, "ok");
	if (bar->memory)
		expect_copy(dev, bar, hva, bar->offset + 192, 64);
}

static void check_stage2(struct kvm_vm *vm, u64 gpa, const char *type)
{
	struct s2_range range;

	TEST_ASSERT(s2_find(vm, gpa, &range), "%#lx is not mapped", (unsigned long)gpa);
	/* The unpatched kernel does not print it; the accesses tell there */
	if (*range.type || kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE))
		TEST_ASSERT(!strcmp(range.type, type), "Stage 2 is '%s', expected '%s'",
			    range.type, type);
	TEST_ASSERT(range.xn, "Stage 2 is executable (%s)", range.perms);
}

static void check_slot(FIXTURE_DATA(bar) *self, void *hva, u32 type, u32 flags)
{
	struct memtype_test_pte pte;
	struct mt_result r;

	MT_EXPECT_ERRNO(mt_set_slot(self->vm, flags, MT_GPA, self->size, hva), 0);
	r = mt_access(self->vcpu, MT_LDR, self->gpa, 0);

	/* There is no Normal-NC where the VMM gave up the permission */
	if (type == STRICT && flags & KVM_MEM_NONCACHEABLE) {
		TEST_ASSERT(r.run_errno == EFAULT && r.exit_reason == KVM_EXIT_MEMORY_FAULT,
			    "Expected a memory fault, got: %s", mt_outcome(&r));
		TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA, self->size, 0), 0);
	} else {
		TEST_ASSERT(!strcmp(mt_outcome(&r), "ok"), "The guest's first read: %s",
			    mt_outcome(&r));
		check_stage2(self->vm, self->gpa, stage2_types[type]);
		check_accesses(&self->dev, self->bar, self->vcpu, hva, stage2_types[type]);
		check_stage2(self->vm, self->gpa, stage2_types[type]);
	}
	pte = host_pte(hva + align_down(self->bar->offset, MT_PAGE));
	TEST_ASSERT(pte.type == host_types[type], "Host type %u (index %u), expected %u",
		    pte.type, pte.attr_index, host_types[type]);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, MT_GPA, 0, NULL), 0);
}

static void check_mapping(FIXTURE_DATA(bar) *self, void *hva, u32 type)
{
	check_slot(self, hva, type, 0);
	if (kvm_has_cap(KVM_CAP_MEM_NONCACHEABLE))
		check_slot(self, hva, type, KVM_MEM_NONCACHEABLE);
}

/* Nothing but that has been seen to, then */
static bool cannot_be_mapped(FIXTURE_DATA(bar) *self)
{
	return self->absent || bar_shares_page(&self->dev, self->bar->index);
}

static void expect_memtype(FIXTURE_DATA(bar) *self, u32 type)
{
	struct vfio_device_feature_region_memtype memtype;

	require_memtype(&self->dev);
	MT_EXPECT_ERRNO(bar_get_memtype(self->dev.fd, self->bar->index, type, &memtype), 0);
	TEST_ASSERT_EQ(memtype.region_index, self->bar->index);
	TEST_ASSERT_EQ(memtype.memtype, type);
	TEST_ASSERT_EQ(memtype.info, self->bar->prefetchable ?
		       VFIO_REGION_MEMTYPE_INFO_PREFETCHABLE : 0);
	TEST_ASSERT_EQ(memtype.supported, ALL_TYPES);
	TEST_ASSERT_EQ(memtype.offset, OFFSET_OF(self->bar->index, type));
}

static void check_type(FIXTURE_DATA(bar) *self, u32 type)
{
	void *hva;

	if (cannot_be_mapped(self))
		return;
	expect_memtype(self, type);
	hva = mt_dev_map_as(&self->dev, self->bar->index, type, 0, self->size);
	check_mapping(self, hva, type);
	munmap(hva, self->size);
}

/* Nobody has asked for anything; the same on the unpatched kernel */
TEST_F(bar, untouched)
{
	void *hva;

	if (cannot_be_mapped(self))
		return;
	hva = mt_dev_map(&self->dev, self->bar->index, 0, self->size);
	check_mapping(self, hva, DEFAULT);
	munmap(hva, self->size);
}

TEST_F(bar, strict)
{
	check_type(self, STRICT);
}

/* Prefetchable or not */
TEST_F(bar, write_combine)
{
	check_type(self, WRITE_COMBINE);
}

/* One after the other in the same slot, with mappings of all types there */
TEST_F(bar, side_by_side)
{
	void *hva[NR_TYPES];
	u32 type;

	if (cannot_be_mapped(self))
		return;
	require_memtype(&self->dev);
	for (type = DEFAULT; type < NR_TYPES; type++) {
		hva[type] = mt_dev_map_as(&self->dev, self->bar->index, type, 0, self->size);
		host_pte(hva[type] + align_down(self->bar->offset, MT_PAGE));
	}
	for (type = DEFAULT; type < NR_TYPES; type++)
		check_slot(self, hva[type], type, 0);
	for (type = DEFAULT; type < NR_TYPES; type++)
		munmap(hva[type], self->size);
}

/* What the document tells a VMM to call, whose configuration says a type or none */
TEST_F(bar, vmm)
{
	struct mt_result r;
	void *hva;
	u32 type;

	if (cannot_be_mapped(self))
		return;
	for (type = DEFAULT; type < NR_TYPES; type++) {
		hva = bar_map(self->dev.fd, self->bar->index, 0, self->size, type);
		if (hva == MAP_FAILED && errno == ENOTTY && type != DEFAULT)
			continue;
		TEST_ASSERT(hva != MAP_FAILED, "bar_map: %s", strerror(errno));
		TEST_ASSERT_EQ(host_pte(hva + align_down(self->bar->offset, MT_PAGE)).type,
			       host_types[type]);
		MT_EXPECT_ERRNO(bar_add_memslot(self->vm->fd, MT_SLOT, MT_GPA, self->size,
						hva, type), 0);
		r = mt_access(self->vcpu, MT_LDR, self->gpa, 0);
		TEST_ASSERT(!strcmp(mt_outcome(&r), "ok"), "%s", mt_outcome(&r));
		check_stage2(self->vm, self->gpa, stage2_types[type]);
		check_accesses(&self->dev, self->bar, self->vcpu, hva, stage2_types[type]);
		MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, MT_GPA, 0, NULL), 0);
		munmap(hva, self->size);
	}
}

/* The last one: nobody uses the virtual function any more, and it goes at once */
FIXTURE(end)
{
};

FIXTURE_SETUP(end)
{
	MT_SKIP_TO_HARNESS();
	mt_require_pfnmap();
}

FIXTURE_TEARDOWN(end)
{
}

TEST_F(end, no_virtual_function)
{
	bars_end();
}

MT_NEEDS(MT_VFIO)

TEST_HARNESS_MAIN
