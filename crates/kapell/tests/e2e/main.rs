//! The real binary, from outside: own directories, a scripted model, no network, no clock to wait for.
//!
//! Start at [`world::World`], which every test has one of.

mod audit;
mod bad_input;
mod budgets;
mod context;
mod daemon;
mod daemon_life;
mod daemon_refused;
mod daemon_terminals;
mod daemon_views;
mod daemon_work;
mod damage;
mod faults;
mod formats;
mod guard;
mod handles;
mod help;
mod hooks;
mod life;
mod limits;
mod looping;
mod mcp;
mod mcp_http;
mod mcp_refused;
mod mcp_wide;
mod models;
mod museum;
mod outputs;
mod people;
mod policy;
mod procs;
mod resources;
mod sandbox;
mod secrets;
mod sent;
mod servers;
mod store;
mod telemetry;
mod tls;
mod tools;
mod world;
