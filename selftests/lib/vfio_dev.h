/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Devices of vfio-pci: opening one, its regions and their mappings, its config
 * space, and what the administrator lets it choose.
 */
#ifndef SELFTEST_VFIO_DEV_H
#define SELFTEST_VFIO_DEV_H

#include <stdbool.h>
#include <stddef.h>
#include <linux/types.h>
#include <linux/vfio.h>

/*
 * How a vfio-pci device is opened; where it has no IOMMU and vfio's noiommu mode is on,
 * a container has no type1
 */
enum mt_iommu {
	MT_TYPE1,		/* group, type1 container */
	MT_COMPAT,		/* group, an iommufd in the container's place */
	MT_CDEV,		/* the device's own node, iommufd */
	MT_NR_IOMMUS
};

extern const char * const mt_iommu_names[MT_NR_IOMMUS];

#define MT_BDF_SIZE	16
/*
 * The address of the device that BAR= names. Outside of the rig no other is touched:
 * whoever passes this very string has asked for it, and does not have in mind a device
 * of the rig's machine that has the same address there.
 */
extern char mt_board_bdf[MT_BDF_SIZE];

struct mt_dev {
	char bdf[MT_BDF_SIZE];
	int container;		/* or iommufd */
	int group;		/* -1 with MT_CDEV */
	int fd;
};

/* Binds it to vfio-pci, whoever had it; skips the test if there is no such device */
void mt_dev_open(struct mt_dev *dev, const char *bdf, enum mt_iommu iommu);
/* The same with another driver than vfio-pci */
void mt_dev_open_driver(struct mt_dev *dev, const char *bdf, enum mt_iommu iommu,
			const char *driver);
void mt_dev_close(struct mt_dev *dev);
/* How, where any way will do */
enum mt_iommu mt_any_iommu(void);
/*
 * Let a physical function have one virtual function, bound to vfio-pci as it is itself,
 * unless it has; mt_dev_open() knows the token for it. False if the kernel has refused
 * to let it have any, for a BAR of theirs is not of whole pages: QEMU's igb has 16 KiB,
 * whatever it is told to be the size of a page. And none.
 */
bool mt_vf_create(const char *pf);
void mt_vf_remove(const char *pf);
/* From its driver; nobody may have it open */
void mt_unbind(const char *bdf);
/* Returns false if the region is absent or cannot be mapped */
bool mt_dev_region(struct mt_dev *dev, int index, struct vfio_region_info *info);
/* Aligned as the offset in the BAR is, up to MT_BLOCK */
void *mt_dev_map(struct mt_dev *dev, int index, u64 offset, u64 size);
/* A file of the device in sysfs; returns errno */
int mt_sysfs_set(const char *bdf, const char *file, const char *val);
/* The last component of a link of the device, as "driver"; false if there is none */
bool mt_sysfs_link(const char *bdf, const char *name, char *buf, size_t size);
/* Through the device's descriptor: of a BAR, another mapping, made by the kernel */
void mt_dev_read(struct mt_dev *dev, int index, u64 offset, void *buf, size_t size);
u64 mt_dev_read_word(struct mt_dev *dev, int index, u64 offset);
u16 mt_dev_command(struct mt_dev *dev);
void mt_dev_set_command(struct mt_dev *dev, u16 command);
/* Where PMCSR is in config space, 0 if the device has none; and D0 (0) or D3hot (3) */
u8 mt_dev_pm_control(struct mt_dev *dev);
void mt_dev_set_power_state(struct mt_dev *dev, u16 state);

/* A device and the first 4 MiB of one of its BARs */
struct mt_bar {
	struct mt_dev dev;
	int index;
	u64 size;
	void *hva;
};

void mt_bar_open(struct mt_bar *bar, const char *bdf, int index, enum mt_iommu iommu);
void mt_bar_close(struct mt_bar *bar);

/* Is there VFIO_DEVICE_FEATURE_REGION_MEMTYPE? False leaves errno */
bool has_memtype(struct mt_dev *dev);
/* Skips the test where there is none */
void require_memtype(struct mt_dev *dev);

/* The administrator's policy: Y or N, or ? where the kernel has none */
#define POLICY	"/sys/module/vfio_pci_core/parameters/strict_bars"
char read_policy(void);
/* On a board, skips the test where that makes all BARs strict; the rig sets it itself */
void require_free_choice(void);

#endif /* SELFTEST_VFIO_DEV_H */
