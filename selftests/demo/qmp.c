// SPDX-License-Identifier: GPL-2.0
/*
 * qmp - Give a running QEMU one command and print what it answers
 *
 *	qmp SOCKET COMMAND [ARGUMENTS]
 *
 * ARGUMENTS is a JSON object. The answer is the line of JSON that QEMU sends,
 * without events. Exit code 0 if the command succeeded.
 */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* The next line that is no event; false at the end of the connection */
static int answer(FILE *in, char *line, size_t size)
{
	while (fgets(line, size, in)) {
		if (!strstr(line, "\"event\":"))
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	static char line[1 << 20];
	FILE *in;
	int s;

	if (argc != 3 && argc != 4)
		errx(2, "usage: qmp SOCKET COMMAND [ARGUMENTS]");
	alarm(20);
	s = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s", argv[1]);
	if (s < 0 || connect(s, (void *)&addr, sizeof(addr)))
		err(1, "%s", argv[1]);
	in = fdopen(s, "r");
	if (!in || !answer(in, line, sizeof(line)))
		errx(1, "no greeting");
	dprintf(s, "{\"execute\":\"qmp_capabilities\"}\n");
	if (!answer(in, line, sizeof(line)) || !strstr(line, "\"return\""))
		errx(1, "no capabilities");
	dprintf(s, "{\"execute\":\"%s\",\"arguments\":%s}\n", argv[2],
		argc == 4 ? argv[3] : "{}");
	if (!answer(in, line, sizeof(line)))
		errx(1, "no answer to %s", argv[2]);
	fputs(line, stdout);
	return !strstr(line, "\"return\"");
}
