package assize.operation_test

import data.assize.operation

# 2026-11-23, a Monday, at the hour given.
at(hour) := 1795392000000000000 + ((hour * 3600) * 1000000000)

asked(verb, hour) := {
	"target": {"labels": {"env": "prod"}},
	"operation": {"verbs": [verb], "accesses": [{"verb": verb, "object": "app.public.orders"}]},
	"time_ns": at(hour),
}

test_reads_at_any_time if {
	count(operation.deny) == 0 with input as asked("select", 3)
}

test_writes_in_the_window if {
	count(operation.deny) == 0 with input as asked("insert", 6)
	operation.deny == {"no changes outside 6:00 to 18:00 UTC"} with input as asked("insert", 18)
}

test_deletes_wait_for_two if {
	some held in operation.hold with input as asked("delete", 9)
	held.approvals == 2
}
