mod check;
mod figures;
mod model;
mod simulation;
