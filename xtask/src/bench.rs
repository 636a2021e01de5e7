//! `cargo xtask bench WHAT`: figures beside floors of the same run. The work is in `crates/bench`.

use anyhow::Result;

/// What needs the kapell binary as well.
const WITH_BINARY: [&str; 6] = ["turns", "resume", "idle", "limits", "load", "--quick"];
/// What measures nothing: `--quick` shows that each command runs, and where limits bind, they set the pace.
const PLAIN: [&str; 4] = ["--quick", "limits", "parsers", "output"];
/// What reads the data set.
const WITH_DATA: [&str; 2] = ["parsers", "output"];

/// Always optimised, the binary too, where anything is measured.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if args.first().is_some_and(|arg| arg == "spawn") {
        // Beside the sandbox alone: no other crate has a part in it.
        return crate::programs::example("sandbox", "spawn", &args[1..]);
    }
    let mut args = args.to_vec();
    if args.first().is_some_and(|arg| arg == "policy") {
        return with_data("command", "policy", &args[1..]);
    }
    if args.first().is_some_and(|arg| arg == "secrets") {
        return with_data("secrets", "transcripts", &args[1..]);
    }
    if args.first().is_some_and(|arg| arg == "mcp") {
        let debug = args.iter().any(|arg| arg == "--debug");
        args.retain(|arg| arg != "--debug");
        let dir = crate::programs::build_together(&["kapell", "bench", "mcp"], "echo", !debug)?;
        args.splice(
            1..1,
            [dir.join("kapell"), dir.join("examples/echo")].map(|path| path.display().to_string()),
        );
        let status =
            std::process::Command::new(dir.join("bench")).args(&args).current_dir(crate::root()?).status()?;
        anyhow::ensure!(status.success(), "the benchmark ended with {status}");
        return Ok(());
    }
    if args.first().is_some_and(|arg| WITH_DATA.contains(&arg.as_str())) {
        args.insert(1, crate::data()?.display().to_string());
    }
    let optimised = args.first().is_none_or(|arg| !PLAIN.contains(&arg.as_str()));
    if args.first().is_some_and(|arg| WITH_BINARY.contains(&arg.as_str())) {
        let binary = crate::programs::build("kapell", optimised)?;
        args.insert(1, binary.display().to_string());
    }
    crate::programs::run("bench", optimised, &args)
}

/// Needs nothing of the engine, and so is no part of `bench`: an example of a pure crate.
fn with_data(package: &str, example: &str, args: &[String]) -> Result<()> {
    let usual = || crate::root().map(|root| root.join("../shared/data"));
    let dir = std::env::var_os("KAPELL_DATA").map_or_else(usual, |dir| Ok(dir.into()))?;
    let mut cargo = crate::cargo();
    cargo.args(["run", "--quiet", "--release", "--package", package, "--example", example, "--"]);
    let status = cargo.arg(dir).args(args).current_dir(crate::root()?).status()?;
    anyhow::ensure!(status.success(), "the benchmark ended with {status}");
    Ok(())
}
