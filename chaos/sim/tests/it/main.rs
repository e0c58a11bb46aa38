mod check;
mod figures;
mod model;
mod real;
mod real_check;
mod simulation;
