//! Properties that hold for every table this machine has.

mod attention;
mod products;
mod source;
