// SPDX-License-Identifier: GPL-2.0
/*
 * A vfio-pci variant driver that looks at a mapping before the core does, as
 * nvgrace-gpu and hisi_acc do, for any device that driver_override gives it. For
 * tests only.
 */
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/vfio.h>
#include <linux/vfio_pci_core.h>

/* Kernels without the series have neither the op nor the helper */
#ifdef VFIO_DEVICE_FEATURE_REGION_MEMTYPE
static int types = -1;
module_param(types, int, 0644);
MODULE_PARM_DESC(types, "memory types of devices that are bound later, a mask; -1: without the op");
#else
static unsigned int vfio_pci_vma_to_index(struct vm_area_struct *vma)
{
	return vma->vm_pgoff >> (VFIO_PCI_OFFSET_SHIFT - PAGE_SHIFT);
}

static u64 vfio_pci_vma_to_pgoff(struct vm_area_struct *vma)
{
	return vma->vm_pgoff & (VFIO_PCI_OFFSET_MASK >> PAGE_SHIFT);
}
#endif

static unsigned int taken;
module_param(taken, uint, 0644);
MODULE_PARM_DESC(taken, "BARs of devices that are opened later somebody else has, a mask");

struct variant_device {
	struct vfio_pci_core_device vdev;
	u32 types;
	unsigned int taken;
};

static struct variant_device *to_variant(struct vfio_device *core_vdev)
{
	return container_of(core_vdev, struct variant_device, vdev.vdev);
}

static int variant_open_device(struct vfio_device *core_vdev)
{
	struct variant_device *variant = to_variant(core_vdev);
	int ret;

	variant->taken = READ_ONCE(taken);
	if (variant->taken) {
		ret = pci_request_selected_regions(variant->vdev.pdev, variant->taken,
						   "vfio_variant");
		if (ret)
			return ret;
	}

	ret = vfio_pci_core_enable(&variant->vdev);
	if (ret) {
		if (variant->taken)
			pci_release_selected_regions(variant->vdev.pdev, variant->taken);
		return ret;
	}

	vfio_pci_core_finish_enable(&variant->vdev);
	return 0;
}

static void variant_close_device(struct vfio_device *core_vdev)
{
	struct variant_device *variant = to_variant(core_vdev);

	vfio_pci_core_close_device(core_vdev);
	if (variant->taken)
		pci_release_selected_regions(variant->vdev.pdev, variant->taken);
}

/* The second half of BAR 0 is nobody's */
static int variant_mmap(struct vfio_device *core_vdev, struct vm_area_struct *vma)
{
	struct variant_device *variant = to_variant(core_vdev);
	u64 end = PFN_PHYS(vfio_pci_vma_to_pgoff(vma)) + vma->vm_end - vma->vm_start;

	if (vfio_pci_vma_to_index(vma) == VFIO_PCI_BAR0_REGION_INDEX &&
	    end > pci_resource_len(variant->vdev.pdev, VFIO_PCI_BAR0_REGION_INDEX) / 2)
		return -EINVAL;

	return vfio_pci_core_mmap(core_vdev, vma);
}

static const struct vfio_device_ops variant_ops = {
	.name		= "vfio-variant",
	.init		= vfio_pci_core_init_dev,
	.release	= vfio_pci_core_release_dev,
	.open_device	= variant_open_device,
	.close_device	= variant_close_device,
	.ioctl		= vfio_pci_core_ioctl,
	.get_region_info_caps = vfio_pci_ioctl_get_region_info,
	.device_feature	= vfio_pci_core_ioctl_feature,
	.read		= vfio_pci_core_read,
	.write		= vfio_pci_core_write,
	.mmap		= variant_mmap,
	.request	= vfio_pci_core_request,
	.match		= vfio_pci_core_match,
	.match_token_uuid = vfio_pci_core_match_token_uuid,
	.bind_iommufd	= vfio_iommufd_physical_bind,
	.unbind_iommufd	= vfio_iommufd_physical_unbind,
	.attach_ioas	= vfio_iommufd_physical_attach_ioas,
	.detach_ioas	= vfio_iommufd_physical_detach_ioas,
};

#ifdef VFIO_DEVICE_FEATURE_REGION_MEMTYPE
static int variant_get_memtypes(struct vfio_pci_core_device *vdev,
				unsigned int region_index, u32 *memtypes, u32 *info)
{
	int ret;

	ret = vfio_pci_core_get_memtypes(vdev, region_index, memtypes, info);
	*memtypes &= container_of(vdev, struct variant_device, vdev)->types;
	return ret;
}

static const struct vfio_pci_device_ops variant_pci_ops = {
	.get_memtypes	= variant_get_memtypes,
};

static void variant_set_types(struct variant_device *variant)
{
	int t = READ_ONCE(types);

	if (t < 0)
		return;
	variant->types = t;
	variant->vdev.pci_ops = &variant_pci_ops;
}
#else
static void variant_set_types(struct variant_device *variant) { }
#endif

static int variant_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct variant_device *variant;
	int ret;

	variant = vfio_alloc_device(variant_device, vdev.vdev, &pdev->dev, &variant_ops);
	if (IS_ERR(variant))
		return PTR_ERR(variant);

	variant_set_types(variant);
	dev_set_drvdata(&pdev->dev, &variant->vdev);
	ret = vfio_pci_core_register_device(&variant->vdev);
	if (ret)
		vfio_put_device(&variant->vdev.vdev);

	return ret;
}

static void variant_remove(struct pci_dev *pdev)
{
	struct vfio_pci_core_device *vdev = dev_get_drvdata(&pdev->dev);

	vfio_pci_core_unregister_device(vdev);
	vfio_put_device(&vdev->vdev);
}

static struct pci_driver variant_driver = {
	.name			= "vfio-variant",
	.probe			= variant_probe,
	.remove			= variant_remove,
	.err_handler		= &vfio_pci_core_err_handlers,
	.driver_managed_dma	= true,
};
module_pci_driver(variant_driver);

MODULE_DESCRIPTION("vfio-pci variant driver for tests");
MODULE_LICENSE("GPL");
