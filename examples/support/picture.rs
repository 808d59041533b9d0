//! Pictures for the README: where they go, and whether they can be shown there.

#[path = "contrast.rs"]
mod contrast;

use std::path::PathBuf;

use crate::Result;

/// What a picture may weigh.
const MAX_BYTES: usize = 150_000;

/// Where the picture goes, and how it is come by.
pub(crate) struct Order {
    path: PathBuf,
    /// To see that it can be drawn: everything in a fraction of the time.
    pub(crate) quick: bool,
}

impl Order {
    /// From the command line: `PATH.svg [--quick]`.
    pub(crate) fn read() -> Result<Order> {
        let args: Vec<String> = std::env::args().skip(1).collect();
        let (options, paths): (Vec<_>, Vec<_>) = args.iter().partition(|arg| arg.starts_with("--"));
        match (&*paths, &*options) {
            ([path], []) => Ok(Order { path: path.into(), quick: false }),
            ([path], [option]) if *option == "--quick" => {
                Ok(Order { path: path.into(), quick: true })
            }
            _ => Err("usage: PATH.svg [--quick]".into()),
        }
    }

    pub(crate) fn deliver(&self, svg: &str) -> Result<()> {
        contrast::check(svg)?;
        if svg.len() > MAX_BYTES {
            return Err(format!("{} bytes are more than {MAX_BYTES}", svg.len()).into());
        }
        std::fs::write(&self.path, svg)?;
        println!("{}: {} bytes", self.path.display(), svg.len());
        Ok(())
    }
}
