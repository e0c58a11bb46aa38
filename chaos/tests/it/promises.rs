//! Each promise under faults that really happen: nodes in network namespaces, effects measured at the target.
//!
//! The tests that are not ignored are the short set of `make test`; `make chaos` runs them all.

mod minority;
