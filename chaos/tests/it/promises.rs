//! Each promise under faults that really happen: nodes in network namespaces, effects measured at the target.
//!
//! The tests that are not ignored are the short set of `make test`; `make chaos` runs them all.

mod in_volume;
mod r11_nothing_acknowledged_is_lost;
mod r11_power_lost;
mod r13_ended_in_its_place;
mod r17_resources_are_bounded;
mod r18_rolling_upgrade;
mod r1_revoked_means_out;
mod r22_closed_is_not_dead;
mod r4_an_approval_is_spent_once;
mod r5_overdue_is_closed;
