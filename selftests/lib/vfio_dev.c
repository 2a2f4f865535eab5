// SPDX-License-Identifier: GPL-2.0
/* Devices of vfio-pci; see vfio_dev.h */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/iommufd.h>
#include <linux/kvm_memtype.h>
#include <linux/pci_regs.h>
#include <linux/sizes.h>

#include "backing.h"
#include "harness.h"
#include "host.h"
#include "kvm_util.h"
#include "pages.h"
#include "vfio_dev.h"

char mt_board_bdf[MT_BDF_SIZE];

static void mt_rig_device(const char *bdf)
{
	if (bdf != mt_board_bdf)
		mt_rig_only("%s is a device of QEMU's there", bdf);
}

int mt_sysfs_set(const char *bdf, const char *file, const char *val)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, file);
	return mt_write_file(path, val) ? 0 : errno;
}

static bool mt_sysfs_has(const char *bdf, const char *file)
{
	char path[128];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, file);
	return !access(path, F_OK);
}

const char * const mt_iommu_names[MT_NR_IOMMUS] = {
	[MT_TYPE1] = "type1", [MT_COMPAT] = "compat", [MT_CDEV] = "cdev",
};

bool mt_sysfs_link(const char *bdf, const char *name, char *buf, size_t size)
{
	char path[128], link[128];
	ssize_t len;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/%s", bdf, name);
	len = readlink(path, link, sizeof(link) - 1);
	if (len < 0)
		return false;
	link[len] = '\0';
	snprintf(buf, size, "%s", strrchr(link, '/') + 1);
	return true;
}

void mt_unbind(const char *bdf)
{
	mt_rig_device(bdf);
	MT_EXPECT_ERRNO(mt_sysfs_set(bdf, "driver/unbind", bdf), 0);
}

static void mt_bind(const char *bdf, const char *to)
{
	char driver[64];

	mt_rig_device(bdf);
	if (mt_sysfs_set(bdf, "driver_override", to))
		mt_skip("no device %s", bdf);
	if (mt_sysfs_link(bdf, "driver", driver, sizeof(driver)) && strcmp(driver, to))
		mt_unbind(bdf);
	mt_write_file("/sys/bus/pci/drivers_probe", bdf);
	if (!mt_sysfs_link(bdf, "driver", driver, sizeof(driver)) || strcmp(driver, to))
		mt_skip("%s: %s did not bind", bdf, to);
}

/* What the user of a physical function gives to those of its virtual functions */
#define VF_TOKEN	"6d656d74-7970-4573-8576-66746f6b656e"
static const u8 vf_token[16] = {
	0x6d, 0x65, 0x6d, 0x74, 0x79, 0x70, 0x45, 0x73,
	0x85, 0x76, 0x66, 0x74, 0x6f, 0x6b, 0x65, 0x6e,
};

/* Of each of theirs, in QEMU's igb */
#define VF_BAR_SIZE	SZ_16K

/* An IOMMU group is one owner's; and the interrupts of some IOMMUs are everybody's */
static void mt_not_ours(struct mt_dev *dev, const char *what)
{
	if (errno == EPERM || errno == EBUSY)
		mt_skip("%s: %s: %s: who else is in its IOMMU group, or uses it?", dev->bdf,
			what, strerror(errno));
	TEST_FAIL("%s: %s: %s", dev->bdf, what, strerror(errno));
}

static void mt_group_open(struct mt_dev *dev, enum mt_iommu iommu, bool token)
{
	const char *container = iommu == MT_TYPE1 ? "/dev/vfio/vfio" : "/dev/iommu";
	int model = VFIO_TYPE1v2_IOMMU;
	char path[96], group[64], name[80];

	dev->container = open(container, O_RDWR);
	if (dev->container < 0)
		mt_skip("%s: %s", container, strerror(errno));
	if (!mt_sysfs_link(dev->bdf, "iommu_group", group, sizeof(group)))
		mt_skip("%s: not in an IOMMU group", dev->bdf);
	snprintf(path, sizeof(path), "/dev/vfio/%s", group);
	if (access(path, F_OK)) {
		snprintf(path, sizeof(path), "/dev/vfio/noiommu-%s", group);
		model = VFIO_NOIOMMU_IOMMU;
	}
	dev->group = open(path, O_RDWR);
	if (dev->group < 0)
		mt_not_ours(dev, path);
	if (ioctl(dev->group, VFIO_GROUP_SET_CONTAINER, &dev->container))
		mt_not_ours(dev, "VFIO_GROUP_SET_CONTAINER");
	if (ioctl(dev->container, VFIO_SET_IOMMU, model))
		mt_not_ours(dev, "VFIO_SET_IOMMU");
	snprintf(name, sizeof(name), "%s%s", dev->bdf, token ? " vf_token=" VF_TOKEN : "");
	dev->fd = ioctl(dev->group, VFIO_GROUP_GET_DEVICE_FD, name);
	TEST_ASSERT(dev->fd >= 0, "VFIO_GROUP_GET_DEVICE_FD: %s", strerror(errno));
}

static void mt_cdev_open(struct mt_dev *dev, bool token)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };
	struct vfio_device_attach_iommufd_pt attach = { .argsz = sizeof(attach) };
	struct iommu_ioas_alloc ioas = { .size = sizeof(ioas) };
	char path[128], name[64] = "";
	struct dirent *entry;
	DIR *dir;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev", dev->bdf);
	dir = opendir(path);
	if (!dir)
		mt_skip("%s: %s", path, strerror(errno));
	/* vfio0, or noiommu-vfio0 */
	while ((entry = readdir(dir)))
		if (strstr(entry->d_name, "vfio"))
			snprintf(name, sizeof(name), "%.63s", entry->d_name);
	closedir(dir);

	dev->container = open("/dev/iommu", O_RDWR);
	if (dev->container < 0)
		mt_skip("/dev/iommu: %s", strerror(errno));
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", name);
	dev->group = -1;
	dev->fd = open(path, O_RDWR);
	TEST_ASSERT(dev->fd >= 0, "%s: %s", path, strerror(errno));

	bind.iommufd = dev->container;
	if (token) {
		bind.flags = VFIO_DEVICE_BIND_FLAG_TOKEN;
		bind.token_uuid_ptr = (u64)vf_token;
	}
	if (ioctl(dev->fd, VFIO_DEVICE_BIND_IOMMUFD, &bind))
		mt_not_ours(dev, "VFIO_DEVICE_BIND_IOMMUFD");
	TEST_ASSERT(!ioctl(dev->container, IOMMU_IOAS_ALLOC, &ioas),
		    "IOMMU_IOAS_ALLOC: %s", strerror(errno));
	attach.pt_id = ioas.out_ioas_id;
	if (ioctl(dev->fd, VFIO_DEVICE_ATTACH_IOMMUFD_PT, &attach))
		mt_not_ours(dev, "VFIO_DEVICE_ATTACH_IOMMUFD_PT");
}

enum mt_iommu mt_any_iommu(void)
{
	return access("/dev/vfio/vfio", F_OK) ? MT_CDEV : MT_TYPE1;
}

void mt_dev_open(struct mt_dev *dev, const char *bdf, enum mt_iommu iommu)
{
	mt_dev_open_driver(dev, bdf, iommu, "vfio-pci");
}

void mt_dev_open_driver(struct mt_dev *dev, const char *bdf, enum mt_iommu iommu,
			const char *driver)
{
	memset(dev, 0, sizeof(*dev));
	snprintf(dev->bdf, sizeof(dev->bdf), "%s", bdf);
	mt_bind(bdf, driver);
	if (iommu == MT_CDEV)
		mt_cdev_open(dev, mt_sysfs_has(bdf, "physfn"));
	else
		mt_group_open(dev, iommu, mt_sysfs_has(bdf, "physfn"));
}

bool mt_vf_create(const char *pf)
{
	struct mt_dev dev = {};

	mt_rig_device(pf);
	if (mt_sysfs_has(pf, "virtfn0"))
		return true;
	if (MT_PAGE > VF_BAR_SIZE) {
		TEST_ASSERT(!mt_sysfs_has(pf, "sriov_numvfs"), "%s has virtual functions", pf);
		printf("# %s: no virtual functions\n", pf);
		return false;
	}
	if (!mt_write_file("/sys/module/vfio_pci/parameters/enable_sriov", "Y"))
		mt_skip("no SR-IOV in vfio-pci: %s", strerror(errno));
	snprintf(dev.bdf, sizeof(dev.bdf), "%s", pf);
	mt_bind(pf, "vfio-pci");
	/* The token stays what it was when it was opened last */
	mt_group_open(&dev, MT_TYPE1, true);
	mt_dev_close(&dev);
	MT_EXPECT_ERRNO(mt_sysfs_set(pf, "sriov_numvfs", "1"), 0);
	TEST_ASSERT(mt_sysfs_has(pf, "virtfn0"), "%s: no virtual function", pf);
	return true;
}

void mt_vf_remove(const char *pf)
{
	/* None was made */
	if (!mt_in_rig() || !mt_sysfs_has(pf, "sriov_numvfs"))
		return;
	MT_EXPECT_ERRNO(mt_sysfs_set(pf, "sriov_numvfs", "0"), 0);
	TEST_ASSERT(!mt_sysfs_has(pf, "virtfn0"), "%s: there is a virtual function", pf);
}

void mt_dev_close(struct mt_dev *dev)
{
	close(dev->fd);
	if (dev->group >= 0)
		close(dev->group);
	close(dev->container);
}

bool mt_dev_region(struct mt_dev *dev, int index, struct vfio_region_info *info)
{
	memset(info, 0, sizeof(*info));
	info->argsz = sizeof(*info);
	info->index = index;
	TEST_ASSERT(!ioctl(dev->fd, VFIO_DEVICE_GET_REGION_INFO, info),
		    "%s: VFIO_DEVICE_GET_REGION_INFO of %d: %s", dev->bdf, index,
		    strerror(errno));
	return info->size && info->flags & VFIO_REGION_INFO_FLAG_MMAP;
}

void *mt_dev_map(struct mt_dev *dev, int index, u64 offset, u64 size)
{
	struct vfio_region_info info;

	TEST_ASSERT(mt_dev_region(dev, index, &info), "%s: BAR %d cannot be mapped",
		    dev->bdf, index);
	return mt_mmap(dev->fd, size, PROT_READ | PROT_WRITE, MAP_SHARED,
		       info.offset + offset);
}

static u64 mt_dev_command_offset(struct mt_dev *dev)
{
	struct vfio_region_info info;

	mt_dev_region(dev, VFIO_PCI_CONFIG_REGION_INDEX, &info);
	return info.offset + PCI_COMMAND;
}

void mt_dev_read(struct mt_dev *dev, int index, u64 offset, void *buf, size_t size)
{
	struct vfio_region_info info;

	mt_dev_region(dev, index, &info);
	TEST_ASSERT(pread(dev->fd, buf, size, info.offset + offset) == (ssize_t)size,
		    "%s: read of region %d: %s", dev->bdf, index, strerror(errno));
}

u64 mt_dev_read_word(struct mt_dev *dev, int index, u64 offset)
{
	u64 word;

	mt_dev_read(dev, index, offset, &word, sizeof(word));
	return word;
}

u16 mt_dev_command(struct mt_dev *dev)
{
	u16 command;

	TEST_ASSERT(pread(dev->fd, &command, sizeof(command),
			  mt_dev_command_offset(dev)) == sizeof(command),
		    "%s: PCI_COMMAND: %s", dev->bdf, strerror(errno));
	return command;
}

void mt_dev_set_command(struct mt_dev *dev, u16 command)
{
	TEST_ASSERT(pwrite(dev->fd, &command, sizeof(command),
			   mt_dev_command_offset(dev)) == sizeof(command),
		    "%s: PCI_COMMAND: %s", dev->bdf, strerror(errno));
}

u8 mt_dev_pm_control(struct mt_dev *dev)
{
	u8 pos, id;

	mt_dev_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, PCI_CAPABILITY_LIST, &pos, 1);
	while (pos) {
		mt_dev_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, pos, &id, 1);
		if (id == PCI_CAP_ID_PM)
			return pos + PCI_PM_CTRL;
		mt_dev_read(dev, VFIO_PCI_CONFIG_REGION_INDEX, pos + 1, &pos, 1);
	}
	return 0;
}

void mt_dev_set_power_state(struct mt_dev *dev, u16 state)
{
	struct vfio_region_info info;
	u8 offset = mt_dev_pm_control(dev);

	TEST_ASSERT(offset, "%s has no power management", dev->bdf);
	mt_dev_region(dev, VFIO_PCI_CONFIG_REGION_INDEX, &info);
	TEST_ASSERT(pwrite(dev->fd, &state, sizeof(state), info.offset + offset) ==
		    sizeof(state), "%s: PMCSR: %s", dev->bdf, strerror(errno));
}

void mt_bar_open(struct mt_bar *bar, const char *bdf, int index, enum mt_iommu iommu)
{
	struct vfio_region_info info;

	memset(bar, 0, sizeof(*bar));
	mt_dev_open(&bar->dev, bdf, iommu);
	TEST_ASSERT(mt_dev_region(&bar->dev, index, &info),
		    "%s: BAR %d cannot be mapped", bdf, index);
	bar->index = index;
	bar->size = min_t(u64, info.size, 2 * MT_BLOCK);
	bar->hva = mt_dev_map(&bar->dev, index, 0, bar->size);
}

void mt_bar_close(struct mt_bar *bar)
{
	munmap(bar->hva, bar->size);
	mt_dev_close(&bar->dev);
}

bool has_memtype(struct mt_dev *dev)
{
	struct vfio_device_feature feature = {
		.argsz = sizeof(feature),
		.flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET |
			 VFIO_DEVICE_FEATURE_REGION_MEMTYPE,
	};

	return !ioctl(dev->fd, VFIO_DEVICE_FEATURE, &feature);
}

void require_memtype(struct mt_dev *dev)
{
	if (!has_memtype(dev))
		mt_skip("VFIO_DEVICE_FEATURE_REGION_MEMTYPE: %s", strerror(errno));
}

char read_policy(void)
{
	FILE *f = fopen(POLICY, "r");
	int c = f ? fgetc(f) : '?';

	if (f)
		fclose(f);
	return c;
}

void require_free_choice(void)
{
	if (!mt_in_rig() && read_policy() == 'Y')
		mt_skip("strict_bars=1: the administrator has all BARs strict");
}
