//! What holds for the house as a whole.

mod house;
