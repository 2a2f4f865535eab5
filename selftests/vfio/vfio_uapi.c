// SPDX-License-Identifier: GPL-2.0
/*
 * vfio_uapi - VFIO_DEVICE_FEATURE_REGION_MEMTYPE, its offsets and its errors
 *
 * What is refused, with which errno, by the feature and by mmap() of an offset that
 * it would not have returned. That an offset means one BAR and one type and nothing
 * else: for read() and write(), in another process, after fork(), beside other types,
 * after what takes the BAR away and gives it back.
 */
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include <linux/pci_regs.h>
#include <linux/sizes.h>

#include "kselftest_harness.h"

#include "backing.h"
#include "bar_memtype.h"
#include "bars.h"
#include "harness.h"
#include "host.h"
#include "kvm_util.h"
#include "pages.h"
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

/* Another device in the place of pci-testdev, or that with another driver */
static void reopen(struct mt_dev *dev, const char *bdf, enum mt_iommu iommu,
		   const char *driver)
{
	mt_dev_close(dev);
	mt_dev_open_driver(dev, bdf, iommu, driver);
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

static int get_errno(struct mt_dev *dev, u32 index, u32 type)
{
	return request(dev, GET, MEMTYPE(.region_index = index, .memtype = type));
}

/* 0 if a page can be mapped at an offset, and what it says if not */
static int mmap_errno(struct mt_dev *dev, u64 offset)
{
	void *hva = mmap(NULL, MT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, dev->fd, offset);

	if (hva == MAP_FAILED)
		return errno;
	munmap(hva, MT_PAGE);
	return 0;
}

static int read_errno(struct mt_dev *dev, u64 offset)
{
	u32 val;

	return pread(dev->fd, &val, sizeof(val), offset) < 0 ? errno : 0;
}

/* In a process of its own */
static void in_child(void (*fn)(void *arg), void *arg)
{
	int status;
	pid_t pid = fork();

	TEST_ASSERT(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		fn(arg);
		_exit(0);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid && !status, "Child: %#x", status);
}

/* Whether a read through the mapping is one of a BAR that is not there */
static bool gone(void *hva)
{
	int status;
	pid_t pid = fork();

	TEST_ASSERT(pid >= 0, "fork: %s", strerror(errno));
	if (!pid) {
		/* libkvm has a handler, which exits */
		signal(SIGBUS, SIG_DFL);
		(void)READ_ONCE(*(u32 *)hva);
		_exit(0);
	}
	TEST_ASSERT(waitpid(pid, &status, 0) == pid, "waitpid: %s", strerror(errno));
	TEST_ASSERT(!status || (WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS),
		    "Child: %#x", status);
	return status;
}

TEST_F(uapi, get)
{
	struct vfio_device_feature_region_memtype memtype;
	static const u32 indices[] = { PREFETCHABLE, REGISTERS };
	u32 type;
	int i;

	for (i = 0; i < ARRAY_SIZE(indices); i++) {
		if (bar_shares_page(&self->dev, indices[i]))
			continue;
		for (type = DEFAULT; type < NR_TYPES; type++) {
			MT_EXPECT_ERRNO(bar_get_memtype(self->dev.fd, indices[i], type,
							&memtype), 0);
			TEST_ASSERT_EQ(memtype.region_index, indices[i]);
			TEST_ASSERT_EQ(memtype.memtype, type);
			TEST_ASSERT_EQ(memtype.info, indices[i] == PREFETCHABLE ?
				       VFIO_REGION_MEMTYPE_INFO_PREFETCHABLE : 0);
			TEST_ASSERT_EQ(memtype.supported, ALL_TYPES);
			TEST_ASSERT_EQ(memtype.offset, OFFSET_OF(indices[i], type));
		}
	}
}

/* The regions of the device and what is said of them are what they have been */
TEST_F(uapi, old_vmm)
{
	struct vfio_device_info device = { .argsz = sizeof(device) };
	struct vfio_region_info info;
	u32 i;

	TEST_ASSERT(!ioctl(self->dev.fd, VFIO_DEVICE_GET_INFO, &device), "%s",
		    strerror(errno));
	TEST_ASSERT_EQ(device.num_regions, VFIO_PCI_NUM_REGIONS);
	for (i = 0; i < VFIO_PCI_VGA_REGION_INDEX; i++) {
		mt_dev_region(&self->dev, i, &info);
		TEST_ASSERT_EQ(info.offset, (u64)i << 40);
		TEST_ASSERT_EQ(info.argsz, sizeof(info));
		TEST_ASSERT_EQ(info.flags & VFIO_REGION_INFO_FLAG_CAPS, 0);
	}
	info = (struct vfio_region_info) {
		.argsz = sizeof(info), .index = VFIO_PCI_NUM_REGIONS
	};
	MT_EXPECT_ERRNO(ioctl(self->dev.fd, VFIO_DEVICE_GET_REGION_INFO, &info) ? errno : 0,
			EINVAL);
}

TEST_F(uapi, probe)
{
	MT_EXPECT_ERRNO(request(&self->dev, PROBE, MEMTYPE()), 0);
	MT_EXPECT_ERRNO(request(&self->dev, PROBE | GET, MEMTYPE()), 0);
	MT_EXPECT_ERRNO(request(&self->dev, PROBE | SET, MEMTYPE()), EINVAL);
	MT_EXPECT_ERRNO(request(&self->dev, PROBE | GET | SET, MEMTYPE()), EINVAL);
}

TEST_F(uapi, operation)
{
	MT_EXPECT_ERRNO(request(&self->dev, 0, MEMTYPE()), EINVAL);
	MT_EXPECT_ERRNO(request(&self->dev, SET, MEMTYPE(.memtype = STRICT)), EINVAL);
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
	}

	/* A later version's argument, that is larger, is understood in part */
	memtype = MEMTYPE(.region_index = PREFETCHABLE, .memtype = STRICT);
	MT_EXPECT_ERRNO(feature(&self->dev, GET, ARGSZ + 8, &memtype), 0);
	TEST_ASSERT_EQ(memtype.offset, OFFSET_OF(PREFETCHABLE, STRICT));
}

TEST_F(uapi, fault)
{
	u64 page = (u64)mmap(NULL, 2 * MT_PAGE, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct vfio_device_feature_region_memtype memtype = MEMTYPE(.region_index = PREFETCHABLE);
	struct vfio_device_feature *arg = (void *)page + MT_PAGE - sizeof(*arg);

	munmap((void *)page + MT_PAGE, MT_PAGE);
	arg->argsz = ARGSZ;
	arg->flags = GET | FEATURE;
	MT_EXPECT_ERRNO(ioctl(self->dev.fd, VFIO_DEVICE_FEATURE, arg) ? errno : 0, EFAULT);

	/* It can be read and not written */
	arg = (void *)page;
	arg->argsz = ARGSZ;
	arg->flags = GET | FEATURE;
	memcpy(arg->data, &memtype, sizeof(memtype));
	mprotect((void *)page, MT_PAGE, PROT_READ);
	MT_EXPECT_ERRNO(ioctl(self->dev.fd, VFIO_DEVICE_FEATURE, arg) ? errno : 0, EFAULT);
}

TEST_F(uapi, fields)
{
	struct vfio_device_feature_region_memtype memtype;
	int bit;

	for (bit = 0; bit < 32; bit++) {
		MT_EXPECT_ERRNO(request(&self->dev, GET, MEMTYPE(.region_index = PREFETCHABLE,
								 .flags = 1U << bit)), EINVAL);
		MT_EXPECT_ERRNO(request(&self->dev, GET, MEMTYPE(.region_index = PREFETCHABLE,
								 .reserved = 1U << bit)), EINVAL);
	}

	/* An answer can be the next question */
	memtype = MEMTYPE(.region_index = PREFETCHABLE, .memtype = STRICT);
	MT_EXPECT_ERRNO(feature(&self->dev, GET, ARGSZ, &memtype), 0);
	TEST_ASSERT_EQ(memtype.info, VFIO_REGION_MEMTYPE_INFO_PREFETCHABLE);
	memtype.memtype = WRITE_COMBINE;
	MT_EXPECT_ERRNO(feature(&self->dev, GET, ARGSZ, &memtype), 0);
	TEST_ASSERT_EQ(memtype.offset, OFFSET_OF(PREFETCHABLE, WRITE_COMBINE));

	/* What is only returned is not looked at */
	if (bar_shares_page(&self->dev, REGISTERS))
		return;
	memtype = MEMTYPE(.region_index = REGISTERS, .memtype = STRICT,
			  .info = ~0U, .supported = ~0U, .offset = ~0ULL);
	MT_EXPECT_ERRNO(feature(&self->dev, GET, ARGSZ, &memtype), 0);
	TEST_ASSERT_EQ(memtype.supported, ALL_TYPES);
	TEST_ASSERT_EQ(memtype.offset, OFFSET_OF(REGISTERS, STRICT));
	TEST_ASSERT_EQ(memtype.info, 0);
}

TEST_F(uapi, region_index)
{
	static const u32 others[] = {
		VFIO_PCI_ROM_REGION_INDEX, VFIO_PCI_CONFIG_REGION_INDEX,
		VFIO_PCI_VGA_REGION_INDEX, VFIO_PCI_NUM_REGIONS, 64, 0x80000000, 0xffffffff,
	};
	u32 type;
	int i;

	for (i = 0; i < ARRAY_SIZE(others); i++) {
		for (type = DEFAULT; type < NR_TYPES; type++) {
			MT_EXPECT_ERRNO(get_errno(&self->dev, others[i], type), EINVAL);
			if (others[i] >= 64)
				continue;
			MT_EXPECT_ERRNO(mmap_errno(&self->dev, OFFSET_OF(others[i], type)), EINVAL);
			/* Only BARs have offsets of other types */
			if (type != DEFAULT)
				MT_EXPECT_ERRNO(read_errno(&self->dev,
							   OFFSET_OF(others[i], type)), EINVAL);
		}
	}
}

/* BARs that have no mmap(): I/O, absent. Shared pages: see vfio_ranges. */
TEST_F(uapi, no_mmap)
{
	static const u32 unmappable[] = { IO, ABSENT, 4, 5 };
	u32 type;
	int i;

	for (i = 0; i < ARRAY_SIZE(unmappable); i++) {
		for (type = DEFAULT; type < NR_TYPES; type++) {
			MT_EXPECT_ERRNO(get_errno(&self->dev, unmappable[i], type), EINVAL);
			MT_EXPECT_ERRNO(mmap_errno(&self->dev, OFFSET_OF(unmappable[i], type)),
					EINVAL);
			MT_EXPECT_ERRNO(read_errno(&self->dev, OFFSET_OF(unmappable[i], type)),
					read_errno(&self->dev, OFFSET_OF(unmappable[i], DEFAULT)));
		}
	}
}

TEST_F(uapi, unknown_type)
{
	static const u32 types[] = { NR_TYPES, NR_TYPES + 1, 31, 32, 33, 0x80000000,
				     0xffffffff };
	u32 type;
	int i;

	for (i = 0; i < ARRAY_SIZE(types); i++) {
		MT_EXPECT_ERRNO(get_errno(&self->dev, PREFETCHABLE, types[i]), EINVAL);
		MT_EXPECT_ERRNO(get_errno(&self->dev, REGISTERS, types[i]), EINVAL);
		MT_EXPECT_ERRNO(get_errno(&self->dev, IO, types[i]), EINVAL);
	}
	/* As many as there is room for, and the bits between index and type */
	for (type = NR_TYPES; type < 128; type++) {
		MT_EXPECT_ERRNO(mmap_errno(&self->dev, OFFSET_OF(PREFETCHABLE, type)), EINVAL);
		MT_EXPECT_ERRNO(read_errno(&self->dev, OFFSET_OF(PREFETCHABLE, type)), EINVAL);
	}
	for (type = DEFAULT; type < NR_TYPES; type++) {
		for (i = 44; i < 56; i++) {
			MT_EXPECT_ERRNO(mmap_errno(&self->dev, OFFSET_OF(PREFETCHABLE, type) |
						   BIT(i)), EINVAL);
			MT_EXPECT_ERRNO(read_errno(&self->dev, OFFSET_OF(PREFETCHABLE, type) |
						   BIT(i)), EINVAL);
		}
	}
}

/* The end of the BAR is where it is, at every offset, and private means the same */
TEST_F(uapi, bounds)
{
	struct vfio_region_info info;
	u64 offset;
	void *hva;
	u32 type;

	mt_dev_region(&self->dev, PREFETCHABLE, &info);
	for (type = DEFAULT; type < NR_TYPES; type++) {
		offset = mt_dev_offset(&self->dev, PREFETCHABLE, type);
		MT_EXPECT_ERRNO(mmap_errno(&self->dev, offset + info.size - MT_PAGE), 0);
		MT_EXPECT_ERRNO(mmap_errno(&self->dev, offset + info.size), EINVAL);
		MT_EXPECT_ERRNO(mmap_errno(&self->dev, offset + BIT(40) - MT_PAGE), EINVAL);
		hva = mmap(NULL, info.size, PROT_READ, MAP_SHARED, self->dev.fd, offset + MT_PAGE);
		MT_EXPECT_ERRNO(hva == MAP_FAILED ? errno : 0, EINVAL);
		hva = mmap(NULL, MT_PAGE, PROT_READ, MAP_PRIVATE, self->dev.fd, offset);
		MT_EXPECT_ERRNO(hva == MAP_FAILED ? errno : 0, EINVAL);
		MT_EXPECT_ERRNO(read_errno(&self->dev, offset + info.size), EINVAL);
	}
}

/* A BAR that is memory: what is written at one offset is read at the others */
TEST_F(uapi, read_write)
{
	struct vfio_device_ioeventfd ioeventfd = { .argsz = sizeof(ioeventfd) };
	struct mt_dev *dev = &self->dev;
	u32 type, other;
	u64 val;
	int fd;

	reopen(dev, NVME, variant->iommu, "vfio-pci");
	for (type = DEFAULT; type < NR_TYPES; type++) {
		val = 0x1234567800000000 + type;
		TEST_ASSERT_EQ(pwrite(dev->fd, &val, 8,
				      mt_dev_offset(dev, 2, type) + 2 * MT_PAGE), 8);
		for (other = DEFAULT; other < NR_TYPES; other++) {
			val = 0;
			TEST_ASSERT_EQ(pread(dev->fd, &val, 8,
					     mt_dev_offset(dev, 2, other) + 2 * MT_PAGE), 8);
			TEST_ASSERT_EQ(val, 0x1234567800000000 + type);
		}
	}

	/* The MSI-X table of BAR 0 is the VMM's at every offset */
	for (type = DEFAULT; type < NR_TYPES; type++) {
		fd = eventfd(0, 0);
		ioeventfd.flags = VFIO_DEVICE_IOEVENTFD_32;
		ioeventfd.fd = fd;
		ioeventfd.offset = OFFSET_OF(0, type) + 0x2000;
		MT_EXPECT_ERRNO(ioctl(dev->fd, VFIO_DEVICE_IOEVENTFD, &ioeventfd) ? errno : 0,
				EINVAL);
		ioeventfd.offset = mt_dev_offset(dev, 2, type) + 2 * MT_PAGE;
		MT_EXPECT_ERRNO(ioctl(dev->fd, VFIO_DEVICE_IOEVENTFD, &ioeventfd) ? errno : 0, 0);
		ioeventfd.fd = -1;
		MT_EXPECT_ERRNO(ioctl(dev->fd, VFIO_DEVICE_IOEVENTFD, &ioeventfd) ? errno : 0, 0);
		close(fd);
	}
}

/* Not for a device that has its BARs disabled, which says nothing about a type */
TEST_F(uapi, memory_disabled)
{
	u16 command = mt_dev_command(&self->dev);
	void *hva;

	mt_dev_set_command(&self->dev, command & ~PCI_COMMAND_MEMORY);
	hva = mt_dev_map_as(&self->dev, PREFETCHABLE, WRITE_COMBINE, 0, MT_PAGE);
	TEST_ASSERT(gone(hva), "Memory is disabled, and can be read");
	mt_dev_set_command(&self->dev, command | PCI_COMMAND_MEMORY);
	TEST_ASSERT_EQ(host_pte(hva).type, MEMTYPE_TEST_NC);
	munmap(hva, MT_PAGE);
}

/*
 * Mappings of all types, at once and in whatever order: what takes the BAR away
 * takes all of them away, and each comes back as what it was.
 */
TEST_F(uapi, side_by_side)
{
	u16 command = mt_dev_command(&self->dev);
	void *hva[2 * NR_TYPES];
	u32 i, type;

	for (i = 0; i < ARRAY_SIZE(hva); i++)
		hva[i] = mt_dev_map_as(&self->dev, PREFETCHABLE, i % NR_TYPES, 0, MT_PAGE);
	for (type = DEFAULT; type < NR_TYPES; type++) {
		for (i = 0; i < ARRAY_SIZE(hva); i++)
			TEST_ASSERT_EQ(host_pte(hva[i]).type, host_types[i % NR_TYPES]);
		mt_dev_set_command(&self->dev, command & ~PCI_COMMAND_MEMORY);
		for (i = 0; i < ARRAY_SIZE(hva); i++)
			TEST_ASSERT(gone(hva[i]), "The %s mapping is still there",
				    type_names[i % NR_TYPES]);
		mt_dev_set_command(&self->dev, command | PCI_COMMAND_MEMORY);
		/* And from whichever is the first to fault */
		host_pte(hva[type]);
	}
	for (i = 0; i < ARRAY_SIZE(hva); i++)
		munmap(hva[i], MT_PAGE);
}

struct mapping {
	struct mt_dev *dev;
	void *hva[NR_TYPES];
	int socket;
};

static void check_inherited(void *arg)
{
	struct mapping *m = arg;
	u32 type;

	for (type = DEFAULT; type < NR_TYPES; type++)
		TEST_ASSERT_EQ(host_pte(m->hva[type]).type, host_types[type]);
	/* And from the inherited descriptor */
	m->hva[0] = mt_dev_map_as(m->dev, PREFETCHABLE, WRITE_COMBINE, 0, MT_PAGE);
	TEST_ASSERT_EQ(host_pte(m->hva[0]).type, MEMTYPE_TEST_NC);
}

TEST_F(uapi, fork)
{
	struct mapping m = { .dev = &self->dev };
	u32 type;

	for (type = DEFAULT; type < NR_TYPES; type++) {
		m.hva[type] = mt_dev_map_as(&self->dev, PREFETCHABLE, type, 0, MT_PAGE);
		/* One of them has no entry yet */
		if (type != STRICT)
			host_pte(m.hva[type]);
	}
	in_child(check_inherited, &m);
	for (type = DEFAULT; type < NR_TYPES; type++) {
		TEST_ASSERT_EQ(host_pte(m.hva[type]).type, host_types[type]);
		munmap(m.hva[type], MT_PAGE);
	}
}

/* A process that gets the device's descriptor and an offset, and nothing else */
static void receive(void *arg)
{
	struct mapping *m = arg;
	char control[CMSG_SPACE(sizeof(int))];
	u64 offsets[NR_TYPES];
	struct iovec iov = { offsets, sizeof(offsets) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	void *hva[NR_TYPES];
	u32 type;
	int fd;

	close(m->dev->fd);
	TEST_ASSERT_EQ(recvmsg(m->socket, &msg, 0), sizeof(offsets));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	for (type = 0; type < NR_TYPES; type++) {
		hva[type] = mmap(NULL, MT_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				 offsets[type]);
		TEST_ASSERT(hva[type] != MAP_FAILED, "mmap: %s", strerror(errno));
	}
	close(fd);
	for (type = 0; type < NR_TYPES; type++)
		TEST_ASSERT_EQ(host_pte(hva[type]).type, host_types[type]);
}

TEST_F(uapi, pass_descriptor)
{
	char control[CMSG_SPACE(sizeof(int))] = {};
	u64 offsets[NR_TYPES];
	struct iovec iov = { offsets, sizeof(offsets) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct mapping m = { .dev = &self->dev };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);
	int sockets[2];
	void *hva;
	u32 type;

	for (type = 0; type < NR_TYPES; type++)
		offsets[type] = mt_dev_offset(&self->dev, PREFETCHABLE, type);
	hva = mt_dev_map_as(&self->dev, PREFETCHABLE, STRICT, 0, MT_PAGE);
	TEST_ASSERT(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sockets), "%s", strerror(errno));
	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &self->dev.fd, sizeof(int));
	TEST_ASSERT_EQ(sendmsg(sockets[0], &msg, 0), sizeof(offsets));
	m.socket = sockets[1];
	in_child(receive, &m);
	/* The sender's is what it was */
	TEST_ASSERT_EQ(host_pte(hva).type, MEMTYPE_TEST_DEVICE);
	TEST_ASSERT_EQ(mt_dev_offset(&self->dev, PREFETCHABLE, WRITE_COMBINE),
		       offsets[WRITE_COMBINE]);
	munmap(hva, MT_PAGE);
	close(sockets[0]);
	close(sockets[1]);
}

/* Nothing ends with the last close, for nothing has begun; nor with a reset */
TEST_F(uapi, constant)
{
	struct mt_dev *dev = &self->dev;
	void *hva[NR_TYPES];
	int round;
	u32 type;

	for (round = 0; round < 3; round++) {
		reopen(dev, NVME, variant->iommu, "vfio-pci");
		for (type = DEFAULT; type < NR_TYPES; type++) {
			TEST_ASSERT_EQ(mt_dev_offset(dev, 2, type), OFFSET_OF(2, type));
			hva[type] = mt_dev_map_as(dev, 2, type, 0, MT_PAGE);
			TEST_ASSERT_EQ(host_pte(hva[type]).type, host_types[type]);
		}
		TEST_ASSERT(!ioctl(dev->fd, VFIO_DEVICE_RESET), "VFIO_DEVICE_RESET: %s",
			    strerror(errno));
		for (type = DEFAULT; type < NR_TYPES; type++) {
			TEST_ASSERT_EQ(mt_dev_offset(dev, 2, type), OFFSET_OF(2, type));
			TEST_ASSERT_EQ(host_pte(hva[type]).type, host_types[type]);
			munmap(hva[type], MT_PAGE);
		}
	}
}

/*
 * A driver is not taken from a device whose BAR is mapped: whatever the type, the
 * mapping is a user of it, also when all descriptors are closed.
 */
TEST_F(uapi, unbind_waits)
{
	const struct timespec pause = { .tv_nsec = 300000000 };
	struct mt_dev *dev = &self->dev;
	int status;
	void *hva;
	pid_t pid;
	u32 type;

	for (type = DEFAULT; type < NR_TYPES; type++) {
		hva = mt_dev_map_as(dev, PREFETCHABLE, type, 0, MT_PAGE);
		mt_dev_close(dev);
		pid = fork();
		TEST_ASSERT(pid >= 0, "fork: %s", strerror(errno));
		if (!pid) {
			munmap(hva, MT_PAGE);
			mt_unbind(TESTDEV);
			_exit(0);
		}
		nanosleep(&pause, NULL);
		TEST_ASSERT(!waitpid(pid, &status, WNOHANG), "Unbound under a mapping: %#x",
			    status);
		TEST_ASSERT_EQ(host_pte(hva).type, host_types[type]);
		munmap(hva, MT_PAGE);
		TEST_ASSERT(waitpid(pid, &status, 0) == pid && !status, "unbind: %#x", status);
		mt_dev_open(dev, TESTDEV, variant->iommu);
	}
}

static void set_file(const char *path, const char *value)
{
	FILE *f = fopen(path, "w");

	TEST_ASSERT(f && fputs(value, f) >= 0 && !fclose(f), "%s: %s", path, strerror(errno));
}

#define VARIANT	"/sys/module/vfio_variant/parameters/"

/*
 * The variant driver looks at a mapping before the core does and lets nobody map
 * more than the first half of BAR 0 of edu.
 */
static void check_variant(struct mt_dev *dev, int want, u32 types)
{
	struct vfio_device_feature_region_memtype memtype;
	u32 type;
	int ret;

	for (type = DEFAULT; type < NR_TYPES; type++) {
		ret = want;
		if (!ret && !(types & BIT(type)))
			ret = EOPNOTSUPP;
		memtype = MEMTYPE(.memtype = type);
		MT_EXPECT_ERRNO(feature(dev, GET, ARGSZ, &memtype), ret);
		if (!ret)
			TEST_ASSERT_EQ(memtype.supported, types);
		/* mmap() has no way to say that there is no feature */
		if (ret == ENOTTY)
			ret = type == DEFAULT ? 0 : EINVAL;
		MT_EXPECT_ERRNO(mmap_errno(dev, OFFSET_OF(0, type)), ret);
		MT_EXPECT_ERRNO(mmap_errno(dev, OFFSET_OF(0, type) + SZ_512K - MT_PAGE), ret);
		MT_EXPECT_ERRNO(mmap_errno(dev, OFFSET_OF(0, type) + SZ_512K), EINVAL);
		MT_EXPECT_ERRNO(read_errno(dev, OFFSET_OF(0, type)), want == EBUSY ? EBUSY : 0);
	}
}

static void open_variant(struct mt_dev *dev, enum mt_iommu iommu, const char *types,
			 const char *taken)
{
	mt_dev_close(dev);
	set_file(VARIANT "types", types);
	set_file(VARIANT "taken", taken);
	if (!access("/sys/bus/pci/drivers/vfio-variant/" EDU, F_OK))
		mt_unbind(EDU);
	mt_dev_open_driver(dev, EDU, iommu, "vfio-variant");
}

static void close_variant(struct mt_dev *dev, enum mt_iommu iommu)
{
	mt_dev_close(dev);
	set_file(VARIANT "types", "-1");
	set_file(VARIANT "taken", "0");
	mt_unbind(EDU);
	mt_dev_open(dev, TESTDEV, iommu);
}

/* One that does not say what its mmap() does is without the feature */
TEST_F(uapi, variant_driver)
{
	open_variant(&self->dev, variant->iommu, "-1", "0");
	MT_EXPECT_ERRNO(request(&self->dev, PROBE | GET, MEMTYPE()), ENOTTY);
	MT_EXPECT_ERRNO(request(&self->dev, PROBE | SET, MEMTYPE()), ENOTTY);
	check_variant(&self->dev, ENOTTY, 0);
	close_variant(&self->dev, variant->iommu);
}

TEST_F(uapi, variant_driver_all_types)
{
	open_variant(&self->dev, variant->iommu, "7", "0");
	check_variant(&self->dev, 0, ALL_TYPES);
	close_variant(&self->dev, variant->iommu);
}

TEST_F(uapi, variant_driver_two_types)
{
	open_variant(&self->dev, variant->iommu, "5", "0");
	check_variant(&self->dev, 0, 1 << DEFAULT | 1 << STRICT);
	close_variant(&self->dev, variant->iommu);
}

/* Somebody else has the BAR's resources: as mmap() has always said */
TEST_F(uapi, resources_taken)
{
	open_variant(&self->dev, variant->iommu, "7", "1");
	check_variant(&self->dev, EBUSY, 0);
	close_variant(&self->dev, variant->iommu);
}

/*
 * The administrator's policy is off, and turned on it is for devices that are
 * bound from then on; see vfio_policy for what it does.
 */
static void expect_policy(enum mt_iommu iommu, bool strict)
{
	u32 info = strict ? VFIO_REGION_MEMTYPE_INFO_STRICT_ONLY : 0;
	struct vfio_device_feature_region_memtype memtype;
	struct mt_dev dev;
	int index;

	mt_dev_open(&dev, TESTDEV, iommu);
	index = bar_has_pages(TESTDEV, REGISTERS) ? REGISTERS : PREFETCHABLE;
	if (index == PREFETCHABLE)
		info |= VFIO_REGION_MEMTYPE_INFO_PREFETCHABLE;
	MT_EXPECT_ERRNO(bar_get_memtype(dev.fd, index, DEFAULT, &memtype), 0);
	TEST_ASSERT_EQ(memtype.info, info);
	MT_EXPECT_ERRNO(get_errno(&dev, index, WRITE_COMBINE), strict ? EPERM : 0);
	mt_dev_close(&dev);
}

TEST_F(uapi, policy_at_bind)
{
	mt_dev_close(&self->dev);
	TEST_ASSERT_EQ(read_policy(), 'N');
	set_file(POLICY, "Y");
	expect_policy(variant->iommu, false);
	mt_unbind(TESTDEV);
	expect_policy(variant->iommu, true);
	set_file(POLICY, "N");
	expect_policy(variant->iommu, true);
	mt_unbind(TESTDEV);
	expect_policy(variant->iommu, false);
	mt_dev_open(&self->dev, TESTDEV, variant->iommu);
}

MT_NEEDS(MT_VFIO)

TEST_HARNESS_MAIN
