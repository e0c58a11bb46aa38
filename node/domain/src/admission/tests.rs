mod matrix;
mod permits;

use super::*;
use crate::fixture::*;
