// SPDX-License-Identifier: GPL-2.0
/*
 * s2_vgem - A guest uses buffers of a real driver: vgem's
 *
 * vgem takes no device, and its buffers are those of drm_gem_shmem, as many GPUs'
 * are: RAM that the driver maps write-combine, with read-only entries until the first
 * write. A guest must be able to use one in any order, read first or write first, with
 * one vCPU or several, and has it with the type of the VMM's own mapping. In protected
 * mode it is Write-Back, as before the series: EL2 shares RAM with no other type, and
 * shows no stage 2, so what is seen there is that the guest can use it.
 *
 * A kernel without "KVM: Call the fault handler on writes to read-only PFNMAP PTEs"
 * fails KVM_RUN with EFAULT here.
 *
 * Drivers with VRAM, which TTM moves between types page by page, need a device that
 * the emulator of the rig does not have (no qxl in Debian's for arm64; what it has,
 * bochs-display and virtio-gpu, are drivers of drm_gem_shmem). What they do is modelled
 * by the module memtype_test: s2_blobs, evicted_and_back.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include <drm/drm.h>
#include <drm/drm_mode.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "guest.h"
#include "harness.h"
#include "host.h"
#include "memslot.h"
#include "pages.h"
#include "s2_dump.h"

#define CARD		"/dev/dri/card0"
#define NR_PAGES	512
#define SIZE		(NR_PAGES * MT_PAGE)
/* Of a line of the buffer, of 4 bytes each */
#define WIDTH		1024

FIXTURE(vgem)
{
	struct kvm_vcpu *vcpus[2];
	struct kvm_vm *vm;
	void *hva;
	u64 offset;
	int card;
};

/* A buffer without a word about KVM in how it is made */
FIXTURE_SETUP(vgem)
{
	struct drm_mode_create_dumb create = {
		.width = WIDTH, .height = SIZE / (4 * WIDTH), .bpp = 32,
	};
	struct drm_mode_map_dumb map = {};
	char name[16] = "";
	struct drm_version version = { .name_len = sizeof(name) - 1, .name = name };

	MT_SKIP_TO_HARNESS();
	self->card = open(CARD, O_RDWR | O_CLOEXEC);
	if (self->card < 0 || ioctl(self->card, DRM_IOCTL_VERSION, &version))
		strcpy(name, "not there");
	if (strcmp(name, "vgem") && !mt_in_rig())
		mt_skip("%s is %s, and not vgem (CONFIG_DRM_VGEM)", CARD, name);
	TEST_ASSERT(!strcmp(name, "vgem"), "%s is %s", CARD, name);
	TEST_ASSERT(!ioctl(self->card, DRM_IOCTL_MODE_CREATE_DUMB, &create), "CREATE_DUMB: %s",
		    strerror(errno));
	TEST_ASSERT_EQ(create.size, SIZE);
	map.handle = create.handle;
	TEST_ASSERT(!ioctl(self->card, DRM_IOCTL_MODE_MAP_DUMB, &map), "MAP_DUMB: %s",
		    strerror(errno));
	self->offset = map.offset;
	self->hva = mt_mmap(self->card, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
			    self->offset);

	self->vm = mt_vm_create_vcpus(self->vcpus, 2, SIZE, NULL);
	MT_EXPECT_ERRNO(mt_set_slot(self->vm, 0, MT_GPA, SIZE, self->hva), 0);
}

FIXTURE_TEARDOWN(vgem)
{
	kvm_vm_free(self->vm);
	munmap(self->hva, SIZE);
	close(self->card);
}

static void expect_nc(struct kvm_vm *vm, u64 size, const char *when)
{
	if (!mt_host_is_pkvm())
		mt_expect_nc(vm, MT_GPA, size, when);
}

static void expect_writable(struct kvm_vm *vm)
{
	struct s2_range *ranges;
	u64 mapped = 0;
	size_t i, nr;

	nr = s2_dump(vm, MT_GPA, SIZE, &ranges);
	for (i = 0; i < nr; i++) {
		TEST_ASSERT(ranges[i].writable, "%#lx is read-only",
			    (unsigned long)ranges[i].start);
		mapped += ranges[i].end - ranges[i].start;
	}
	free(ranges);
	TEST_ASSERT_EQ(mapped, SIZE);
}

/* What the guest has written is there, and everybody's type is the driver's */
static void expect_filled(struct kvm_vm *vm, void *hva)
{
	int i;

	expect_nc(vm, SIZE, "filled");
	if (!mt_host_is_pkvm())
		expect_writable(vm);
	for (i = 0; i < NR_PAGES; i++) {
		TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(hva + i * MT_PAGE)), i);
		TEST_ASSERT_EQ(host_pte(hva + i * MT_PAGE).type, MEMTYPE_TEST_NC);
	}
}

TEST_F(vgem, read_then_write)
{
	mt_access_ok(self->vcpus[0], MT_READ_ALL, MT_GPA, NR_PAGES);
	TEST_ASSERT_EQ(host_pte(self->hva).writable, 0);
	expect_nc(self->vm, SIZE, "read");
	mt_access_ok(self->vcpus[0], MT_FILL, MT_GPA, NR_PAGES);
	TEST_ASSERT_EQ(host_pte(self->hva).writable, 1);
	expect_filled(self->vm, self->hva);
}

TEST_F(vgem, write_first)
{
	mt_access_ok(self->vcpus[0], MT_FILL, MT_GPA, NR_PAGES);
	expect_filled(self->vm, self->hva);
}

/* The VMM has read all of it: the host's entries are there, and read-only */
TEST_F(vgem, vmm_reads_first)
{
	int i;

	for (i = 0; i < NR_PAGES; i++)
		TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(self->hva + i * MT_PAGE)), 0);
	TEST_ASSERT_EQ(host_pte(self->hva).writable, 0);
	mt_access_ok(self->vcpus[0], MT_FILL, MT_GPA, NR_PAGES);
	expect_filled(self->vm, self->hva);
}

/* It is not cached anywhere: what one has written, the other sees */
TEST_F(vgem, vmm_and_guest)
{
	WRITE_ONCE(*(u64 *)(self->hva + 64), 0x1122);
	TEST_ASSERT_EQ(mt_access_ok(self->vcpus[0], MT_LDR, MT_GPA + 64, 0), 0x1122);
	mt_access_ok(self->vcpus[0], MT_STR, MT_GPA + 64, 0x3344);
	TEST_ASSERT_EQ(READ_ONCE(*(u64 *)(self->hva + 64)), 0x3344);
	mt_access_ok(self->vcpus[0], MT_STP, MT_GPA + 20, 0x5566);
	expect_nc(self->vm, MT_PAGE, "shared with the VMM");
}

struct writer {
	struct kvm_vcpu *vcpu;
	enum mt_op first;
	struct mt_result r[2];
};

static void *write_all(void *arg)
{
	struct writer *writer = arg;

	writer->r[0] = mt_access(writer->vcpu, writer->first, MT_GPA, NR_PAGES);
	writer->r[1] = mt_access(writer->vcpu, MT_FILL, MT_GPA, NR_PAGES);
	return NULL;
}

/* Both are at the same page at about the same time, one of them with reads before */
TEST_F(vgem, two_vcpus)
{
	struct writer writers[2] = {
		{ self->vcpus[0], MT_FILL }, { self->vcpus[1], MT_READ_ALL },
	};
	pthread_t threads[2];
	int i, round;

	for (round = 0; round < 10; round++) {
		/* Mapped anew, there are no entries, at stage 2 neither */
		TEST_ASSERT(mmap(self->hva, SIZE, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_FIXED, self->card, self->offset) == self->hva,
			    "mmap: %s", strerror(errno));
		if (!mt_host_is_pkvm())
			TEST_ASSERT_EQ(s2_count(self->vm, MT_GPA, SIZE, 0), 0);
		for (i = 0; i < 2; i++)
			pthread_create(&threads[i], NULL, write_all, &writers[i]);
		for (i = 0; i < 2; i++)
			pthread_join(threads[i], NULL);
		for (i = 0; i < 4; i++)
			TEST_ASSERT(!strcmp(mt_outcome(&writers[i / 2].r[i % 2]), "ok"),
				    "Round %d, vCPU %d: %s", round, i / 2,
				    mt_outcome(&writers[i / 2].r[i % 2]));
	}
	expect_filled(self->vm, self->hva);
}

MT_NEEDS(MT_PFNMAP)

TEST_HARNESS_MAIN
