# Asked for every operation that touches something.
package assize.operation

writes := {"insert", "update", "delete", "truncate", "merge"}

# Outside the change window production is only read.
deny contains reason if {
	input.target.labels.env == "prod"
	some verb in input.operation.verbs
	verb in writes | {"ddl", "grant"}
	not in_window
	reason := sprintf("no changes outside %d:00 to %d:00 UTC", [data.windows.change.opens_hour, data.windows.change.closes_hour])
}

in_window if {
	[hour, _, _] := time.clock(input.time_ns)
	hour >= data.windows.change.opens_hour
	hour < data.windows.change.closes_hour
}

# What empties a table waits for two of the people named, even where a grant covers it.
hold contains {"reason": "it may empty a table", "approvers": data.windows.approvers, "approvals": 2} if {
	some verb in input.operation.verbs
	verb in {"delete", "truncate"}
}

# What touches salaries is marked in the record.
obligations contains {"type": "note", "text": "salaries"} if {
	some access in input.operation.accesses
	contains(access.object, "salar")
}
