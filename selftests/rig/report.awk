# SPDX-License-Identifier: GPL-2.0
#
# Turns the lines of one boot's port.log (see init) into results, one a line:
#
#   pass|fail|skip <tab> <configuration>/<test>[/<subtest>] <tab> <reason>
#
# A test that prints KTAP gives one result for each of its innermost result
# lines; its exit code must agree with them. Any other test gives one result by
# its exit code: 0 pass, 4 skip, all else failure.

function result(status, name, reason) {
	gsub(/[ \t]+/, "_", name)
	printf "%s\t%s/%s\t%s\n", status, config, name, reason
}


function begin(name) {
	test = name
	n = failed = planned = depth = 0
	plan = -1
	last = skipall = ""
}

function indent(s) {
	match(s, /^ */)
	return RLENGTH
}

function ktap(line,   d, ok, name, reason) {
	d = indent(line)
	sub(/^ */, "", line)
	if (line ~ /^1\.\.[0-9]+/) {
		# Only the outermost plan is counted
		if (d == 0) {
			plan = substr(line, 4) + 0
			if (plan == 0 && match(line, /# *SKIP */))
				skipall = substr(line, RSTART + RLENGTH)
		}
		return
	}
	if (line !~ /^(not )?ok [0-9]+( |$)/)
		return
	ok = line !~ /^not /
	if (d == 0)
		planned++
	sub(/^(not )?ok [0-9]+ *(- )?/, "", line)
	reason = ""
	if (match(line, /# *SKIP */)) {
		reason = substr(line, RSTART + RLENGTH)
		name = substr(line, 1, RSTART - 1)
		if (reason == "")
			reason = "no reason given"
	} else {
		name = line
		sub(/ *# *(XFAIL|XPASS|error|exit=|TIMEOUT).*/, "", name)
	}
	sub(/[ \t]+$/, "", name)
	if (d < depth && ok) {
		depth = d
		return
	}
	depth = d
	n++
	if (name == "")
		name = n
	if (!ok) {
		failed++
		result("fail", test "/" name, "")
	} else if (reason != "") {
		result("skip", test "/" name, reason)
	} else {
		result("pass", test "/" name, "")
	}
}

function end(rc,   why) {
	if (rc == 137 || rc == 143)
		result("fail", test, "time limit")
	else if (n && plan < 0)
		result("fail", test, "no plan (exit " rc ")")
	else if (n && planned != plan)
		result("fail", test, planned " results of " plan " planned (exit " rc ")")
	else if (n && rc != 0 && rc != 4 && !failed)
		result("fail", test, "exit " rc " without a failed result")
	else if (!n && (rc == 4 || (rc == 0 && plan == 0)))
		result("skip", test, skipall != "" ? skipall : last != "" ? last : "no reason given")
	else if (!n)
		result(rc == 0 ? "pass" : "fail", test, rc == 0 ? "" : "exit " rc)
	test = ""
}

/^START / {
	begin($2)
	next
}
/^\| / {
	if (test == "")
		next
	line = substr($0, 3)
	sub(/\r$/, "", line)
	if (line != "")
		last = line
	ktap(line)
	next
}
/^END / {
	end($3)
	ended++
	next
}
/^DONE/ {
	done = 1
}

END {
	if (test != "")
		result("fail", test, "did not end")
	if (!ended)
		result("fail", "boot", "no test ran")
	else if (!done)
		result("fail", "boot", "the guest did not say that it was done")
}
