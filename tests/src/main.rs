//! The `razorc` command, for tests that start it.

fn main() -> std::process::ExitCode {
    razorc::main()
}
