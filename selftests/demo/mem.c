// SPDX-License-Identifier: GPL-2.0
/*
 * mem - Write and check memory that a guest and its host share
 *
 *	mem fill FILE OFFSET SIZE SEED	write a pattern
 *	mem check FILE OFFSET SIZE SEED	compare with it
 *	mem copy FILE			memcpy() with unaligned ends, to and fro
 *	mem card FILE OFFSET WIDTH HEIGHT [SHADE]	draw a test card, XRGB8888
 *	mem negative FILE OFFSET WIDTH HEIGHT	the same in its opposite colours
 *	mem pixel FILE OFFSET PIXEL	draw one pixel
 *	mem mode FILE WIDTH HEIGHT	set this mode of a display, by its registers
 *	mem dump FILE OFFSET SIZE	write it to stdout
 *	mem evict PID:PATH OFFSET SIZE	move it to RAM, see memtype_test.h
 *
 * FILE is mapped MAP_SHARED: a file, resourceN_wc of a PCI device in sysfs, or
 * PID:PATH, which is the open file of that path in another process. A device
 * that gives each open file memory of its own can be looked into that way only.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/types.h>

#include "../modules/memtype_test.h"

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* The open file PATH of process PID, as a descriptor of ours */
static int open_of(int pid, const char *path)
{
	char dir[64], name[320], target[512];
	struct dirent *e;
	int pidfd, fd = -1;
	ssize_t n;
	DIR *d;

	pidfd = syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0)
		err(1, "process %d", pid);
	snprintf(dir, sizeof(dir), "/proc/%d/fd", pid);
	d = opendir(dir);
	if (!d)
		err(1, "%s", dir);
	while (fd < 0 && (e = readdir(d))) {
		snprintf(name, sizeof(name), "%s/%s", dir, e->d_name);
		n = readlink(name, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		if (!strcmp(target, path))
			fd = syscall(SYS_pidfd_getfd, pidfd, atoi(e->d_name), 0);
	}
	closedir(d);
	close(pidfd);
	if (fd < 0)
		errx(1, "process %d has no %s open", pid, path);
	return fd;
}

static __u8 *map(const char *name, off_t offset, size_t size)
{
	char *path;
	void *p;
	int fd, pid;

	pid = strtol(name, &path, 10);
	if (pid > 0 && *path == ':')
		fd = open_of(pid, path + 1);
	else
		fd = open(name, O_RDWR | O_SYNC);
	if (fd < 0)
		err(1, "%s", name);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset);
	if (p == MAP_FAILED)
		err(1, "mmap %s", name);
	close(fd);
	return p;
}

/* Each access is made, and by itself: others write to this memory as well. */
#define LOAD(p)		__atomic_load_n(p, __ATOMIC_RELAXED)
#define STORE(p, v)	__atomic_store_n(p, v, __ATOMIC_RELAXED)

/* splitmix64: word i of the pattern (pattern.py makes the same) */
static __u64 pattern(__u64 seed, __u64 i)
{
	__u64 z = (seed << 32) + (i + 1) * 0x9e3779b97f4a7c15;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
	return z ^ (z >> 31);
}

static int fill(__u64 *p, size_t size, __u64 seed)
{
	for (size_t i = 0; i < size / 8; i++)
		STORE(&p[i], pattern(seed, i));
	return 0;
}

static int check(__u64 *p, size_t size, __u64 seed)
{
	size_t bad = 0, first = 0;

	for (size_t i = 0; i < size / 8; i++) {
		if (LOAD(&p[i]) == pattern(seed, i))
			continue;
		if (!bad++)
			first = i;
	}
	if (bad)
		printf("%zu of %zu words differ, the first at 0x%zx: 0x%016llx\n",
		       bad, size / 8, first * 8, LOAD(&p[first]));
	return bad != 0;
}

/*
 * memcpy() is the library's (-fno-builtin). It moves the ends of a buffer with
 * accesses that are not aligned, and that overlap. All combinations of 16 starts,
 * source and destination, and of lengths on both sides of its thresholds.
 */
static int copy(__u8 *p)
{
	static const size_t sizes[] = { 1, 2, 3, 7, 8, 15, 17, 31, 33, 63, 65,
					95, 97, 127, 129, 255, 1021 };
	__u8 want[2048], got[2048];
	unsigned int n = 0;

	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		for (size_t from = 0; from < 16; from++) {
			for (size_t to = 0; to < 16; to++, n++) {
				size_t size = sizes[s];

				for (size_t i = 0; i < sizeof(want); i++) {
					want[i] = pattern(n, i);
					STORE(&p[i], 0xa5);
				}
				memcpy(p + to, want + from, size);
				memset(got, 0, sizeof(got));
				memcpy(got + from, p + to, size);
				/* byte accesses see what memcpy() wrote, and no more */
				for (size_t i = 0; i < sizeof(want); i++) {
					__u8 b = LOAD(&p[i]), expected = 0xa5;

					if (i >= to && i < to + size)
						expected = want[from + i - to];
					if (b != expected) {
						printf("%zu bytes at %zu: byte %zu is 0x%02x\n",
						       size, to, i, b);
						return 1;
					}
				}
				if (memcmp(got + from, want + from, size)) {
					printf("%zu bytes at %zu: read back wrong\n", size, to);
					return 1;
				}
			}
		}
	}
	printf("%u copies\n", n);
	return 0;
}

/*
 * A border, eight colour bars, a grey ramp, a checkerboard, and over them a
 * ring. card.py has the description of its own that this is compared with.
 */
static __u32 card_pixel(int x, int y, int w, int h)
{
	static const __u32 bars[] = { 0xffffff, 0xffff00, 0x00ffff, 0x00ff00,
					 0xff00ff, 0xff0000, 0x0000ff, 0x000000 };
	int r = h * 3 / 8, dx = x - w / 2, dy = y - h / 2;
	int d = dx * dx + dy * dy - r * r;

	if (x < 2 || y < 2 || x >= w - 2 || y >= h - 2)
		return 0xffffff;
	if (d > -3 * r && d < 3 * r)
		return 0xff8000;
	if (y < h * 2 / 3)
		return bars[x * 8 / w];
	if (y < h * 5 / 6)
		return x * 255 / (w - 1) * 0x010101;
	return ((x / 8 + y / 8) & 1) ? 0xc0c0c0 : 0x202020;
}

static int card(__u8 *p, int w, int h, __u32 shade)
{
	__u32 *row = malloc(w * 4);

	if (!row)
		err(1, "malloc");
	for (int y = 0; y < h; y++) {
		/* each row in two pieces that meet at an odd address */
		size_t cut = 2 * (y % 61) + 1;

		for (int x = 0; x < w; x++)
			row[x] = card_pixel(x, y, w, h) ^ shade;
		memcpy(p, row, cut);
		memcpy(p + cut, (__u8 *)row + cut, w * 4 - cut);
		p += w * 4;
	}
	free(row);
	return 0;
}

/*
 * The registers of QEMU's bochs-display and VGA: those of VBE, which have 16 bits,
 * and of VGA, where there are any
 */
static int mode(__u8 *p, int w, int h)
{
	enum { ID, XRES, YRES, BPP, ENABLE, BANK, VIRT_WIDTH, VIRT_HEIGHT, X_OFFSET, Y_OFFSET };
	__u16 *vbe = (void *)(p + 0x500);
	int id = LOAD(&vbe[ID]);

	if ((id & 0xfff0) != 0xb0c0)
		errx(1, "no display: it says 0x%04x", id);
	/* The attribute controller: show something */
	STORE(p + 0x400, 0x20);
	STORE(&vbe[ENABLE], 0);
	STORE(&vbe[BPP], 32);
	STORE(&vbe[XRES], w);
	STORE(&vbe[YRES], h);
	STORE(&vbe[BANK], 0);
	STORE(&vbe[VIRT_WIDTH], w);
	STORE(&vbe[VIRT_HEIGHT], h);
	STORE(&vbe[X_OFFSET], 0);
	STORE(&vbe[Y_OFFSET], 0);
	/* Enabled, a linear framebuffer */
	STORE(&vbe[ENABLE], 0x41);
	return 0;
}

static int dump(const __u8 *p, size_t size)
{
	while (size) {
		ssize_t n = write(1, p, size);

		if (n <= 0)
			err(1, "write");
		p += n;
		size -= n;
	}
	return 0;
}

/* What has been mapped was Normal-NC, and is Write-Back when it is accessed again */
static int evict(const char *name, __u64 offset, __u64 size)
{
	struct memtype_test_evict evict = { .offset = offset, .size = size, .to_ram = 1 };
	char *path;
	int pid = strtol(name, &path, 10);

	if (pid <= 0 || *path != ':')
		errx(1, "%s: no process", name);
	if (ioctl(open_of(pid, path + 1), MEMTYPE_TEST_EVICT, &evict))
		err(1, "evict");
	return 0;
}

static __u64 number(const char *s)
{
	return strtoull(s, NULL, 0);
}

int main(int argc, char **argv)
{
	const char *what = argc > 2 ? argv[1] : "";
	__u64 offset = argc > 3 ? number(argv[3]) : 0;
	__u64 size = argc > 4 ? number(argv[4]) : 0;
	__u64 last = argc > 5 ? number(argv[5]) : 0;

	if (!strcmp(what, "copy") && argc == 3)
		return copy(map(argv[2], 0, 4096));
	if (!strcmp(what, "card") && (argc == 6 || argc == 7))
		return card(map(argv[2], offset, size * last * 4), size, last,
			    argc == 7 ? number(argv[6]) : 0);
	if (!strcmp(what, "negative") && argc == 6)
		return card(map(argv[2], offset, size * last * 4), size, last, 0xffffff);
	if (!strcmp(what, "pixel") && argc == 5) {
		STORE((__u32 *)(map(argv[2], 0, offset + 4) + offset), size);
		return 0;
	}
	if (!strcmp(what, "mode") && argc == 5)
		return mode(map(argv[2], 0, 4096), offset, size);
	if (!strcmp(what, "dump") && argc == 5)
		return dump(map(argv[2], offset, size), size);
	if (!strcmp(what, "evict") && argc == 5)
		return evict(argv[2], offset, size);
	if (!strcmp(what, "fill") && argc == 6)
		return fill((void *)map(argv[2], offset, size), size, last);
	if (!strcmp(what, "check") && argc == 6)
		return check((void *)map(argv[2], offset, size), size, last);
	errx(2, "usage: mem fill|check|copy|card|negative|pixel|mode|dump|evict FILE ...");
}
