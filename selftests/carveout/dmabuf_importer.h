/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * Interface of /dev/dmabuf_importer, shared by the module and the tests. The first two
 * calls take a dma-buf file descriptor and fail with what the exporter said.
 */
#ifndef _DMABUF_IMPORTER_H
#define _DMABUF_IMPORTER_H

#include <linux/ioctl.h>

/* Attach, map for DMA, undo both */
#define DMABUF_IMPORTER_ATTACH	_IO('D', 0x40)
/* Map into the kernel's address space, and undo that */
#define DMABUF_IMPORTER_VMAP	_IO('D', 0x41)
/* How many ticks of CNTVCT_EL0 it takes to clear a page, or to zero 2 MiB */
#define DMABUF_IMPORTER_CLEAR_PAGE	_IO('D', 0x42)
#define DMABUF_IMPORTER_ZERO_2M		_IO('D', 0x43)

#endif /* _DMABUF_IMPORTER_H */
