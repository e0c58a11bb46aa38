//! Figures of Assize beside direct connections and PgBouncer, measured from outside.
//!
//! What this crate must **not** know: anything under `node/`. It uses what an operator and an agent use.
