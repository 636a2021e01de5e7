//! The `kapell` program. All of it is the library beside it, which fuzz targets reach too. Start at [`kapell::main`].

use std::process::ExitCode;

fn main() -> ExitCode {
    kapell::main()
}
