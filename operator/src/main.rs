use std::process::ExitCode;

fn main() -> ExitCode {
    portcullis_operator::cli::main()
}
