//! The `razorc` command.

fn main() -> std::process::ExitCode {
    razorc::main()
}
