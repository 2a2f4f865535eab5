// SPDX-License-Identifier: GPL-2.0
/* What a test may write over; see targets.h */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/kvm_memtype.h>

#include "backing.h"
#include "bars.h"
#include "harness.h"
#include "host.h"
#include "kvm_util.h"
#include "pages.h"
#include "targets.h"

#define DEVICES	"/sys/bus/pci/devices/"

static void attribute(const char *bdf, const char *name, char *buf, size_t size)
{
	char path[128];
	FILE *f;

	buf[0] = '\0';
	snprintf(path, sizeof(path), DEVICES "%s/%s", bdf, name);
	f = fopen(path, "r");
	if (!f)
		return;
	if (!fgets(buf, size, f))
		buf[0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	fclose(f);
}

/* "" if it has none */
static void driver_of(const char *bdf, char *buf, size_t size)
{
	if (!mt_sysfs_link(bdf, "driver", buf, size))
		buf[0] = '\0';
}

/*
 * There is vfio-pci, the device is in an IOMMU group, and no driver has another device of
 * the group, which is when VFIO_GROUP_SET_CONTAINER fails
 */
static bool has_vfio(const char *bdf)
{
	char path[128], driver[64];
	struct dirent *entry;
	bool ok = true;
	DIR *dir;

	if (access("/sys/bus/pci/drivers/vfio-pci", F_OK))
		return false;
	if (access("/dev/vfio/vfio", F_OK) && access("/dev/iommu", F_OK))
		return false;
	snprintf(path, sizeof(path), DEVICES "%s/iommu_group/devices", bdf);
	dir = opendir(path);
	if (!dir)
		return false;
	while ((entry = readdir(dir))) {
		driver_of(entry->d_name, driver, sizeof(driver));
		ok = ok && (!*driver || !strcmp(driver, "vfio-pci") ||
			    !strcmp(driver, "pcieport"));
	}
	closedir(dir);
	return ok;
}

static bool open_vfio(struct bar_target *bar)
{
	mt_dev_open(&bar->dev, bar->bdf, mt_any_iommu());
	if (!has_memtype(&bar->dev)) {
		mt_dev_close(&bar->dev);
		mt_unbind(bar->bdf);
		return false;
	}
	bar->wc = mt_dev_map_as(&bar->dev, bar->index, WRITE_COMBINE, 0, bar->size);
	bar->device = mt_dev_map_as(&bar->dev, bar->index, STRICT, 0, bar->size);
	bar->vfio = true;
	return true;
}

static void *map_sysfs(struct bar_target *bar, const char *suffix)
{
	char path[128];
	void *p;
	int fd;

	snprintf(path, sizeof(path), DEVICES "%s/resource%d%s", bar->bdf, bar->index, suffix);
	fd = open(path, O_RDWR | O_SYNC);
	if (fd < 0)
		mt_skip("%s: %s (a BAR that is not prefetchable has none)", path,
			strerror(errno));
	p = mmap(NULL, bar->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		mt_skip("%s: mmap: %s", path, strerror(errno));
	close(fd);
	return p;
}

void bar_target_open(struct bar_target *bar, u64 max)
{
	const struct bar *named;
	char driver[64];
	u64 size;

	/* The harness has each test in a process group of its own, which no Ctrl-C reaches */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	memset(bar, 0, sizeof(*bar));
	named = board_bar(&size);
	if (!named)
		mt_skip("no BAR=<domain:bus:device.function>:<index> that may be written over");
	if (!mt_in_rig() && !mt_number("MEMORY", 0))
		mt_skip("BAR= is not known to be memory; MEMORY=1 says that it is");
	require_free_choice();
	bar->bdf = named->bdf;
	bar->index = named->index;
	if (size < MT_PAGE)
		mt_skip("%s has no BAR %d of a page or more", bar->bdf, bar->index);
	driver_of(bar->bdf, driver, sizeof(driver));
	if (*driver && strcmp(driver, "vfio-pci"))
		mt_skip("%s is driven by %s: unbind it first", bar->bdf, driver);

	bar->size = min_t(u64, size, max) & ~(MT_PAGE - 1);
	if (has_vfio(bar->bdf) && open_vfio(bar))
		return;
	driver_of(bar->bdf, driver, sizeof(driver));
	if (*driver)
		mt_unbind(bar->bdf);
	mt_sysfs_set(bar->bdf, "enable", "1");
	bar->wc = map_sysfs(bar, "_wc");
	bar->device = map_sysfs(bar, "");
}

void bar_target_close(struct bar_target *bar)
{
	munmap(bar->wc, bar->size);
	munmap(bar->device, bar->size);
	if (bar->vfio)
		mt_dev_close(&bar->dev);
	else
		mt_sysfs_set(bar->bdf, "enable", "0");
}

static struct {
	const char *bdf;
	char driver[64];
	char override[64];
	char enable[16];
} saved;

static void probe(const char *bdf)
{
	FILE *f = fopen("/sys/bus/pci/drivers_probe", "w");

	if (!f)
		return;
	fputs(bdf, f);
	fclose(f);
}

static void restore(void)
{
	const char *bdf = saved.bdf;
	char driver[64], enable[16];
	bool same;

	driver_of(bdf, driver, sizeof(driver));
	same = !strcmp(driver, saved.driver);
	if (*driver && !same)
		mt_sysfs_set(bdf, "driver/unbind", bdf);
	mt_sysfs_set(bdf, "driver_override",
		     strcmp(saved.override, "(null)") ? saved.override : "\n");
	if (*saved.driver) {
		if (!same)
			probe(bdf);
		return;
	}
	attribute(bdf, "enable", enable, sizeof(enable));
	if (!strcmp(saved.enable, "0") && strcmp(enable, "0"))
		mt_sysfs_set(bdf, "enable", "0");
}

/* Pass on what is to end the tests, and end as they do */
static void __noreturn wait_and_restore(pid_t tests)
{
	int sig, status;
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGCHLD);
	sigprocmask(SIG_BLOCK, &set, NULL);
	while (!waitpid(tests, &status, WNOHANG)) {
		sigwait(&set, &sig);
		if (sig != SIGCHLD)
			kill(tests, sig);
	}
	restore();
	if (WIFSIGNALED(status)) {
		sigprocmask(SIG_UNBLOCK, &set, NULL);
		raise(WTERMSIG(status));
	}
	exit(WEXITSTATUS(status));
}

void bar_target_keep(void)
{
	const struct bar *bar = board_bar(NULL);
	const char *bdf;
	pid_t tests;

	if (!bar)
		return;
	bdf = bar->bdf;
	saved.bdf = bdf;
	driver_of(bdf, saved.driver, sizeof(saved.driver));
	attribute(bdf, "driver_override", saved.override, sizeof(saved.override));
	attribute(bdf, "enable", saved.enable, sizeof(saved.enable));
	tests = fork();
	TEST_ASSERT(tests >= 0, "fork: %s", strerror(errno));
	if (tests)
		wait_and_restore(tests);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

void *pool_target_map(u64 size)
{
	const char *name = getenv("CARVEOUT_POOL");
	char path[96];
	void *p;
	int fd;

	if (!name || !*name)
		mt_skip("no CARVEOUT_POOL=<name> of a pool of the carve-out module");
	snprintf(path, sizeof(path), "/dev/dma_heap/carveout-%s", name);
	fd = open(path, O_RDWR);
	if (fd < 0)
		mt_skip("%s: %s", path, strerror(errno));
	p = mt_mmap(fd, size, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	close(fd);
	return p;
}
