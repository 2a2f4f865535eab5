// SPDX-License-Identifier: GPL-2.0
/*
 * A device that imports any dma-buf which it is given, as a graphics driver
 * would, and says what the exporter answered. It also says what the kernel takes for
 * zeroing, which carveout_bench has to know.
 *
 * For tests only.
 */
#include <linux/dma-buf.h>
#include <linux/dma-direction.h>
#include <linux/iosys-map.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/timex.h>
#include <linux/vmalloc.h>

#include "dmabuf_importer.h"

static struct miscdevice importer_misc;

static long importer_attach(struct dma_buf *dmabuf)
{
	struct dma_buf_attachment *attach;
	struct sg_table *sgt;
	long ret = 0;

	attach = dma_buf_attach(dmabuf, importer_misc.this_device);
	if (IS_ERR(attach))
		return PTR_ERR(attach);

	sgt = dma_buf_map_attachment_unlocked(attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(sgt))
		ret = PTR_ERR(sgt);
	else
		dma_buf_unmap_attachment_unlocked(attach, sgt, DMA_BIDIRECTIONAL);
	dma_buf_detach(dmabuf, attach);
	return ret;
}

static long importer_vmap(struct dma_buf *dmabuf)
{
	struct iosys_map map;
	int ret;

	ret = dma_buf_vmap_unlocked(dmabuf, &map);
	if (!ret)
		dma_buf_vunmap_unlocked(dmabuf, &map);
	return ret;
}

/* The median of what it takes, without what it takes to look at the clock */
#define NR_TIMES	9

static long importer_median(u64 *times)
{
	int i, j;

	for (i = 1; i < NR_TIMES; i++)
		for (j = i; j && times[j - 1] > times[j]; j--)
			swap(times[j - 1], times[j]);
	return times[NR_TIMES / 2];
}

static long importer_zero(unsigned int cmd)
{
	size_t size = cmd == DMABUF_IMPORTER_ZERO_2M ? SZ_2M : PAGE_SIZE;
	u64 times[NR_TIMES], nothing[NR_TIMES], start;
	void *p = vmalloc(size);
	int i;

	if (!p)
		return -ENOMEM;

	for (i = 0; i < NR_TIMES; i++) {
		start = get_cycles();
		nothing[i] = get_cycles() - start;
		start = get_cycles();
		if (cmd == DMABUF_IMPORTER_ZERO_2M)
			memset(p, 0, size);
		else
			clear_page(p);
		times[i] = get_cycles() - start;
		/* What is not looked at need not be written */
		OPTIMIZER_HIDE_VAR(p);
	}
	vfree(p);

	return max(importer_median(times) - importer_median(nothing), 1L);
}

static long importer_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dma_buf *dmabuf;
	long ret;

	if (cmd == DMABUF_IMPORTER_CLEAR_PAGE || cmd == DMABUF_IMPORTER_ZERO_2M)
		return importer_zero(cmd);

	dmabuf = dma_buf_get(arg);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);

	switch (cmd) {
	case DMABUF_IMPORTER_ATTACH:
		ret = importer_attach(dmabuf);
		break;
	case DMABUF_IMPORTER_VMAP:
		ret = importer_vmap(dmabuf);
		break;
	default:
		ret = -ENOTTY;
	}
	dma_buf_put(dmabuf);
	return ret;
}

static const struct file_operations importer_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = importer_ioctl,
};

static struct miscdevice importer_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dmabuf_importer",
	.fops = &importer_fops,
};
module_misc_device(importer_misc);

MODULE_DESCRIPTION("Importer of dma-bufs, for tests");
MODULE_LICENSE("GPL");
/* MODULE_IMPORT_NS() takes a bare word before 6.13 and a string from then on */
MODULE_INFO(import_ns, "DMA_BUF");
