# Asked when a session starts, and whenever something it showed has changed. What it says holds for every session of the
# same parties, so there is no time in its input.
package assize.admission

# An agent works in the environments its job description names.
deny contains reason if {
	input.subject.type == "agent"
	env := input.target.labels.env
	not env in input.job.environments
	reason := sprintf("the job %s is not for the environment %s", [input.job.name, env])
}

# Who acts for a person acts for one that exists.
deny contains "it acts for somebody who is not known" if {
	input.on_behalf_of != null
	input.on_behalf_of.type == null
}

# Personal data: the newest state there is, and another look within the hour.
obligations contains {"type": "strict"} if personal

obligations contains {"type": "review_again", "after_seconds": 3600} if personal

personal if "personal" in input.job.data_classes
