use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis_images::cli::main()
}
