//! What a run costs over a bare spawn: `cargo run --release -p sandbox --example cost`.
//! Both are measured in turn in this process; the median counts. Start at [`main`].

use contract::Cancel;
use std::time::{Duration, Instant};

const ROUNDS: usize = 200;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap_or_else(exit);
    let records = std::env::temp_dir().join(format!("kapell-cost-{}", std::process::id()));
    // The first run starts the keeper.
    let first = sandboxed(&runtime, sandbox::Command::argv(["true"], "/"));
    let (mut bare, mut plain, mut shell, mut recorded) = (vec![], vec![], vec![], vec![]);
    for _ in 0..ROUNDS {
        let start = Instant::now();
        std::process::Command::new("true").output().unwrap_or_else(exit);
        bare.push(start.elapsed());
        plain.push(sandboxed(&runtime, sandbox::Command::argv(["true"], "/")));
        shell.push(sandboxed(&runtime, sandbox::Command::shell("true", "/")));
        recorded.push(sandboxed(&runtime, sandbox::Command::argv(["true"], "/").record(&records)));
    }
    std::fs::remove_dir(&records).unwrap_or_else(exit);
    println!("first run, with the start of the keeper: {first:?}");
    for (name, times) in
        [("bare", bare), ("sandboxed", plain), ("through sh", shell), ("with record", recorded)]
    {
        println!("{name:>12}: median {:?} of {ROUNDS}", median(times));
    }
}

fn sandboxed(runtime: &tokio::runtime::Runtime, command: sandbox::Command) -> Duration {
    let start = Instant::now();
    runtime.block_on(sandbox::run(command, Cancel::new(), &mut |_| ())).unwrap_or_else(exit);
    start.elapsed()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn exit<T>(error: impl std::fmt::Display) -> T {
    eprintln!("{error}");
    std::process::exit(1)
}
