//! The road with the simplest protocol there is: lines.

mod lines;
mod planted;
mod road;
