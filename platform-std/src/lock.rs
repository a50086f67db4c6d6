//! Files that one process writes at a time.

use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a file to read and write, waiting until no other process has it; makes an empty one if there is none.
///
/// # Errors
///
/// What the system says. Where it has no locks (some network file systems) the file is opened without.
pub fn lock(path: &Path) -> io::Result<File> {
    loop {
        let file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.lock() {
            Err(error) if error.kind() != io::ErrorKind::Unsupported => return Err(error),
            _ => {}
        }
        // While this process waited, another one may have put a new file in its place.
        if is_at(&file, path) {
            return Ok(file);
        }
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        (Err(_), _) => true,
        (_, Err(_)) => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, _path: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Seek, SeekFrom, Write};

    #[test]
    fn whoever_waited_gets_the_file_that_has_the_name() {
        let path = std::env::temp_dir().join(format!("picolm-lock-{}", std::process::id()));
        let other = path.with_extension("new");
        let first = lock(&path).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let mut file = lock(&path).unwrap();
                file.seek(SeekFrom::End(0)).and_then(|_| file.write_all(b"second"))
            });
            std::fs::write(&other, b"first").unwrap();
            std::fs::rename(&other, &path).unwrap();
            drop(first);
            waiting.join().unwrap().unwrap();
        });
        assert_eq!(std::fs::read(&path).unwrap(), b"firstsecond");
        std::fs::remove_file(&path).unwrap();
    }
}
