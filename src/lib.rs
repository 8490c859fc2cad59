//! authwatch: the watchdog of a company's sign-in.
//!
//! It tails an identity provider's sign-in log, knows what each event means, keeps rolling success and refusal rates,
//! and turns a bad policy push into exactly one incident that opens, updates and resolves.
//!
//! The folders are the pipeline, in order. A stage uses [`event`] and the stages before it; only [`watch`] joins the
//! pure stages, only [`app`] joins the edges.
//!
//! ```text
//! source ─ decode ─ classify ─ attempt ─ window ─ judge ─ incident ─ action ─ store ─ act
//!          └──────────────────── pure: no clock, no I/O ──────────┘
//! ```

pub mod act;
pub mod action;
pub mod adoption;
pub mod app;
pub mod attempt;
pub mod classify;
pub mod cli;
pub mod clock;
pub mod config;
pub mod decode;
pub mod duration;
pub mod event;
pub mod fault;
pub mod http;
pub mod incident;
pub mod input;
pub mod judge;
pub mod policy;
pub mod secret;
pub mod sim;
pub mod slo;
pub mod source;
pub mod store;
pub mod telemetry;
pub mod watch;
pub mod web;
pub mod window;
pub mod yaml;
