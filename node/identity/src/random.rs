//! Chance, for whoever needs a key, a nonce or a salt. The one place that draws it for secrets.

/// `N` bytes from the operating system's generator.
///
/// # Panics
/// When the generator fails: there is then no safe way to go on, and going on with a guessable key would be worse.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut out = [0; N];
    aws_lc_rs::rand::fill(&mut out).expect("the operating system's random generator works");
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn two_draws_differ() {
        assert_ne!(super::bytes::<32>(), super::bytes::<32>());
    }
}
