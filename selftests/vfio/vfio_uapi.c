// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_uapi - VFIO_DEVICE_FEATURE_REGION_MEMTYPE and its errors
 *
 * What is refused, with which errno, and that nothing has changed then: neither
 * what GET says nor what the next mmap() gives. What a type is in force for: the
 * mappings that are made later, through any descriptor of the device, until the
 * last of them is closed.
 */
#include <sys/mman.h>
#include <sys/wait.h>

#include <linux/kvm_memtype.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "bar_memtype.h"
#include "bars.h"
#include "harness.h"
#include "kvm_util.h"
#include "vfio_dev.h"

#define FEATURE	VFIO_DEVICE_FEATURE_REGION_MEMTYPE
#define GET	VFIO_DEVICE_FEATURE_GET
#define SET	VFIO_DEVICE_FEATURE_SET
#define PROBE	VFIO_DEVICE_FEATURE_PROBE

FIXTURE(uapi)
{
	struct mt_dev dev;	/* pci-testdev: a BAR of each kind */
};

FIXTURE_VARIANT(uapi)
{
	enum mt_iommu iommu;
};

FIXTURE_VARIANT_ADD(uapi, type1) { .iommu = MT_TYPE1 };
FIXTURE_VARIANT_ADD(uapi, compat) { .iommu = MT_COMPAT };
FIXTURE_VARIANT_ADD(uapi, cdev) { .iommu = MT_CDEV };

#define PREFETCHABLE	2	/* BARs of pci-testdev */
#define REGISTERS	0
#define IO		1
#define ABSENT		3	/* the upper half of BAR 2 */

FIXTURE_SETUP(uapi)
{
	MT_SKIP_TO_HARNESS();
	mt_dev_open(&self->dev, TESTDEV, variant->iommu);
	require_memtype(&self->dev);
}

FIXTURE_TEARDOWN(uapi)
{
	mt_dev_close(&self->dev);
}

static int feature(struct mt_dev *dev, u32 flags, u32 argsz,
		   struct vfio_device_feature_region_memtype *memtype)
{
	struct {
		struct vfio_device_feature header;
		struct vfio_device_feature_region_memtype memtype;
		u64 more;
	} arg = {
		.header.argsz = argsz,
		.header.flags = flags | FEATURE,
		.memtype = *memtype,
		.more = 0x6d6f7265,
	};
	int ret = ioctl(dev->fd, VFIO_DEVICE_FEATURE, &arg) ? errno : 0;

	TEST_ASSERT_EQ(arg.more, 0x6d6f7265);
	/* An error leaves the caller's memory alone, too */
	if (ret)
		TEST_ASSERT(!memcmp(&arg.memtype, memtype, sizeof(*memtype)),
			    "errno %d, and the argument has changed", ret);
	*memtype = arg.memtype;
	return ret;
}

#define ARGSZ	(sizeof(struct vfio_device_feature) +			\
		 sizeof(struct vfio_device_feature_region_memtype))

static int request(struct mt_dev *dev, u32 op,
		   struct vfio_device_feature_region_memtype memtype)
{
	return feature(dev, op, ARGSZ, &memtype);
}

#define MEMTYPE(...) ((struct vfio_device_feature_region_memtype) { __VA_ARGS__ })

static u32 type_of(struct mt_dev *dev, int bar)
{
	struct vfio_device_feature_region_memtype memtype;

	MT_EXPECT_ERRNO(bar_get_memtype(dev->fd, bar, &memtype), 0);
	return memtype.type;
}

static u32 host_type_of_new_mapping(struct mt_dev *dev, int bar)
{
	void *hva = mt_dev_map(dev, bar, 0, SZ_4K);
	u32 type = host_pte(hva).type;

	munmap(hva, SZ_4K);
	return type;
}

TEST_F(uapi, get)
{
	struct vfio_device_feature_region_memtype memtype;

	MT_EXPECT_ERRNO(bar_get_memtype(self->dev.fd, PREFETCHABLE, &memtype), 0);
	TEST_ASSERT_EQ(memtype.region_index, PREFETCHABLE);
	TEST_ASSERT_EQ(memtype.flags, VFIO_REGION_MEMTYPE_PREFETCHABLE);
	TEST_ASSERT_EQ(memtype.type, DEFAULT);
	TEST_ASSERT_EQ(memtype.supported, 1 << DEFAULT | 1 << STRICT | 1 << WRITE_COMBINE);

	MT_EXPECT_ERRNO(bar_get_memtype(self->dev.fd, REGISTERS, &memtype), 0);
	TEST_ASSERT_EQ(memtype.region_index, REGISTERS);
	TEST_ASSERT_EQ(memtype.flags, 0);
	TEST_ASSERT_EQ(memtype.type, DEFAULT);
	TEST_ASSERT_EQ(memtype.supported, 1 << DEFAULT | 1 << STRICT);
}

/* One BAR's type is nothing to the other */
TEST_F(uapi, set)
{
	MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, REGISTERS, STRICT), 0);
	TEST_ASSERT_EQ(type_of(&self->dev, REGISTERS), STRICT);
	TEST_ASSERT_EQ(type_of(&self->dev, PREFETCHABLE), DEFAULT);
	MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, PREFETCHABLE, WRITE_COMBINE), 0);
	TEST_ASSERT_EQ(type_of(&self->dev, REGISTERS), STRICT);
	TEST_ASSERT_EQ(type_of(&self->dev, PREFETCHABLE), WRITE_COMBINE);
	TEST_ASSERT_EQ(host_type_of_new_mapping(&self->dev, REGISTERS), MEMTYPE_TEST_DEVICE);
	TEST_ASSERT_EQ(host_type_of_new_mapping(&self->dev, PREFETCHABLE), MEMTYPE_TEST_NC);
	MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, PREFETCHABLE, DEFAULT), 0);
	TEST_ASSERT_EQ(type_of(&self->dev, PREFETCHABLE), DEFAULT);
	TEST_ASSERT_EQ(host_type_of_new_mapping(&self->dev, PREFETCHABLE), MEMTYPE_TEST_DEVICE);
	TEST_ASSERT_EQ(type_of(&self->dev, REGISTERS), STRICT);
}

TEST_F(uapi, probe)
{
	MT_EXPECT_ERRNO(request(&self->dev, PROBE, MEMTYPE()), 0);
	MT_EXPECT_ERRNO(request(&self->dev, PROBE | GET, MEMTYPE()), 0);
	MT_EXPECT_ERRNO(request(&self->dev, PROBE | SET, MEMTYPE(.type = STRICT)), 0);
	MT_EXPECT_ERRNO(request(&self->dev, PROBE | GET | SET, MEMTYPE(.type = STRICT)), 0);
	TEST_ASSERT_EQ(type_of(&self->dev, REGISTERS), DEFAULT);
}

/* One that maps BARs in its own way does not report what it does not do */
TEST_F(uapi, variant_driver)
{
	struct mt_dev variant_dev;

	mt_dev_open_driver(&variant_dev, EDU, variant->iommu, "vfio-variant");
	TEST_ASSERT(mt_dev_region(&variant_dev, 0, &(struct vfio_region_info) {}),
		    "BAR 0 cannot be mapped");
	MT_EXPECT_ERRNO(request(&variant_dev, PROBE | GET, MEMTYPE()), ENOTTY);
	MT_EXPECT_ERRNO(request(&variant_dev, PROBE | SET, MEMTYPE()), ENOTTY);
	MT_EXPECT_ERRNO(request(&variant_dev, GET, MEMTYPE()), ENOTTY);
	MT_EXPECT_ERRNO(request(&variant_dev, SET, MEMTYPE(.type = STRICT)), ENOTTY);
	MT_EXPECT_ERRNO(request(&variant_dev, SET, MEMTYPE(.type = DEFAULT)), ENOTTY);
	mt_dev_close(&variant_dev);
	mt_unbind(EDU);
}

TEST_F(uapi, operation)
{
	MT_EXPECT_ERRNO(request(&self->dev, 0, MEMTYPE()), EINVAL);
	MT_EXPECT_ERRNO(request(&self->dev, GET | SET, MEMTYPE()), EINVAL);
	MT_EXPECT_ERRNO(request(&self->dev, GET | 1U << 31, MEMTYPE()), EINVAL);
}

TEST_F(uapi, argsz)
{
	struct vfio_device_feature_region_memtype memtype;
	u32 argsz;

	for (argsz = 0; argsz < ARGSZ; argsz++) {
		memtype = MEMTYPE(.region_index = PREFETCHABLE);
		MT_EXPECT_ERRNO(feature(&self->dev, GET, argsz, &memtype), EINVAL);
		memtype = MEMTYPE(.region_index = PREFETCHABLE, .type = STRICT);
		MT_EXPECT_ERRNO(feature(&self->dev, SET, argsz, &memtype), EINVAL);
	}
	TEST_ASSERT_EQ(type_of(&self->dev, PREFETCHABLE), DEFAULT);

	/* A later version's argument, that is larger, is understood in part */
	memtype = MEMTYPE(.region_index = PREFETCHABLE, .type = STRICT);
	MT_EXPECT_ERRNO(feature(&self->dev, SET, ARGSZ + 8, &memtype), 0);
	memtype = MEMTYPE(.region_index = PREFETCHABLE);
	MT_EXPECT_ERRNO(feature(&self->dev, GET, ARGSZ + 8, &memtype), 0);
	TEST_ASSERT_EQ(memtype.type, STRICT);
}

TEST_F(uapi, fault)
{
	u64 page = (u64)mmap(NULL, SZ_8K, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_device_feature *arg = (void *)page + SZ_4K - sizeof(*arg);

	munmap((void *)page + SZ_4K, SZ_4K);
	arg->argsz = ARGSZ;
	arg->flags = GET | FEATURE;
	MT_EXPECT_ERRNO(ioctl(self->dev.fd, VFIO_DEVICE_FEATURE, arg) ? errno : 0, EFAULT);
	arg->flags = SET | FEATURE;
	MT_EXPECT_ERRNO(ioctl(self->dev.fd, VFIO_DEVICE_FEATURE, arg) ? errno : 0, EFAULT);
}

/* GET is given the index only, SET the index and the type */
TEST_F(uapi, reserved)
{
	struct mt_dev *dev = &self->dev;
	int bit;

	for (bit = 0; bit < 32; bit++) {
		MT_EXPECT_ERRNO(request(dev, GET, MEMTYPE(.region_index = PREFETCHABLE,
							  .flags = 1U << bit)), EINVAL);
		MT_EXPECT_ERRNO(request(dev, GET, MEMTYPE(.region_index = PREFETCHABLE,
							  .type = 1U << bit)), EINVAL);
		MT_EXPECT_ERRNO(request(dev, GET, MEMTYPE(.region_index = PREFETCHABLE,
							  .supported = 1U << bit)), EINVAL);
		MT_EXPECT_ERRNO(request(dev, SET, MEMTYPE(.region_index = PREFETCHABLE,
							  .type = STRICT,
							  .flags = 1U << bit)), EINVAL);
		MT_EXPECT_ERRNO(request(dev, SET, MEMTYPE(.region_index = PREFETCHABLE,
							  .type = STRICT,
							  .supported = 1U << bit)), EINVAL);
	}
	TEST_ASSERT_EQ(type_of(dev, PREFETCHABLE), DEFAULT);
	TEST_ASSERT_EQ(host_type_of_new_mapping(dev, PREFETCHABLE), MEMTYPE_TEST_DEVICE);
}

TEST_F(uapi, region_index)
{
	static const u32 others[] = {
		VFIO_PCI_ROM_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
		VFIO_PCI_VGA_REGION_INDEX, VFIO_PCI_NUM_REGIONS, 64, 0x80000000, 0xffffffff,
	};
	int i;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		MT_EXPECT_ERRNO(request(&self->dev, GET, MEMTYPE(.region_index = others[i])),
				EINVAL);
		MT_EXPECT_ERRNO(request(&self->dev, SET, MEMTYPE(.region_index = others[i],
								 .type = STRICT)), EINVAL);
		MT_EXPECT_ERRNO(request(&self->dev, SET, MEMTYPE(.region_index = others[i])),
				EINVAL);
	}
}

/* BARs that have no mmap(): I/O, absent. Shared pages: see vfio_ranges. */
TEST_F(uapi, no_mmap)
{
	static const u32 unmappable[] = { IO, ABSENT, 4, 5 };
	u32 type;
	int i;

	for (i = 0; i < ARRAY_SIZE(unmappable); i++) {
		MT_EXPECT_ERRNO(request(&self->dev, GET,
					MEMTYPE(.region_index = unmappable[i])), ENXIO);
		for (type = DEFAULT; type < NR_TYPES; type++)
			MT_EXPECT_ERRNO(request(&self->dev, SET,
						MEMTYPE(.region_index = unmappable[i],
							.type = type)), ENXIO);
	}
}

TEST_F(uapi, unknown_type)
{
	static const u32 types[] = { NR_TYPES, NR_TYPES + 1, 31, 32, 33, 0x80000000,
				     0xffffffff };
	int i;

	MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, PREFETCHABLE, WRITE_COMBINE), 0);
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, PREFETCHABLE, types[i]), -EINVAL);
		MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, REGISTERS, types[i]), -EINVAL);
	}
	TEST_ASSERT_EQ(type_of(&self->dev, PREFETCHABLE), WRITE_COMBINE);
	TEST_ASSERT_EQ(type_of(&self->dev, REGISTERS), DEFAULT);
	TEST_ASSERT_EQ(host_type_of_new_mapping(&self->dev, PREFETCHABLE), MEMTYPE_TEST_NC);
}

TEST_F(uapi, write_combine_not_prefetchable)
{
	MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, REGISTERS, WRITE_COMBINE), -EINVAL);
	TEST_ASSERT_EQ(type_of(&self->dev, REGISTERS), DEFAULT);
	MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, REGISTERS, STRICT), 0);
	MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, REGISTERS, WRITE_COMBINE), -EINVAL);
	TEST_ASSERT_EQ(type_of(&self->dev, REGISTERS), STRICT);
	TEST_ASSERT_EQ(host_type_of_new_mapping(&self->dev, REGISTERS), MEMTYPE_TEST_DEVICE);
}

/* Not for a device that has its BARs disabled, which says nothing about a type */
TEST_F(uapi, memory_disabled)
{
	u16 command = mt_dev_command(&self->dev);

	mt_dev_set_command(&self->dev, command & ~PCI_COMMAND_MEMORY);
	MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, PREFETCHABLE, WRITE_COMBINE), 0);
	TEST_ASSERT_EQ(type_of(&self->dev, PREFETCHABLE), WRITE_COMBINE);
	mt_dev_set_command(&self->dev, command | PCI_COMMAND_MEMORY);
	TEST_ASSERT_EQ(type_of(&self->dev, PREFETCHABLE), WRITE_COMBINE);
	TEST_ASSERT_EQ(host_type_of_new_mapping(&self->dev, PREFETCHABLE), MEMTYPE_TEST_NC);
}

/* A mapping keeps what it was made with, also when its entries are made anew */
TEST_F(uapi, live_mappings)
{
	static const u32 host_types[NR_TYPES] = {
		MEMTYPE_TEST_DEVICE, MEMTYPE_TEST_DEVICE, MEMTYPE_TEST_NC,
	};
	u16 command = mt_dev_command(&self->dev);
	void *hva[NR_TYPES];
	u32 type, last;

	for (type = DEFAULT; type < NR_TYPES; type++) {
		MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, PREFETCHABLE, type), 0);
		hva[type] = mt_dev_map(&self->dev, PREFETCHABLE, 0, SZ_4K);
	}
	for (last = DEFAULT; last < NR_TYPES; last++) {
		MT_EXPECT_ERRNO(bar_set_memtype(self->dev.fd, PREFETCHABLE, last), 0);
		mt_dev_set_command(&self->dev, command & ~PCI_COMMAND_MEMORY);
		mt_dev_set_command(&self->dev, command | PCI_COMMAND_MEMORY);
		for (type = DEFAULT; type < NR_TYPES; type++)
			TEST_ASSERT_EQ(host_pte(hva[type]).type, host_types[type]);
	}
}

TEST_F(uapi, last_close)
{
	struct mt_dev *dev = &self->dev;

	MT_EXPECT_ERRNO(bar_set_memtype(dev->fd, PREFETCHABLE, WRITE_COMBINE), 0);
	MT_EXPECT_ERRNO(bar_set_memtype(dev->fd, REGISTERS, STRICT), 0);
	mt_dev_close(dev);
	mt_dev_open(dev, TESTDEV, variant->iommu);
	TEST_ASSERT_EQ(type_of(dev, PREFETCHABLE), DEFAULT);
	TEST_ASSERT_EQ(type_of(dev, REGISTERS), DEFAULT);
	TEST_ASSERT_EQ(host_type_of_new_mapping(dev, PREFETCHABLE), MEMTYPE_TEST_DEVICE);
}

/* A process that dies has closed its files */
TEST_F(uapi, owner_killed)
{
	struct mt_dev *dev = &self->dev;
	pid_t pid;

	mt_dev_close(dev);
	pid = fork();
	TEST_ASSERT(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		mt_dev_open(dev, TESTDEV, variant->iommu);
		if (bar_set_memtype(dev->fd, PREFETCHABLE, STRICT))
			_exit(1);
		raise(SIGKILL);
	}
	TEST_ASSERT(waitpid(pid, &pid, 0) > 0 && WIFSIGNALED(pid), "Child: %#x", pid);
	mt_dev_open(dev, TESTDEV, variant->iommu);
	TEST_ASSERT_EQ(type_of(dev, PREFETCHABLE), DEFAULT);
}

/*
 * Descriptors of one device share it; a mapping keeps it open as well. The
 * device's own node (cdev) gives only one.
 */
TEST_F(uapi, several_descriptors)
{
	struct mt_dev *dev = &self->dev;
	void *hva;
	int fd;

	if (variant->iommu != MT_CDEV) {
		fd = ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->bdf);
		TEST_ASSERT(fd >= 0, "VFIO_GROUP_GET_DEVICE_FD: %s", strerror(errno));
		MT_EXPECT_ERRNO(bar_set_memtype(fd, PREFETCHABLE, WRITE_COMBINE), 0);
		TEST_ASSERT_EQ(type_of(dev, PREFETCHABLE), WRITE_COMBINE);
		TEST_ASSERT_EQ(host_type_of_new_mapping(dev, PREFETCHABLE), MEMTYPE_TEST_NC);
		close(dev->fd);
		dev->fd = fd;
		TEST_ASSERT_EQ(type_of(dev, PREFETCHABLE), WRITE_COMBINE);

		hva = mt_dev_map(dev, PREFETCHABLE, 0, SZ_4K);
		close(dev->fd);
		dev->fd = ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->bdf);
		TEST_ASSERT_EQ(type_of(dev, PREFETCHABLE), WRITE_COMBINE);
		munmap(hva, SZ_4K);
		close(dev->fd);
		dev->fd = ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, dev->bdf);
		TEST_ASSERT_EQ(type_of(dev, PREFETCHABLE), DEFAULT);
		return;
	}
	fd = dup(dev->fd);
	MT_EXPECT_ERRNO(bar_set_memtype(fd, PREFETCHABLE, WRITE_COMBINE), 0);
	close(fd);
	TEST_ASSERT_EQ(type_of(dev, PREFETCHABLE), WRITE_COMBINE);
}

/* A reset of the function is no close */
TEST_F(uapi, reset)
{
	struct mt_dev *dev = &self->dev;
	void *hva;

	mt_dev_close(dev);
	mt_dev_open(dev, NVME, variant->iommu);
	MT_EXPECT_ERRNO(bar_set_memtype(dev->fd, bars[BAR_CMB].index, WRITE_COMBINE), 0);
	hva = mt_dev_map(dev, bars[BAR_CMB].index, 0, SZ_4K);
	TEST_ASSERT_EQ(host_pte(hva).type, MEMTYPE_TEST_NC);
	TEST_ASSERT(!ioctl(dev->fd, VFIO_DEVICE_RESET), "VFIO_DEVICE_RESET: %s",
		    strerror(errno));
	TEST_ASSERT_EQ(type_of(dev, bars[BAR_CMB].index), WRITE_COMBINE);
	TEST_ASSERT_EQ(host_pte(hva).type, MEMTYPE_TEST_NC);
	TEST_ASSERT_EQ(host_type_of_new_mapping(dev, bars[BAR_CMB].index), MEMTYPE_TEST_NC);
	munmap(hva, SZ_4K);
}

/*
 * The administrator's policy is off, and turned on it is for devices that are
 * bound from then on; see vfio_policy for what it does.
 */
static void set_policy(const char *value)
{
	FILE *f = fopen(POLICY, "w");

	TEST_ASSERT(f && fputs(value, f) >= 0 && !fclose(f), POLICY ": %s", strerror(errno));
}

static void expect_policy(enum mt_iommu iommu, u32 type)
{
	struct mt_dev dev;

	mt_dev_open(&dev, TESTDEV, iommu);
	TEST_ASSERT_EQ(type_of(&dev, REGISTERS), type);
	TEST_ASSERT_EQ(type_of(&dev, PREFETCHABLE), DEFAULT);
	mt_dev_close(&dev);
}

TEST_F(uapi, policy_at_bind)
{
	mt_dev_close(&self->dev);
	TEST_ASSERT_EQ(read_policy(), 'N');
	set_policy("Y");
	expect_policy(variant->iommu, DEFAULT);
	mt_unbind(TESTDEV);
	expect_policy(variant->iommu, STRICT);
	set_policy("N");
	expect_policy(variant->iommu, STRICT);
	mt_unbind(TESTDEV);
	expect_policy(variant->iommu, DEFAULT);
	mt_dev_open(&self->dev, TESTDEV, variant->iommu);
}

TEST_HARNESS_MAIN
