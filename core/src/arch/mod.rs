//! Model families: each is a small table over the one parameterised decoder in `model`.

/// The families that can be run. A new one is a file and its line here.
pub static FAMILIES: &[Family] = &[];

/// One family.
#[derive(Debug)]
pub struct Family {
    /// Its name in `general.architecture`.
    pub name: &'static str,
}
