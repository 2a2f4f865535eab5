// SPDX-License-Identifier: GPL-2.0
/*
 * screen - Compare what a VMM shows with what it should show
 *
 *	screen vnc SOCKET		see below
 *	screen ppm FILE WANT		a screendump, once
 *
 * WANT is a file of pixels, XRGB8888, of the size of the picture.
 *
 * "vnc" is a client: it asks for all of the screen once, and after that only for what
 * has changed, so that it shows no more than what the VMM has noticed. It reads
 * commands from stdin, and answers each with a line that begins with "ok" or "not ok":
 *
 *	want FILE SECONDS	the screen is that, or becomes it in that time
 *
 * The protocol is RFB 3.8 (RFC 6143), encoding "raw".
 */
#include <arpa/inet.h>
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <linux/types.h>

#define RFB_DESKTOP_SIZE	(-223)

static int sock;
static int width, height;
/* Of each pixel 24 bits, or this if the VMM has not shown it yet */
#define UNKNOWN		0xffffffff
static __u32 *screen;

static void fetch(void *p, size_t size)
{
	char *to = p;

	while (size) {
		ssize_t n = read(sock, to, size);

		if (n <= 0)
			errx(1, "the VMM has closed the connection");
		to += n;
		size -= n;
	}
}

static __u8 fetch8(void)
{
	__u8 v;

	fetch(&v, sizeof(v));
	return v;
}

static __u16 fetch16(void)
{
	__u16 v;

	fetch(&v, sizeof(v));
	return ntohs(v);
}

static __u32 fetch32(void)
{
	__u32 v;

	fetch(&v, sizeof(v));
	return ntohl(v);
}

static void discard(size_t size)
{
	while (size--)
		fetch8();
}

static void put(const void *p, size_t size)
{
	if (write(sock, p, size) != (ssize_t)size)
		err(1, "write");
}

static void resize(int w, int h)
{
	width = w;
	height = h;
	free(screen);
	screen = malloc(w * h * sizeof(*screen));
	if (!screen)
		err(1, "%d x %d pixels", w, h);
	for (int i = 0; i < w * h; i++)
		screen[i] = UNKNOWN;
}

static void request(int incremental)
{
	__u8 msg[] = { 3, incremental, 0, 0, 0, 0, width >> 8, width, height >> 8, height };

	put(msg, sizeof(msg));
}

static void hello(const char *path)
{
	/* 32 bits, little endian, true colour: XRGB8888 */
	static const __u8 format[20] = { 0, 0, 0, 0, 32, 24, 0, 1, 0, 255, 0, 255, 0, 255,
					 16, 8, 0 };
	/* raw; and the size may change */
	static const __u8 encodings[12] = { 2, 0, 0, 2, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0x21 };
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	__u8 types[256], n;
	char version[12];
	int w, h;

	sock = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", path);
	if (sock < 0 || connect(sock, (void *)&addr, sizeof(addr)))
		err(1, "%s", path);

	fetch(version, sizeof(version));
	if (memcmp(version, "RFB 003.008\n", sizeof(version)))
		errx(1, "not RFB 3.8: %.11s", version);
	put(version, sizeof(version));
	n = fetch8();
	fetch(types, n);
	if (!memchr(types, 1, n))
		errx(1, "the VMM wants a password");
	put("\1", 1);
	if (fetch32())
		errx(1, "the VMM does not want us");
	put("\1", 1);

	w = fetch16();
	h = fetch16();
	resize(w, h);
	discard(16);
	discard(fetch32());
	put(format, sizeof(format));
	put(encodings, sizeof(encodings));
	request(0);
}

/* One message of the VMM; after each update the next one is asked for */
static void handle(void)
{
	int n, full = 0;

	switch (fetch8()) {
	case 0:
		break;
	case 2: /* a bell */
		return;
	case 3: /* what it has in its clipboard */
		discard(3);
		discard(fetch32());
		return;
	default:
		errx(1, "unknown message");
	}

	discard(1);
	for (n = fetch16(); n > 0; n--) {
		int x = fetch16(), y = fetch16(), w = fetch16(), h = fetch16();
		int encoding = fetch32();

		if (encoding == RFB_DESKTOP_SIZE) {
			resize(w, h);
			full = 1;
			continue;
		}
		if (encoding || x + w > width || y + h > height)
			errx(1, "encoding %d, %d x %d at %d,%d of %d x %d", encoding,
			     w, h, x, y, width, height);
		for (int i = y; i < y + h; i++) {
			__u32 *row = &screen[i * width + x];

			fetch(row, w * sizeof(*row));
			for (int j = 0; j < w; j++)
				row[j] &= 0xffffff;
		}
	}
	request(!full);
}

static __u32 *load(const char *name, size_t *size)
{
	FILE *f = fopen(name, "r");
	__u32 *data;

	if (!f || fseek(f, 0, SEEK_END))
		err(1, "%s", name);
	*size = ftell(f);
	rewind(f);
	data = malloc(*size + 1);
	if (!data || fread(data, 1, *size, f) != *size)
		err(1, "%s", name);
	fclose(f);
	return data;
}

/* How many pixels differ from the expected ones, and which is the first */
static int different(const __u32 *shown, const __u32 *expected, int n, int *first)
{
	int bad = 0;

	for (int i = 0; i < n; i++) {
		if (shown[i] == (expected[i] & 0xffffff))
			continue;
		if (!bad++)
			*first = i;
	}
	return bad;
}

static __s64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

static int readable(int fd, int ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, ms) > 0;
}

static void want(const char *name, int seconds)
{
	__s64 start = now_ms(), last = start + seconds * 1000LL;
	size_t size;
	__u32 *expected = load(name, &size);
	int bad = -1, first = 0;

	for (;;) {
		if (size == width * height * sizeof(*screen))
			bad = different(screen, expected, width * height, &first);
		if (!bad || now_ms() >= last)
			break;
		if (readable(sock, last - now_ms()))
			handle();
	}
	free(expected);
	if (!bad)
		printf("ok after %lld ms\n", now_ms() - start);
	else if (bad < 0)
		printf("not ok: the screen is %d x %d\n", width, height);
	else
		printf("not ok: %d of %d pixels differ, the first at %d,%d: 0x%06x\n", bad,
		       width * height, first % width, first / width, screen[first]);
}

static int vnc(const char *path)
{
	char line[512], name[256];
	int n;

	hello(path);
	for (;;) {
		struct pollfd p[] = {
			{ .fd = sock, .events = POLLIN },
			{ .fd = 0, .events = POLLIN },
		};

		if (poll(p, 2, -1) < 0)
			err(1, "poll");
		if (p[0].revents) {
			handle();
			continue;
		}
		/* stdin is not buffered: a line a read() */
		n = read(0, line, sizeof(line) - 1);
		if (n <= 0)
			return 0;
		line[n] = '\0';
		if (sscanf(line, "want %255s %d", name, &n) == 2)
			want(name, n);
		else
			printf("not ok: unknown command\n");
		fflush(stdout);
	}
}

static int ppm(const char *file, const char *name)
{
	FILE *f = fopen(file, "r");
	int w, h, bad, first = 0;
	__u32 *expected, *shown;
	size_t size;

	if (!f || fscanf(f, "P6 %d %d 255", &w, &h) != 2 || fgetc(f) != '\n')
		errx(1, "%s: not a PPM file", file);
	expected = load(name, &size);
	if (size != w * h * sizeof(*expected))
		errx(1, "%s: %d x %d pixels", file, w, h);
	shown = calloc(w * h, sizeof(*shown));
	if (!shown)
		err(1, "calloc");
	for (int i = 0; i < w * h; i++) {
		__u8 rgb[3];

		if (fread(rgb, 3, 1, f) != 1)
			errx(1, "%s: too short", file);
		shown[i] = rgb[0] << 16 | rgb[1] << 8 | rgb[2];
	}
	bad = different(shown, expected, w * h, &first);
	if (bad)
		printf("%d of %d pixels differ, the first at %d,%d: 0x%06x\n", bad, w * h,
		       first % w, first / w, shown[first]);
	return bad != 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "vnc"))
		return vnc(argv[2]);
	if (argc == 4 && !strcmp(argv[1], "ppm"))
		return ppm(argv[2], argv[3]);
	errx(2, "usage: screen vnc SOCKET | ppm FILE WANT");
}
