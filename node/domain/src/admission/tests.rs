mod matrix;
mod permits;
mod policy;

use super::*;
use crate::fixture::*;
use crate::policy::NoRules;
use crate::verdict::Verdict;
