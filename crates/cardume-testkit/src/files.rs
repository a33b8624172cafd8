//! Files to share: reproducible, and not compressible.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

/// Writes `size` bytes that depend on `seed` alone (xorshift64*: fast, and unlike itself everywhere).
///
/// # Errors
///
/// What the disk says.
pub fn random_file(path: &Path, size: u64, seed: u64) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut left = size;
    while left > 0 {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        let word = state.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes();
        let take = left.min(8);
        out.write_all(&word[..usize::try_from(take).expect("at most 8")])?;
        left -= take;
    }
    out.flush()
}

/// Makes a tree of `files` files of `size` bytes each, a hundred to a directory.
///
/// # Errors
///
/// What the disk says.
pub fn random_tree(path: &Path, files: u64, size: u64) -> io::Result<()> {
    for index in 0..files {
        let directory = path.join(format!("d{:04}", index / 100));
        if index % 100 == 0 {
            fs::create_dir_all(&directory)?;
        }
        random_file(&directory.join(format!("f{index:06}")), size, index + 1)?;
    }
    Ok(())
}
