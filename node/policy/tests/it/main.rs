//! Bundles as people write them, from the outside of the crate.

mod bounds;
mod bundles;
mod rulings;
mod world;
