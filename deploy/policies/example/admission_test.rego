package assize.admission_test

import data.assize.admission

asked(env) := {
	"subject": {"type": "agent"},
	"on_behalf_of": null,
	"target": {"labels": {"env": env}},
	"job": {"name": "reports", "environments": ["test"], "data_classes": ["personal"]},
}

test_only_its_environments if {
	count(admission.deny) == 0 with input as asked("test")
	admission.deny == {"the job reports is not for the environment prod"} with input as asked("prod")
}

test_personal_data_is_looked_at_again if {
	{"type": "strict"} in admission.obligations with input as asked("test")
}
